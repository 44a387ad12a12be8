package main

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/reasons"
	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
)

// operator is the stand-in: it fulfils requests in the object's status.
type operator struct {
	mu        sync.Mutex
	behaviour map[client.ObjectKey]behaviour
	busy      map[client.ObjectKey]bool
	// compromised is the newest revision that ended sessions, which status does not have.
	compromised map[client.ObjectKey]int64
}

// behaviour of the stand-in towards one object.
type behaviour struct {
	// ignore: the operator is down.
	ignore bool
	// how long until the commit, then until a login has succeeded, then until the completion; negative = for ever.
	commit, prove, complete time.Duration
	// stall: instead of a commit, it stands still.
	stall string
	// access is what becomes of external access, where it is asked for.
	access string
}

func startOperator(ctx context.Context) *operator {
	o := &operator{behaviour: map[client.ObjectKey]behaviour{}, busy: map[client.ObjectKey]bool{}, compromised: map[client.ObjectKey]int64{}}
	stream, err := admin.Watch(ctx, &v1alpha1.TenantCredentialList{})
	if err != nil {
		panic(err)
	}
	go func() {
		for event := range stream.ResultChan() {
			if c, is := event.Object.(*v1alpha1.TenantCredential); is && event.Type != watch.Deleted {
				o.look(ctx, client.ObjectKeyFromObject(c))
			}
		}
	}()
	return o
}

func (o *operator) behave(key client.ObjectKey, b behaviour) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.behaviour[key] = b
}

func (o *operator) of(key client.ObjectKey) behaviour {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.behaviour[key]
}

// look runs passes until nothing is due, one at a time.
func (o *operator) look(ctx context.Context, key client.ObjectKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, known := o.behaviour[key]
	if o.busy[key] || !known || o.behaviour[key].ignore {
		return
	}
	o.busy[key] = true
	go func() {
		for o.pass(ctx, key) {
		}
		o.mu.Lock()
		o.busy[key] = false
		o.mu.Unlock()
		var c v1alpha1.TenantCredential // it may have changed since the last pass began
		if admin.Get(ctx, key, &c) == nil && o.due(&c) {
			o.look(ctx, key)
		}
	}()
}

func (o *operator) due(c *v1alpha1.TenantCredential) bool {
	request := c.Spec.RotationRequest
	if c.Status.ObservedGeneration < c.Generation {
		return true
	}
	if request == nil || c.Spec.Suspend || o.of(client.ObjectKeyFromObject(c)).stall != "" {
		return false
	}
	if request.Compromised {
		o.mu.Lock()
		defer o.mu.Unlock()
		return request.ReplacesRevision >= o.compromised[client.ObjectKeyFromObject(c)]
	}
	return request.ReplacesRevision >= c.Status.Revision
}

func (o *operator) pass(ctx context.Context, key client.ObjectKey) bool {
	b := o.of(key)
	var c v1alpha1.TenantCredential
	if admin.Get(ctx, key, &c) != nil || !o.due(&c) || b.ignore {
		return false
	}
	o.update(ctx, key, func(c *v1alpha1.TenantCredential) { o.observe(c, b) })
	if admin.Get(ctx, key, &c) != nil || !o.due(&c) {
		return false
	}
	if b.commit < 0 {
		return false
	}
	time.Sleep(b.commit)
	var committed int64
	o.update(ctx, key, func(c *v1alpha1.TenantCredential) { committed = o.rotate(c) })
	if b.prove < 0 {
		return true
	}
	time.Sleep(b.prove)
	o.update(ctx, key, func(c *v1alpha1.TenantCredential) {
		set(c, v1alpha1.PostgresSyncedCondition, metav1.ConditionTrue, reasons.Verified, "")
	})
	if b.complete < 0 {
		return true
	}
	time.Sleep(b.complete)
	o.update(ctx, key, func(c *v1alpha1.TenantCredential) {
		if last := c.Status.LastRotation; last != nil && last.Revision == committed {
			now := metav1.Now()
			last.CompletionTime = &now
			set(c, v1alpha1.ReadyCondition, metav1.ConditionTrue, reasons.Rotated, "")
			meta.RemoveStatusCondition(&c.Status.Conditions, v1alpha1.ReconcilingCondition)
			if c.Status.Fly != nil {
				c.Status.Fly.Machines.Updated = c.Status.Fly.Machines.Total
			}
		}
	})
	return true
}

