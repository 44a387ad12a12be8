package endpoint

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/identity"
	"github.com/systempromptio/tenant-credential-operator/cmd/gateway/openapi"
)

var (
	now      = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	staff    = identity.Caller{Kind: identity.Cluster, User: &user.DefaultInfo{Name: "staff"}}
	customer = identity.Caller{Kind: identity.Customer, User: &user.DefaultInfo{Name: "alice"}}
)

// object is one at revision 4, which was completed two minutes ago.
func object(changes ...func(*v1alpha1.TenantCredential)) *v1alpha1.TenantCredential {
	c := &v1alpha1.TenantCredential{}
	c.Namespace, c.Name, c.Generation = "tenants", "acme", 7
	c.Spec.TenantID = "7dd06cd6-54f7-4f8f-a8f1-3d3f4b1c7a01"
	done := metav1.NewTime(now.Add(-2 * time.Minute))
	c.Status = v1alpha1.TenantCredentialStatus{ObservedGeneration: 7, Revision: 4,
		LastRotation: &v1alpha1.RotationStatus{Revision: 4, RequestID: "four", CommitTime: done, CompletionTime: &done},
		History:      []v1alpha1.RotationStatus{{Revision: 3, RequestID: "three", CommitTime: done}, {Revision: 2, CommitTime: done, CompletionTime: &done}},
		Postgres:     &v1alpha1.PostgresStatus{InternalURL: "postgresql://t@db:5432/s"},
		Conditions: []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: reasons.Rotated},
			{Type: v1alpha1.PostgresSyncedCondition, Status: metav1.ConditionTrue, Reason: reasons.Verified}},
	}
	for _, change := range changes {
		change(c)
	}
	return c
}

func asks(request v1alpha1.RotationRequest) func(*v1alpha1.TenantCredential) {
	return func(c *v1alpha1.TenantCredential) { c.Spec.RotationRequest = &request }
}

// says has a condition in the place of Ready.
func says(kind, reason string) func(*v1alpha1.TenantCredential) {
	return func(c *v1alpha1.TenantCredential) {
		c.Status.Conditions[0] = metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: "role of another"}
	}
}

// keyed is a call with a key.
func keyed(t *testing.T, caller identity.Caller, key, reason string, known int64) ask {
	t.Helper()
	body := openapi.RotationRequest{}
	if reason != "" {
		body.Reason = &reason
	}
	a, err := newAsk(caller, openapi.RotateCredentialsRequestObject{Body: &body, Params: openapi.RotateCredentialsParams{IdempotencyKey: &key}})
	require.NoError(t, err)
	a.known = known
	return a
}

