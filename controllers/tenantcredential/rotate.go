package tenantcredential

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/fly"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
)

const (
	// flyDeadline is how long the same bytes are sent to Fly again while its answer is lost.
	flyDeadline = 15 * time.Second
	// transactionDeadline bounds the whole transaction: a lock_timeout, Fly, and COMMIT.
	transactionDeadline = flyDeadline + 10*time.Second
)

// rotate carries out one attempt, from the open row to the commit.
func (r *Reconciler) rotate(ctx context.Context, s *scope) error {
	if s.decision.Step != rotation.Start || s.intoNowhere() {
		return nil
	}
	if err := r.mayStart(ctx, s); err != nil {
		return err
	}
	s.attempted = true
	if err := s.probeFly(ctx); err != nil {
		return err
	}
	if err := r.ensureFinalizer(ctx, s); err != nil {
		return err
	}
	if err := r.open(ctx, s); err != nil {
		return err
	}
	if err := r.attempt(ctx, s); err != nil {
		r.giveUp(ctx, s, err)
		return err
	}
	return nil
}

// attempt sets a new password and has it delivered.
func (r *Reconciler) attempt(ctx context.Context, s *scope) error {
	if err := r.closeLogins(ctx, s); err != nil {
		return err
	}
	next, err := newPassword(s.tenant.Login)
	if err != nil {
		return err
	}
	if s.facts(s.tenant).Overlaps() {
		return r.overlap(ctx, s, next)
	}
	if err := r.commit(ctx, s, next); err != nil {
		return err
	}
	return r.proveLogin(ctx, s)
}

// mayStart says why an attempt may not begin, or not now; nil = it may, has a slot, and its environment stays.
func (r *Reconciler) mayStart(ctx context.Context, s *scope) error {
	if s.secret.trouble != nil {
		return s.secret.trouble
	}
	if !s.mayTry() {
		return errLater
	}
	if err := s.checkPause(); err != nil {
		return err
	}
	if err := s.checkSecondLogin(); err != nil {
		return err
	}
	if !r.acquireAddress(s) {
		return errLater
	}
	if err := r.readLive(ctx, s); err != nil {
		return err
	}
	if !r.acquireSlot(s) {
		return errLater
	}
	return r.holdEnvironment(ctx, s)
}

// readLive makes sure that the attempt answers what is asked for now: the cache may lag behind, and spec.suspend, or the loss of the
// namespace's binding, may be in what it has not seen.
func (r *Reconciler) readLive(ctx context.Context, s *scope) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	var live v1alpha1.TenantCredential
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(s.object), &live); err != nil {
		return err
	}
	if live.UID != s.object.UID || live.Generation != s.object.Generation {
		return errLater
	}
	return r.stillBound(ctx, s)
}

// open records the intent, without any secret: a crash from here on can not be forgotten. An open row is used as it is, and not asked
// for again: were it committed by now, asking would open another one.
func (r *Reconciler) open(ctx context.Context, s *scope) error {
	if s.tenant.Open != nil {
		return nil
	}
	opening := postgres.Opening{
		TenantID:   s.id(),
		UID:        s.uid(),
		Generation: s.object.AskedGeneration(),
		Cause:      string(s.decision.Cause),
		Above:      s.before.Status.Revision,

		StatedManager: statedManager(s.object, "f:rotationGeneration"),
	}
	if s.facts(s.tenant).RequestDue() {
		opening.Reason, opening.RequestedBy, opening.RequestID = s.request().Reason, s.request().RequestedBy, s.request().ID
		opening.StatedManager = statedManager(s.object, "f:rotationRequest")
	}
	if s.tenant.Last != nil {
		opening.After = s.tenant.Last.Revision
	}
	row, err := s.connection.Postgres.OpenRotation(ctx, opening)
	if err != nil {
		return postgresObstacle(err)
	}
	s.tenant.Open = &row
	if row.Made {
		s.opened = row.Revision
	}
	return nil
}

// commit is the one transaction, and what is so after it.
func (r *Reconciler) commit(ctx context.Context, s *scope, next password) error {
	r.keepPassword(s, next)
	if err := r.transact(ctx, s, next); err != nil {
		s.lookAgain(ctx)
		return err
	}
	if err := r.observeAgain(ctx, s, s.tenant.Open.Revision); err != nil {
		return err
	}
	s.flySeen, s.flyDigest = true, s.tenant.Last.FlyDigest
	s.decision = rotation.Decision{Step: rotation.Finish}
	return r.settleSecret(ctx, s)
}

