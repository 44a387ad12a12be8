package tenantcredential_test

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"pgregory.net/rapid"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/controllers/postgres"
)

// external is what PostgreSQL knows of the tenant's external access.
type external struct {
	member   bool
	granted  bool // by the last change that the ledger knows of
	noted    bool
	unswept  bool
	sweeping time.Time // zero = no call has seen the end committed
}

func (e *external) access() postgres.ExternalAccess {
	return postgres.ExternalAccess{Member: e.member, Unended: e.granted && !e.member, Unswept: !e.member && e.unswept, Noted: e.noted}
}

func (e *external) set(enabled bool) {
	switch {
	case enabled:
		e.member, e.granted, e.noted, e.unswept = true, true, true, false
	case e.member || e.granted:
		*e = external{noted: true, unswept: true}
	}
}

func (c postgresOf) SetExternalAccess(ctx context.Context, _, uid string, enabled bool) (access postgres.ExternalAccess, err error) {
	err = c.changeHeld(ctx, "set external access", uid, func(f *facts) error {
		if c.p.unbound {
			c.p.w.violated("the access of an object in a namespace that is not bound was changed")
		}
		if enabled != c.p.w.wantsOutside(c.p.w.object()) {
			c.p.w.disturb() // a pass that has seen an older spec, or environment: the next one sees it
		}
		f.external.set(enabled)
		access = f.external.access()
		return nil
	})
	return access, err
}

func (c postgresOf) SweepExternalAccess(ctx context.Context, _, uid string) (access postgres.ExternalAccess, err error) {
	err = c.changeHeld(ctx, "sweep external access", uid, func(f *facts) error {
		e := &f.external
		if now := e.access(); !now.Unswept || now.Unended {
			access = now
			return nil
		}
		if e.sweeping.IsZero() {
			e.sweeping = time.Now()
		}
		found := c.p.w.endOutside()
		e.unswept = found || time.Since(e.sweeping) < authenticationTimeout
		access = e.access()
		return nil
	})
	return access, err
}

// visitor is an external login, which is let in at once, and a session from some time on.
type visitor struct {
	succeeds time.Time // zero = there is none
}

// endOutside ends the external session, if the login has succeeded, and says whether it did.
func (w *world) endOutside() bool {
	if w.outside.succeeds.IsZero() || time.Now().Before(w.outside.succeeds) {
		return false
	}
	w.outside = visitor{}
	return true
}

// wantsOutside says that an object, as it is, is to have external access.
func (w *world) wantsOutside(o *v1alpha1.TenantCredential) bool {
	return o != nil && o.Spec.ExternalAccess != nil && w.environment().Spec.Postgres.External != nil
}

// checkOutside is what holds of the access where the status speaks of what is so now. A pass that did not see the tenant says what was seen before.
func (w *world) checkOutside(o *v1alpha1.TenantCredential) {
	c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ExternalAccessCondition)
	if claim := w.ledger.now.claim; !w.usable || !w.bound() || claim == nil || claim.UID != string(o.UID) {
		return
	}
	if c == nil || w.disturbances != w.looked || c.ObservedGeneration != o.Generation || w.processes[0].running || w.processes[1].running {
		return
	}
	switch member := w.ledger.now.external.member; {
	case c.Reason == reasons.Enabled && !member:
		w.violated("ExternalAccess says Enabled, and the role is no member")
	case (c.Reason == reasons.Disabled || c.Reason == reasons.NotOffered) && member:
		w.violated("ExternalAccess says %s, and the role is a member", c.Reason)
	case (c.Reason == reasons.Disabled || c.Reason == reasons.NotOffered) && !w.outside.succeeds.IsZero():
		w.violated("ExternalAccess says %s, and an external session is left", c.Reason)
	}
}

// disagreementOutside says in what the access of a Ready object is not what it asks for.
func (w *world) disagreementOutside(o *v1alpha1.TenantCredential) string {
	member, url := w.ledger.now.external.member, o.Status.Postgres.ExternalURL
	switch {
	case !o.DeletionTimestamp.IsZero():
		return ""
	case member != w.wantsOutside(o):
		return "its external access is not as asked"
	case o.Spec.ExternalAccess != nil && !member:
		return "it asks for external access in vain"
	case member && w.problem != "":
		return "pg_hba.conf does not require the group"
	case !member && !w.outside.succeeds.IsZero():
		return "an external session is left"
	case member != (url != ""):
		return "the external URL is " + url
	}
	return ""
}

// drawExternal has an owner ask for external access, or no longer.
func (w *world) drawExternal(rt *rapid.T) {
	w.theObject(rt)
	w.edit(func(o *v1alpha1.TenantCredential) {
		if o.Spec.ExternalAccess != nil {
			o.Spec.ExternalAccess = nil
		} else {
			o.Spec.ExternalAccess = &v1alpha1.ExternalAccess{}
		}
	})
}

// drawOutside has a client log in from outside, the platform offer an address or none, or a DBA change the membership or the rules.
func (w *world) drawOutside(rt *rapid.T) {
	what := rapid.SampledFrom([]string{"login", "login", "address", "membership", "rules"}).Draw(rt, "what")
	switch what {
	case "login":
		if w.ledger.now.external.member {
			w.outside.succeeds = time.Now().Add(time.Duration(rapid.IntRange(0, 60).Draw(rt, "seconds")) * time.Second)
		}
	case "address":
		w.offer(w.environment().Spec.Postgres.External == nil)
	case "rules":
		w.require(w.problem != "")
	case "membership":
		if len(w.ledger.lock) > 0 {
			rt.SkipNow()
		}
		f := w.ledger.now.clone()
		f.external.member = !f.external.member
		if !f.external.member && !f.external.granted {
			w.outside = visitor{} // given and taken by others, without the ledger's knowing: no affair of the operator's
		}
		w.ledger.commit(f)
		w.disturb()
	}
}

// offer has the environment have an external address, or none.
func (w *world) offer(offered bool) {
	environment := w.environment()
	environment.Spec.Postgres.External = nil
	if offered {
		environment.Spec.Postgres.External = &v1alpha1.PostgresAddress{Host: "db.example.com", Port: 5432}
	}
	w.must(w.api.Update(w.logging, environment))
	w.disturb()
	w.wake()
}

// require has pg_hba.conf require the group, or not.
func (w *world) require(required bool) {
	w.problem = ""
	if !required {
		w.problem = "pg_hba.conf has no such rule."
	}
	w.disturb()
	w.wake()
}