func (o *operator) observe(c *v1alpha1.TenantCredential, b behaviour) {
	c.Status.ObservedGeneration = c.Generation
	for i := range c.Status.Conditions {
		c.Status.Conditions[i].ObservedGeneration = c.Generation
	}
	if c.Spec.RotationRequest != nil && b.stall != "" {
		set(c, v1alpha1.StalledCondition, metav1.ConditionTrue, b.stall, "role tenant_of_another is not allowed")
	} else if o.due(c) {
		set(c, v1alpha1.ReadyCondition, metav1.ConditionFalse, reasons.Progressing, "")
		set(c, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, reasons.Rotating, "")
	}
	switch {
	case c.Spec.ExternalAccess != nil && b.access == reasons.Enabled:
		set(c, v1alpha1.ExternalAccessCondition, metav1.ConditionTrue, b.access, "")
		c.Status.Postgres.ExternalURL = "postgresql://tenant_x@db.example.com:5432/site_x?sslmode=verify-full"
	case c.Spec.ExternalAccess != nil && b.access != "":
		set(c, v1alpha1.ExternalAccessCondition, metav1.ConditionFalse, b.access, "host db.internal has no rule")
	case c.Spec.ExternalAccess == nil && meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ExternalAccessCondition) != nil:
		set(c, v1alpha1.ExternalAccessCondition, metav1.ConditionFalse, reasons.Disabled, "")
		c.Status.Postgres.ExternalURL = ""
	}
}

func (o *operator) rotate(c *v1alpha1.TenantCredential) int64 {
	s := &c.Status
	if s.LastRotation != nil {
		s.History = append([]v1alpha1.RotationStatus{*s.LastRotation}, s.History[:min(len(s.History), 8)]...)
	}
	s.Revision++
	s.LastRotation = &v1alpha1.RotationStatus{Revision: s.Revision, Cause: "Requested", CommitTime: metav1.Now()}
	if r := c.Spec.RotationRequest; r != nil {
		s.LastRotation.Reason, s.LastRotation.RequestedBy, s.LastRotation.RequestID = r.Reason, r.RequestedBy, r.ID
		if r.Compromised {
			o.mu.Lock()
			o.compromised[client.ObjectKeyFromObject(c)] = s.Revision
			o.mu.Unlock()
		}
	}
	set(c, v1alpha1.PostgresSyncedCondition, metav1.ConditionUnknown, reasons.LoginUnproved, "")
	if s.Fly != nil {
		s.Fly.Machines.Updated = 0
	}
	return s.Revision
}

func (o *operator) update(ctx context.Context, key client.ObjectKey, change func(*v1alpha1.TenantCredential)) {
	_ = retry.OnError(retry.DefaultBackoff, func(error) bool { return true }, func() error {
		var c v1alpha1.TenantCredential
		if err := admin.Get(ctx, key, &c); err != nil {
			return client.IgnoreNotFound(err)
		}
		before := c.DeepCopy()
		change(&c)
		return client.IgnoreNotFound(admin.Status().Patch(ctx, &c, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
	})
}

func set(c *v1alpha1.TenantCredential, kind string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: c.Status.ObservedGeneration})
}

// tenant is one tenant in the cluster.
type tenant struct {
	t   testing.TB
	id  string
	key client.ObjectKey
}

