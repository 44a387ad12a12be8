package platform

import (
	"encoding/json"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

// Secret is what the tests read of a Secret.
type Secret struct {
	Metadata struct {
		UID             string
		Annotations     map[string]string
		OwnerReferences []struct{ Kind, Name, UID string }
	}
	Type string
	Data map[string][]byte
}

// Secret is the Secret of that name beside the object, nil where there is none.
func (x Tenant) Secret(name string) *Secret {
	x.t.Helper()
	text := harness.Kubectl(x.t, "", "-n", "tenants-sandbox", "get", "secret", name, "--ignore-not-found", "-o", "json")
	if text == "" {
		return nil
	}
	var s Secret
	require.NoError(x.t, json.Unmarshal([]byte(text), &s))
	return &s
}

// DeleteSecret deletes it; there may be none.
func (x Tenant) DeleteSecret(name string) {
	x.t.Helper()
	harness.Kubectl(x.t, "", "-n", "tenants-sandbox", "delete", "secret", name, "--ignore-not-found")
}
