package dnsload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// Paced is what became of questions that were asked at a steady rate.
type Paced struct {
	Result
	times []int64 // ns from when a question was due until its answer, in ascending order
}

// Quantile returns the time that the given part of the answers took at most. A question
// that could not be sent when it was due counts from then on, so that a server that
// stands still is not asked less for it; one that got lost counts as Config.Timeout.
func (p *Paced) Quantile(q float64) time.Duration {
	if len(p.times) == 0 {
		return 0
	}
	return time.Duration(p.times[min(int(q*float64(len(p.times))), len(p.times)-1)])
}

// Pace asks so many questions a second, evenly, until done is closed and for the given
// time at least, and waits for the last answers: an open loop, as many independent
// clients are. The sockets should have room for as many as are due while a server does
// not answer.
func (g *Generator) Pace(ctx context.Context, d time.Duration, rate int, done <-chan struct{}) (Paced, error) {
	if rate <= 0 {
		return Paced{}, errors.New("no rate to ask at")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g.res, g.stop, g.limit = Result{}, false, -1
	p := Paced{times: make([]int64, 0, 1<<20)}
	began := time.Now()
	gap, due, turn := int64(time.Second)/int64(rate), int64(0), 0
	for {
		now := int64(time.Since(began))
		stop := ctx.Err() != nil || now >= int64(d) && isClosed(done)
		for ; !stop && due <= now; due += gap {
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
		if stop && busy == 0 {
			break
		}
	}
	slices.Sort(p.times)
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
				p.times = append(p.times, now-s.sent)
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
			p.times = append(p.times, int64(g.cfg.Timeout))
		}
	}
	return nil
}
