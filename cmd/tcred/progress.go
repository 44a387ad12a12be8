package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// progress writes to standard error: on a terminal one line that is written over, elsewhere a line for each change. It uses no colours.
type progress struct {
	w io.Writer
	// width is the terminal's; 0 = it is none.
	width func() int
	last  string
	open  bool // the terminal's line has no end yet
}

func newProgress(f *os.File) *progress {
	return &progress{w: f, width: func() int {
		if !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
			return 0
		}
		width, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0
		}
		return width
	}}
}

// clear is how a terminal's line begins anew (ECMA-48, EL).
const clear = "\r\x1b[K"

// show says how far it is.
func (p *progress) show(text string) {
	if text == p.last {
		return
	}
	p.last = text
	if width := p.width(); width > 0 {
		letters := []rune(text)
		_, _ = fmt.Fprint(p.w, clear, string(letters[:min(len(letters), width-1)]))
		p.open = true
		return
	}
	_, _ = fmt.Fprintln(p.w, text)
}

// note writes a line that stays.
func (p *progress) note(text string) {
	p.end()
	_, _ = fmt.Fprintln(p.w, text)
}

// end takes the line away that is written over.
func (p *progress) end() {
	if p.open {
		_, _ = fmt.Fprint(p.w, clear)
	}
	p.open, p.last = false, ""
}
