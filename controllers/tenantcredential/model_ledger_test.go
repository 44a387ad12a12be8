package tenantcredential_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xdg-go/scram"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// The times of the server: those that controllers/postgres and its SQL functions set.
const (
	lockTimeout           = 3 * time.Second
	idleTimeout           = 30 * time.Second
	authenticationTimeout = 65 * time.Second
)

var (
	postgresSide = side{"Postgres", failure.New(failure.Retry, reasons.ConnectionFailed, "refused"), failure.New(failure.Retry, reasons.ConnectionFailed, "lost")}
	commitSide   = side{"Postgres", failure.New(failure.Unknown, reasons.OutcomeUnknown, "lost"), failure.New(failure.Unknown, reasons.OutcomeUnknown, "lost")}
	superseded   = failure.New(failure.Retry, reasons.Superseded, "the ledger does not allow it")
)

// facts are what PostgreSQL knows of the tenant at one moment.
type facts struct {
	role, database, app string
	verifiers           map[string]string // by login; one that is closed is not there
	hash                string
	claim               *postgres.Claim
	rows                []postgres.Rotation
	sessionsBefore      map[int64]time.Time // by revision
	external            external
}

func (f *facts) clone() *facts {
	c := *f
	c.rows, c.sessionsBefore, c.verifiers = slices.Clone(f.rows), maps.Clone(f.sessionsBefore), maps.Clone(f.verifiers)
	if f.claim != nil {
		claim := *f.claim
		c.claim = &claim
	}
	return &c
}

func (f *facts) find(state ...string) *postgres.Rotation {
	for i := len(f.rows) - 1; i >= 0; i-- {
		if slices.Contains(state, f.rows[i].State) {
			return &f.rows[i]
		}
	}
	return nil
}

func (f *facts) open() *postgres.Rotation {
	return f.find(postgres.StateOpen, postgres.StateIssued, postgres.StateStaged)
}
func (f *facts) last() *postgres.Rotation {
	return f.find(postgres.StateCommitted, postgres.StateRolled, postgres.StateCompleted)
}

// login is the one whose password was delivered last, and verifier is its; other is the other one of the pair.
func (f *facts) login() string {
	if last := f.last(); last != nil {
		return last.Login
	}
	return f.role
}

func (f *facts) verifier() string { return f.verifiers[f.login()] }

func (f *facts) other(login string) string {
	if login == f.role {
		return f.role + "_b"
	}
	return f.role
}

func (f *facts) tenant() postgres.Tenant {
	t := postgres.Tenant{ID: tenantID, Found: true, Role: f.role, Database: f.database, FlyApp: f.app, RoleExists: true,
		Login: f.login(), VerifierDigest: digest(f.verifier()), HashDigest: digest(f.hash), External: f.external.access(), Clock: time.Now()}
	if other := f.other(f.login()); f.verifiers[other] != "" {
		t.FormerLogin = other
	}
	c := f.clone()
	t.Claim, t.Open, t.Last = c.claim, c.open(), c.last()
	for _, r := range slices.Backward(c.rows) {
		if !r.CommittedAt.IsZero() && r.Revision < t.Last.Revision && len(t.Earlier) < 9 {
			t.Earlier = append(t.Earlier, r)
		}
	}
	for _, r := range c.rows {
		if r.SessionPolicy == postgres.SessionsCompromised && !r.CommittedAt.IsZero() {
			t.CompromisedRevision = r.Revision
		}
	}
	return t
}

// move is the trigger on the ledger.
func move(row *postgres.Rotation, to string) error {
	if row == nil || !postgres.Allowed(row.State, to) {
		return superseded
	}
	row.State = to
	return nil
}

// hold is the SQL function of that name.
func (f *facts) hold(uid string) error {
	switch {
	case f.claim == nil:
		return superseded
	case f.claim.UID != uid:
		return failure.New(failure.Stall, reasons.OwnershipConflict, "held by another object")
	}
	return nil
}

func (f *facts) at(revision int64) *postgres.Rotation {
	for i := range f.rows {
		if f.rows[i].Revision == revision {
			return &f.rows[i]
		}
	}
	return nil
}

// ledger is the server: what is committed, what was committed before, and who holds the tenant's lock.
type ledger struct {
	now  *facts
	past []*facts // for a failover, the newest last
	ever []*facts // all that was committed
	lock chan struct{}
}

func (l *ledger) commit(f *facts) {
	l.past, l.now = append(l.past, l.now), f
	l.ever = append(l.ever, f)
}

// failOver loses the last commits, and every session.
func (l *ledger) failOver(lost int) {
	lost = min(lost, len(l.past))
	if lost > 0 {
		l.now = l.past[len(l.past)-lost]
		l.past = l.past[:len(l.past)-lost]
	}
	l.lock = make(chan struct{}, 1)
}

// session holds the tenant's lock and sees its own changes; no other session does.
type session struct {
	p      *process
	l      *ledger
	lock   chan struct{}
	f      *facts
	staged int64
	reaper *time.Timer
	over   bool
}

func (l *ledger) begin(ctx context.Context, p *process) (*session, error) {
	select {
	case l.lock <- struct{}{}:
	case <-time.After(lockTimeout):
		return nil, failure.New(failure.Unknown, reasons.Busy, "the lock was not granted")
	case <-ctx.Done():
		return nil, postgresSide.refused
	}
	s := &session{p: p, l: l, lock: l.lock, f: l.now.clone()}
	s.reaper = time.AfterFunc(idleTimeout, s.end)
	return s, nil
}

// alive says whether the server still has the session: it ends one that idles, and a failover ends them all.
func (s *session) alive() bool {
	s.reaper.Reset(idleTimeout)
	return s.holds()
}

// holds says whether the lock, which keeps everybody else from the tenant, is still this session's.
func (s *session) holds() bool { return !s.over && s.lock == s.l.lock }

func (s *session) commit() error {
	if !s.alive() {
		return commitSide.lost
	}
	s.l.commit(s.f)
	if s.staged > 0 {
		s.p.w.foreign = false // what others have changed before is no more
	}
	return nil
}

func (s *session) end() {
	s.reaper.Stop()
	if !s.over {
		s.over = true
		<-s.lock
	}
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// foreignVerifier begins what another client has set; the password itself follows.
const foreignVerifier = "foreign:"

// known are answers of matches: a verifier is meant to be slow.
var known = map[string]bool{}

// matches says whether a role with this verifier lets the password in.
func matches(verifier, password string) bool {
	id := verifier + " " + password
	if answer, is := known[id]; is {
		return answer
	}
	if raw, foreign := strings.CutPrefix(verifier, foreignVerifier); foreign {
		return raw == password
	}
	head, keys, _ := strings.Cut(strings.TrimPrefix(verifier, "SCRAM-SHA-256$"), "$")
	iterations, salt, _ := strings.Cut(head, ":")
	count, _ := strconv.Atoi(iterations)
	raw, err := base64.StdEncoding.DecodeString(salt)
	client, clientErr := scram.SHA256.NewClient("", password, "")
	if err != nil || clientErr != nil || count == 0 {
		return false
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(raw), Iters: count})
	encode := base64.StdEncoding.EncodeToString
	known[id] = err == nil && keys == encode(stored.StoredKey)+":"+encode(stored.ServerKey)
	return known[id]
}
