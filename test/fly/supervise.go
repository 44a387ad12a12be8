package flyemulator

import (
	"context"
	"time"
)

// probeInterval is how often a tenant app is asked for its health.
const probeInterval = 200 * time.Millisecond

// launch runs what runs on a Machine that has just been started. The caller holds mu.
func (e *Emulator) launch(a *app, m *machine) {
	epoch := m.epoch
	switch {
	case m.boot == BootCrash:
		e.goWork(func() {
			if e.pass(m) {
				e.crashed(a, m, epoch, 1)
			}
		})
	case e.tenantApp != "":
		p, err := startProcess(e.tenantApp, a.variable, m.env)
		if err != nil {
			e.goWork(func() { e.crashed(a, m, epoch, 127) })
			return
		}
		m.process = p
		e.goWork(func() { e.supervise(a, m, p, epoch) })
	}
}

// supervise follows a tenant app until it exits.
func (e *Emulator) supervise(a *app, m *machine, p *process, epoch int) {
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		select {
		case <-p.exited:
			e.crashed(a, m, epoch, p.exitCode)
			return
		case <-tick.C:
			if p.resting.Load() && p.healthy.Load() {
				continue // it stays so
			}
			ctx, cancel := context.WithTimeout(e.ctx, time.Second)
			p.healthy.Store(p.probe(ctx))
			cancel()
		}
	}
}

// endProcess stops the Machine's tenant app, if one runs, without waiting for it. The caller holds mu.
func (e *Emulator) endProcess(m *machine) {
	p := m.process
	if p == nil {
		return
	}
	m.process = nil
	gone := make(chan struct{})
	m.ended = gone
	// Not by goWork: Close itself ends processes, and waits for their end.
	e.workers.Go(func() {
		defer close(gone)
		last := p.end()
		e.mu.Lock()
		m.past.add(last)
		e.mu.Unlock()
	})
}
