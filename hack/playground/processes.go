package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// record is what down needs after a crash: who was started, and which folders outside were made.
type record struct {
	Supervisor process   `json:"supervisor"`
	Children   []process `json:"children"`
	Folders    []string  `json:"folders"`
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
	var found []process
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err != nil {
			continue
		}
		if parent, started, err := stat(pid); err == nil && parent == os.Getpid() {
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
	return os.WriteFile(f.processes(), content, 0o600)
}

// end asks a process to stop and, if it does not within the time, kills it.
func (p process) end(patience time.Duration) {
	if !p.alive() {
		return
	}
	_ = syscall.Kill(p.PID, syscall.SIGTERM)
	if !p.goneWithin(patience) {
		_ = syscall.Kill(p.PID, syscall.SIGKILL)
		p.goneWithin(10 * time.Second)
	}
}

func (p process) goneWithin(patience time.Duration) bool {
	for deadline := time.Now().Add(patience); p.alive(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}
