package conformance

import (
	"fmt"
	"slices"
	"strconv"

	flyemulator "github.com/systempromptio/tenant-credential-operator/test/fly"
)

// question is one about which Fly's documents say nothing, or two things.
type question struct {
	item    string
	setting string // the emulator's switch; "": it has none
	// assumed is the answer that the operator takes for granted, or that a switch's position stands for.
	assumed func(flyemulator.Switches) string
	// other puts the switch into another position.
	other func(*flyemulator.Switches)
	// ask finds the answer, in the words of assumed where it is one of those expected.
	ask func(*fixture) string
}

type switches = flyemulator.Switches

// The first half: the fate of secrets.
var questionsOfSecrets = []question{
	{
		"does a stop and a start bring a new secret?", "stop_start_refreshes_env",
		func(s switches) string { return yes(s.StopStartRefreshesEnv) }, func(s *switches) { s.StopStartRefreshesEnv = true }, askStopStart,
	}, {
		"does an update without min_secrets_version see the secret set just before?", "propagation_lag",
		func(s switches) string { return yes(s.PropagationLag == 0) }, func(s *switches) { s.PropagationLag = 1 }, askUnfenced,
	}, {
		"is ?version= honoured like ?min_version= when secrets are read?", "honour_version_query",
		func(s switches) string { return yes(s.HonourVersionQuery) }, func(s *switches) { s.HonourVersionQuery = false }, askVersionQuery,
	}, {
		"the answer to a min_secrets_version that does not exist", "unreachable_min_status",
		func(s switches) string { return "status " + strconv.Itoa(s.UnreachableMinStatus) }, func(s *switches) { s.UnreachableMinStatus = 412 }, askUnreachable,
	}, {
		"does config.env hide an app secret of the same name?", "config_env_overrides_secrets",
		func(s switches) string { return yes(s.ConfigEnvOverridesSecrets) }, func(s *switches) { s.ConfigEnvOverridesSecrets = true }, askPrecedence,
	}, {
		"has the same value another digest each time it is set?", "digest_per_version",
		func(s switches) string { return yes(s.DigestPerVersion) }, func(s *switches) { s.DigestPerVersion = true }, askDigest,
	}, {
		"does the answer to a set list all of the app's secrets?", "set_returns_all_secrets",
		func(s switches) string { return yes(s.SetReturnsAllSecrets) }, func(s *switches) { s.SetReturnsAllSecrets = true }, askSetLists,
	}, {
		"does exec have the app's environment?", "exec_inherits_env",
		func(s switches) string { return yes(s.ExecInheritsEnv) }, func(s *switches) { s.ExecInheritsEnv = false }, askExecEnv,
	}, {
		"is a secrets version above 2^53?", "",
		always("yes"), nil, func(f *fixture) string { return yes(f.set(first, f.newValue()).Version > 1<<53) },
	}, {
		"does tokens/current call the organization as the app does?", "", always("yes"), nil, askOrganization,
	},
}

// The second half: the fate of Machines.
var questionsOfMachines = []question{
	{
		"does a Machine stay cordoned across an update?", "update_keeps_cordon",
		func(s switches) string { return yes(s.UpdateKeepsCordon) }, func(s *switches) { s.UpdateKeepsCordon = false },
		func(f *fixture) string { return askCordon(f, false) },
	}, {
		"does a Machine stay cordoned across an update with skip_service_registration?", "",
		always("yes"), nil, func(f *fixture) string { return askCordon(f, true) },
	}, {
		"is an update refused that carries the nonce of a lease given back?", "reject_stale_nonce",
		func(s switches) string { return yes(s.RejectStaleNonce) }, func(s *switches) { s.RejectStaleNonce = false }, askStaleNonce,
	}, {
		"does a lease keep others from writing metadata?", "lease_blocks_metadata",
		func(s switches) string { return yes(s.LeaseBlocksMetadata) }, func(s *switches) { s.LeaseBlocksMetadata = true }, askLeasedMetadata,
	}, {
		"does a lease keep others from exec?", "", always("yes"), nil, askLeasedExec,
	}, {
		"does a lease outlive the update made under it?", "", always("yes"), nil, askLeaseAfterUpdate,
	}, {
		"the answer to a wait for a version that has been replaced", "", always("status 408"), nil, askWaitForReplaced,
	}, {
		"the state of a Machine created with skip_launch", "", always("stopped"), nil, askSkipLaunch,
	}, {
		"is an explicit zero of a config read back?", "", always("yes"), nil, askZero,
	}, {
		"does a stop that was asked for look like a crash?", "", always("no"), nil, askStopEvent,
	},
}

func always(answer string) func(switches) string { return func(switches) string { return answer } }

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// refused is yes for a 409, no for a success, and else the status.
func refused(a answer) string {
	if a.status == 409 || a.ok() {
		return yes(a.status == 409)
	}
	return status(a)
}

func status(a answer) string { return "status " + strconv.Itoa(a.status) }

// which says whether a Machine has the value that would be a yes, the one that would be a no, or neither.
func which(hash, ifYes, ifNo string) string {
	if hash == hashOf(ifYes) || hash == hashOf(ifNo) {
		return yes(hash == hashOf(ifYes))
	}
	return "neither: it has another value, or none"
}

// askOrganization: the operator goes by it when it calls an environment's organization a wrong one.
func askOrganization(f *fixture) string {
	var current struct {
		Tokens []struct {
			Organization string `json:"org_slug"`
		}
	}
	var app struct{ Organization struct{ Slug string } }
	a := f.try(request{method: "GET", path: "/v1/tokens/current"})
	if !a.ok() {
		return status(a)
	}
	f.decode(a, &current)
	f.read(f.path, &app)
	for _, token := range current.Tokens {
		if token.Organization == app.Organization.Slug {
			return "yes"
		}
	}
	return "no"
}