// environment is a TenantEnvironment that is ready. It is made once.
func environment(t testing.TB, name string) {
	t.Helper()
	e := &v1alpha1.TenantEnvironment{Spec: v1alpha1.TenantEnvironmentSpec{
		Postgres: v1alpha1.PostgresEnvironment{
			LoginSecretRef: v1alpha1.LoginSecretReference{Name: "login"}, Internal: v1alpha1.PostgresAddress{Host: "db.internal"}, External: &v1alpha1.PostgresAddress{Host: "db.example.com"}},
		Fly:               v1alpha1.FlyEnvironment{TokenSecretRef: v1alpha1.TokenSecretReference{Name: "fly"}},
		AllowedNamespaces: v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll},
	}}
	e.Name = name
	if err := client.IgnoreAlreadyExists(admin.Create(t.Context(), e)); err != nil {
		require.NoError(t, err)
	}
	ready(t, name, metav1.ConditionTrue)
}

func ready(t testing.TB, name string, status metav1.ConditionStatus) {
	t.Helper()
	var e v1alpha1.TenantEnvironment
	require.NoError(t, admin.Get(t.Context(), client.ObjectKey{Name: name}, &e))
	before := e.DeepCopy()
	meta.SetStatusCondition(&e.Status.Conditions, metav1.Condition{Type: v1alpha1.ReadyCondition, Status: status, Reason: reasons.Connected})
	require.NoError(t, admin.Status().Patch(t.Context(), &e, client.MergeFrom(before)))
}

// newTenant is one that the operator has accepted: adopted, and never rotated.
func newTenant(t testing.TB, b behaviour) *tenant {
	t.Helper()
	return newTenantIn(t, "tenants", "sandbox", uuid.NewString(), b)
}

func newTenantIn(t testing.TB, namespace, environmentName, id string, b behaviour) *tenant {
	t.Helper()
	environment(t, environmentName)
	made := &tenant{t: t, id: id, key: client.ObjectKey{Namespace: namespace, Name: "t-" + uuid.NewString()[:13]}}
	c := &v1alpha1.TenantCredential{Spec: v1alpha1.TenantCredentialSpec{TenantID: id, EnvironmentRef: v1alpha1.EnvironmentReference{Name: environmentName}}}
	c.Namespace, c.Name = made.key.Namespace, made.key.Name
	require.NoError(t, admin.Create(t.Context(), c))
	fleet.update(t.Context(), made.key, func(c *v1alpha1.TenantCredential) {
		s := &c.Status
		s.ObservedGeneration = c.Generation
		s.Postgres = &v1alpha1.PostgresStatus{Role: "tenant_x", Database: "site_x", InternalURL: "postgresql://tenant_x@db.internal:5432/site_x"}
		s.Fly = &v1alpha1.FlyStatus{AppName: "sp-" + id[:8], Machines: &v1alpha1.MachinesStatus{Total: 4}}
		set(c, v1alpha1.ReadyCondition, metav1.ConditionTrue, reasons.Adopted, "")
		set(c, v1alpha1.PostgresSyncedCondition, metav1.ConditionTrue, reasons.Adopted, "")
	})
	fleet.behave(made.key, b)
	waitUntilKnown(t, made)
	return made
}

func (x *tenant) object() *v1alpha1.TenantCredential {
	x.t.Helper()
	var c v1alpha1.TenantCredential
	require.NoError(x.t, admin.Get(context.Background(), x.key, &c))
	return &c
}

// change changes the spec, as a user with kubectl does.
func (x *tenant) change(change func(*v1alpha1.TenantCredential)) {
	x.t.Helper()
	c := x.object()
	before := c.DeepCopy()
	change(c)
	require.NoError(x.t, admin.Patch(x.t.Context(), c, client.MergeFrom(before)))
}

// restate changes the status, as the operator does.
func (x *tenant) restate(change func(*v1alpha1.TenantCredential)) {
	x.t.Helper()
	fleet.update(x.t.Context(), x.key, change)
}

func (x *tenant) path(parts ...string) string {
	path := "/api/v1/tenants/" + x.id
	for _, part := range parts {
		path += "/" + part
	}
	return path
}
