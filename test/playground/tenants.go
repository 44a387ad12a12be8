package main

// tenant is one tenant of the playground, as the platform would have made it.
type tenant struct {
	name, id, environment string
	machines              []string // their states; nil = no Fly app at all
}

func (t tenant) short() string    { return t.id[:8] }
func (t tenant) role() string     { return "tenant_" + t.short() }
func (t tenant) database() string { return "site_" + t.short() }
func (t tenant) app() string      { return "sp-" + t.short() }

// owner is the subject of the tenant's owner. Those in sandbox are one customer's.
func (t tenant) owner() string {
	if t.environment == "sandbox" {
		return ownerSubject
	}
	return otherSubject
}

var environments = []string{"sandbox", "prod"}

// tenants are those of config/samples/tenants.yaml.
var tenants = []tenant{
	{"acme", "7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01", "sandbox", []string{"started"}},
	{"globex", "b1e0c0de-6a3d-4c55-9c4e-52d1f7f0a902", "sandbox", []string{"started", "started"}},
	{"initech", "4f21a7c9-0b6e-4d0b-8a77-6d5a3c2e1b03", "sandbox", []string{"started", "stopped"}},
	{"umbrella", "e9d3b5a1-77f0-4c1b-b1a4-0c9d8e7f6a04", "sandbox", nil},
	{"vandelay", "5c8e2f90-3d17-4b6a-8e25-7f0b1a9c4d07", "sandbox", nil},
	{"hooli", "0a5c6f3e-2b4d-4e8f-9a1c-7b3d5e9f1c05", "prod", []string{"started"}},
	{"soylent", "93f7e2d4-8c6b-4a5d-b2e1-6f4a8d0c3e06", "prod", []string{"started"}},
}

func in(environment string) []tenant {
	var found []tenant
	for _, t := range tenants {
		if t.environment == environment {
			found = append(found, t)
		}
	}
	return found
}
