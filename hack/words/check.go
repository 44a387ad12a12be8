package main

import (
	"fmt"
	"go/scanner"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// word is one that is refused, and what stands for it.
type word struct {
	pattern *regexp.Regexp
	instead string
}

var words = []word{
	{regexp.MustCompile(`(?i)\bsomebody\b`), "another client, a user, or whom else it is about"},
	{regexp.MustCompile(`(?i)\bnobody\b`), "no client, no user, or whom else it is about"},
	{regexp.MustCompile(`(?i)\bcan not\b`), "cannot"},
	{regexp.MustCompile(`(?i)\broll-outs?\b`), "rollout"},
	{regexp.MustCompile(`(?i)\bformer\b`), "previous"},
	{regexp.MustCompile(`\b[Hh]e\b`), "the user, the caller, or whom else it is about"},
	{regexp.MustCompile(`\b[Hh]is\b`), "the user's, the caller's, or whose else it is"},
}

// product is PostgreSQL as prose may not call it: an identifier stands in backquotes, behind a dot or an equals sign, or before one of these.
var product = word{regexp.MustCompile("(?:^|[^`.\\w=\"/])Postgres(?:$|[^`.\\w=\"/])"), "PostgreSQL"}

// testName has the words as they stand in the name of a test.
var testName = word{regexp.MustCompile(`^(?:Test|Fuzz|Benchmark)\w*(?:Somebody|Nobody|CanNot|RollOut|Former)`), "the word that a comment would use"}

// finding is a refused word on a line of a file, and what to write instead.
type finding struct {
	line   int
	advice string
}

// check finds the refused words of one file.
func check(name string, content []byte) []finding {
	var found []finding
	say := func(line int, text string, refused ...word) {
		for _, w := range refused {
			if hit := w.pattern.FindString(text); hit != "" {
				found = append(found, finding{line, fmt.Sprintf("%q: write %s", strings.Trim(hit, " "), w.instead)})
			}
		}
	}
	prose := append(slices.Clone(words), product)
	if filepath.Ext(name) != ".go" {
		for i, line := range strings.Split(string(content), "\n") {
			say(i+1, line, prose...)
		}
		return found
	}
	for _, t := range tokens(content) {
		if t.kind == token.IDENT {
			say(t.line, t.text, testName)
			continue
		}
		for i, line := range strings.Split(t.text, "\n") {
			say(t.line+i, strings.TrimPrefix(line, t.declares), prose...)
		}
	}
	return found
}

// part is a comment, a string or a name in a Go file. A comment on what is called Postgres begins with that name.
type part struct {
	kind     token.Token
	line     int
	text     string
	declares string
}

func tokens(content []byte) []part {
	files := token.NewFileSet()
	file := files.AddFile("", files.Base(), len(content))
	var s scanner.Scanner
	s.Init(file, content, nil, scanner.ScanComments)
	var parts []part
	for {
		at, kind, text := s.Scan()
		switch kind {
		case token.EOF:
			return parts
		case token.COMMENT:
			parts = append(parts, part{kind, file.Line(at), text, "// Postgres "})
		case token.STRING:
			if text != `"Postgres"` {
				parts = append(parts, part{kind, file.Line(at), text, ""})
			}
		case token.IDENT:
			parts = append(parts, part{kind, file.Line(at), text, ""})
		}
	}
}
