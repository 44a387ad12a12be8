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

// allowed lists the files that still have such words, one a line.
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
	exempt := strings.Fields(string(listed))
	var found []string
	for _, name := range strings.Split(strings.TrimSuffix(string(known), "\x00"), "\x00") {
		content, err := os.ReadFile(name)
		if skipped(name) || os.IsNotExist(err) || bytes.IndexByte(content, 0) >= 0 {
			continue
		}
		if err != nil {
			return nil, err
		}
		in := check(name, content)
		at := slices.Index(exempt, name)
		switch {
		case at >= 0 && len(in) == 0:
			found = append(found, fmt.Sprintf("%s: %s has none of these words any more: delete its line", allowed, name))
		case at < 0:
			found = append(found, in...)
		}
	}
	return found, nil
}

// skipped are files whose words are others', and the lists of this check.
func skipped(name string) bool {
	return name == "LICENSE" || strings.HasSuffix(name, "go.sum") || strings.HasPrefix(name, "hack/words/")
}
