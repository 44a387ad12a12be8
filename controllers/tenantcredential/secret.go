package tenantcredential

import (
	"context"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/controllers/connectionsecret"
	"github.com/systempromptio/tenant-credential-operator/controllers/credential"
	"github.com/systempromptio/tenant-credential-operator/controllers/failure"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// stagingTimeout bounds the staging: the tenant is locked meanwhile, and Fly has its own time after it.
const stagingTimeout = 5 * time.Second

// settleSecret looks at the connection Secret and promotes what is committed. Trouble with it must not keep the Machines waiting that the
// same password was sent to: where a rotation is committed, it comes up again once they have moved.
func (r *Reconciler) settleSecret(ctx context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	if !pass.NamesSecret(in) {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	if in.Unbound != nil {
		out.Seen = pass.WithSecret(out.Seen, r.withhold(ctx, in, out.Seen.Tenant))
		return out, nil
	}
	answer, err := r.promote(ctx, e, in, out.Seen.Tenant)
	if err != nil && out.Seen.Tenant.Rolling() {
		answer.Trouble, err = pass.AsObstacle(pass.AtSecret(err)), nil
	}
	out.Seen = pass.WithSecret(out.Seen, &answer)
	return out, pass.AtSecret(err)
}

// promote copies the staged content of the last rotation into the connection Secret, where it is not there yet, and returns what is there.
func (r *Reconciler) promote(ctx context.Context, e *Environment, in pass.Input, tenant *postgres.Tenant) (pass.SecretAnswer, error) {
	key := pass.SecretKey(in)
	present, err := r.secrets().ReadWritable(ctx, in.Object, key)
	if err != nil {
		return pass.SecretAnswer{}, err
	}
	answer := pass.Seeing(present, tenant.Last)
	if tenant.Last == nil || pass.Regressed(in, tenant) {
		return answer, nil
	}
	staged, err := r.secrets().ReadOwn(ctx, in.Object, connectionsecret.Staged(key, tenant.Last.Revision))
	if err != nil {
		return answer, err
	}
	switch {
	case answer.State != pass.SecretCurrent && staged.Holds(pass.RevisionOf(tenant.Last)):
		if err := r.copyStaged(ctx, e, in, tenant, present, staged); err != nil {
			return answer, err
		}
		answer = pass.SecretAnswer{State: pass.SecretCurrent, Revision: tenant.Last.Revision}
	case answer.State == pass.SecretCurrent && !present.Controlled:
		err = r.secrets().Copy(ctx, in.Object, present, key, present)
	}
	if err != nil || staged == nil {
		return answer, err
	}
	return answer, r.secrets().Remove(ctx, staged) // it is promoted, or of an attempt that came to nothing
}

// copyStaged asks the ledger again, between the look at the Secret and the write, which fails where the Secret has changed meanwhile: whoever commits a newer
// revision writes the Secret after that, so that it never gives way to this one.
func (r *Reconciler) copyStaged(ctx context.Context, e *Environment, in pass.Input, tenant *postgres.Tenant, present, staged *connectionsecret.Secret) error {
	now, err := look(ctx, e, in)
	if err != nil {
		return pass.AtPostgres(err)
	}
	if now.Last == nil || now.Last.Revision != tenant.Last.Revision {
		return failure.New(failure.Retry, reasons.Superseded, "another process of the operator continued this rotation")
	}
	if err := r.stillBound(ctx, in); err != nil {
		return err
	}
	return r.secrets().Copy(ctx, in.Object, staged, pass.SecretKey(in), present)
}

// stageSecret writes the password of the attempt where nothing reads it.
func (r *Reconciler) stageSecret(ctx context.Context, in pass.Input, open *postgres.Rotation, destination credential.Destination, next password) error {
	if !pass.ToSecret(in) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stagingTimeout)
	defer cancel()
	of := connectionsecret.Revision{Number: open.Revision, VerifierDigest: credential.VerifierDigest(next.verifier)}
	return pass.AtSecret(r.secrets().Stage(ctx, in.Object, pass.SecretKey(in), of, destination.Connection(next.login, next.value)))
}

// removeStaged removes what an attempt has staged.
func (r *Reconciler) removeStaged(ctx context.Context, in pass.Input, open *postgres.Rotation) error {
	if !pass.ToSecret(in) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stagingTimeout)
	defer cancel()
	staged, err := r.secrets().ReadOwn(ctx, in.Object, connectionsecret.Staged(pass.SecretKey(in), open.Revision))
	if err != nil || staged == nil {
		return err
	}
	return r.secrets().Remove(ctx, staged)
}

// withhold keeps passwords out of an unbound namespace: what is staged goes. A committed revision that never got into the Secret is
// not completed, so that it is made again once the namespace is bound; its Machines do not wait for that.
func (r *Reconciler) withhold(ctx context.Context, in pass.Input, tenant *postgres.Tenant) *pass.SecretAnswer {
	arrived, err := r.removeAllStaged(ctx, in, tenant)
	if err != nil {
		ctrl.LoggerFrom(ctx).Info("A Secret in an unbound namespace cannot be read or removed", "error", err.Error())
	}
	if !arrived && tenant.Open == nil && pass.CommittedForSecret(in, tenant) {
		return &pass.SecretAnswer{Trouble: in.Unbound}
	}
	return nil
}

// removeAllStaged removes what is staged, and says whether the Secret has the last revision.
func (r *Reconciler) removeAllStaged(ctx context.Context, in pass.Input, tenant *postgres.Tenant) (arrived bool, _ error) {
	key := pass.SecretKey(in)
	for _, row := range []*postgres.Rotation{tenant.Last, tenant.Open} {
		if row == nil {
			continue
		}
		staged, err := r.secrets().ReadOwn(ctx, in.Object, connectionsecret.Staged(key, row.Revision))
		if err != nil {
			return false, err
		}
		if staged == nil {
			continue
		}
		if err := r.secrets().Remove(ctx, staged); err != nil {
			return false, err
		}
	}
	present, err := r.secrets().ReadOwn(ctx, in.Object, key)
	return present != nil && tenant.Last != nil && present.Holds(pass.RevisionOf(tenant.Last)), err
}
