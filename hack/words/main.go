// Command words finds words that the project does not use, in the files that git knows, and prints each as file:line. Of a Go file it reads the
// comments, the strings and the names of tests; of any other file every line.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// allowed lists what is excused, one a line: a file, or a file and a text ("docs/a.md: the text") on the line that has the word.
const allowed = "hack/words/allowed.txt"

func main() {
	found, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "words:", err)
		os.Exit(2)
	}
	for _, f := range found {
		fmt.Println(f)
	}
	if len(found) > 0 {
		os.Exit(1)
	}
}

func run() ([]string, error) {
	listed, err := os.ReadFile(allowed)
	if err != nil {
		return nil, err
	}
	known, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return nil, fmt.Errorf("list the files: %w", err)
	}
	exempt := strings.FieldsFunc(string(listed), func(r rune) bool { return r == '\n' })
	used := make([]bool, len(exempt))
	var found []string
	for _, name := range strings.Split(strings.TrimSuffix(string(known), "\x00"), "\x00") {
		content, err := os.ReadFile(name)
		if skipped(name) || os.IsNotExist(err) || bytes.IndexByte(content, 0) >= 0 {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, f := range check(name, content) {
			if at := slices.IndexFunc(exempt, func(e string) bool { return excuses(e, name, f.text) }); at >= 0 {
				used[at] = true
				continue
			}
			found = append(found, fmt.Sprintf("%s:%d: %s", name, f.line, f.advice))
		}
	}
	for i, e := range exempt {
		if !used[i] {
			found = append(found, fmt.Sprintf("%s:%d: %s excuses nothing any more: delete the line", allowed, i+1, e))
		}
	}
	return found, nil
}

// excuses says whether a line of the list is for a line of a file.
func excuses(line, name, text string) bool {
	file, part, _ := strings.Cut(line, ": ")
	return file == name && strings.Contains(text, part)
}

// skipped are files whose words are others', and the lists of this check.
func skipped(name string) bool {
	return name == "LICENSE" || strings.HasSuffix(name, "go.sum") || strings.HasPrefix(name, "hack/words/")
}
