package fly

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWithMetadataLeavesEveryOtherByteAlone(t *testing.T) {
	tests := map[string]struct{ config, want string }{
		"no metadata": {
			`{"image":"i","init":{}}`,
			`{"metadata":{"tenant_credential_revision":"7"},"image":"i","init":{}}`,
		},
		"empty config": {`{ }`, `{"metadata":{"tenant_credential_revision":"7"} }`},
		"metadata is null": {
			`{"metadata": null, "image":"i"}`,
			`{"metadata": {"tenant_credential_revision":"7"}, "image":"i"}`,
		},
		"metadata without the key": {
			`{"image":"i","metadata":{"fly_process_group":"web"}}`,
			`{"image":"i","metadata":{"tenant_credential_revision":"7","fly_process_group":"web"}}`,
		},
		"metadata with the key": {
			`{"metadata":{"a":"1","tenant_credential_revision" : "6;unhealthy-before","z":"2"}}`,
			`{"metadata":{"a":"1","tenant_credential_revision" : "7","z":"2"}}`,
		},
		"unknown members, zeros, numbers, order, spaces, escapes": {
			"{\n \"zeta\": {\"b\":1.0e2, \"a\":0.10},\"auto_destroy\":false,\"restart\":{\"max_retries\":0},\"n\":18446744073709551617," +
				"\"env\":{\"X\":\"a<b>\\u0026\\/\"},\"empty\":{}, \"metadata\":{} ,\"list\":[ ]\n}",
			"{\n \"zeta\": {\"b\":1.0e2, \"a\":0.10},\"auto_destroy\":false,\"restart\":{\"max_retries\":0},\"n\":18446744073709551617," +
				"\"env\":{\"X\":\"a<b>\\u0026\\/\"},\"empty\":{}, \"metadata\":{\"tenant_credential_revision\":\"7\"} ,\"list\":[ ]\n}",
		},
		"the word metadata elsewhere": {
			`{"env":{"metadata":"{}"},"files":[{"metadata":{"x":1}}],"metadata":{"m":"1"}}`,
			`{"env":{"metadata":"{}"},"files":[{"metadata":{"x":1}}],"metadata":{"tenant_credential_revision":"7","m":"1"}}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := withMark([]byte(test.config), "7")
			require.NoError(t, err)
			require.Equal(t, test.want, string(got))
			require.True(t, json.Valid(got))
		})
	}
}

func TestWithMetadataRefusesWhatIsNoConfig(t *testing.T) {
	for _, config := range []string{`null`, `[]`, `"x"`, `{`, ``, `{"metadata":[]}`, `{"metadata":"x"}`, `{} {}`,
		`{"metadata":{},"metadata":{}}`, `{"metadata":{"tenant_credential_revision":"1","tenant_credential_revision":"2"}}`} {
		_, err := withMark([]byte(config), "7")
		require.Error(t, err, config)
	}
}

func TestMarkSurvivesTheWayThroughMetadata(t *testing.T) {
	for _, m := range []mark{
		{revision: 7, secretsVersion: 1<<53 + 1, machine: "3d8d9014b32e89"},
		{revision: 1, secretsVersion: 1<<64 - 1, machine: "a", onNextStart: true},
		{revision: 9, secretsVersion: 3, machine: "b", unhealthyBefore: true},
	} {
		require.Equal(t, m, parseMark(m.String()))
	}
	for _, text := range []string{"", "x", ";", "7x;secrets-version=3"} {
		require.Equal(t, mark{}, parseMark(text), text)
	}
}

func TestShadowsNamesWhatMayHideTheSecret(t *testing.T) {
	tests := map[string]struct {
		config string
		want   string // part of the one warning; "" = none
		hides  bool   // for certain, or as far as is known
	}{
		"nothing":            {`{"env":{"OTHER":"x"},"processes":[{"secrets":[]}]}`, "", false},
		"literal env":        {`{"env":{"DATABASE_URL":"x"}}`, "config's env", true},
		"env of a process":   {`{"processes":[{"env":{"DATABASE_URL":"x"}}]}`, "env of a process", true},
		"ignore_app_secrets": {`{"processes":[{"ignore_app_secrets":true}]}`, "ignore_app_secrets", true},
		"own secrets":        {`{"containers":[{"name":"c","secrets":[{"env_var":"A"}]}]}`, "secrets of its own", false},
		"no others than its own": {`{"processes":[{"ignore_app_secrets":true,"secrets":[{"env_var":"DATABASE_URL","name":"DATABASE_URL"}]}]}`,
			"secrets of its own", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			hides := readSettings([]byte(test.config), "DATABASE_URL").hides
			require.Equal(t, test.hides, hides.hidden("m1", "DATABASE_URL") != "")
			got := hides.shadows("m1", "DATABASE_URL")
			if test.want == "" {
				require.Empty(t, got)
				return
			}
			require.Len(t, got, 1)
			require.Contains(t, got[0], test.want)
			require.Contains(t, got[0], "m1")
		})
	}
}
