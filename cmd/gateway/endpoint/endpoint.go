// Package endpoint does what the calls ask for. A call is a straight line: authorise, resolve, decide, act, wait, answer. Pure functions decide,
// on an object that was read live.
package endpoint

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/identity"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/ownership"
)

// FieldManager is the name of the endpoint's writes.
const FieldManager = "tenant-credential-gateway"

// TenantIndex is the cache's index of TenantCredentials by their tenant.
const TenantIndex = "spec.tenantID"

// Owners knows the owner of each tenant.
type Owners interface {
	Ask(ctx context.Context, tenantID, subject string) ownership.Answer
}

// Endpoint answers the calls.
type Endpoint struct {
	// Cached reads what the endpoint watches.
	Cached client.Reader
	// Live reads from the API server.
	Live client.Reader
	// Writer patches TenantCredentials.
	Writer client.Writer
	// Changes wakes the waiting calls.
	Changes *Changes
	// Authorizer says what subjects of the cluster may do.
	Authorizer authorizer.Authorizer
	// Owners says what customers may do.
	Owners Owners
	// MinInterval is the least time between two rotations of a tenant.
	MinInterval time.Duration
	// Stopping is closed when the process is about to end: then no call waits any more.
	Stopping <-chan struct{}
	// Clock is the time.
	Clock clock.PassiveClock

	queues queues
}

var _ openapi.StrictServerInterface = (*Endpoint)(nil)

// callerKey is where a request's context has its caller.
type callerKey struct{}

// WithCaller adds the authenticated caller to a request's context.
func WithCaller(ctx context.Context, caller identity.Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, caller)
}

// callerFrom is the caller that WithCaller added. Without one there is a mistake in the wiring, which no call may pass.
func callerFrom(ctx context.Context) identity.Caller {
	caller, is := ctx.Value(callerKey{}).(identity.Caller)
	if !is {
		panic("a call without a caller has reached the endpoint")
	}
	return caller
}

// arrival is what this process knew of a tenant when a call arrived.
type arrival struct {
	time      time.Time
	revisions map[types.UID]int64
}

type arrivalKey struct{}

// Arrived notes a call's arrival in its context, before anything that takes time: calls that arrive together are one rotation, however long each of them
// takes to be authenticated.
func (e *Endpoint) Arrived(ctx context.Context, tenantID string) context.Context {
	a := arrival{time: e.Clock.Now(), revisions: map[types.UID]int64{}}
	var list v1alpha1.TenantCredentialList
	if err := e.Cached.List(ctx, &list, client.MatchingFields{TenantIndex: tenantID}, client.UnsafeDisableDeepCopy); err == nil {
		for i := range list.Items {
			a.revisions[list.Items[i].UID] = list.Items[i].Status.Revision
		}
	}
	return context.WithValue(ctx, arrivalKey{}, a)
}

func arrivalFrom(ctx context.Context) arrival {
	a, is := ctx.Value(arrivalKey{}).(arrival)
	if !is {
		panic("a call whose arrival was not noted has reached the endpoint")
	}
	return a
}

// known is the revision at the arrival; the one that was found later, where there was none.
func (a arrival) known(found *v1alpha1.TenantCredential) int64 {
	if revision, is := a.revisions[found.UID]; is {
		return revision
	}
	return found.Status.Revision
}
