package checker

import (
	"fmt"
	"slices"
	"time"
)

// Each of these says in sentences what of a tenant does not agree; nothing = all does.

// credentialsAgree compares the role's verifier, the stored hash, and the ledger or, before the first rotation, the claim.
func credentialsAgree(_ *world, t *tenant) []string {
	if t.claim == nil {
		if len(t.rotations) > 0 {
			return []string{"the ledger has rotations of it, and no object holds its claim"}
		}
		return nil
	}
	var wrong []string
	say := func(bad bool, format string, arguments ...any) {
		if bad {
			wrong = append(wrong, fmt.Sprintf(format, arguments...))
		}
	}
	say(!t.inTable, "it is adopted, and the management table has no row of it")
	say(!t.roleExists, "it is adopted, and role %s does not exist", t.role)
	say(t.claim.role != t.role, "the claim names role %s, and the management table %s", t.claim.role, t.role)
	say(t.claim.app != t.app, "the claim names app %s, and the management table %s", t.claim.app, t.app)
	if !t.inTable || !t.roleExists {
		return wrong
	}
	say(t.verifier == "", "role %s has no password", t.login())
	say(t.open != "", "login %s is not in use, and can log in or has a password", t.open)
	say(t.verifier != t.hash, "the stored hash is not the verifier of role %s", t.login())
	from, verifierDigest, hashDigest := "the claim, which no rotation has followed,", t.claim.verifierDigest, t.claim.hashDigest
	if last := t.last(); last != nil {
		from, verifierDigest, hashDigest = fmt.Sprintf("the ledger's revision %d", last.revision), last.verifierDigest, last.hashDigest
	}
	say(digest(t.verifier) != verifierDigest, "the verifier of role %s is not the one that %s recorded", t.login(), from)
	say(digest(t.hash) != hashDigest, "the stored hash is not the one that %s recorded", from)
	return wrong
}

// ledgerIsClosed asserts that nothing is in progress and that the rows are a history that can have been.
func ledgerIsClosed(_ *world, t *tenant) []string {
	var wrong []string
	var former *rotation // the last completed one
	newest := int64(0)
	for _, r := range t.rotations {
		switch r.state {
		case "open", "issued", "staged", "committed", "rolled":
			wrong = append(wrong, fmt.Sprintf("revision %d is left %s", r.revision, r.state))
		case "completed":
			if r.committedAt == nil || r.completedAt == nil || r.verifierDigest == "" {
				wrong = append(wrong, fmt.Sprintf("revision %d is completed, and its row lacks a time or a digest", r.revision))
			}
			if former != nil && r.repeats(former) && !t.adoptedBetween(former, &r) {
				wrong = append(wrong, fmt.Sprintf("revision %d rotated for generation %d, which revision %d had done", r.revision, r.generation, former.revision))
			}
			former = &r
		case "superseded", "discarded":
		default:
			wrong = append(wrong, fmt.Sprintf("revision %d has the unknown state %q", r.revision, r.state))
		}
		if r.revision != newest+1 && r.cause != "LedgerRegressed" { // which goes above what a failover has lost
			wrong = append(wrong, fmt.Sprintf("the ledger has revision %d where %d has to follow", r.revision, newest+1))
		}
		newest = r.revision
	}
	return wrong
}

// repeats says that a raised generation cannot have been the cause, because the previous rotation had done it.
func (r *rotation) repeats(former *rotation) bool {
	return r.cause == "GenerationRaised" && r.generation <= former.generation
}

// adoptedBetween says whether another object took the tenant over meanwhile: that begins to count at its own generation.
func (t *tenant) adoptedBetween(former, next *rotation) bool {
	return slices.ContainsFunc(t.adoptions, func(at time.Time) bool { return at.After(former.openedAt) && !at.After(next.openedAt) })
}

// flyAgrees compares what Fly has with PostgreSQL and with the ledger.
func flyAgrees(w *world, t *tenant) []string {
	if t.claim == nil || !t.holder().deliversToFly() || t.holder() == nil && t.last() != nil && t.last().app == "" {
		return nil
	}
	last, a, variable := t.last(), w.apps[t.app], t.holder().variable()
	s := a.secret(variable)
	if s == nil {
		if last != nil {
			return []string{fmt.Sprintf("revision %d was delivered, and app %s has no secret %s", last.revision, t.app, variable)}
		}
		return nil // adopted as it was found
	}
	var wrong []string
	say := func(bad bool, format string, arguments ...any) {
		if bad {
			wrong = append(wrong, fmt.Sprintf(format, arguments...))
		}
	}
	if organization := t.environment.Organization; organization != "" {
		say(a.Organization != organization, "app %s belongs to organization %s, not to %s", t.app, a.Organization, organization)
	}
	url, readable := parseURL(s.Value)
	if !readable {
		return append(wrong, fmt.Sprintf("%s of app %s is not the URL of a login", variable, t.app))
	}
	say(url.user != t.login(), "%s of app %s names another user than role %s", variable, t.app, t.login())
	say(url.database != t.database, "%s of app %s names another database than %s", variable, t.app, t.database)
	say(!Satisfies(t.verifier, url.password), "the password in %s of app %s does not satisfy the verifier of role %s", variable, t.app, t.login())
	if last == nil {
		return wrong
	}
	if e, exists := w.environments[t.environment.Name]; exists {
		say(url.address != e.address(), "%s of app %s does not lead to %s", variable, t.app, e.address())
	}
	say(last.app != t.app, "revision %d was delivered to app %s, not to %s", last.revision, last.app, t.app)
	say(last.digest != s.Digest, "the ledger's revision %d has digest %s of %s, and Fly has %s", last.revision, last.digest, variable, s.Digest)
	// The version of a value that was set by hand is not known: the fly command does not tell it.
	say(last.secretVersion != "" && last.secretVersion != s.Version, "the ledger's revision %d has version %s of %s, and Fly has %s", last.revision, last.secretVersion, variable, s.Version)
	return wrong
}

// machinesAgree compares what each started Machine booted with with what Fly has now.
func machinesAgree(w *world, t *tenant) []string {
	variable := t.holder().variable()
	s := w.apps[t.app].secret(variable)
	if t.claim == nil || s == nil || !t.holder().deliversToFly() {
		return nil
	}
	var wrong []string
	for _, m := range w.apps[t.app].Machines {
		if m.State == "started" && m.Env[variable] != s.Value {
			wrong = append(wrong, fmt.Sprintf("Machine %s of app %s runs with another %s than Fly has", m.ID, t.app, variable))
		}
	}
	return wrong
}
