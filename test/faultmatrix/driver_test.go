package faultmatrix

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/tenant-credential-operator/test/harness"
)

// TestMatrix hands the cells that FAULT_MATRIX matches out to lanes, each a process with a playground of its own, prints the table and
// writes bin/fault-matrix.json.
func TestMatrix(t *testing.T) {
	if !handsOut() {
		t.Skip("make fault-matrix runs it")
	}
	wanted, err := regexp.Compile(os.Getenv("FAULT_MATRIX"))
	require.NoError(t, err)
	var names []string
	for _, name := range everything() {
		if wanted.MatchString(name) {
			names = append(names, name)
		}
	}
	require.NotEmpty(t, names, "no cell is called so")
	began := time.Now()
	results := inLanes(t, names)
	fmt.Printf("\n%s\n", table(results))
	s := sum(names, results)
	fmt.Printf("fault matrix: %d cells, %d passed, %d failed, in %s\n", s.Cells, s.Passed, len(s.Failed), time.Since(began).Round(time.Second))
	content, err := json.MarshalIndent(s, "", "  ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(harness.Repository, "bin", "fault-matrix.json"), append(content, '\n'), 0o644))
	require.Empty(t, s.Failed)
}

// inLanes runs the cells, each in the first lane that is free.
func inLanes(t *testing.T, names []string) map[string]result {
	t.Helper()
	count, err := strconv.Atoi(os.Getenv("FAULT_MATRIX_LANES"))
	require.NoError(t, err, "FAULT_MATRIX_LANES is the number of lanes")
	count = min(count, len(names))
	queue := make(chan string, len(names))
	for _, name := range names {
		queue <- name
	}
	close(queue)
	fmt.Printf("%d cells in %d lanes; what each lane says is in bin/fault-matrix-lane-*.log\n", len(names), count)
	var mu sync.Mutex
	results := map[string]result{}
	var lanes sync.WaitGroup
	for number := range count {
		lanes.Go(func() {
			err := inLane(number+1, queue, func(r result) {
				mu.Lock()
				defer mu.Unlock()
				results[r.Cell] = r
				fmt.Printf("%-4s %4.0f s  %s\n", r.word(), r.Seconds, r.Cell)
			})
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				t.Errorf("lane %d: %v; see bin/fault-matrix-lane-%d.log", number+1, err, number+1)
			}
		})
	}
	lanes.Wait()
	return results
}

// inLane runs cells in a process of its own until there are none left, and has it look for passwords at its end.
func inLane(number int, queue <-chan string, tell func(result)) error {
	output, err := os.Create(filepath.Join(harness.Repository, "bin", fmt.Sprintf("fault-matrix-lane-%d.log", number)))
	if err != nil {
		return err
	}
	defer output.Close()
	results, answers, err := os.Pipe()
	if err != nil {
		return err
	}
	defer results.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	lane := exec.Command(self, "-test.run=^TestLane$", "-test.v", "-test.timeout=2h")
	lane.Env = append(os.Environ(), "FAULT_MATRIX_LANE="+strconv.Itoa(number))
	lane.Stdout, lane.Stderr, lane.ExtraFiles = output, output, []*os.File{answers}
	names, err := lane.StdinPipe()
	if err != nil {
		return err
	}
	if err := lane.Start(); err != nil {
		return err
	}
	if err := answers.Close(); err != nil { // the lane has it now
		return err
	}
	for decoder := json.NewDecoder(results); ; {
		name, more := <-queue
		if !more {
			break
		}
		if _, err := io.WriteString(names, name+"\n"); err != nil {
			return fmt.Errorf("%s was not run: %w", name, err)
		}
		var r result
		if err := decoder.Decode(&r); err != nil {
			return fmt.Errorf("%s: the lane has ended: %w", name, err)
		}
		tell(r)
	}
	if err := names.Close(); err != nil {
		return err
	}
	if err := lane.Wait(); err != nil {
		return fmt.Errorf("a cell has failed, or the checker found something at the end: %w", err)
	}
	return nil
}
