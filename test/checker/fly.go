package checker

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// app is a Fly app as the emulator's admin API shows it.
type app struct {
	Name         string    `json:"name"`
	Organization string    `json:"organization"`
	Secrets      []secret  `json:"secrets"`
	History      []change  `json:"history"`
	Machines     []machine `json:"machines"`
}

type secret struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Digest  string `json:"digest"`
	Version string `json:"version"`
}

// change is one value that the app's secrets ever had; a nil Value is a removal.
type change struct {
	Version string  `json:"version"`
	Name    string  `json:"name"`
	Value   *string `json:"value"`
}

// arrival is a value that a client meant to set, with any outcome of the request.
type arrival struct {
	App   string `json:"app"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

type machine struct {
	ID    string            `json:"id"`
	State string            `json:"state"`
	Env   map[string]string `json:"env"` // the snapshot that it booted with
}

func (a *app) secret(name string) *secret {
	if a == nil {
		return nil
	}
	for i := range a.Secrets {
		if a.Secrets[i].Name == name {
			return &a.Secrets[i]
		}
	}
	return nil
}

// readApps returns every app by its name.
func readApps(ctx context.Context, admin string) (map[string]*app, error) {
	var names []string
	if err := getJSON(ctx, admin+"/admin/apps", &names); err != nil {
		return nil, err
	}
	apps := map[string]*app{}
	for _, name := range names {
		var a app
		if err := getJSON(ctx, admin+"/admin/apps/"+url.PathEscape(name), &a); err != nil {
			return nil, err
		}
		apps[name] = &a
	}
	return apps, nil
}

func getJSON(ctx context.Context, address string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // it is only read
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", request.URL.Path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// login is what a DATABASE_URL says.
type login struct{ user, password, database, address string }

// parseURL reads a DATABASE_URL. Its error is not repeated: it would contain the value.
func parseURL(value string) (login, bool) {
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") || u.User == nil {
		return login{}, false
	}
	password, set := u.User.Password()
	port := u.Port()
	if port == "" {
		port = "5432"
	}
	return login{u.User.Username(), password, strings.TrimPrefix(u.Path, "/"), net.JoinHostPort(u.Hostname(), port)}, set && password != ""
}
