package tenantcredential

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// awaitTurn ends the pass before it asks anybody, where the same object has found no free slot before and there is none now, or its address
// is not proved yet: what Fly allows in a second is for those who rotate.
func (r *Reconciler) awaitTurn(_ context.Context, s *scope) error {
	waiting, found := r.waiting.Load(client.ObjectKeyFromObject(s.object))
	v, _ := waiting.(version)
	if !found || !v.of(s) {
		return nil
	}
	s.awaitsCanary = v.address == s.address() && !s.connection.Canary.Free(v.address, s.id())
	if s.awaitsCanary || v.address == "" && s.connection.Slots.Full(v.urgent) {
		return errLater
	}
	return nil
}

// version is one spec of one object, and what it waits for: a slot, or the proof of an address.
type version struct {
	uid        string
	generation int64
	urgent     bool   // what it asks for
	address    string // "" = it waits for a slot
}

// waitFor has the passes end early from now on, but for those that end an access from outside.
func (r *Reconciler) waitFor(s *scope, v version) {
	if !s.sweepsOutside() {
		r.waiting.Store(client.ObjectKeyFromObject(s.object), v)
	}
}

func (v version) of(s *scope) bool { return v.uid == s.uid() && v.generation == s.object.Generation }

// acquireSlot takes one of the environment's slots and says whether there was one. Until it is given back, it is kept.
func (r *Reconciler) acquireSlot(s *scope) bool {
	key, urgent := client.ObjectKeyFromObject(s.object), s.facts(s.tenant).Urgent()
	r.keepSlot(key, slot{s.connection.Slots, s.id()})
	if !s.connection.Slots.Acquire(s.id(), urgent) {
		r.waitFor(s, version{uid: s.uid(), generation: s.object.Generation, urgent: urgent})
		return false
	}
	r.waiting.Delete(key)
	return true
}

// occupySlot takes a slot even where none is free, to finish what was begun.
func (r *Reconciler) occupySlot(s *scope) {
	key := client.ObjectKeyFromObject(s.object)
	r.keepSlot(key, slot{s.connection.Slots, s.id()})
	s.connection.Slots.Occupy(s.id())
	r.waiting.Delete(key)
}

// slot is a tenant's slot, or its place in the queue for one.
type slot struct {
	slots    Slots
	tenantID string
}

// keepSlot remembers whose slot is to be given back for the object. An object that was made again may be another tenant's.
func (r *Reconciler) keepSlot(key client.ObjectKey, s slot) {
	if former, kept := r.slots.Swap(key, s); kept && former != s {
		former.(slot).slots.Release(former.(slot).tenantID)
	}
}

// giveSlotBack frees the slot of a rotation that is done, or that can not go on: a stuck one, or one that only waits for the
// user's deploy, or for somebody to leave the former login, must not keep others waiting.
func (r *Reconciler) giveSlotBack(s *scope) {
	if s.tenant == nil || s.obstacle != nil && !rolling(s.tenant) || !unfinished(s.tenant) {
		r.leaveCanary(client.ObjectKeyFromObject(s.object))
	}
	if s.obstacle != nil || s.tenant == nil || !unfinished(s.tenant) || s.retiring || s.awaitsDeploy() {
		r.releaseSlot(client.ObjectKeyFromObject(s.object))
	}
}

func (r *Reconciler) releaseSlot(key client.ObjectKey) {
	if kept, found := r.slots.LoadAndDelete(key); found {
		kept.(slot).slots.Release(kept.(slot).tenantID)
	}
}
