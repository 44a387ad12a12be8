package faultmatrix

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"
)

// cells are those of the matrix that can be, row by row.
func cells() []cell {
	var all []cell
	for _, s := range steps {
		for _, f := range faults {
			if c := (cell{s, f}); c.exists() {
				all = append(all, c)
			}
		}
	}
	return all
}

// everything has the name of each part that can be run.
func everything() []string {
	var names []string
	for _, c := range cells() {
		names = append(names, c.name())
	}
	for _, i := range incidents {
		names = append(names, i.name)
	}
	return names
}

// run runs a cell or an incident as a test of its own.
func run(t *testing.T, l *lane, name string) (passed bool) {
	return t.Run(name, func(t *testing.T) {
		for _, c := range cells() {
			if c.name() == name {
				c.run(t, l)
				return
			}
		}
		for _, i := range incidents {
			if i.name == name {
				i.run(t, l)
				return
			}
		}
		t.Fatal("there is no such cell")
	})
}

// slice is what a plain go test runs: each kind of fault once, and each at another of the calls that matter most: the lock, the hash
// inside the transaction, the write to Fly, COMMIT and its answer, and the rollout.
var slice = []string{
	"lock: fails before it takes effect",
	"COMMIT: takes effect, answer lost",
	"roll out: get: hangs until the deadline",
	"hash: process dies before it",
	"Fly write: process dies after it",
	"COMMIT: leadership lost during it",
	"deliver: Fly write: process dies after it",
	"retire: close: takes effect, answer lost",
}

// TestSlice runs the slice.
func TestSlice(t *testing.T) {
	if os.Getenv("FAULT_MATRIX") != "" {
		t.Skip("the matrix runs in lanes")
	}
	l := newLane(t)
	for _, name := range slice {
		run(t, l, name)
	}
}

// result is what a lane says of a cell.
type result struct {
	Cell    string  `json:"cell"`
	Passed  bool    `json:"passed"`
	Seconds float64 `json:"seconds"`
}

// TestLane runs the cells that it reads from standard input, and says for each what became of it in a line on file 3.
func TestLane(t *testing.T) {
	if os.Getenv("FAULT_MATRIX_LANE") == "" {
		t.Skip("only as a process of TestMatrix")
	}
	answers := json.NewEncoder(os.NewFile(3, "answers"))
	l := newLane(t)
	for names := bufio.NewScanner(os.Stdin); names.Scan(); {
		began := time.Now()
		passed := run(t, l, names.Text())
		if err := answers.Encode(result{names.Text(), passed, time.Since(began).Seconds()}); err != nil {
			t.Fatal(fmt.Errorf("no reader takes the results: %w", err))
		}
	}
}
