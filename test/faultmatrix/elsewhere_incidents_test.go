package faultmatrix

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/faultproxy"
)

// between the COMMIT of the platform's own server and ours there is more than a call can meet. Each of these happens at that call.
var elsewhere = []struct {
	name  string
	fault fault
	after func(*trial, *testing.T)
}{
	{"nothing happens", fault{onWire: pass}, nil},
	{"our server crashes", fault{voids: true, onWire: crashOurs}, (*trial).recoverOurs},
	{"the answer never comes", fault{voids: true, onWire: neverAnswer}, nil},
	{"process dies, our server goes on", fault{dies: true, onWire: dieAndPass}, nil},
	{"process dies, the answer never comes", fault{dies: true, voids: true, onWire: dieAndNeverAnswer}, nil},
	{"the platform's server crashes before it", fault{onWire: crashTheirs}, (*trial).recoverTheirs},
}

// recoverOurs starts our server again. While it was down, no login of the app could succeed.
func (tr *trial) recoverOurs(t *testing.T) {
	require.NoError(t, tr.site.ours.Up(t.Context()))
	tr.refused = true
}

func (tr *trial) recoverTheirs(t *testing.T) { require.NoError(t, tr.site.table.Up(t.Context())) }

func pass(_ *incident, p faultproxy.Passage) error {
	err := p.Forward()
	p.Answer()
	return err
}

func crashOurs(i *incident, p faultproxy.Passage) error {
	err := p.Forward()
	i.site.ours.Crash()
	return err
}

func crashTheirs(i *incident, _ faultproxy.Passage) error {
	i.site.table.Crash()
	return nil
}

func neverAnswer(i *incident, p faultproxy.Passage) error {
	return errors.Join(p.Forward(), hang(i, p))
}

func dieAndPass(i *incident, p faultproxy.Passage) error {
	err := p.Forward()
	i.lane.leader.kill()
	p.Answer()
	return err
}

func dieAndNeverAnswer(i *incident, p faultproxy.Passage) error {
	err := p.Forward()
	i.lane.leader.kill()
	return errors.Join(err, hang(i, p))
}

// betweenCommits are these as incidents, for each strategy.
func betweenCommits() (all []aside) {
	for _, s := range steps {
		if !s.elsewhere {
			continue
		}
		for _, e := range elsewhere {
			c := cell{s, e.fault}
			all = append(all, aside{s.name + ": " + e.name, func(t *testing.T, l *lane) { c.strike(t, l, e.after) }})
		}
	}
	return all
}
