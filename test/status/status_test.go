package status

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

// Each state of docs/status.md is what the page says, and from before the apply on nothing is taken for done that is not.
func TestStates(t *testing.T) {
	harness.Long(t)
	t.Parallel()
	page := readPage(t)
	for state, bring := range states {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			s := bring(t)
			s.require(page[state])
			if s.heal != nil {
				s.requireHealed()
			}
		})
	}
}

// The page has no state that is not tried, and leaves out none.
func TestThePageHasEveryState(t *testing.T) {
	t.Parallel()
	tried := slices.Collect(maps.Keys(states))
	for _, scenes := range []map[string]scene{withoutOperator, withoutRight, whileDown, inTurn, terminating, whilePaused} {
		tried = slices.AppendSeq(tried, maps.Keys(scenes))
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(readPage(t))), tried)
}