func TestDecide(t *testing.T) {
	plain := ask{caller: staff, id: "new", known: 4}
	compromised := ask{caller: staff, id: "new", known: 4, compromised: true}
	key := keyed(t, staff, "k", "why", 4)
	before := now.Add(-2 * time.Minute)
	late := ask{caller: staff, id: "new", known: 3, arrived: before}
	lateKey := keyed(t, staff, "k", "", 3)
	lateKey.arrived = before
	other := keyed(t, staff, "k", "another reason", 4)
	stranger := keyed(t, customer, "k", "why", 4)
	revision := func(r int64) *int64 { return &r }
	five := int64(4)
	suspend := func(c *v1alpha1.TenantCredential) { c.Spec.Suspend = true }
	recent := func(c *v1alpha1.TenantCredential) {
		c.Status.LastRotation.CommitTime = metav1.NewTime(now.Add(-10 * time.Second))
	}
	full := v1alpha1.RotationRequest{ReplacesRevision: 4, ID: "r"}
	for range mostJoined {
		full.JoinedIDs = append(full.JoinedIDs, "x")
	}
	for name, test := range map[string]struct {
		object   *v1alpha1.TenantCredential
		ask      ask
		notReady bool
		step     step
		code     openapi.ProblemErrorCode
		replaces int64
		revision int64
	}{
		"at rest":                                    {object: object(), ask: plain, step: write, replaces: 4},
		"a fulfilled request is replaced":            {object: object(asks(v1alpha1.RotationRequest{ReplacesRevision: 3, ID: "four"})), ask: plain, step: write, replaces: 4},
		"a pending request is waited for":            {object: object(asks(v1alpha1.RotationRequest{ReplacesRevision: 4, ID: "r"})), ask: plain, step: await, replaces: 4},
		"with a key it is joined":                    {object: object(asks(v1alpha1.RotationRequest{ReplacesRevision: 4, ID: "r"})), ask: key, step: join, replaces: 4},
		"by so many and no more":                     {object: object(asks(full)), ask: key, step: refuse, code: openapi.RateLimited},
		"without a key by any number":                {object: object(asks(full)), ask: plain, step: await, replaces: 4},
		"a compromise replaces a pending request":    {object: object(asks(v1alpha1.RotationRequest{ReplacesRevision: 4, ID: "r"})), ask: compromised, step: write, replaces: 4},
		"a compromise joins another":                 {object: object(asks(v1alpha1.RotationRequest{ReplacesRevision: 4, ID: "r", Compromised: true})), ask: compromised, step: await, replaces: 4},
		"another call joins a compromise":            {object: object(asks(v1alpha1.RotationRequest{ReplacesRevision: 4, ID: "r", Compromised: true})), ask: key, step: join, replaces: 4},
		"a compromise that was fulfilled":            {object: object(asks(v1alpha1.RotationRequest{ReplacesRevision: 3, ID: "four", Compromised: true})), ask: compromised, step: write, replaces: 4},
		"the key again":                              {object: object(asks(v1alpha1.RotationRequest{ReplacesRevision: 4, ID: key.id})), ask: key, step: await, replaces: 4},
		"the key of one that joined":                 {object: object(asks(v1alpha1.RotationRequest{ReplacesRevision: 4, ID: "r", JoinedIDs: []string{"x", key.id}})), ask: key, step: await, replaces: 4},
		"the key of the last rotation":               {object: object(func(c *v1alpha1.TenantCredential) { c.Status.LastRotation.RequestID = key.id }), ask: key, step: await, revision: 4},
		"the key of one before":                      {object: object(func(c *v1alpha1.TenantCredential) { c.Status.History[0].RequestID = key.id }), ask: key, step: await, revision: 3},
		"the key again where nothing could be":       {object: object(suspend, asks(v1alpha1.RotationRequest{ReplacesRevision: 4, ID: key.id})), ask: key, notReady: true, step: await, replaces: 4},
		"the key with another payload":               {object: object(asks(v1alpha1.RotationRequest{ReplacesRevision: 4, ID: key.id})), ask: other, step: refuse, code: openapi.IdempotencyKeyReused},
		"another caller's key":                       {object: object(asks(v1alpha1.RotationRequest{ReplacesRevision: 4, ID: key.id})), ask: stranger, step: join, replaces: 4},
		"If-Match":                                   {object: object(), ask: ask{caller: staff, id: "new", known: 4, ifMatch: revision(4)}, step: write, replaces: 4},
		"If-Match of another revision":               {object: object(), ask: ask{caller: staff, id: "new", known: 4, ifMatch: revision(3)}, step: refuse, code: openapi.RevisionMismatch},
		"it arrived before the last rotation":        {object: object(), ask: late, step: await, replaces: 3},
		"this process had not heard of it":           {object: object(), ask: ask{caller: staff, id: "new", known: 3, arrived: now}, step: write, replaces: 4},
		"so did one with a key":                      {object: object(asks(v1alpha1.RotationRequest{ReplacesRevision: 3, ID: "four"})), ask: lateKey, step: join, replaces: 3},
		"and one that no request can remember":       {object: object(), ask: lateKey, step: write, replaces: 3},
		"and one whose If-Match is what it was":      {object: object(), ask: ask{caller: staff, id: "new", known: 3, arrived: before, ifMatch: revision(3)}, step: await, replaces: 3},
		"a compromise is not done by another":        {object: object(), ask: ask{caller: staff, id: "new", known: 3, arrived: before, compromised: true}, step: write, replaces: 4},
		"but by another compromise":                  {object: object(asks(v1alpha1.RotationRequest{ReplacesRevision: 3, ID: "four", Compromised: true})), ask: ask{caller: staff, id: "new", known: 3, arrived: before, compromised: true}, step: await, replaces: 3},
		"If-Match of what it has become":             {object: object(), ask: ask{caller: staff, id: "new", known: 3, arrived: before, ifMatch: revision(4)}, step: write, replaces: 4},
		"a compromise after another call's rotation": {object: object(asks(v1alpha1.RotationRequest{ReplacesRevision: 3, ID: "four"})), ask: ask{caller: staff, id: "new", known: 3, arrived: before, compromised: true}, step: write, replaces: 4},
		"a reason of two lines":                      {object: object(), ask: ask{caller: staff, id: "new", known: 4, reason: "a\u2028b"}, step: refuse, code: openapi.InvalidRequest},
		"deleting":                                   {object: object(func(c *v1alpha1.TenantCredential) { c.DeletionTimestamp = &metav1.Time{Time: now} }), ask: plain, step: refuse, code: openapi.Deleting},
		"suspended":                                  {object: object(suspend), ask: plain, step: refuse, code: openapi.Suspended},
		"suspended with a request":                   {object: object(suspend, asks(v1alpha1.RotationRequest{ReplacesRevision: 4})), ask: plain, step: refuse, code: openapi.Suspended},
		"suspended with a rotation in progress":      {object: object(suspend, asks(v1alpha1.RotationRequest{ReplacesRevision: 4}), says(v1alpha1.ReconcilingCondition, reasons.Rotating)), ask: plain, step: await, replaces: 4},
		"stalled":                                    {object: object(says(v1alpha1.StalledCondition, "FlyAppNotFound")), ask: plain, step: refuse, code: openapi.Stalled},
		"stalled before the spec was changed":        {object: object(says(v1alpha1.StalledCondition, "FlyAppNotFound"), func(c *v1alpha1.TenantCredential) { c.Generation++ }), ask: plain, step: write, replaces: 4},
		"stalled by what a rotation heals":           {object: object(says(v1alpha1.StalledCondition, reasons.DriftDetected)), ask: plain, step: write, replaces: 4},
		"the environment is not ready":               {object: object(), ask: plain, notReady: true, step: refuse, code: openapi.Unavailable},
		"too soon":                                   {object: object(recent), ask: plain, step: refuse, code: openapi.RateLimited},
		"a compromise is never too soon":             {object: object(recent), ask: compromised, step: write, replaces: 4},
		"to join is never too soon":                  {object: object(recent, asks(v1alpha1.RotationRequest{ReplacesRevision: 4})), ask: plain, step: await, replaces: 4},
		"a name that cannot be recorded":             {object: object(), ask: ask{caller: named(strings.Repeat("a", 254)), known: 4}, step: refuse, code: openapi.Forbidden},
		"a name of two lines":                        {object: object(), ask: ask{caller: named("a\nb"), known: 4}, step: refuse, code: openapi.Forbidden},
		"a name that turns the text round":           {object: object(), ask: ask{caller: named("a\u202eb"), known: 4}, step: refuse, code: openapi.Forbidden},
		"never rotated": {object: object(func(c *v1alpha1.TenantCredential) {
			c.Status.Revision, c.Status.LastRotation, c.Status.History = 0, nil, nil
		}), ask: ask{caller: staff, id: "new"}, step: write, replaces: 0},
		"never rotated, asked for already": {object: object(asks(v1alpha1.RotationRequest{}), func(c *v1alpha1.TenantCredential) {
			c.Status.Revision, c.Status.LastRotation, c.Status.History = 0, nil, nil
		}), ask: ask{caller: staff, id: "new"}, step: await, replaces: 0},
		"the revision that was known is the newest": {object: object(), ask: ask{caller: staff, id: "new", known: five}, step: write, replaces: 4},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(test.object, !test.notReady, test.ask, time.Minute, now)
			require.Equal(t, test.step, d.step, "%+v", d.problem)
			if test.step == refuse {
				require.Equal(t, test.code, d.problem.Code)
				return
			}
			require.Equal(t, test.revision, d.target.revision)
			require.Equal(t, test.replaces, d.target.replaces)
			if d.step == write {
				require.Equal(t, test.replaces, d.request.ReplacesRevision)
				require.Equal(t, test.ask.id, d.request.ID)
				require.Equal(t, test.ask.caller.Name(), d.request.RequestedBy)
				require.Equal(t, test.ask.compromised, d.request.Compromised)
			}
		})
	}
}

