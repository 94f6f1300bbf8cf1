// Package breaker keeps a pool that cannot do what is asked of it from being asked for more:
// it bounds what is under way to it at once, and asks nobody for a while when most of what it
// was asked has failed.
//
// It owns who may ask, and what has come of it. It does not own members: one that fails while
// others do well is ejected by itself (package health), and the breaker sees that requests
// succeed. It is for what all members have in common, such as a database behind them, and
// for when there is too much of everything.
//
//	Closed ──(ErrorRate of MinRequests in Window failed)──> Open ──(after Open)──> HalfOpen
//	  ^                                                      ^                         │
//	  └───────────(Trials in a row have succeeded)───────────┼─────────────────────────┤
//	                                                         └──(one has failed)───────┘
//
// Entry points: New, Breaker.Enter, Breaker.Leave.
//
// Concurrency: a Breaker may be used by any number of goroutines; one lock is held for some
// additions.
package breaker

import (
	"fmt"
	"sync"
	"time"

	"pharos/internal/proxy/queue"
)

// Rules are what a breaker goes by.
type Rules struct {
	queue.Bounds     // of requests under way; Most 0: no bound
	Retries      int // requests that are tried on another member at once; 0: no bound of its own

	ErrorRate   int           // percent of the requests in Window that have to fail; 0: it never opens
	MinRequests int           // in Window, before that says anything
	Window      time.Duration // longer than nothing
	Open        time.Duration // how long nobody is asked
	Trials      int           // under way at once afterwards, and in a row, before all are let in again
}

// State is what a breaker does with requests.
type State uint8

// The states.
const (
	Closed   State = iota // they pass
	Open                  // they are refused
	HalfOpen              // a few are tried
)

var stateNames = [...]string{"closed", "open", "half-open"}

// String returns the word of metrics.
func (s State) String() string { return stateNames[s] }

// Outcome is how a request went, as far as the pool goes.
type Outcome uint8

// The outcomes.
const (
	Neither Outcome = iota // nothing is known: the client has gone, or is to blame
	Good
	Bad
)

// parts is of how many parts a window consists, of which the oldest is forgotten.
const parts = 10

// Breaker is that of one pool.
type Breaker struct {
	rules Rules

	mu     sync.Mutex
	line   queue.Line
	state  State
	until  time.Time // that it is open
	trials int       // under way while half-open
	passed int       // trials that have succeeded in a row
	epoch  uint64    // of states: what has begun in another one says nothing of this one

	counts  [parts]tally
	part    int       // of counts, that is counted in
	partEnd time.Time // when the next one begins
	cause   string    // why it opened last

	events Counters
}

type tally struct{ good, bad int }

// Counters are what has become of requests, and how often the breaker has opened.
type Counters struct {
	Opened, RefusedOpen, RefusedFull, Waited, TimedOut uint64
}

// New returns a closed Breaker.
func New(r Rules) *Breaker { return &Breaker{rules: r} }

// Rules returns what b goes by.
func (b *Breaker) Rules() *Rules { return &b.rules }

// Pass is a request that was let in, or waits.
type Pass struct {
	epoch   uint64
	isTrial bool
	ticket  *queue.Ticket // nil: it does not wait
}

// Waits returns what is closed when the request is let in, or refused; nil: it does not wait.
func (p *Pass) Waits() <-chan struct{} {
	if p.ticket == nil {
		return nil
	}
	return p.ticket.Ready
}

// Refusal is why a request is not let in. The zero Refusal is none.
type Refusal struct {
	Text   string
	After  time.Duration // when it may be tried again
	IsFull bool          // there is no room; otherwise it is open
}

// IsSet reports whether there is a refusal.
func (r Refusal) IsSet() bool { return r.Text != "" }

// Enter lets a request in, which is followed by Leave; or has it wait (Pass.Waits), which is
// followed by Turn; or refuses it.
func (b *Breaker) Enter(now time.Time) (p Pass, r Refusal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == Open && !now.Before(b.until) {
		b.become(HalfOpen)
	}
	switch {
	case b.state == Open:
		b.events.RefusedOpen++
		return p, b.refused(now)
	case b.state == HalfOpen && b.trials >= b.rules.Trials:
		b.events.RefusedOpen++
		return p, Refusal{Text: "the pool is being tried with a few requests, since " + b.cause, After: time.Second}
	}
	p.epoch, p.isTrial = b.epoch, b.state == HalfOpen
	if b.rules.Most > 0 {
		t, isIn := b.line.Enter(&b.rules.Bounds, now)
		if !isIn && t == nil {
			b.events.RefusedFull++
			return p, b.full("too many requests are under way to the pool")
		}
		if p.ticket = t; t != nil {
			b.events.Waited++
		}
	}
	if p.isTrial {
		b.trials++
	}
	return p, Refusal{}
}

// refused is the refusal while b is open.
func (b *Breaker) refused(now time.Time) Refusal {
	return Refusal{Text: "the pool is not asked, since " + b.cause, After: b.until.Sub(now)}
}

