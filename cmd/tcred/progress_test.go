package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestATerminalHasOneLine(t *testing.T) {
	var out bytes.Buffer
	p := &progress{w: &out, width: func() int { return 12 }}
	p.show("1 of 4 Machines")
	p.show("1 of 4 Machines")
	p.show("2 of 4")
	p.note("cut. Retrying")
	p.show("2 of 4")
	p.end()
	require.Equal(t, clear+"1 of 4 Mach"+clear+"2 of 4"+clear+"cut. Retrying\n"+clear+"2 of 4"+clear, out.String())
}

func TestElsewhereEachChangeIsALine(t *testing.T) {
	var out bytes.Buffer
	p := &progress{w: &out, width: func() int { return 0 }}
	p.show("1 of 4")
	p.show("1 of 4")
	p.note("cut")
	p.show("2 of 4")
	p.end()
	require.Equal(t, "1 of 4\ncut\n2 of 4\n", out.String())
}

func TestAPrintedCommandIsReadByAShellAsItWasMeant(t *testing.T) {
	require.Equal(t, `tcred --save=a 'it'\''s' '' '$x'`, commandLine("tcred", "--save=a", "it's", "", "$x"))
}
