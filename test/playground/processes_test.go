package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A process that was started after the record was written last is found by its mark, and ended; others are let alone.
func TestLeftIsWhatCarriesTheMark(t *testing.T) {
	r := newRecord()
	ours := sleeper(t, markVariable+"="+r.Mark)
	others := sleeper(t, markVariable+"="+r.Mark+"X")

	require.Equal(t, []process{ours}, r.left())
	end(r.left(), 10*time.Second)
	require.False(t, ours.alive())
	require.True(t, others.alive())
	require.Empty(t, r.left())
}

func TestRecordWithoutMarkFindsItsChildrenOnly(t *testing.T) {
	child := sleeper(t, markVariable+"=")
	sleeper(t, markVariable+"=")
	require.Equal(t, []process{child}, record{Children: []process{child}}.left())
}

// A pid that was given out again belongs to another process.
func TestReusedPidIsNotSignalled(t *testing.T) {
	other := sleeper(t)
	former := process{other.PID, "1"}
	require.False(t, former.alive())
	end([]process{former}, 10*time.Second)
	require.True(t, other.alive())
}

func TestDownRemovesNothingThatIsNotAPlayground(t *testing.T) {
	dir := t.TempDir()
	kept := filepath.Join(dir, "kept")
	require.NoError(t, os.WriteFile(kept, nil, 0o600))
	require.NoError(t, down(files{dir}))
	require.FileExists(t, kept)
}

// sleeper starts a process that the test's end kills.
func sleeper(t *testing.T, environment ...string) process {
	t.Helper()
	command := exec.Command("sleep", "600")
	command.Env = environment
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill() // it may have ended
		_ = command.Wait()
	})
	_, started, err := stat(command.Process.Pid)
	require.NoError(t, err)
	return process{command.Process.Pid, started}
}
