package tenantenvironment

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// asleep is a tenant that is not to be woken.
func asleep(t *testing.T) func() { return func() { require.Fail(t, "woken") } }

// line notes who is woken, in order.
type line []string

func (l *line) wake(tenant string) func() { return func() { *l = append(*l, tenant) } }

func TestFirstComeFirstServedAndTheUrgentBefore(t *testing.T) {
	s, woken := newSlots(1), &line{}
	require.True(t, s.Acquire("holder", false, asleep(t)))
	require.True(t, s.Acquire("holder", false, asleep(t)), "it keeps its slot")
	for _, tenant := range []string{"first", "second", "third"} {
		require.False(t, s.Acquire(tenant, false, woken.wake(tenant)))
	}
	for _, tenant := range []string{"urgent", "urgent too"} {
		require.False(t, s.Acquire(tenant, true, woken.wake(tenant)))
	}
	require.False(t, s.Acquire("first", false, asleep(t)), "it keeps its place")
	require.True(t, s.Waits("first"))
	require.Empty(t, *woken)

	for i, next := range []string{"urgent", "urgent too", "first", "second", "third"} {
		s.GiveBack([]string{"holder", "urgent", "urgent too", "first", "second"}[i])
		require.Equal(t, next, (*woken)[i])
		require.Len(t, *woken, i+1, "each slot wakes one")
		require.False(t, s.Waits(next))
		require.False(t, s.Acquire("late", false, asleep(t)), "the slot is for the one that was woken")
		s.GiveBack("late")
		require.True(t, s.Acquire(next, false, asleep(t)))
	}
}

func TestMoreSlotsWakeMore(t *testing.T) {
	s, woken := newSlots(0), &line{}
	for _, tenant := range []string{"a", "b", "c"} {
		require.False(t, s.Acquire(tenant, false, woken.wake(tenant)))
	}
	s.resize(2)
	require.Equal(t, line{"a", "b"}, *woken)
}

// A place in line is not kept for a tenant that does not want it any more.
func TestAPlaceInLineIsGivenUp(t *testing.T) {
	for how, gives := range map[string]func(*Slots){
		"gone":                        func(s *Slots) { s.GiveBack("urgent") },
		"urgent no more":              func(s *Slots) { require.False(t, s.Acquire("urgent", false, asleep(t))) },
		"finishing what it had begun": func(s *Slots) { s.Occupy("urgent"); s.GiveBack("urgent") },
	} {
		t.Run(how, func(t *testing.T) {
			s, woken := newSlots(1), &line{}
			require.True(t, s.Acquire("holder", false, asleep(t)))
			require.False(t, s.Acquire("early", false, woken.wake("early")))
			require.False(t, s.Acquire("urgent", true, asleep(t)))
			gives(s)
			s.GiveBack("holder")
			require.Equal(t, line{"early"}, *woken)
		})
	}
}

// One that is woken and wants no slot any more gives it to the next.
func TestASlotThatIsNotWantedGoesOn(t *testing.T) {
	s, woken := newSlots(1), &line{}
	require.True(t, s.Acquire("holder", false, asleep(t)))
	require.False(t, s.Acquire("suspended", false, woken.wake("suspended")))
	require.False(t, s.Acquire("next", false, woken.wake("next")))
	s.GiveBack("holder")
	s.GiveBack("suspended")
	require.Equal(t, line{"suspended", "next"}, *woken)
}
