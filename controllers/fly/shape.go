package fly

import (
	"regexp"
	"strconv"
)

var (
	// name is the shape of the names of apps, Machines, instances, states and organizations. Some stand in a path, and must not lead a
	// request elsewhere; all of them stand in messages.
	name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)
	// opaque is the shape of what this program only hands on or compares: digests, nonces, the IDs of releases.
	opaque = regexp.MustCompile(`^[!-~]{1,256}$`)
	// plain is a text that can be shown as it is.
	plain = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._:/@-]{0,63}$`)
)

// maxShown bounds a text that is shown in quotes, in characters before they are escaped.
const maxShown = 40

// word keeps a state of Fly's, such as started. Anything that is no word becomes one that no decision takes for good.
func word(text string) string {
	if text == "" || name.MatchString(text) {
		return text
	}
	return "unreadable"
}

// shown is a text of Fly's, or of the app's owner, as it may stand in a message: short, on one line, and nothing that a terminal acts upon
// or that reverses the order of reading.
func shown(text string) string {
	if text == "" || plain.MatchString(text) {
		return text
	}
	characters := 0
	for i := range text {
		if characters++; characters > maxShown {
			return strconv.QuoteToASCII(text[:i]) + "…"
		}
	}
	return strconv.QuoteToASCII(text)
}
