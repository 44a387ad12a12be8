package main

import (
	"fmt"
	"strings"

	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/client"
)

// result is what a command prints: with -o json as it is, else as text.
type result struct {
	TenantID string           `json:"tenant_id,omitempty"`
	Status   string           `json:"status,omitempty"`
	Message  string           `json:"message,omitempty"` // the endpoint's
	Revision int64            `json:"revision,omitempty"`
	Machines *client.Machines `json:"machines,omitempty"`
	// Enabled is external access.
	Enabled *bool `json:"enabled,omitempty"`
	// DatabaseURL has the password with --show-password alone.
	DatabaseURL string `json:"database_url,omitempty"`
	// Service, ServiceFile and PasswordFile say where --save has put it.
	Service      string `json:"service,omitempty"`
	ServiceFile  string `json:"service_file,omitempty"`
	PasswordFile string `json:"password_file,omitempty"`
	// Connect is a command that connects, Retrieve one that prints the password, Next one that goes on.
	Connect  string `json:"connect,omitempty"`
	Retrieve string `json:"retrieve,omitempty"`
	Next     string `json:"next,omitempty"`

	Error *problem `json:"error,omitempty"`

	headline string
}

type problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (r *result) text() string {
	var b strings.Builder
	fmt.Fprintln(&b, r.headline)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-10s%s\n", name+":", value)
		}
	}
	line("URL", r.DatabaseURL)
	if r.Service != "" {
		line("Saved", fmt.Sprintf("service %s in %s, the password in %s", r.Service, r.ServiceFile, r.PasswordFile))
	}
	line("Connect", r.Connect)
	line("Password", r.Retrieve)
	line("Next", r.Next)
	return b.String()
}
