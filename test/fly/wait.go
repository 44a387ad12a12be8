package flyemulator

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// waitMachine answers once the Machine is in one of the states, in the version that was asked for.
func (e *Emulator) waitMachine(c *call) (answer, error) {
	query := c.URL.Query()
	states, version := query["state"], query.Get("version")
	if len(states) == 0 {
		states = []string{stateStarted}
	}
	if version == "" {
		version = query.Get("instance_id")
	}
	if version == "" && slices.Contains(states, stateStopped) {
		return answer{}, fail(http.StatusBadRequest, "instance_id required when waiting for stopped machine")
	}
	timeout, err := waitTimeout(query.Get("timeout"))
	if err != nil {
		return answer{}, err
	}
	expired := time.NewTimer(timeout)
	defer expired.Stop()
	for {
		e.mu.Lock()
		m, changed := c.machine, e.changed
		state, reached := m.state, (version == "" || version == m.instance) && m.isIn(states)
		body := map[string]any{"ok": true, "state": m.state, "version": m.instance, "event_id": m.events[0].ID}
		e.mu.Unlock()
		if reached {
			return ok(body)
		}
		select {
		case <-changed:
		case <-expired.C:
			return answer{}, fail(http.StatusRequestTimeout, "machine failed to reach desired state, %s, currently %s", strings.Join(states, ","), state)
		case <-c.Context().Done():
			return answer{}, fail(http.StatusRequestTimeout, "canceled")
		case <-e.ctx.Done():
			return answer{}, fail(http.StatusServiceUnavailable, "unavailable: shutting down")
		}
	}
}

func (m *machine) isIn(states []string) bool {
	return slices.Contains(states, m.state) || slices.Contains(states, "settled") && !passingStates[m.state]
}

// waitTimeout reads a number of seconds, or a duration as the older clients send it.
func waitTimeout(text string) (time.Duration, error) {
	if text == "" {
		return time.Minute, nil
	}
	timeout, err := time.ParseDuration(text)
	if seconds, atoiErr := strconv.Atoi(text); atoiErr == nil {
		timeout, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || timeout < time.Second || timeout > time.Minute {
		return 0, fail(http.StatusBadRequest, "invalid_argument: invalid WaitMachineRequest.Timeout: value must be inside range [1s, 1m0s]")
	}
	return timeout, nil
}
