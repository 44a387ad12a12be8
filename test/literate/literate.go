// Package literate runs the commands of a page, like a reader who follows it.
package literate

import (
	"os"
	"strings"
)

// Read goes through a Markdown page from top to bottom: line is called for each line of text, block for each fenced block with its
// language.
func Read(path string, line func(text string), block func(language, text string)) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := strings.Split(string(content), "\n")
	for i := 0; i < len(lines); i++ {
		language, fenced := strings.CutPrefix(lines[i], "```")
		if !fenced {
			line(lines[i])
			continue
		}
		begin := i + 1
		for i++; i < len(lines) && lines[i] != "```"; i++ {
		}
		block(language, strings.Join(lines[begin:min(i, len(lines))], "\n"))
	}
	return nil
}
