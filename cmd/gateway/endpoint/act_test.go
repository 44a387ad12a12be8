package endpoint

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/problem"
)

// serving is an endpoint before a fake API server that has these objects, for what a real one cannot be made to do at a certain moment.
func serving(t *testing.T, functions interceptor.Funcs, objects ...client.Object) *Endpoint {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	environment := &v1alpha1.TenantEnvironment{}
	environment.Name = "sandbox"
	environment.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue}}
	server := fake.NewClientBuilder().WithScheme(scheme).WithObjects(append(objects, environment)...).WithInterceptorFuncs(functions).Build()
	return &Endpoint{Cached: server, Live: server, Writer: server, MinInterval: time.Minute, Clock: clock.RealClock{}}
}

func inSandbox(c *v1alpha1.TenantCredential) {
	c.UID, c.Spec.EnvironmentRef.Name = "uid", "sandbox"
}

func TestAnotherObjectOfTheSameNameIsNotWrittenTo(t *testing.T) {
	e := serving(t, interceptor.Funcs{}, object(inSandbox))
	known := refer(object(inSandbox))
	_, _, err := e.act(t.Context(), known, ask{caller: staff, id: "new", known: 4})
	require.NoError(t, err)
	known.uid = "the one before"
	_, _, err = e.act(t.Context(), known, ask{caller: staff, id: "new", known: 4})
	require.Equal(t, errNotFound, err)
}

func TestAnObjectThatTheOperatorHasRefusedMeanwhileIsNotWrittenTo(t *testing.T) {
	refused := object(inSandbox, says(v1alpha1.StalledCondition, reasons.TenantNotBound))
	_, _, err := serving(t, interceptor.Funcs{}, refused).act(t.Context(), refer(refused), ask{caller: staff, id: "new", known: 4})
	require.Equal(t, errNotFound, err)
}

// Calls that come while one is being written are decided together: one read and one write.
func TestCallsThatWaitAreDecidedTogether(t *testing.T) {
	writes := 0
	first, goOn := make(chan struct{}), make(chan struct{})
	e := serving(t, interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
		if writes++; writes == 1 {
			close(first)
			<-goOn
		}
		return c.Patch(ctx, o, p, options...)
	}}, object(inSandbox))
	known := refer(object(inSandbox))
	var calls sync.WaitGroup
	begin := func(a ask) {
		calls.Go(func() {
			_, target, err := e.act(context.Background(), known, a)
			require.NoError(t, err)
			require.EqualValues(t, 4, target.replaces)
		})
	}
	begin(keyed(t, staff, "first", "", 4))
	<-first
	for i := range 50 {
		begin(keyed(t, staff, fmt.Sprint(i), "", 4))
	}
	require.Eventually(t, func() bool {
		e.queues.mu.Lock()
		defer e.queues.mu.Unlock()
		return len(e.queues.waiting[known]) == 50
	}, 10*time.Second, time.Millisecond)
	close(goOn)
	calls.Wait()
	require.Equal(t, 2, writes)
	var c v1alpha1.TenantCredential
	require.NoError(t, e.Live.Get(t.Context(), known.ObjectKey, &c))
	require.Len(t, c.Spec.RotationRequest.JoinedIDs, 50)
	require.Empty(t, e.queues.waiting, "nothing is kept of what is done")
}

func TestADecisionThatPanicsEndsItsCallsAlone(t *testing.T) {
	broken := true
	e := serving(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
		if broken {
			panic("a mistake")
		}
		return c.Get(ctx, key, o, options...)
	}}, object(inSandbox))
	_, _, err := e.act(t.Context(), refer(object(inSandbox)), ask{caller: staff, id: "new", known: 4})
	require.ErrorContains(t, err, "panicked")
	broken = false
	_, _, err = e.act(t.Context(), refer(object(inSandbox)), ask{caller: staff, id: "new", known: 4})
	require.NoError(t, err)
}

// An object that another client changes again and again is given up, and nothing is written that was decided on an older state.
func TestAnObjectThatChangesAllTheTime(t *testing.T) {
	e := serving(t, interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
		other := &v1alpha1.TenantCredential{}
		if err := c.Get(ctx, client.ObjectKeyFromObject(o), other); err != nil {
			return err
		}
		other.Status.ObservedGeneration++
		if err := c.Update(ctx, other); err != nil {
			return err
		}
		return c.Patch(ctx, o, p, options...)
	}}, object(inSandbox))
	_, _, err := e.act(t.Context(), refer(object(inSandbox)), ask{caller: staff, id: "new", known: 4})
	var p *problem.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, http.StatusServiceUnavailable, p.Status)
	var c v1alpha1.TenantCredential
	require.NoError(t, e.Live.Get(t.Context(), refer(object(inSandbox)).ObjectKey, &c))
	require.Nil(t, c.Spec.RotationRequest)
}
