package status

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
	"github.com/systempromptio/tenant-credential-operator/test/platform"
)

// patience is how long something may take on a machine that is busy with other tests.
const patience = 2 * time.Minute

// stage is a tenant on its way into a state, and beyond it.
type stage struct {
	platform.Tenant
	t       *testing.T
	history *history
	// generation is the first of the object that the apply has made, and revision the one that the apply asks for; 0 = none.
	generation, revision int64
	// wait is the kubectl wait that began right after the apply.
	wait *waiting
	// heal removes what keeps the tenant in the state; nil = it stays.
	heal func()
}

func newStage(t *testing.T, x platform.Tenant) *stage {
	t.Helper()
	return &stage{Tenant: x.For(t), t: t, history: follow(t, x)}
}

// newTenant is a stage with a tenant of its own in sandbox, which has a Machine in each of the states.
func newTenant(t *testing.T, machines ...string) *stage {
	t.Helper()
	return newStage(t, platform.NewTenant(t, machines...))
}

// given applies an object that is new, and waits until it is Ready.
func (s *stage) given(spec ...string) {
	s.t.Helper()
	s.Apply(spec...)
	s.eventually(func() bool { return s.history.current(1) })
}

// adopted is newTenant with the object adopted, rotated with its first rotation done.
func adopted(t *testing.T, machines ...string) *stage {
	t.Helper()
	s := newTenant(t, machines...)
	s.given()
	return s
}

func rotated(t *testing.T) *stage {
	t.Helper()
	s := newTenant(t, "stopped")
	s.given("rotationGeneration: 1")
	return s
}

// asks applies what asks for a rotation, and has kubectl wait for it.
func (s *stage) asks(spec ...string) {
	s.t.Helper()
	s.generation, s.revision = 1, 1
	if s.history.last().generation > 0 {
		before := s.Get()
		s.generation, s.revision = before.Metadata.Generation+1, before.Status.Revision+1
	}
	s.applies(spec...)
}

// applies applies what asks for nothing new, and has kubectl wait.
func (s *stage) applies(spec ...string) {
	s.t.Helper()
	s.Apply(spec...)
	s.wait = begin(s.t, s.Tenant)
}

// require waits until the object shows the row, and asks kubectl about it. Every version since the object was made is looked at, too.
func (s *stage) require(expected row) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); s.history.last().row != expected && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond) // between two looks
	}
	require.Equal(s.t, expected, s.history.last().row, "%s", s.Describe())
	if expected.Wait == returns {
		require.NoError(s.t, s.wait.end(), "kubectl wait")
	} else {
		output, err := harness.Try("", "-n", "tenants-sandbox", "wait", "tcred", s.Name, "--for=condition=Ready", "--timeout=0s")
		require.Error(s.t, err, "kubectl takes it for Ready: %s", output)
		require.Contains(s.t, output, "condition not met")
		require.True(s.t, s.wait.goesOn(), "kubectl wait has returned")
	}
	s.requireNotEarly()
}

// requireHealed heals, and has kubectl wait return once everything is done that was asked for.
func (s *stage) requireHealed() {
	s.t.Helper()
	s.heal()
	require.NoError(s.t, s.wait.end(), "kubectl wait: %s", s.Describe())
	s.eventually(func() bool { return s.history.current(s.generation) })
	s.requireNotEarly()
}

func (s *stage) requireNotEarly() {
	s.t.Helper()
	if early := s.history.early(s.generation, s.revision); early != nil {
		require.Fail(s.t, "Ready before it is done", "revision %d is asked for:\n%s", s.revision, text(early))
	}
}

func text(object any) string {
	content, err := yaml.Marshal(object)
	return fmt.Sprint(string(content), err)
}

// waiting is a kubectl wait --for=condition=Ready.
type waiting struct {
	output strings.Builder
	ended  chan struct{}
	err    error // once it has ended
}

func begin(t *testing.T, x platform.Tenant) *waiting {
	t.Helper()
	command := exec.CommandContext(t.Context(), "kubectl", "-n", "tenants-sandbox", "wait", "tcred", x.Name, "--for=condition=Ready", "--timeout=300s")
	w := &waiting{ended: make(chan struct{})}
	command.Stdout, command.Stderr = &w.output, &w.output
	require.NoError(t, command.Start())
	go func() {
		w.err = command.Wait()
		close(w.ended)
	}()
	t.Cleanup(func() { <-w.ended }) // the context of the test has ended it
	return w
}

func (w *waiting) goesOn() bool {
	select {
	case <-w.ended:
		return false
	default:
		return true
	}
}

// end waits until it has returned.
func (w *waiting) end() error {
	select {
	case <-w.ended:
	case <-time.After(patience):
		return fmt.Errorf("it has not returned")
	}
	if w.err != nil {
		return fmt.Errorf("%w: %s", w.err, w.output.String())
	}
	return nil
}
