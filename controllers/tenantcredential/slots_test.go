package tenantcredential

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/controllers/tenantcredential/pass"
)

// heldSlots are as many as are asked for.
type heldSlots map[string]bool

func (h heldSlots) Acquire(tenantID string, _ bool, _ func()) bool { h[tenantID] = true; return true }
func (h heldSlots) Waits(string) bool                              { return false }
func (h heldSlots) HeldSince() time.Time                           { return time.Now() }
func (h heldSlots) Occupy(tenantID string)                         { h[tenantID] = true }
func (h heldSlots) GiveBack(tenantID string)                       { delete(h, tenantID) }

// An object that was deleted and made again for another tenant, between two passes, leaves no slot behind.
func TestAnObjectMadeAgainKeepsNoSlotOfThePrevious(t *testing.T) {
	held := heldSlots{}
	s := resting()
	e := &Environment{Slots: &held}
	var r Reconciler
	require.True(t, r.acquireSlot(e, s.in, s.out.Seen))
	require.True(t, r.acquireSlot(e, s.in, s.out.Seen), "it keeps its own")
	require.Len(t, held, 1)
	s.object.Spec.TenantID = "5c8e2f90-3d17-4b6a-8e25-7f0b1a9c4d07"
	r.occupySlot(e, s.in)
	require.Equal(t, heldSlots{s.object.Spec.TenantID: true}, held)
	r.settleSlot(s.in, s.out, pass.Assess(s.in, s.out))
	require.Empty(t, held)
}

// freeAddress may be used by every tenant.
type freeAddress struct{}

func (freeAddress) Free(string, string) bool { return true }
func (freeAddress) Try(string, string) bool  { return true }
func (freeAddress) Prove(string)             {}
func (freeAddress) Leave(string)             {}
