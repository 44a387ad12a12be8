package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/systempromptio/tenant-credential-operator/test/jsonhttp"
)

// flySide is the emulator and one token for each environment's organization.
type flySide struct {
	API   string `json:"api"`
	Admin string `json:"admin"`
	token map[string]string
}

// startFly starts the emulator as a process of its own.
func (s *supervisor) startFly(ctx context.Context) (*flySide, error) {
	app, err := program("tenantapp")
	if err != nil {
		return nil, err
	}
	state := s.files.path("fly-emulator.json")
	if _, err := s.start("fly-emulator", "", "", nil, "-tenantapp", app, "-state-file", state); err != nil {
		return nil, err
	}
	fly := &flySide{token: map[string]string{}}
	err = poll(ctx, 20*time.Second, func() error {
		content, err := os.ReadFile(state)
		if err != nil {
			return err
		}
		return json.Unmarshal(content, fly)
	})
	if err != nil {
		return nil, fmt.Errorf("the Fly emulator does not start; see %s: %w", s.files.log("fly-emulator"), err)
	}
	for _, environment := range environments {
		fly.token[environment] = rand.Text() + rand.Text()
		if err := fly.put(ctx, "/admin/tokens/"+fly.token[environment], map[string]any{"organization": organization(environment), "apps": nil}); err != nil {
			return nil, err
		}
	}
	return fly, nil
}

func organization(environment string) string { return "example-" + environment }

// provision makes an environment's apps, with the tenants' present passwords in their secrets.
func (f *flySide) provision(ctx context.Context, d *database) error {
	for _, t := range in(d.environment) {
		if t.machines == nil {
			continue
		}
		if err := f.put(ctx, "/admin/apps/"+t.app(), map[string]any{"organization": organization(t.environment), "variable": "DATABASE_URL"}); err != nil {
			return err
		}
		if err := f.put(ctx, "/admin/apps/"+t.app()+"/secrets/DATABASE_URL", map[string]any{"value": d.url(t)}); err != nil {
			return err
		}
		for _, state := range t.machines {
			if err := f.send(ctx, http.MethodPost, "/admin/apps/"+t.app()+"/machines", map[string]any{"state": state, "region": "ams"}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *flySide) put(ctx context.Context, path string, body any) error {
	return f.send(ctx, http.MethodPut, path, body)
}

func (f *flySide) send(ctx context.Context, method, path string, body any) error {
	if err := jsonhttp.Call(ctx, method, f.Admin+path, "", body, nil); err != nil {
		return fmt.Errorf("%s %s: %w", method, strings.SplitN(path, "/tokens/", 2)[0], err)
	}
	return nil
}
