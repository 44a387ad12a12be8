package flyemulator

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// graphQL answers the few queries that the public CLI sends, told apart by their field. It does not select: an answer holds all
// that the emulator knows, and a client takes what it asked for.
func (e *Emulator) graphQL(c *call) (answer, error) {
	var in struct {
		Query     string `json:"query"`
		Variables struct {
			AppName string          `json:"appName"`
			Name    string          `json:"name"`
			Image   string          `json:"image"`
			Limit   int             `json:"limit"`
			Input   json.RawMessage `json:"input"`
		} `json:"variables"`
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	vars := in.Variables
	if vars.AppName == "" {
		vars.AppName = vars.Name
	}
	switch {
	case appCompact.MatchString(in.Query):
		return e.graphQLApp(c, vars.AppName)
	case strings.Contains(in.Query, "latestImageDetails"):
		return data("latestImageDetails", latestImage(vars.Image))
	case strings.Contains(in.Query, "createRelease"):
		return withInput(vars.Input, func(in createInput) (answer, error) { return e.graphQLCreateRelease(c, in) })
	case strings.Contains(in.Query, "updateRelease"):
		return withInput(vars.Input, func(in updateInput) (answer, error) { return e.graphQLUpdateRelease(c, in) })
	case strings.Contains(in.Query, "Unprocessed"): // releasesUnprocessed, currentReleaseUnprocessed
		return e.graphQLReleases(c, vars.AppName, vars.Limit)
	case strings.Contains(in.Query, "unsetSecrets"):
		return withInput(vars.Input, func(in secretsInput) (answer, error) { return e.graphQLSecrets(c, "unsetSecrets", in) })
	case strings.Contains(in.Query, "setSecrets"):
		return withInput(vars.Input, func(in secretsInput) (answer, error) { return e.graphQLSecrets(c, "setSecrets", in) })
	}
	return graphQLError("the emulator does not know this query", "UNSUPPORTED")
}

// withInput decodes what a mutation takes.
func withInput[T any](raw json.RawMessage, mutate func(T) (answer, error)) (answer, error) {
	var in T
	if err := json.Unmarshal(raw, &in); err != nil {
		return graphQLError("Variable $input was provided invalid value", "INVALID")
	}
	return mutate(in)
}

// graphQLRoute is where all of it is sent.
const graphQLRoute = "POST /graphql"

// appInQuery is the app that a query names.
func appInQuery(body []byte) string {
	var in struct {
		Variables struct {
			AppName, Name string
			Input         struct{ AppID string }
		}
	}
	_ = json.Unmarshal(body, &in) // an unreadable body names none
	return cmp.Or(in.Variables.AppName, in.Variables.Name, in.Variables.Input.AppID)
}

var appCompact = regexp.MustCompile(`appcompact\s*:\s*app\b`)

func data(field string, value any) (answer, error) {
	return ok(map[string]any{"data": map[string]any{field: value}})
}

func graphQLError(message, code string) (answer, error) {
	return ok(map[string]any{"data": nil, "errors": []any{map[string]any{"message": message, "extensions": map[string]any{"code": code}}}})
}

func (e *Emulator) graphQLApp(c *call, name string) (answer, error) {
	a, err := e.authorize(c.Request, name)
	if err != nil {
		return noSuchApp(name)
	}
	return data("appcompact", map[string]any{
		"id": a.name, "internalNumericId": numericID(a.name), "name": a.name, "hostname": a.name + ".fly.dev",
		"cnameTarget": a.name + ".fly.dev", "deployed": a.machineCount() > 0, "network": "default", "status": a.status(),
		"appUrl": "https://" + a.name + ".fly.dev", "platformVersion": "machines",
		"organization": map[string]any{
			"id": a.organization, "internalNumericId": decimal(uint64(numericID(a.organization))), "slug": a.organization, "paidPlan": false,
		},
		"postgresAppRole": nil,
	})
}

func noSuchApp(name string) (answer, error) {
	return graphQLError("Could not find App \""+name+"\"", "NOT_FOUND")
}

func latestImage(image string) map[string]string {
	ref := imageRef(image)
	return map[string]string{"registry": ref["registry"], "repository": ref["repository"], "tag": ref["tag"], "version": "", "digest": ref["digest"]}
}

// secretsInput names the secrets to remove, or those to set.
type secretsInput struct {
	AppID      string `json:"appId"`
	ReplaceAll bool   `json:"replaceAll"`
	Keys       []string
	Secrets    []struct{ Key, Value string }
}

func (in secretsInput) values() map[string]*string {
	values := map[string]*string{}
	for _, key := range in.Keys {
		values[key] = nil
	}
	for _, s := range in.Secrets {
		values[s.Key] = &s.Value
	}
	return values
}

// graphQLSecrets sets or removes secrets the old way: no version comes back, and setting what is set already is an error.
func (e *Emulator) graphQLSecrets(c *call, field string, in secretsInput) (answer, error) {
	a, err := e.authorize(c.Request, in.AppID)
	if err != nil {
		return noSuchApp(in.AppID)
	}
	values, present := in.values(), a.vault.at(a.vault.version)
	if in.ReplaceAll {
		for name := range present {
			if _, kept := values[name]; !kept {
				values[name] = nil
			}
		}
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	changes := slices.ContainsFunc(names, func(name string) bool {
		before, exists := present[name]
		return values[name] == nil && exists || values[name] != nil && (!exists || before != *values[name])
	})
	if !changes {
		return graphQLError("No change detected to secrets", "UNCHANGED")
	}
	e.setSecrets(a, values)
	return data(field, map[string]any{"release": nil})
}