func named(name string) identity.Caller {
	return identity.Caller{Kind: identity.Customer, User: &user.DefaultInfo{Name: name}}
}

func TestACompromiseKeepsWhoHasJoined(t *testing.T) {
	d := decide(object(asks(v1alpha1.RotationRequest{ReplacesRevision: 4, ID: "r", JoinedIDs: []string{"x", "y"}})), true, ask{caller: staff, id: "new", known: 4, compromised: true}, time.Minute, now)
	require.Equal(t, []string{"r", "x", "y"}, d.request.JoinedIDs)
}

func TestRetryAfterOfTooSoon(t *testing.T) {
	c := object(func(c *v1alpha1.TenantCredential) {
		c.Status.LastRotation.CommitTime = metav1.NewTime(now.Add(-10 * time.Second))
	})
	require.Equal(t, 50*time.Second, decide(c, true, ask{caller: staff, known: 4}, time.Minute, now).problem.RetryAfter)
	c.Status.LastRotation.CommitTime = metav1.NewTime(now.Add(time.Hour)) // another clock
	require.Equal(t, time.Minute, decide(c, true, ask{caller: staff, known: 4}, time.Minute, now).problem.RetryAfter)
}

func TestWhatIsSaidToWhom(t *testing.T) {
	suspendedObject := object(func(c *v1alpha1.TenantCredential) { c.Spec.Suspend = true })
	require.Contains(t, suspended(suspendedObject, staff).Detail, "kubectl patch tcred acme -n tenants")
	require.NotContains(t, suspended(suspendedObject, customer).Detail, "acme")
	condition := &metav1.Condition{Reason: reasons.NameConflict, Message: "tenant 4f21a7c9 has the same role"}
	require.Contains(t, standingStill(condition, staff, "Nothing was done.").Detail, "4f21a7c9")
	require.Contains(t, standingStill(condition, customer, "Nothing was done.").Detail, reasons.NameConflict)
	require.NotContains(t, standingStill(condition, customer, "Nothing was done.").Detail, "4f21a7c9")
	condition.Message = strings.Repeat("é", 40000)
	require.Less(t, len(standingStill(condition, staff, "").Detail), 1200)
}

