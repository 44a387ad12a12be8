package timing

import (
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Each deadline outlasts those before it.
func TestLadders(t *testing.T) {
	for name, ladder := range map[string][]time.Duration{
		"a write":     {FlyAttempt, FlyWrite, Transaction, IdleInTransaction, Stop, Terminated, Pass},
		"a lock":      {LockWait, Statement, Call, Transaction},
		"a rollout":   {Rollout, Lease, Pass},
		"transaction": {LockWait + FlyWrite, Transaction},
	} {
		for i := 1; i < len(ladder); i++ {
			require.Less(t, ladder[i-1], ladder[i], "%s, step %d", name, i)
		}
	}
}

// What stands in other languages is the same.
func TestLaddersElsewhere(t *testing.T) {
	for path, test := range map[string]struct {
		pattern string
		want    time.Duration
	}{
		"../../config/manager/manager.yaml":       {`terminationGracePeriodSeconds: (\d+)`, Terminated},
		"../postgres/migrations/00006_claims.sql": {`lock_timeout', '(\d+)s'`, LockWait},
	} {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		found := regexp.MustCompile(test.pattern).FindAllSubmatch(content, -1)
		require.NotEmpty(t, found, path)
		for _, match := range found {
			seconds, err := strconv.Atoi(string(match[1]))
			require.NoError(t, err)
			require.Equal(t, test.want, time.Duration(seconds)*time.Second, "%s: %s", path, match[0])
		}
	}
}
