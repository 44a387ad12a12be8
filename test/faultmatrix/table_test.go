package faultmatrix

import (
	"fmt"
	"slices"
	"strings"
)

// summary is bin/fault-matrix.json.
type summary struct {
	Cells  int      `json:"cells"`
	Passed int      `json:"passed"`
	Failed []string `json:"failed"`
}

func sum(names []string, results map[string]result) summary {
	s := summary{Cells: len(names), Failed: []string{}}
	for _, name := range names {
		if results[name].Passed {
			s.Passed++
		} else {
			s.Failed = append(s.Failed, name)
		}
	}
	slices.Sort(s.Failed)
	return s
}

func (r result) word() string {
	switch {
	case r.Cell == "":
		return "·"
	case r.Passed:
		return "ok"
	default:
		return "FAIL"
	}
}

// table has the steps down and the faults across, and below it the cells that cannot be and the incidents that are no cell.
func table(results map[string]result) string {
	var text strings.Builder
	fmt.Fprintf(&text, "| %-18s |", "step")
	for _, f := range faults {
		fmt.Fprintf(&text, " %s |", f.name)
	}
	fmt.Fprintf(&text, "\n|%s|", strings.Repeat("-", 20))
	for _, f := range faults {
		fmt.Fprintf(&text, "%s|", strings.Repeat("-", len(f.name)+2))
	}
	var notes []string
	for _, s := range steps {
		fmt.Fprintf(&text, "\n| %-18s |", s.name)
		for _, f := range faults {
			c := cell{s, f}
			word := results[c.name()].word()
			if !c.exists() {
				if !slices.Contains(notes, f.why) {
					notes = append(notes, f.why)
				}
				word = fmt.Sprintf("– (%d)", slices.Index(notes, f.why)+1)
			}
			fmt.Fprintf(&text, " %-*s |", len(f.name), word)
		}
	}
	text.WriteString("\n\n")
	for i, note := range notes {
		fmt.Fprintf(&text, "(%d) is not counted: %s.\n", i+1, note)
	}
	for _, named := range incidents {
		fmt.Fprintf(&text, "%-4s %s\n", results[named.name].word(), named.name)
	}
	return text.String()
}
