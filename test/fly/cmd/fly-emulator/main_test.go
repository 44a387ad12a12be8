package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheStateFileLeadsToBothAPIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "127.0.0.1:0", "127.0.0.1:0", "", path) }()

	var text []byte
	require.Eventually(t, func() (there bool) {
		var err error
		text, err = os.ReadFile(path)
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	var state struct{ API, Admin string }
	require.NoError(t, json.Unmarshal(text, &state))
	for url, status := range map[string]int{state.API + "/v1/apps/acme": 401, state.Admin + "/admin/apps": 200, state.API + "/admin/apps": 404} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, status, response.StatusCode, url)
	}
	stop()
	require.NoError(t, <-ended)
}

func TestTheAdminAPIStaysOnTheLoopbackInterface(t *testing.T) {
	err := run(t.Context(), "127.0.0.1:0", "0.0.0.0:0", "", "")
	require.ErrorContains(t, err, "loopback")
}
