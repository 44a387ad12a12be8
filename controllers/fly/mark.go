package fly

import (
	"strconv"
	"strings"
)

// mark is the value under metadataKey: the revision that the Machine was last moved to, and how it was found. It is written in the very
// update that brings the value, so Fly itself says which Machines have moved. The secrets version tells apart two lives of a ledger that
// both had the revision. The Machine's own ID tells it from a clone of it, which carries the same metadata and may have started with an
// older secret. Example: 7;secrets-version=9007199254740993;machine=3d8d9014b32e89;unhealthy-before
type mark struct {
	revision       int64
	secretsVersion uint64
	machine        string
	// onNextStart: the Machine was not running, and was not started.
	onNextStart bool
	// unhealthyBefore: it was unwell already, so its being unwell says nothing about the value.
	unhealthyBefore bool
}

const (
	versionAttribute    = "secrets-version="
	machineAttribute    = "machine="
	onNextStartFlag     = "on-next-start"
	unhealthyBeforeFlag = "unhealthy-before"
)

func (m mark) String() string {
	parts := []string{strconv.FormatInt(m.revision, 10), versionAttribute + strconv.FormatUint(m.secretsVersion, 10), machineAttribute + m.machine}
	if m.onNextStart {
		parts = append(parts, onNextStartFlag)
	}
	if m.unhealthyBefore {
		parts = append(parts, unhealthyBeforeFlag)
	}
	return strings.Join(parts, ";")
}

// parseMark returns the zero mark for what it does not understand: such a Machine has not moved.
func parseMark(text string) mark {
	parts := strings.Split(text, ";")
	revision, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return mark{}
	}
	m := mark{revision: revision}
	for _, part := range parts[1:] {
		switch {
		case part == onNextStartFlag:
			m.onNextStart = true
		case part == unhealthyBeforeFlag:
			m.unhealthyBefore = true
		case strings.HasPrefix(part, machineAttribute):
			m.machine = word(part[len(machineAttribute):])
		case strings.HasPrefix(part, versionAttribute):
			m.secretsVersion, _ = strconv.ParseUint(part[len(versionAttribute):], 10, 64) // 0 on error: not moved
		}
	}
	return m
}

// reached says whether the Machine has been moved to exactly this.
func (m machine) reached(r Rollout) bool {
	found := m.settings.mark
	return found.revision == r.Revision && found.secretsVersion == r.SecretVersion && found.machine == m.ID
}
