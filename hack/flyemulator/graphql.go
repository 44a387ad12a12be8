package flyemulator

import (
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
			AppName string `json:"appName"`
			Name    string `json:"name"`
			Image   string `json:"image"`
			Input   struct {
				AppID      string `json:"appId"`
				ReplaceAll bool   `json:"replaceAll"`
				Keys       []string
				Secrets    []struct{ Key, Value string }
			} `json:"input"`
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
	case strings.Contains(in.Query, "unsetSecrets"):
		values := map[string]*string{}
		for _, key := range vars.Input.Keys {
			values[key] = nil
		}
		return e.graphQLSecrets(c, "unsetSecrets", vars.Input.AppID, values, false)
	case strings.Contains(in.Query, "setSecrets"):
		values := map[string]*string{}
		for _, s := range vars.Input.Secrets {
			values[s.Key] = &s.Value
		}
		return e.graphQLSecrets(c, "setSecrets", vars.Input.AppID, values, vars.Input.ReplaceAll)
	}
	return graphQLError("the emulator does not know this query", "UNSUPPORTED")
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
		return graphQLError("Could not find App \""+name+"\"", "NOT_FOUND")
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

func latestImage(image string) map[string]string {
	ref := imageRef(image)
	return map[string]string{"registry": ref["registry"], "repository": ref["repository"], "tag": ref["tag"], "version": "", "digest": ref["digest"]}
}

// graphQLSecrets sets or removes secrets the old way: no version comes back, and setting what is set already is an error.
func (e *Emulator) graphQLSecrets(c *call, field, appID string, values map[string]*string, replaceAll bool) (answer, error) {
	a, err := e.authorize(c.Request, appID)
	if err != nil {
		return graphQLError("Could not find App \""+appID+"\"", "NOT_FOUND")
	}
	present := a.vault.at(a.vault.version)
	if replaceAll {
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