func askStopStart(f *fixture) string {
	old, next := f.newValue(), f.newValue()
	m := f.create(f.config(nil), members{"min_secrets_version": f.set(first, old).Version})
	f.set(first, next)
	m.stop()
	m.start()
	return which(m.bootHash(first), next, old)
}

func askUnfenced(f *fixture) string {
	const rounds = 3
	m, seen := f.create(f.config(nil), nil), 0
	for range rounds {
		value := f.newValue()
		f.set(first, value)
		m.updated("started", m.get().Config, nil)
		if m.bootHash(first) == hashOf(value) {
			seen++
		}
	}
	if seen < rounds {
		return fmt.Sprintf("no, %d of %d", seen, rounds)
	}
	return "yes"
}

// future is a secrets version that does not exist: the newest and twelve days, should versions be nanoseconds.
func future(f *fixture) uint64 { return f.set(first, f.newValue()).Version + 1<<50 }

func askVersionQuery(f *fixture) string {
	at := func(query string) answer {
		return f.try(request{method: "GET", path: f.path + "/secrets?" + query + "=" + strconv.FormatUint(future(f), 10)})
	}
	minimum, exact := at("min_version"), at("version")
	if minimum.ok() {
		return fmt.Sprintf("min_version is ignored, and version answered with %s", status(exact))
	}
	if exact.ok() || exact.status == minimum.status {
		return yes(!exact.ok())
	}
	return status(exact)
}

func askUnreachable(f *fixture) string {
	m := f.create(f.config(nil), nil)
	return status(m.update(m.get().Config, members{"min_secrets_version": future(f)}))
}

func askPrecedence(f *fixture) string {
	ofApp, ofConfig := f.newValue(), f.newValue()
	version := f.set(first, ofApp).Version
	m := f.create(f.config(members{"env": members{first: ofConfig}}), members{"min_secrets_version": version})
	return which(m.bootHash(first), ofConfig, ofApp)
}

func askDigest(f *fixture) string {
	value, digests := f.newValue(), []string{}
	for range 2 {
		f.set(first, value)
		list, _ := f.secrets()
		digests = append(digests, digestOf(list, first))
	}
	return yes(digests[0] != digests[1])
}

func askSetLists(f *fixture) string {
	f.set(first, f.newValue())
	set := f.set(second, f.newValue())
	if set.digest(second) == "" {
		return "it does not even list what was set"
	}
	return yes(set.digest(first) != "")
}

func askExecEnv(f *fixture) string {
	value := f.newValue()
	m := f.create(f.config(nil), members{"min_secrets_version": f.set(first, value).Version})
	return yes(m.execHash(first) == hashOf(value))
}

func askCordon(f *fixture, skipRegistration bool) string {
	m := f.create(f.config(nil), nil)
	m.post("/cordon")
	if !m.get().Cordoned {
		return "a cordoned Machine does not say so"
	}
	more := members{}
	if skipRegistration {
		more["skip_service_registration"] = true
	}
	return yes(m.updated("started", m.get().Config, more).Cordoned)
}

func askStaleNonce(f *fixture) string {
	m := f.create(f.config(nil), nil)
	stale := m.lease("").Nonce
	m.release()
	return refused(f.try(request{method: "POST", path: m.path, body: members{"config": m.get().Config}, nonce: stale}))
}

func askLeasedMetadata(f *fixture) string {
	m := f.create(f.config(nil), nil)
	m.lease("")
	return refused(f.try(request{method: "POST", path: m.path + "/metadata/conformance", body: members{"value": "changed"}}))
}

func askLeasedExec(f *fixture) string {
	m := f.create(f.config(nil), nil)
	m.lease("")
	return refused(f.try(request{method: "POST", path: m.path + "/exec", body: members{"cmd": "true"}}))
}

func askLeaseAfterUpdate(f *fixture) string {
	m := f.create(f.config(nil), nil)
	m.lease("")
	m.updated("started", m.get().Config, nil)
	a := f.try(request{method: "GET", path: m.path + "/lease"})
	if a.status == 404 {
		m.nonce = "" // a client that sends it now may be refused
	}
	return yes(a.ok())
}

func askWaitForReplaced(f *fixture) string {
	m := f.create(f.config(nil), nil)
	before := m.get()
	m.updated("started", before.Config, nil)
	return status(f.try(request{method: "GET", path: m.path + "/wait?state=started&timeout=1&version=" + before.InstanceID}))
}

func askSkipLaunch(f *fixture) string {
	m := f.createOnly(f.config(nil), members{"skip_launch": true})
	// One that does not arrive answers 408, and its state is the finding all the same.
	f.try(request{method: "GET", path: m.path + "/wait?state=stopped&timeout=10&version=" + m.get().InstanceID})
	return m.get().State
}

func askZero(f *fixture) string {
	m := f.create(f.config(members{"restart": members{"policy": "on-failure", "max_retries": 0}}), nil)
	var read struct {
		Restart struct {
			MaxRetries *int `json:"max_retries"`
		}
	}
	m.decode(answer{body: m.get().Config}, &read)
	return yes(read.Restart.MaxRetries != nil && *read.Restart.MaxRetries == 0)
}

// askStopEvent looks for an end of the main process that the operator would take for one that no client asked for.
func askStopEvent(f *fixture) string {
	m := f.create(f.config(nil), nil)
	m.stop()
	return yes(slices.ContainsFunc(m.get().Events, func(e event) bool { return e.exit() != nil && !e.exit().RequestedStop }))
}
