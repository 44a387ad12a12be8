package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// watched is exits, and meanwhile looks at every process of this computer, as another user could with ps: no command line has a password in it,
// nor has tcred's environment, and tcred starts no program.
func watched(ts *testscript.TestScript, not bool, args []string) {
	s, end, seen := of(ts), make(chan struct{}), make(chan string)
	go func() {
		looks, found := 0, ""
		for found == "" {
			select {
			case <-end:
				seen <- fmt.Sprintf("tcred was seen %d times\n", looks)
				return
			case <-time.After(10 * time.Millisecond):
				n, what := s.look()
				looks, found = looks+n, what
			}
		}
		<-end
		seen <- found
	}()
	exits(ts, not, args)
	close(end)
	ts.Check(write(ts, <-seen))
}

// look returns how many tcreds there are, and what of a password or a started program is to be seen.
func (s *scene) look() (tcreds int, found string) {
	secrets := s.secrets(false)
	has := func(text []byte) bool {
		for _, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) {
				return true
			}
		}
		return false
	}
	ours, parents := map[string]bool{}, map[string]string{}
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		pid := filepath.Base(folder)
		if line, _ := os.ReadFile(folder + "/cmdline"); has(line) {
			return tcreds, "a command line has a password: " + string(line)
		}
		status, _ := os.ReadFile(folder + "/stat") // "pid (name) state parent …"
		begin, rest, _ := strings.Cut(string(status), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 {
			parents[pid] = fields[1]
		}
		if strings.HasSuffix(begin, "(tcred") {
			ours[pid] = true
			if environment, _ := os.ReadFile(folder + "/environ"); has(environment) {
				return tcreds, "tcred's environment has a password"
			}
		}
	}
	for pid, parent := range parents {
		if ours[parent] {
			return tcreds, "tcred has started process " + pid
		}
	}
	return len(ours), ""
}
