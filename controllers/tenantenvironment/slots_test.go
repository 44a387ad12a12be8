package tenantenvironment

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUrgentOnesComeFirst(t *testing.T) {
	s := newSlots(1)
	require.True(t, s.Acquire("holder", false))
	require.True(t, s.Acquire("holder", false), "it keeps its slot")
	require.False(t, s.Acquire("early", false))
	require.False(t, s.Acquire("urgent", true))

	s.GiveBack("holder")
	require.False(t, s.Acquire("early", false), "the free slot is for the urgent one")
	require.True(t, s.Full(false))
	require.False(t, s.Full(true))
	require.True(t, s.Acquire("urgent", true))
	s.GiveBack("urgent")
	require.True(t, s.Acquire("early", false))
}

// A place in the queue is not kept for a tenant that does not want it any more.
func TestAPlaceInTheQueueIsGivenUp(t *testing.T) {
	for how, gives := range map[string]func(*Slots){
		"gone":                        func(s *Slots) { s.GiveBack("urgent") },
		"urgent no more":              func(s *Slots) { require.False(t, s.Acquire("urgent", false)) },
		"finishing what it had begun": func(s *Slots) { s.Occupy("urgent"); s.GiveBack("urgent") },
	} {
		t.Run(how, func(t *testing.T) {
			s := newSlots(1)
			require.True(t, s.Acquire("holder", false))
			require.False(t, s.Acquire("urgent", true))
			gives(s)
			s.GiveBack("holder")
			require.True(t, s.Acquire("early", false))
		})
	}
}
