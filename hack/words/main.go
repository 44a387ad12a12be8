// Command words finds words that the project does not use, in the files that git knows, and prints each as file:line. Of a Go file it reads the
// comments, the strings and the names of tests; of any other file every line.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

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
	known, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return nil, fmt.Errorf("list the files: %w", err)
	}
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
			found = append(found, fmt.Sprintf("%s:%d: %s", name, f.line, f.advice))
		}
	}
	return found, nil
}

// skipped are files whose words are others', and the list of this check.
func skipped(name string) bool {
	return name == "LICENSE" || strings.HasSuffix(name, "go.sum") || strings.HasPrefix(name, "hack/words/")
}
