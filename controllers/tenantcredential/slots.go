package tenantcredential

import (
	"cmp"
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/controllers/rotation"
	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// awaitTurn ends the pass before it asks anything, where the same object has found no free slot before and there is none now, or its address
// is not proved yet: what Fly allows in a second is for those who rotate.
func (r *Reconciler) awaitTurn(_ context.Context, e *Environment, in pass.Input, out pass.Outcome) (pass.Outcome, error) {
	waiting, _ := r.waiting.Load(client.ObjectKeyFromObject(in.Object))
	v, found := waiting.(version)
	switch {
	case !found || !v.of(in):
		return out, nil
	case v.address == "" && e.Slots.Waits(pass.ID(in)):
		return out, later(rotation.ForSlot)
	case v.address != "" && v.address == address(in) && !e.Canary.Free(v.address, pass.ID(in)):
		return out, later(rotation.ForAddress)
	default:
		return out, nil
	}
}

// version is one spec of one object, and what it waits for: a slot, or the proof of an address.
type version struct {
	uid        string
	generation int64
	address    string // "" = it waits for a slot
}

// waitFor has the passes end early from now on, but for those that end external access.
func (r *Reconciler) waitFor(in pass.Input, seen pass.Observed, v version) {
	if !pass.SweepsOutside(in, seen) {
		r.waiting.Store(client.ObjectKeyFromObject(in.Object), v)
	}
}

func (v version) of(in pass.Input) bool {
	return v.uid == pass.UID(in) && v.generation == in.Object.Generation
}

// acquireSlot takes one of the environment's slots and says whether there was one. Until it is given back, it is kept.
func (r *Reconciler) acquireSlot(e *Environment, in pass.Input, seen pass.Observed) bool {
	key, urgent := client.ObjectKeyFromObject(in.Object), pass.Facts(in, seen).Urgent()
	r.keepSlot(key, slot{e.Slots, pass.ID(in)})
	if !e.Slots.Acquire(pass.ID(in), urgent, func() { r.Wake(key) }) {
		r.waitFor(in, seen, version{uid: pass.UID(in), generation: in.Object.Generation})
		return false
	}
	r.waiting.Delete(key)
	return true
}

// occupySlot takes a slot even where none is free, to finish what was begun.
func (r *Reconciler) occupySlot(e *Environment, in pass.Input) {
	key := client.ObjectKeyFromObject(in.Object)
	r.keepSlot(key, slot{e.Slots, pass.ID(in)})
	e.Slots.Occupy(pass.ID(in))
	r.waiting.Delete(key)
}

// slot is a tenant's slot, or its place in the queue for one.
type slot struct {
	slots    Slots
	tenantID string
}

// keepSlot remembers whose slot is to be given back for the object. An object that was made again may be another tenant's.
func (r *Reconciler) keepSlot(key client.ObjectKey, s slot) {
	if previous, kept := r.slots.Swap(key, s); kept && previous != s {
		previous.(slot).slots.GiveBack(previous.(slot).tenantID)
	}
}

// settleCanary makes room for another tenant that tries the same address.
func (r *Reconciler) settleCanary(in pass.Input, out pass.Outcome) {
	if tenant := out.Seen.Tenant; tenant == nil || out.Obstacle != nil && !tenant.Rolling() || !tenant.Unfinished() {
		r.leaveCanary(client.ObjectKeyFromObject(in.Object))
	}
}

// settleSlot gives the slot back, or the place in line for one, where the rotation is done, cannot go on, or waits for anything else.
func (r *Reconciler) settleSlot(in pass.Input, out pass.Outcome, state rotation.State) {
	tenant := out.Seen.Tenant
	if out.Obstacle != nil || !keepsSlot(state.Phase, cmp.Or(out.Wait, state.Wait), tenant != nil && tenant.Unfinished()) {
		r.giveSlotBack(client.ObjectKeyFromObject(in.Object))
	}
}

// keepsSlot says which phases have one. A rotation that only waits for the user's deploy, or until the previous login may be closed, must not
// keep others waiting.
func keepsSlot(phase rotation.Phase, wait rotation.Wait, unfinished bool) bool {
	switch wait {
	case rotation.ForSlot, rotation.ForLook: // a place in line, and a slot that is used by the next look
		return true
	case "":
	default:
		return false
	}
	switch phase {
	case rotation.RollingOut, rotation.EndingSessions, rotation.Completing:
		return true
	case rotation.Attempting:
		return unfinished // it goes on at once
	default:
		return false
	}
}

func (r *Reconciler) giveSlotBack(key client.ObjectKey) {
	if kept, found := r.slots.LoadAndDelete(key); found {
		kept.(slot).slots.GiveBack(kept.(slot).tenantID)
	}
}
