package conformance

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSettingASecretAnswersAVersionAndADigest(t *testing.T) {
	f := newFixture(t)
	set := f.set(first, f.newValue())
	require.NotZero(t, set.Version)
	list, _ := f.secrets()
	digest := digestOf(list, first)
	require.NotEmpty(t, digest)
	if answered := set.digest(first); answered != "" { // an answer need not list what it set: the operator reads the list then
		require.Equal(t, answered, digest, "the digest is read later as it was answered")
	}
	again, _ := f.secrets()
	require.Equal(t, digest, digestOf(again, first))
	f.set(first, f.newValue())
	other, _ := f.secrets()
	require.NotEqual(t, digest, digestOf(other, first), "another value has another digest")
}

func TestEveryWriteRaisesTheSecretsVersion(t *testing.T) {
	f := newFixture(t)
	value := f.newValue()
	last := f.set(first, value).Version
	for _, write := range []struct {
		what string
		make func() written
	}{
		{"the same value", func() written { return f.set(first, value) }},
		{"another value", func() written { return f.set(first, f.newValue()) }},
		{"an unset", func() written { return f.write(first, nil) }},
		{"an unset of what is not set", func() written { return f.write(unset, nil) }},
	} {
		version := write.make().Version
		require.Greater(t, version, last, write.what)
		last = version
	}
}

func TestNoAnswerShowsAValue(t *testing.T) {
	f := newFixture(t)
	value := f.newValue()
	set := f.set(first, value)
	_, list := f.secrets()
	for what, body := range map[string][]byte{
		"the answer to a set": set.raw, "the list": list, "the secret": f.call(200, request{method: "GET", path: f.path + "/secrets/" + first}).body,
	} {
		require.Contains(t, string(body), `"digest"`, what)
		require.False(t, bytes.Contains(body, []byte(value)), what+" shows the value") // and the failure must not
	}
}

func TestASecretThatIsUnsetIsNotListed(t *testing.T) {
	f := newFixture(t)
	f.set(first, f.newValue())
	f.set(second, f.newValue())
	f.write(first, nil)
	list, _ := f.secrets()
	require.Empty(t, digestOf(list, first))
	require.NotEmpty(t, digestOf(list, second), "a write leaves the other secrets alone")
}