func TestMeasure(t *testing.T) {
	completed := metav1.NewTime(now)
	committed := func(proved metav1.ConditionStatus) *v1alpha1.TenantCredential {
		return object(func(c *v1alpha1.TenantCredential) {
			c.Status.Revision = 5
			c.Status.History = append([]v1alpha1.RotationStatus{*c.Status.LastRotation}, c.Status.History...)
			c.Status.LastRotation = &v1alpha1.RotationStatus{Revision: 5, RequestID: "five", CommitTime: completed}
			c.Status.Conditions[1].Status = proved
		})
	}
	done := func(c *v1alpha1.TenantCredential) *v1alpha1.TenantCredential {
		c.Status.LastRotation.CompletionTime = &completed
		return c
	}
	for name, test := range map[string]struct {
		object                           *v1alpha1.TenantCredential
		target                           target
		revision                         int64
		committed, completed, superseded bool
	}{
		"asked for":                     {object: object(), target: target{replaces: 4}, revision: 5},
		"committed, and not proved":     {object: committed(metav1.ConditionUnknown), target: target{replaces: 4}, revision: 5},
		"proved":                        {object: committed(metav1.ConditionTrue), target: target{replaces: 4}, revision: 5, committed: true},
		"completed":                     {object: done(committed(metav1.ConditionTrue)), target: target{replaces: 4}, revision: 5, committed: true, completed: true},
		"the first one after":           {object: committed(metav1.ConditionTrue), target: target{replaces: 1}, revision: 2, committed: true, completed: true},
		"one that was superseded":       {object: committed(metav1.ConditionTrue), target: target{revision: 3}, revision: 3, committed: true, completed: true, superseded: true},
		"a compromise, by its id":       {object: committed(metav1.ConditionTrue), target: target{replaces: 3, compromised: true, requestID: "five", generation: 8}, revision: 5, committed: true},
		"a compromise is not another":   {object: committed(metav1.ConditionTrue), target: target{replaces: 4, compromised: true, requestID: "mine", generation: 8}, revision: 6},
		"until nothing is due any more": {object: committed(metav1.ConditionTrue), target: target{replaces: 4, compromised: true, requestID: "mine", generation: 7}, revision: 5, committed: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := measure(test.object, test.target)
			require.Equal(t, test.revision, p.revision)
			require.Equal(t, test.committed, p.done(false), "%+v", p)
			require.Equal(t, test.completed, p.done(true), "%+v", p)
			require.Equal(t, test.superseded, p.superseded)
		})
	}
}

