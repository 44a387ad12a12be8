package main

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	const instead = `: "Nobody": write no client, no user, or whom else it is about`
	tests := map[string]struct {
		name, content string
		found         []string
	}{
		"prose": {"a.md", "It works.\nNobody knows why, and he can not ask.\n", []string{
			"a.md:2" + instead,
			`a.md:2: "can not": write cannot`,
			`a.md:2: "he": write the user, the caller, or whom else it is about`,
		}},
		"flags":                              {"a.md", "`grep -hE x`\n", nil},
		"the product":                        {"a.md", "Postgres answers.\n", []string{`a.md:1: "Postgres": write PostgreSQL`}},
		"the product's name, and conditions": {"a.md", "PostgreSQL answers: `PostgresSynced`, postgres://db, spec.Postgres, `Postgres`\n", nil},
		"a comment":                          {"a.go", "package a\n\n/* a\nNobody */\nvar former = 1 // the former one\n", []string{"a.go:4" + instead, `a.go:5: "former": write previous`}},
		"a string":                           {"a.go", "package a\n\nvar s = `\n\nNobody`\n", []string{"a.go:5" + instead}},
		"a test":                             {"a_test.go", "package a\n\nfunc TestTheRollOut() {}\n", []string{`a_test.go:3: "TestTheRollOut": write the word that a comment would use`}},
		"identifiers":                        {"a.go", "package a\n\n// Postgres is where it is.\ntype Postgres struct{ FormerLogin, duringRollOut string }\n", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var found []string
			for _, f := range check(test.name, []byte(test.content)) {
				found = append(found, fmt.Sprintf("%s:%d: %s", test.name, f.line, f.advice))
			}
			require.Equal(t, test.found, found)
		})
	}
}