func (b *Breaker) full(text string) Refusal {
	return Refusal{Text: text, After: max(b.rules.Wait, time.Second), IsFull: true}
}

// Turn ends the wait of a request, when Waits is closed or its time is over. It is let in, and
// followed by Leave, or refused.
func (b *Breaker) Turn(p *Pass, now time.Time) Refusal {
	b.mu.Lock()
	defer b.mu.Unlock()
	isIn := b.line.GiveUp(p.ticket)
	if isIn && b.state != Open {
		return Refusal{}
	}
	if p.isTrial && p.epoch == b.epoch {
		b.trials--
	}
	if isIn { // and has become open while it waited
		b.line.Leave(&b.rules.Bounds, now)
		b.events.RefusedOpen++
		return b.refused(now)
	}
	b.events.TimedOut++
	return b.full("too many requests are under way to the pool, and none ended in time")
}

// Leave ends a request that was let in.
func (b *Breaker) Leave(p Pass, o Outcome, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rules.Most > 0 {
		b.line.Leave(&b.rules.Bounds, now)
	}
	if p.epoch != b.epoch {
		return
	}
	if p.isTrial {
		b.trials--
		b.judgeTrial(o, now)
		return
	}
	if b.rules.ErrorRate == 0 || o == Neither {
		return
	}
	b.turn(now)
	if o == Good {
		b.counts[b.part].good++
		return
	}
	b.counts[b.part].bad++
	if good, bad := b.sum(); good+bad >= b.rules.MinRequests && bad*100 >= b.rules.ErrorRate*(good+bad) {
		b.open(now, fmt.Sprintf("%d of %d requests to it failed within %v", bad, good+bad, b.rules.Window))
	}
}

func (b *Breaker) judgeTrial(o Outcome, now time.Time) {
	switch o {
	case Bad:
		b.open(now, "a request that it was tried with failed")
	case Good:
		if b.passed++; b.passed >= b.rules.Trials {
			b.become(Closed)
		}
	}
}

func (b *Breaker) open(now time.Time, cause string) {
	b.events.Opened++
	b.until, b.cause = now.Add(b.rules.Open), cause
	b.become(Open)
}

func (b *Breaker) become(s State) {
	b.state, b.trials, b.passed = s, 0, 0
	b.epoch++
	b.counts = [parts]tally{}
}

// turn moves the window on to now.
func (b *Breaker) turn(now time.Time) {
	each := b.rules.Window / parts
	if now.Sub(b.partEnd) >= b.rules.Window {
		b.counts, b.partEnd = [parts]tally{}, now.Add(each)
		return
	}
	for !now.Before(b.partEnd) {
		b.part = (b.part + 1) % parts
		b.counts[b.part] = tally{}
		b.partEnd = b.partEnd.Add(each)
	}
}

func (b *Breaker) sum() (good, bad int) {
	for _, c := range b.counts {
		good, bad = good+c.good, bad+c.bad
	}
	return good, bad
}

// Reading is a Breaker at a moment.
type Reading struct {
	State           State
	Cause           string // why it is not closed
	Inside, Waiting int    // while there is a bound
	Counters
}

// Read returns what b is now.
func (b *Breaker) Read(now time.Time) Reading {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := Reading{State: b.state, Inside: b.line.Inside(), Waiting: b.line.Waiting(), Counters: b.events}
	if r.State == Open && !now.Before(b.until) {
		r.State = HalfOpen // with the next request
	}
	if r.State != Closed {
		r.Cause = b.cause
	}
	return r
}

// OfPool is what the breaker of a pool is now.
type OfPool struct {
	Pool string
	Of   *Rules
	Reading
}

// Text says in words what becomes of requests to the pool.
func (r *OfPool) Text() (text string, details []string) {
	text = "breaker of pool " + r.Pool + ": " + r.State.String()
	if r.Cause != "" {
		details = append(details, "since "+r.Cause)
	}
	if r.Of.Most > 0 {
		details = append(details, fmt.Sprintf("%d of %d requests are under way, and %d of %d wait", r.Inside, r.Of.Most, r.Waiting, r.Of.Queue))
	}
	return text, details
}

// Told is which pools somebody was told of, and what.
type Told map[string]string

// Tell has tell called for each pool whose breaker is not closed, unless it was told just
// that, and with an empty text for each whose is again.
func (t Told) Tell(all []OfPool, tell func(pool, text string)) {
	now := map[string]string{}
	for _, r := range all {
		if r.State != Closed {
			now[r.Pool] = "pool " + r.Pool + ": requests are refused or go to the fallback, since " + r.Cause
		}
	}
	for pool := range t {
		if now[pool] == "" {
			tell(pool, "")
			delete(t, pool)
		}
	}
	for pool, text := range now {
		if t[pool] != text {
			t[pool] = text
			tell(pool, text)
		}
	}
}