// transact changes login, stored hash and ledger together, with the write to Fly inside. It runs on when the process is asked to stop,
// because what Fly was told must be committed, or known not to be.
func (r *Reconciler) transact(ctx context.Context, s *scope, next password) error {
	r.transactions.Add(1)
	defer r.transactions.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), transactionDeadline)
	defer cancel()

	err := s.connection.Postgres.InTransaction(ctx, s.id(), s.uid(), func(ctx context.Context, tx postgres.Transaction) error {
		locked := tx.Tenant()
		if err := s.stillDue(&locked); err != nil {
			return err
		}
		staging := postgres.Staging{Revision: s.tenant.Open.Revision, Verifier: next.verifier, DeliveryDigest: s.destination.Digest(), SessionPolicy: s.sessionPolicy(&locked),
			LoginChecked: next.checked}
		if err := tx.Stage(ctx, staging); err != nil {
			return err
		}
		if err := r.stageSecret(ctx, s, next); err != nil {
			return err
		}
		if !s.deliversToFly() {
			return tx.Commit(ctx, postgres.FlyWrite{})
		}
		flyCtx, cancel := context.WithTimeout(ctx, flyDeadline)
		defer cancel()
		secret, err := s.setSecret(flyCtx, next)
		if err != nil {
			return flyObstacle(v1alpha1.FlySecretSyncedCondition, err)
		}
		instances, err := s.instances(flyCtx, &locked)
		if err != nil {
			return flyObstacle(v1alpha1.FlyMachinesUpdatedCondition, err)
		}
		return tx.Commit(ctx, postgres.FlyWrite{App: s.tenant.FlyApp, Version: secret.Version, Digest: secret.Digest, Instances: instances})
	})
	return asObstacle(err)
}

// setSecret tells Fly the new value. Whatever fails without an unknown outcome, Fly has not taken.
func (s *scope) setSecret(ctx context.Context, next password) (fly.Secret, error) {
	secret, err := s.connection.Fly.SetSecret(ctx, s.tenant.FlyApp, s.destination.Variable, s.destination.URL(next.login, next.value).Reveal())
	s.told = err == nil || failure.ClassOf(err) == failure.Unknown
	return secret, err
}

// giveUp takes back an attempt that this pass has begun and that was refused for sure, before Fly or anybody else had the password: nobody has
// to carry on what has changed nothing, once it is not asked for any more. A process that ends before that leaves it open.
func (r *Reconciler) giveUp(ctx context.Context, s *scope, refused error) {
	if s.opened == 0 || s.told || !definite(refused) || s.tenant.Open == nil || s.tenant.Open.Revision != s.opened || closedLogins(s.tenant) {
		return
	}
	if err := r.removeStaged(ctx, s); err != nil {
		ctrl.LoggerFrom(ctx).Info("An attempt that was refused stays open", "error", err.Error())
		return
	}
	if err := r.discard(ctx, s); err != nil {
		ctrl.LoggerFrom(ctx).Info("An attempt that was refused stays open", "error", err.Error())
	}
}

// definite says that an attempt was refused, and not merely kept from being made.
func definite(err error) bool {
	var o *obstacle
	if !errors.As(err, &o) || o.failure.Class == failure.Unknown {
		return false
	}
	reason := o.failure.Reason
	return !reason.Unreachable() && reason != failure.Superseded && reason != failure.Busy
}

// stillDue decides again, on what was read under the lock.
func (s *scope) stillDue(locked *postgres.Tenant) error {
	if locked.Open != nil && locked.Open.Revision == s.tenant.Open.Revision && locked.Login == s.tenant.Login &&
		locked.Role == s.tenant.Role && locked.FlyApp == s.tenant.FlyApp && locked.Database == s.tenant.Database &&
		rotation.Decide(s.facts(locked)).Step == rotation.Start {
		return nil
	}
	return postgresObstacle(failure.New(failure.Retry, failure.Superseded, "another process went on with this rotation"))
}

// lookAgain reads what is so after a failed attempt, for the report. That it can not be read is no news beside the failure.
func (s *scope) lookAgain(ctx context.Context) {
	if tenants, err := s.connection.Postgres.Observe(ctx, []string{s.id()}); err == nil {
		s.tenant = &tenants[0]
	}
	if !s.deliversToFly() {
		return
	}
	digest, err := s.connection.Fly.SecretDigest(ctx, s.tenant.FlyApp, s.destination.Variable)
	s.flySeen, s.flyDigest = err == nil, digest // what was seen before the attempt proves nothing any more
}

// statedManager is the field manager that wrote a field of spec last, for the ledger; "" where the field was never written. It is the
// writer's own word: kubectl sends what --field-manager says.
func statedManager(object *v1alpha1.TenantCredential, field string) string {
	manager, newest := "", time.Time{}
	for _, entry := range object.ManagedFields {
		if entry.FieldsV1 == nil || entry.Subresource != "" || entry.Time == nil || entry.Time.Time.Before(newest) {
			continue
		}
		var fields struct {
			Spec map[string]json.RawMessage `json:"f:spec"`
		}
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil || fields.Spec[field] == nil {
			continue
		}
		manager, newest = entry.Manager, entry.Time.Time
	}
	return manager
}
