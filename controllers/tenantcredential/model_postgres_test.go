package tenantcredential_test

import (
	"context"
	"time"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// postgresOf is the server as a process sees it.
type postgresOf struct{ p *process }

func (c postgresOf) Observe(ctx context.Context, ids []string) (tenants []postgres.Tenant, err error) {
	err = c.p.call(ctx, postgresSide, "observe", func() error {
		for range ids {
			tenants = append(tenants, c.p.w.ledger.now.tenant())
		}
		return nil
	})
	return tenants, err
}

// change is a call that is a transaction of its own.
func (c postgresOf) change(ctx context.Context, name string, f func(*facts) error) error {
	return c.p.call(ctx, postgresSide, name, func() error {
		s, err := c.p.w.ledger.begin(ctx, c.p)
		if err != nil {
			return err
		}
		defer s.end()
		if err := f(s.f); err != nil {
			return err
		}
		return s.commit()
	})
}

// changeHeld is a change that only the holder of the tenant may make.
func (c postgresOf) changeHeld(ctx context.Context, name, uid string, f func(*facts) error) error {
	return c.change(ctx, name, func(now *facts) error {
		if err := now.hold(uid); err != nil {
			return err
		}
		return f(now)
	})
}

func (c postgresOf) Adopt(ctx context.Context, a postgres.Adoption) (left postgres.Tenant, err error) {
	err = c.change(ctx, "adopt", func(f *facts) error {
		if c.p.unbound {
			c.p.w.violated("the tenant was adopted by an object in a namespace that is not bound")
		}
		generation := int64(0)
		if f.claim != nil && f.claim.UID != a.UID {
			if f.claim.UID != a.ReplacesUID {
				return failure.New(failure.Stall, reasons.OwnershipConflict, "held by another object")
			}
			generation = f.claim.Generation
		}
		if f.claim == nil || f.claim.UID != a.UID {
			f.claim = &postgres.Claim{UID: a.UID, Cluster: a.Cluster, Environment: a.Environment, Namespace: a.Namespace, Name: a.Name,
				Generation: generation, VerifierDigest: digest(f.verifier()), HashDigest: digest(f.hash), AdoptedAt: time.Now()}
		}
		left = f.tenant()
		return nil
	})
	return left, err
}

func (c postgresOf) OpenRotation(ctx context.Context, o postgres.Opening) (row postgres.Rotation, err error) {
	err = c.changeHeld(ctx, "open", o.UID, func(f *facts) error {
		if open := f.open(); open != nil {
			row = *open
			return nil
		}
		newest, highest := int64(0), o.Above
		if last := f.last(); last != nil {
			newest = last.Revision
		}
		if o.After != newest {
			return superseded
		}
		for _, r := range f.rows {
			highest = max(highest, r.Revision)
		}
		if last := len(f.rows) - 1; last >= 0 && f.rows[last].State == postgres.StateDiscarded && f.rows[last].Revision > o.Above {
			highest, f.rows = f.rows[last].Revision-1, f.rows[:last]
		}
		row = postgres.Rotation{Revision: highest + 1, Generation: o.Generation, Cause: o.Cause, RequestID: o.RequestID, StatedManager: o.StatedManager, OpenedAt: time.Now()}
		c.p.w.rotationOpened(c.p, f, &row)
		if err := move(&row, postgres.StateOpen); err != nil {
			return err
		}
		f.rows = append(f.rows, row)
		row.Made = true
		return nil
	})
	return row, err
}

func (c postgresOf) InTransaction(ctx context.Context, _, uid string, f func(context.Context, postgres.Transaction) error) error {
	var s *session
	err := c.p.call(ctx, postgresSide, "lock", func() (err error) {
		if s, err = c.p.w.ledger.begin(ctx, c.p); err != nil {
			return err
		}
		return s.f.hold(uid)
	})
	if s != nil {
		defer s.end()
	}
	if err != nil {
		return err
	}
	c.p.session = s
	if err := f(ctx, s); err != nil {
		return err
	}
	detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return c.p.call(detached, commitSide, "COMMIT", s.commit)
}

func (s *session) Tenant() postgres.Tenant { return s.f.tenant() }

func (s *session) Issue(ctx context.Context, revision int64, verifier string) (issued postgres.Issued, err error) {
	err = s.p.call(ctx, postgresSide, "issue", func() error {
		row := s.f.at(revision)
		if !s.alive() {
			return postgresSide.lost
		}
		if s.f.find(postgres.StateCommitted) != nil || row != nil && !row.ClosedAt.IsZero() {
			return superseded
		}
		if err := move(row, postgres.StateIssued); err != nil {
			return err
		}
		issued.Login = s.f.other(s.f.login())
		s.f.verifiers[issued.Login] = verifier
		row.Login, row.VerifierDigest = issued.Login, digest(verifier)
		return nil
	})
	return issued, err
}

// Close closes both logins; the next one ends the session.
func (s *session) Close(ctx context.Context, revision int64) (quiet bool, err error) {
	err = s.p.call(ctx, postgresSide, "close", func() error {
		row := s.f.at(revision)
		if !s.alive() {
			return postgresSide.lost
		}
		if row == nil || row.State != postgres.StateOpen && row.State != postgres.StateIssued {
			return superseded
		}
		if row.ClosedAt.IsZero() {
			clear(s.f.verifiers)
			row.ClosedAt = time.Now()
			return nil
		}
		if quiet = s.p.w.session.IsZero(); quiet {
			row.QuietAt = time.Now()
		}
		s.p.w.session = time.Time{}
		return nil
	})
	return quiet, err
}

func (s *session) Stage(ctx context.Context, staging postgres.Staging) error {
	return s.p.call(ctx, postgresSide, "stage", func() error {
		verifier, row := staging.Verifier, s.f.at(staging.Revision)
		if !s.alive() {
			return postgresSide.lost
		}
		if row != nil && row.QuietAt.IsZero() && (!row.ClosedAt.IsZero() || staging.SessionPolicy == postgres.SessionsCompromised) {
			return superseded
		}
		if row != nil && row.ClosedAt.IsZero() && row.State == postgres.StateIssued && (row.VerifierDigest != digest(verifier) || s.f.verifiers[row.Login] != verifier) {
			return superseded
		}
		if row != nil && (row.State == postgres.StateOpen || !row.ClosedAt.IsZero()) {
			row.Login = s.f.login()
		}
		if err := move(row, postgres.StateStaged); err != nil {
			return err
		}
		s.f.verifiers[row.Login], s.f.hash, s.staged = verifier, verifier, staging.Revision
		row.VerifierDigest, row.HashDigest, row.DeliveryDigest = digest(verifier), digest(verifier), staging.DeliveryDigest
		row.SessionPolicy, row.LoginCheckedAt = staging.SessionPolicy, time.Time{}
		if staging.LoginChecked {
			row.LoginCheckedAt = time.Now()
		}
		if former := s.f.find(postgres.StateCommitted, postgres.StateRolled); former != nil && former.SessionsEndedAt.IsZero() {
			row.SessionPolicy = stronger(row.SessionPolicy, former.SessionPolicy)
		}
		if !row.ClosedAt.IsZero() {
			row.SessionPolicy, row.SessionsEndedAt = postgres.SessionsCompromised, row.QuietAt
		}
		return nil
	})
}

func (s *session) Commit(ctx context.Context, w postgres.FlyWrite) error {
	return s.p.call(ctx, postgresSide, "commit", func() error {
		if !s.alive() {
			return postgresSide.lost
		}
		for i := range s.f.rows {
			if s.f.rows[i].State == postgres.StateCommitted || s.f.rows[i].State == postgres.StateRolled {
				_ = move(&s.f.rows[i], postgres.StateSuperseded)
			}
		}
		row := s.f.at(s.staged)
		if err := move(row, postgres.StateCommitted); err != nil {
			return err
		}
		row.CommittedAt, row.FlyApp, row.FlyVersion, row.FlyDigest, row.FlyInstances = time.Now(), w.App, w.Version, w.Digest, w.Instances
		return nil
	})
}

func (c postgresOf) VerifyLogin(ctx context.Context, l postgres.Login) error {
	return c.p.call(ctx, postgresSide, "login", func() error {
		c.p.w.passwords[l.Password.Reveal()] = true
		if c.p.w.pooled || !matches(c.p.w.ledger.now.verifiers[l.Name], l.Password.Reveal()) {
			return failure.New(failure.Retry, reasons.VerificationFailed, "refused")
		}
		return nil
	})
}

func (c postgresOf) LoginChecked(ctx context.Context, _, uid string, revision int64) error {
	return c.changeHeld(ctx, "login checked", uid, func(f *facts) error {
		row := f.at(revision)
		if row == nil || row.State != postgres.StateCommitted && row.State != postgres.StateRolled {
			return superseded
		}
		row.LoginCheckedAt = time.Now()
		return nil
	})
}

// stronger is what two rotations together owe.
func stronger(a, b string) string {
	for _, policy := range []string{postgres.SessionsCompromised, postgres.SessionsTerminated} {
		if a == policy || b == policy {
			return policy
		}
	}
	return postgres.SessionsKept
}

func (c postgresOf) EndSessions(ctx context.Context, _, uid string, revision int64, sweep bool) (ended bool, err error) {
	err = c.changeHeld(ctx, "end sessions", uid, func(f *facts) error {
		row := f.at(revision)
		if row == nil || row.State != postgres.StateCommitted && row.State != postgres.StateRolled {
			return superseded
		}
		if f.verifiers[f.other(row.Login)] != "" {
			return nil
		}
		before, noted := f.sessionsBefore[revision]
		if !noted {
			before = time.Now()
			if f.sessionsBefore == nil {
				f.sessionsBefore = map[int64]time.Time{}
			}
			f.sessionsBefore[revision] = before
		}
		found := sweep && c.p.w.endSession(before)
		if sweep && !found && row.SessionsEndedAt.IsZero() && time.Since(before) > authenticationTimeout {
			row.SessionsEndedAt = time.Now()
		}
		ended = !row.SessionsEndedAt.IsZero()
		return nil
	})
	return ended, err
}

func (c postgresOf) Rolled(ctx context.Context, _, uid string, revision int64) error {
	return c.changeHeld(ctx, "rolled", uid, func(f *facts) error {
		row := f.at(revision)
		if row != nil && row.State == postgres.StateRolled {
			return nil
		}
		if err := move(row, postgres.StateRolled); err != nil {
			return err
		}
		row.RolledAt = time.Now()
		return nil
	})
}

func (c postgresOf) Retire(ctx context.Context, _, uid string, revision int64, r postgres.Retirement) (retired bool, err error) {
	err = c.changeHeld(ctx, "retire", uid, func(f *facts) error {
		row, w := f.at(revision), c.p.w
		if row == nil || row.State != postgres.StateRolled {
			return superseded
		}
		former := f.other(row.Login)
		left := !w.session.IsZero() && w.sessionLogin == former
		if f.verifiers[former] != "" {
			if r.OnceIdle && !left || time.Since(row.RolledAt) >= r.Grace {
				w.loginClosed(f, row, former)
				delete(f.verifiers, former)
			}
			return nil
		}
		if left && r.EndSessions {
			w.session = time.Time{}
		}
		retired = !(left && r.EndSessions)
		return nil
	})
	return retired, err
}

func (c postgresOf) Complete(ctx context.Context, _, uid string, revision int64) (left postgres.Tenant, err error) {
	err = c.changeHeld(ctx, "complete", uid, func(f *facts) error {
		defer func() { left = f.tenant() }()
		row := f.at(revision)
		if row != nil && row.State == postgres.StateCompleted {
			return nil
		}
		if row != nil && row.LoginCheckedAt.IsZero() {
			return superseded
		}
		if row != nil && row.SessionPolicy != postgres.SessionsKept && row.SessionsEndedAt.IsZero() {
			return superseded
		}
		if row != nil && f.verifiers[f.other(row.Login)] != "" && (row.State == postgres.StateCommitted || row.State == postgres.StateRolled) {
			return superseded
		}
		if err := move(row, postgres.StateCompleted); err != nil {
			return err
		}
		row.CompletedAt = time.Now()
		f.claim.Generation = max(f.claim.Generation, row.Generation)
		return nil
	})
	return left, err
}

func (c postgresOf) Discard(ctx context.Context, _, uid string, revision int64) error {
	return c.changeHeld(ctx, "discard", uid, func(f *facts) error {
		row := f.at(revision)
		if row != nil && row.State == postgres.StateDiscarded {
			return nil
		}
		if row != nil && row.State == postgres.StateIssued {
			delete(f.verifiers, row.Login)
		}
		return move(row, postgres.StateDiscarded)
	})
}
