package dnsload

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"
)

// Paced is what became of questions that were asked at a steady rate.
type Paced struct {
	Result
	Began time.Time // when the first was due
	// Gaps are when the generator itself did not run: answers may have waited for it.
	Gaps    []Span
	answers []answered // the quickest first
}

// answered is one question: ns since the beginning when it was due, and until its answer.
type answered struct{ due, took int64 }

// Span is a time, in ns since the beginning.
type Span struct{ From, To int64 }

// longGap is from when on the generator counts as not running: a turn over all flows takes
// a tenth of that.
const longGap = int64(time.Millisecond)

// Quantile returns the time that the given part of the answers took at most. A question
// that could not be sent when it was due counts from then on, so that a server that
// stands still is not asked less for it; one that got lost counts as Config.Timeout.
func (p *Paced) Quantile(q float64) time.Duration {
	if len(p.answers) == 0 {
		return 0
	}
	return time.Duration(p.answers[min(int(q*float64(len(p.answers))), len(p.answers)-1)].took)
}

// Without leaves out the questions that were under way during one of the spans, or so soon
// after it that they had to wait for those that came in it: as long again. It returns which
// part of all that was.
func (p *Paced) Without(spans []Span) (rest *Paced, part float64) {
	spans = slices.Clone(spans)
	for i := range spans {
		spans[i].To += spans[i].To - spans[i].From
	}
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(a.From, b.From) })
	last := int64(0)
	for i := range spans { // so that ends ascend, too
		last = max(last, spans[i].To)
		spans[i].To = last
	}
	rest = &Paced{Result: p.Result, Began: p.Began}
	for _, a := range p.answers {
		i, _ := slices.BinarySearchFunc(spans, a.due, func(s Span, due int64) int { return cmp.Compare(s.To, due) })
		if i == len(spans) || spans[i].From > a.due+a.took {
			rest.answers = append(rest.answers, a)
		}
	}
	if len(p.answers) == 0 {
		return rest, 0
	}
	return rest, 1 - float64(len(rest.answers))/float64(len(p.answers))
}

// Pace asks so many questions a second, evenly, until done is closed and for the given
// time at least, and waits for the last answers; without done, exactly as many as are due
// in the given time. It is an open loop, as many independent
// clients are. The sockets should have room for as many as are due while a server does
// not answer.
func (g *Generator) Pace(ctx context.Context, d time.Duration, rate int, done <-chan struct{}) (Paced, error) {
	if rate <= 0 {
		return Paced{}, errors.New("no rate to ask at")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g.res, g.stop, g.limit = Result{}, false, -1
	p := Paced{answers: make([]answered, 0, 1<<20), Began: time.Now()}
	began := p.Began
	gap, due, last, turn := int64(time.Second)/int64(rate), int64(0), int64(0), 0
	until := int64(math.MaxInt64) // questions are due until then
	for {
		now := int64(time.Since(began))
		if now-last > longGap {
			p.Gaps = append(p.Gaps, Span{last, now})
		}
		last = now
		switch {
		case ctx.Err() != nil, now-int64(g.cfg.Timeout) > until: // a server that does not answer gets no more
			until = due
		case until == math.MaxInt64 && now >= int64(d) && isClosed(done):
			if until = now; done == nil { // what was due while this thread did not run is still sent
				until = int64(d)
			}
		}
		for ; due < until && due <= now; due += gap {
			sent, err := g.sendDue(turn, due)
			if err != nil {
				return p, err
			}
			if !sent {
				break // every window is full: it stays due
			}
			turn++
		}
		busy := 0
		for _, f := range g.flows {
			if err := g.receivePaced(f, began, &p); err != nil {
				return p, err
			}
			busy += f.busy()
		}
		if due >= until && busy == 0 {
			break
		}
	}
	slices.SortFunc(p.answers, func(a, b answered) int { return cmp.Compare(a.took, b.took) })
	g.res.Elapsed = time.Since(began)
	p.Result = g.res
	if err := ctx.Err(); err != nil {
		return p, err
	}
	return p, nil
}

// isClosed reports whether a channel is closed; nil counts as closed.
func isClosed(done <-chan struct{}) bool {
	if done == nil {
		return true
	}
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// sendDue sends the next question, which was due at a time, by the first flow from turn
// on that has room.
func (g *Generator) sendDue(turn int, due int64) (sent bool, err error) {
	for i := range g.flows {
		f := g.flows[(turn+i)%len(g.flows)]
		if len(f.free) == 0 {
			continue
		}
		g.now = due
		n, err := f.send(g, 1)
		if err != nil {
			return false, fmt.Errorf("question %d: %w", g.res.Sent, err)
		}
		g.res.Sent += n
		return n > 0, nil
	}
	return false, nil
}

// receivePaced takes what has come for a flow, and gives up what has not.
func (g *Generator) receivePaced(f *flow, began time.Time, p *Paced) error {
	n, err := f.receive()
	if err != nil {
		return err
	}
	now := int64(time.Since(began))
	for i := range n {
		msg := f.message(i)
		if len(msg) >= 2 {
			id := binary.BigEndian.Uint16(msg)
			if s := &f.slots[int(id)&(f.window-1)]; s.taken && s.id == id {
				p.answers = append(p.answers, answered{s.sent, now - s.sent})
			}
		}
		g.arrived(f, msg)
	}
	f.rearm(n)
	if now > f.checked+int64(g.cfg.Timeout)/4 {
		f.checked = now
		lost := f.expire(now - int64(g.cfg.Timeout))
		g.res.Lost += lost
		for range lost {
			p.answers = append(p.answers, answered{now - int64(g.cfg.Timeout), int64(g.cfg.Timeout)})
		}
	}
	return nil
}
