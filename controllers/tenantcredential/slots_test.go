package tenantcredential

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// heldSlots are as many as are asked for.
type heldSlots map[string]bool

func (h heldSlots) Acquire(tenantID string, _ bool) bool { h[tenantID] = true; return true }
func (h heldSlots) Full(bool) bool                       { return false }
func (h heldSlots) Occupy(tenantID string)               { h[tenantID] = true }
func (h heldSlots) Release(tenantID string)              { delete(h, tenantID) }

// An object that was deleted and made again for another tenant, between two passes, leaves no slot behind.
func TestAnObjectMadeAgainKeepsNoSlotOfTheFormer(t *testing.T) {
	held := heldSlots{}
	s := resting()
	s.connection = &Environment{Slots: &held}
	var r Reconciler
	require.True(t, r.acquireSlot(s))
	require.True(t, r.acquireSlot(s), "it keeps its own")
	require.Len(t, held, 1)
	s.object.Spec.TenantID = "5c8e2f90-3d17-4b6a-8e25-7f0b1a9c4d07"
	r.occupySlot(s)
	require.Equal(t, heldSlots{s.id(): true}, held)
	r.giveSlotBack(s)
	require.Empty(t, held)
}
