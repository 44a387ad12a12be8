// Package jsonhttp is one call of an HTTP API that speaks JSON: the emulator's, by the programs around the operator.
package jsonhttp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// StatusError is an answer that is none of 2xx. Its text names no address, as a token may stand in one.
type StatusError struct {
	Code int
	Text string
}

func (e *StatusError) Error() string { return fmt.Sprintf("%d %s", e.Code, e.Text) }

// Call sends body as JSON (nil = null) and decodes the answer. token "" sends none, into nil ignores the answer. An answer that is
// none of 2xx is a *StatusError.
func Call(ctx context.Context, method, address, token string, body, into any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(content))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // it is only read
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= 300 {
		return &StatusError{response.StatusCode, string(bytes.TrimSpace(text))}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}
