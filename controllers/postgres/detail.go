package postgres

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

const (
	// longestDetail bounds what is parsed. The longest that the functions write names a holder, four names of 253 bytes at most.
	longestDetail = 4096 // bytes
	// longestValue bounds a value that is neither an identifier nor a word.
	longestValue = 256 // bytes
)

var errDetail = errors.New("not a detail of the ledger's functions")

// values are what a detail has under one name: a string or a number is one, and null is none.
type values []string

var number = regexp.MustCompile(`^-?[0-9]{1,20}$`)

// UnmarshalJSON takes a string, a whole number, a list of strings, or null.
func (v *values) UnmarshalJSON(content []byte) error {
	if number.Match(content) {
		*v = values{string(content)}
		return nil
	}
	var list []string
	if json.Unmarshal(content, &list) == nil {
		*v = list
		return nil
	}
	var one string
	if json.Unmarshal(content, &one) != nil {
		return errDetail
	}
	*v = values{one}
	return nil
}

// worded is the sentence for a detail, the JSON object in which an SQL function says what is so; code is that of a detail without one. The author of
// a trigger on the management table can raise an error of our class with any detail, so nothing is believed of it: with another shape than the words
// for its code ask for, ok is false.
func worded(code string, detail []byte) (sentence string, ok bool) {
	said, err := decodeDetail(detail)
	if err != nil {
		return "", false
	}
	if given, has := said["code"]; has {
		if len(given) != 1 {
			return "", false
		}
		code = given[0]
		delete(said, "code")
	}
	template, known := words[code]
	if !known {
		return "", false
	}
	return fill(template, said)
}

func decodeDetail(detail []byte) (map[string]values, error) {
	if len(detail) > longestDetail {
		return nil, errDetail
	}
	said := map[string]values{}
	decoder := json.NewDecoder(bytes.NewReader(detail))
	if err := decoder.Decode(&said); err != nil {
		return nil, errDetail
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errDetail
	}
	for name, list := range said {
		if len(list) == 0 { // null, or an empty list
			delete(said, name)
		}
	}
	return said, nil
}

// placeholder is a field in a template: its name, and how it is shown (see words).
var placeholder = regexp.MustCompile(`\{([a-z]+)(?::([A-Z]))?\}`)

// fill puts the fields into a template. Each that the template asks for has to be there, and no other.
func fill(template string, fields map[string]values) (sentence string, ok bool) {
	ok = true
	used := map[string]bool{}
	sentence = placeholder.ReplaceAllStringFunc(template, func(field string) string {
		parts := placeholder.FindStringSubmatch(field)
		list, has := fields[parts[1]]
		used[parts[1]] = true
		text, fits := show(parts[2], list)
		ok = ok && has && fits
		return text
	})
	return sentence, ok && len(used) == len(fields)
}

var word = regexp.MustCompile(`^-?[A-Za-z0-9_]{1,20}$`)

// show is how a template shows values; fits says whether they are of that kind.
func show(kind string, list values) (text string, fits bool) {
	if kind != "I" && kind != "O" && len(list) != 1 {
		return "", false
	}
	switch kind {
	case "I":
		names := make([]string, 0, len(list))
		for _, name := range list {
			names = append(names, Identifier(name))
		}
		return strings.Join(names, ", "), true
	case "L":
		return Literal(failure.Printable(list[0], longestValue)), true
	case "W":
		return list[0], word.MatchString(list[0])
	case "O":
		return strings.Join(list, " or "), !slices.ContainsFunc(list, func(w string) bool { return !word.MatchString(w) })
	default:
		return failure.Printable(list[0], longestValue), true
	}
}
