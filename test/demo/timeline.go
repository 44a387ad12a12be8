package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// widest is how many columns the timeline may have.
const widest = 84

// table says for each rotation what happened when, and how many logins failed from its commit to the next one's.
func (d *overlapDemo) table() string {
	const row = "%-8s  %8v  %-30s  %9s  %7d  %6d%s\n"
	text := fmt.Sprintf("%-8s  %8s  %-30s  %9s  %7s  %6s\n", "strategy", "rotation", "Machines moved, s after commit", "completed", "logins", "failed")
	for _, s := range d.pair {
		for n, r := range s.done {
			moved := ""
			for _, at := range sorted(d.watch.moves(s, r.committed, r.completed)) {
				moved += fmt.Sprintf("%6.1f", at.Sub(r.committed).Seconds())
			}
			before, after := d.watch.until(s, r.committed), d.watch.until(s, d.end(s, n))
			text += fmt.Sprintf(row, s.strategy, n+1, moved, fmt.Sprintf("%.1f", r.completed.Sub(r.committed).Seconds()),
				after.logins-before.logins, after.failures-before.failures, "")
		}
		total, class := s.total(), ""
		if total.failures > 0 {
			class = " (" + total.class + ")"
		}
		text += fmt.Sprintf(row, s.strategy, "all", "", "", total.logins, total.failures, class)
	}
	return text
}

// end is when the next rotation is committed or, after the last one, when the watch ended.
func (d *overlapDemo) end(s *side, n int) time.Time {
	if n+1 < len(s.done) {
		return s.done[n+1].committed
	}
	return d.watch.last(s).at
}

func sorted(times [machinesOfEach]time.Time) []time.Time {
	return slices.SortedFunc(slices.Values(times[:]), time.Time.Compare)
}

// strip is a stretch of time as a row of characters.
type strip struct {
	from    time.Time
	column  time.Duration
	columns int
}

func (d *overlapDemo) strip() strip {
	readings := d.watch.readings[d.pair[0]]
	from, to := readings[0].at, readings[len(readings)-1].at
	column := max((to.Sub(from)/widest).Truncate(time.Second)+time.Second, time.Second)
	return strip{from, column, int(to.Sub(from)/column) + 1}
}

// start is the beginning of a column.
func (x strip) start(column int) time.Time { return x.from.Add(time.Duration(column) * x.column) }

// put writes a mark into the column of a moment or, where there is one already, beside it.
func (x strip) put(row []rune, at time.Time, mark rune) {
	for i := max(0, int(at.Sub(x.from)/x.column)); i < len(row); i++ {
		if row[i] == '·' {
			row[i] = mark
			return
		}
	}
}

// timeline shows both tenants one above the other: what happened, and how many logins failed meanwhile.
func (d *overlapDemo) timeline() string {
	x, text, most := d.strip(), "", d.mostFailures()
	for _, s := range d.pair {
		steps := []rune(strings.Repeat("·", x.columns))
		for _, r := range s.done {
			x.put(steps, r.committed, 'C')
			for n, at := range d.watch.moves(s, r.committed, r.completed) {
				x.put(steps, at, rune('1'+n))
			}
			x.put(steps, r.completed, 'E')
		}
		failed := ""
		for i := range x.columns {
			failed += string(bar(d.failures(s, x, i), most))
		}
		text += fmt.Sprintf("%-8s  %s\n%8s  %s\n", s.strategy, string(steps), "failed", failed)
	}
	return text + fmt.Sprintf("%10sone column is %s; C committed, 1 to %d that Machine has moved, E completed (with Overlap: the previous login is closed);\n"+
		"%10sfailed logins: · none, ▁ to █ up to %.0f a second\n", "", x.column, machinesOfEach, "", float64(most)/x.column.Seconds())
}

func (d *overlapDemo) failures(s *side, x strip, column int) int64 {
	return d.watch.until(s, x.start(column+1)).failures - d.watch.until(s, x.start(column)).failures
}

// mostFailures is the highest number of failed logins in one column.
func (d *overlapDemo) mostFailures() (most int64) {
	x := d.strip()
	for _, s := range d.pair {
		for i := range x.columns {
			most = max(most, d.failures(s, x, i))
		}
	}
	return most
}

// bar is one failed login or more as a block of that height.
func bar(count, most int64) rune {
	if count == 0 {
		return '·'
	}
	return []rune("▁▂▃▄▅▆▇█")[(count*8-1)/most]
}
