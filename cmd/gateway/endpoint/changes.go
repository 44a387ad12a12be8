package endpoint

import (
	"context"
	"fmt"
	"sync"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/systempromptio/tenant-credential-operator/api/v1alpha1"
)

// Changes wakes the calls that wait for a TenantCredential to change.
type Changes struct {
	mu      sync.Mutex
	waiting map[client.ObjectKey]map[chan struct{}]bool
}

// Watch feeds it from a cache. A call that it wakes finds the change in the cache.
func Watch(ctx context.Context, source cache.Cache) (*Changes, error) {
	informer, err := source.GetInformer(ctx, &v1alpha1.TenantCredential{}, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, fmt.Errorf("watch TenantCredentials: %w", err)
	}
	changes := &Changes{waiting: map[client.ObjectKey]map[chan struct{}]bool{}}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    changes.notify,
		UpdateFunc: func(_, object any) { changes.notify(object) },
		DeleteFunc: changes.notify,
	})
	return changes, err
}

// subscribe returns a channel with room for one change, and how to end it. A change that comes before it is looked at is not lost.
func (c *Changes) subscribe(key client.ObjectKey) (changed <-chan struct{}, end func()) {
	channel := make(chan struct{}, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[key] == nil {
		c.waiting[key] = map[chan struct{}]bool{}
	}
	c.waiting[key][channel] = true
	return channel, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if delete(c.waiting[key], channel); len(c.waiting[key]) == 0 {
			delete(c.waiting, key)
		}
	}
}

func (c *Changes) notify(object any) {
	if tombstone, is := object.(toolscache.DeletedFinalStateUnknown); is {
		object = tombstone.Obj
	}
	changed, is := object.(*v1alpha1.TenantCredential)
	if !is {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for channel := range c.waiting[client.ObjectKeyFromObject(changed)] {
		select {
		case channel <- struct{}{}:
		default: // it has one to look at already
		}
	}
}
