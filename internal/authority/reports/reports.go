// Package reports takes reports of errors that resolvers met with in zones of ours:
// questions below the name of a reporting agent (RFC 9567),
//
//	_er.TYPE.NAME.CODE._er.AGENT  TXT
//
// It owns what a report says, and a bounded memory of those that came. It does not
// own the answers: the agent's zone has a wildcard for them.
//
// Entry points: Parse; Log.Add, Log.List, Log.Count.
//
// Concurrency: a Log may be used from any number of goroutines.
//
// Sources: RFC 9567 §6.
package reports

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Report is one error: that so many resolvers could not resolve a name, as far as
// they said so.
type Report struct {
	Name dnsname.Name
	Type rdata.Type
	Code dnswire.EDE
}

// Entry is a Report and how often it came.
type Entry struct {
	Report
	First, Last time.Time
	Count       uint64
}

// label begins a report and ends it.
const label = "_er"

// Parse returns the report that a name below agent is; false if it is none.
func Parse(name, agent dnsname.Name) (Report, bool) {
	if !name.IsSubdomainOf(agent) || name == agent || name.Label() != label {
		return Report{}, false
	}
	wire := name.Wire()[1+len(label):]
	kind, wire, ok := number(wire)
	if !ok {
		return Report{}, false
	}
	// What is left is NAME.CODE._er.AGENT: its labels up to the last two before AGENT.
	var starts []int
	for at := 0; at < len(wire)-len(agent.Wire()); at += 1 + int(wire[at]) {
		starts = append(starts, at)
	}
	n := len(starts)
	if n < 2 || wire[starts[n-1]+1:][:len(label)] != label || int(wire[starts[n-1]]) != len(label) {
		return Report{}, false
	}
	code, _, ok := number(wire[starts[n-2]:])
	if !ok {
		return Report{}, false
	}
	about, _, err := dnsname.FromWire([]byte(wire[:starts[n-2]] + "\x00"))
	return Report{about, rdata.Type(kind), dnswire.EDE(code)}, err == nil
}

// number reads a label that is a decimal number without leading zeroes.
func number(wire string) (n uint16, rest string, ok bool) {
	if wire == "" || int(wire[0]) >= len(wire) {
		return 0, "", false
	}
	text := wire[1 : 1+int(wire[0])]
	value, err := strconv.ParseUint(text, 10, 16)
	if err != nil || strconv.FormatUint(value, 10) != text {
		return 0, "", false
	}
	return uint16(value), wire[1+len(text):], true
}

// most is how many different reports are remembered: 1,000, arbitrary. At the limit
// the one that came last the longest ago makes room: names can be invented.
const most = 1000

// Log is a bounded memory of reports. The zero Log is empty.
type Log struct {
	mu      sync.Mutex // guards what follows
	entries map[Report]*Entry
	count   uint64
}

// Add takes a report, which it keeps a copy of, and reports whether it is new.
func (l *Log) Add(r Report, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	if e := l.entries[r]; e != nil {
		e.Count++
		e.Last = now
		return false
	}
	if l.entries == nil {
		l.entries = map[Report]*Entry{}
	}
	if len(l.entries) >= most {
		l.makeRoom()
	}
	r.Name = r.Name.Clone()
	l.entries[r] = &Entry{Report: r, First: now, Last: now, Count: 1}
	return true
}

func (l *Log) makeRoom() {
	var oldest *Entry
	for _, e := range l.entries {
		if oldest == nil || e.Last.Before(oldest.Last) {
			oldest = e
		}
	}
	delete(l.entries, oldest.Report)
}

// List returns the reports, the last one first.
func (l *Log) List() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Entry, 0, len(l.entries))
	for _, e := range l.entries {
		all = append(all, *e)
	}
	slices.SortFunc(all, func(a, b Entry) int { return b.Last.Compare(a.Last) })
	return all
}

// Count returns how many reports came.
func (l *Log) Count() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}