func TestPrefer(t *testing.T) {
	for header, want := range map[string]struct {
		wait    time.Duration
		applied string
	}{
		"":                                {20 * time.Second, ""},
		"respond-async":                   {0, "respond-async"},
		"Respond-Async; foo=bar":          {0, "respond-async"},
		"wait=3":                          {3 * time.Second, "wait=3"},
		`wait="3"`:                        {3 * time.Second, "wait=3"},
		"wait = 3":                        {3 * time.Second, "wait=3"},
		"wait=0":                          {0, "wait=0"},
		"wait=3600":                       {25 * time.Second, "wait=25"},
		"wait=9223372036854775807":        {25 * time.Second, "wait=25"},
		"respond-async, wait=3":           {3 * time.Second, "wait=3"},
		"wait=3, respond-async":           {3 * time.Second, "wait=3"},
		"wait=3, wait=9":                  {3 * time.Second, "wait=3"},
		"wait=-1":                         {20 * time.Second, ""},
		"wait=x, return=minimal, unknown": {20 * time.Second, ""},
	} {
		wait, applied := parsePrefer(header)
		require.Equal(t, want.wait, wait, header)
		require.Equal(t, want.applied, applied, header)
	}
}

func TestIfMatch(t *testing.T) {
	for header, want := range map[string]string{"": "any", "*": "any", `"4"`: "4", `"0"`: "0", "4": "", `"x"`: "", `W/"4"`: "", `"4", "5"`: "", `"-1"`: "", `"04"`: "", `"`: "", `""`: ""} {
		revision, err := parseMatch(header)
		switch want {
		case "any":
			require.NoError(t, err)
			require.Nil(t, revision)
		case "":
			require.Error(t, err, header)
		default:
			require.NoError(t, err)
			require.Equal(t, want, fmt.Sprint(*revision))
		}
	}
}

func TestMask(t *testing.T) {
	for url, masked := range map[string]string{
		"": "",
		"postgresql://t@db:5432/s?sslmode=verify-full": "postgresql://t:********@db:5432/s?sslmode=verify-full",
		"postgres://t%40x@[::1]:5432/s?options=a%40b":  "postgres://t%40x:********@[::1]:5432/s?options=a%40b",
		"postgresql://db:5432/s?options=a@b":           "postgresql://db:5432/s?options=a@b",
	} {
		require.Equal(t, masked, mask(url))
	}
}

func TestIDsFitTheirField(t *testing.T) {
	a := keyed(t, customer, strings.Repeat("~", 64), "r", 0)
	require.Regexp(t, `^[A-Za-z0-9_-]{32}\.[A-Za-z0-9_-]{16}$`, a.id)
	require.NotEqual(t, keyed(t, staff, "k", "", 0).key, keyed(t, named("staff"), "k", "", 0).key, "a customer with a name of the cluster is another caller")
	without, err := newAsk(staff, openapi.RotateCredentialsRequestObject{})
	require.NoError(t, err)
	require.Regexp(t, `^[A-Z0-9]{26}$`, without.id)
}
