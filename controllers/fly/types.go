package fly

import (
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
)

// Config says how to reach Fly.
type Config struct {
	// Token is a deploy or organization token, with or without its scheme ("FlyV1 fm2_…").
	Token credential.Secret
	// URL is the Machines API, scheme and host only; "" means https://api.machines.dev.
	URL string
	// CA has the certificates (PEM) of the authorities that the API's certificate may be from; nil means those of the system.
	CA []byte
	// Insecure accepts an http URL of any host. Without it only those of loopback hosts and of _api.internal are accepted: with http the
	// token and every secret cross the network in clear.
	Insecure bool
	// Organization is the slug that every app must belong to; "" accepts any that the token reaches.
	Organization string
}

// App is a Fly app.
type App struct {
	Name string
	// Organization is the slug of the one that owns it.
	Organization string
	// MachineCount is Fly's own count, which a list of Machines is checked against: lists have been wrongly empty.
	MachineCount int
}

// AppSecret is Fly's answer to a secret that was set.
type AppSecret struct {
	// Digest is opaque. A later difference means that another client has set the secret.
	Digest string
	// Version is the app's secrets version from which a Machine has the value. It exceeds 2^53.
	Version uint64
}

// Rollout names what the Machines of an app are moved to.
type Rollout struct {
	// App is as it was read in this pass: the list of its Machines is checked against its count.
	App App
	// Variable is the secret's name, such as DATABASE_URL.
	Variable string
	// Revision is the tenant's, and SecretVersion the answer to its SetSecret.
	Revision      int64
	SecretVersion uint64
}

// Progress says how far a rollout has come. Total counts the Machines that belong to it.
type Progress struct {
	Total int
	// Updated Machines have started with the revision and are well (or were unwell before it already).
	Updated int
	// OnNextStart Machines were not running; they have the revision and run with it from their next start.
	OnNextStart int
	// Failed Machines have the revision and did not come up with it.
	Failed int
	// Waiting says in one sentence what the next step waits for; "" = nothing.
	Waiting string
	// Reason is LeaseHeld or HostUnreachable where the next step waits for another client or a host; "" = it takes its time, no more.
	Reason failure.Reason
	// Halted names the Machine that keeps the others from being touched, and why; "" = not halted. It ends when the Machine heals.
	Halted string
	// Warnings say what may keep the value from a Machine's process: the first few, and how many more there are.
	Warnings []string
	more     int
	// Hidden names a Machine whose config keeps the value from a process, and how; "" = none.
	Hidden string
}

// Done says whether every Machine has the revision and none is unwell because of it. An app without Machines is done.
func (p Progress) Done() bool {
	return p.Waiting == "" && p.Halted == "" && p.Updated+p.OnNextStart == p.Total
}
