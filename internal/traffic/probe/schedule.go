package probe

import (
	"container/heap"
	"time"

	"pharos/internal/clock"
	"pharos/internal/traffic/health"
)

// schedule is a heap of targets by the time they are due.
type schedule []*target

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].due.Before(s[j].due) }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i, j
}

// Push and Pop are for package container/heap.
func (s *schedule) Push(x any) {
	t := x.(*target)
	t.place = len(*s)
	*s = append(*s, t)
}

func (s *schedule) Pop() any {
	last := len(*s) - 1
	t := (*s)[last]
	(*s)[last], t.place = nil, -1
	*s = (*s)[:last]
	return t
}

func (s *schedule) remove(t *target) {
	if t.place >= 0 {
		heap.Remove(s, t.place)
	}
}

// plan puts t, which is not in the schedule, where its machine wants it. mu is held.
func (p *Prober) plan(t *target, now time.Time) {
	next := t.machine.Next()
	if next.IsZero() {
		return
	}
	t.due = next
	if wait := next.Sub(now); t.key.Check.Kind != health.None && wait >= jitterPart {
		t.due = next.Add(-time.Duration(p.rand.Int64N(int64(wait / jitterPart))))
	}
	heap.Push(&p.due, t)
	if t.place == 0 {
		signal(p.wake)
	}
}

// replan moves t forward if its machine wants it earlier than it is due, and into
// the schedule if it was in none and no probe of it is under way. mu is held.
func (p *Prober) replan(t *target, now time.Time) {
	next := t.machine.Next()
	switch {
	case next.IsZero() || t.place < 0 && t.key.Check.Kind != health.None:
	case t.place < 0:
		p.plan(t, now)
	case next.Before(t.due):
		t.due = next
		if heap.Fix(&p.due, t.place); t.place == 0 {
			signal(p.wake)
		}
	}
}

// idle is how long run waits when nothing is due; wake ends it.
const idle = time.Hour

// run starts probes when they are due until p is closed.
func (p *Prober) run() {
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		timer.Reset(p.launch(clock.Now()))
		select {
		case <-p.ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// launch starts what is due, as far as the limit lets it, and returns how long
// there is nothing more to start.
func (p *Prober) launch(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.due) > 0 {
		t := p.due[0]
		if wait := t.due.Sub(now); wait > 0 {
			p.counters.behind.Store(0)
			return wait
		}
		if t.key.Check.Kind == health.None {
			heap.Pop(&p.due)
			p.announce(t)(t.machine.Expire(now))
			p.plan(t, now)
			continue
		}
		if p.inFlight == p.limit {
			p.counters.behind.Store(int64(now.Sub(t.due)))
			return idle // the probe that ends next wakes us
		}
		heap.Pop(&p.due)
		p.inFlight++
		p.running.Go(func() { p.probe(t) })
	}
	p.counters.behind.Store(0)
	return idle
}

// probe asks t once.
func (p *Prober) probe(t *target) {
	began := clock.Now()
	o := t.ask(p.ctx, p.dial)
	ended := clock.Now()

	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inFlight--; p.inFlight == p.limit-1 {
		signal(p.wake)
	}
	if t.gone || p.ctx.Err() != nil {
		return
	}
	p.counters.count(o, ended.Sub(began))
	r := o.result(ended, ended.Sub(began))
	if o.verdict == unsent {
		told := p.announce(t)
		t.machine.Unsent(r)
		told(health.Transition{}, false)
	} else {
		p.announce(t)(t.machine.Observe(ended, r))
	}
	p.plan(t, ended)
}
