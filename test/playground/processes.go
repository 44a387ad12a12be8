package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process names one process for good: a pid is given out again, a pid with its start time is not.
type process struct {
	PID     int    `json:"pid"`
	Started string `json:"started"` // field 22 of /proc/<pid>/stat
}

// markVariable is in the environment of every process that the supervisor starts, and of those that they start.
const markVariable = "TCRED_PLAYGROUND"

// record is what down needs after a crash. It is written before anything is started.
type record struct {
	Supervisor process `json:"supervisor"`
	// Children are those that were known when it was written last.
	Children []process `json:"children"`
	// Mark is the value of markVariable, which finds those that were started since.
	Mark string `json:"mark"`
	// Folder is outside the checkout: PostgreSQL's own account must reach it.
	Folder string `json:"folder"`
}

func newRecord() record {
	mark := rand.Text()
	return record{Supervisor: self(), Mark: mark, Folder: filepath.Join(os.TempDir(), "tcred-playground-"+mark)}
}

// databaseFolder makes the folder for one server below the one that is recorded.
func (r record) databaseFolder(environment string) (string, error) {
	if err := os.MkdirAll(r.Folder, 0o755); err != nil {
		return "", err
	}
	return filepath.Join(r.Folder, environment), os.Chmod(r.Folder, 0o755) // with any umask
}

// left lists what still runs of what was started.
func (r record) left() []process {
	var found []process
	for _, child := range r.Children {
		if child.alive() {
			found = append(found, child)
		}
	}
	if r.Mark == "" {
		return found
	}
	mark := []byte(markVariable + "=" + r.Mark)
	return append(found, processes(func(pid, _ int) bool {
		environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		return err == nil && slices.ContainsFunc(bytes.Split(environment, []byte{0}), func(variable []byte) bool {
			return bytes.Equal(variable, mark)
		})
	})...)
}

// stat reads parent and start time of a process. The fields behind the name, which may hold anything, are counted from its closing
// parenthesis (proc(5)).
func stat(pid int) (parent int, started string, err error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, "", err
	}
	fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
	if len(fields) < 20 {
		return 0, "", fmt.Errorf("process %d: unexpected stat", pid)
	}
	if fields[0] == "Z" {
		return 0, "", fs.ErrNotExist // ended, and only not yet waited for
	}
	parent, err = strconv.Atoi(fields[1])
	return parent, fields[19], err
}

func self() process {
	_, started, _ := stat(os.Getpid())
	return process{os.Getpid(), started}
}

func (p process) alive() bool {
	_, started, err := stat(p.PID)
	return err == nil && started == p.Started
}

// children lists the processes that this one started.
func children() []process {
	return processes(func(_, parent int) bool { return parent == os.Getpid() })
}

// processes lists those of this machine that are wanted.
func processes(wanted func(pid, parent int) bool) []process {
	var found []process
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err != nil {
			continue
		}
		if parent, started, err := stat(pid); err == nil && wanted(pid, parent) {
			found = append(found, process{pid, started})
		}
	}
	return found
}

func (f files) readRecord() (*record, error) {
	content, err := os.ReadFile(f.processes())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r record
	return &r, json.Unmarshal(content, &r)
}

func (f files) writeRecord(r record) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	partial := f.processes() + ".partial"
	if err := os.WriteFile(partial, content, 0o600); err != nil {
		return err
	}
	return os.Rename(partial, f.processes())
}

// end asks processes to stop, all at once as they may wait for each other, and kills those that do not within the time.
func end(these []process, patience time.Duration) {
	for _, p := range these {
		p.signal(syscall.SIGTERM)
	}
	for deadline := time.Now().Add(patience); slices.ContainsFunc(these, process.alive) && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond) // no signal tells that a process ends that is not a child
	}
	for _, p := range these {
		p.signal(syscall.SIGKILL)
	}
}

// signal sends it to this very process, and to no other that has its pid by now.
func (p process) signal(s syscall.Signal) {
	if p.alive() {
		_ = syscall.Kill(p.PID, s) // fails only where it has ended
	}
}
