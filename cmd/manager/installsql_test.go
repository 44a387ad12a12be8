package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const sandbox = `apiVersion: credentials.systemprompt.io/v1alpha1
kind: TenantEnvironment
metadata:
  name: sandbox
`

// A ledger is for one environment: install-sql refuses several, or none, and installs nothing.
func TestTheEnvironmentOfALedgerIsOne(t *testing.T) {
	for name, test := range map[string]struct{ manifest, says string }{
		"one":                       {sandbox, ""},
		"one, after a comment":      {"# the sandbox\n---\n" + sandbox + "---\n", ""},
		"two":                       {sandbox + "---\n" + strings.Replace(sandbox, "sandbox", "prod", 1), "holds 2 documents, and one TenantEnvironment is expected"},
		"one, and its tenant":       {sandbox + "---\nkind: TenantCredential\n", "holds 2 documents"},
		"none":                      {"", "holds 0 documents"},
		"another kind":              {"kind: TenantCredential", "holds a \"TenantCredential\", and a TenantEnvironment is expected"},
		"a field that there is not": {sandbox + "spce: {}\n", "is not one TenantEnvironment"},
	} {
		t.Run(name, func(t *testing.T) {
			environment, err := readEnvironment("-", strings.NewReader(test.manifest))
			if test.says != "" {
				require.ErrorContains(t, err, test.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "sandbox", environment.Name)
		})
	}
}
