package probe

import (
	"context"
	"syscall"
	"time"

	"pharos/internal/clock"
	"pharos/internal/traffic/health"
)

// plan puts t, which is not in the wheel, where its machine wants it. mu is held.
func (p *Prober) plan(t *target, now time.Time) {
	next := t.state.Next()
	if next.IsZero() {
		return
	}
	part := time.Duration(jitterPart)
	if len(p.targets) > crowd {
		part = crowdJitterPart
	}
	if wait := next.Sub(now); t.key.Check.Kind != health.None && wait >= part {
		next = next.Add(-time.Duration(p.rand.Int64N(int64(wait / part))))
	}
	p.put(t, next)
}

func (p *Prober) put(t *target, due time.Time) {
	p.wheel.Put(&t.item, due)
	if due.Before(p.waking) {
		signal(p.wake)
	}
}

// replan moves t forward if its machine wants it earlier than it is due, and into
// the wheel if it was not in it and no probe of it is under way. mu is held.
func (p *Prober) replan(t *target, now time.Time) {
	next := t.state.Next()
	switch {
	case next.IsZero() || t.asked || !t.item.IsIn() && t.key.Check.Kind != health.None:
	case !t.item.IsIn():
		p.plan(t, now)
	case next.Before(p.wheel.DueAt(&t.item)):
		p.wheel.Remove(&t.item)
		p.put(t, next)
	}
}

// idle is how long run waits when nothing is due; wake ends it.
const idle = time.Hour

// crowd is from how many targets on probes are begun in bursts, pace apart: one thread that sleeps for 50 us
// 20,000 times a second does little else, and with 2 ms a probe still costs a tenth more than with 5. They are
// late by half of pace on average, which is an eighth of what a verdict may be late by.
const (
	crowd = 1000
	pace  = 5 * time.Millisecond
)

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
	quick, wait := p.collect(now)
	for i := range quick {
		c := &quick[i]
		c.target.began = clock.Now() // nobody else looks at it before start has it wait
		c.errno = p.connector.start(c.target)
	}
	if len(quick) > 0 {
		wait = p.settle(quick)
	}
	return wait
}

// connecting is a probe that connector makes.
type connecting struct {
	target *target
	errno  syscall.Errno
}

// collect takes out what is due. It starts those probes that need a goroutine, and
// returns those that the connector makes.
func (p *Prober) collect(now time.Time) (quick []connecting, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Before(p.looked) { // the clock was put back; what is held are times to wait
		p.wheel.Shift(now.Sub(p.looked))
	}
	p.looked = now
	p.ready = p.wheel.Due(now, p.ready[:0])
	for _, i := range p.ready {
		switch t := i.Value; {
		case t.asked:
			p.timeOut(t, now)
		case t.gone:
		case t.key.Check.Kind == health.None:
			p.with(t, func(m *health.Machine) (health.Transition, bool) { return m.Expire(now) })
			p.plan(t, now)
		default:
			p.waiting = append(p.waiting, t)
		}
	}
	quick = p.quick[:0]
	for p.inFlight < p.limit && len(p.waiting) > 0 {
		t := p.waiting[0]
		if p.waiting = p.waiting[1:]; t.gone {
			continue
		}
		p.inFlight++
		t.asked = true
		if t.key.Check.Kind == health.TCP && p.connector.takes(t.key.Address) {
			quick = append(quick, connecting{target: t})
		} else {
			p.running.Go(func() { p.probe(t) })
		}
	}
	p.quick = quick
	if len(quick) > 0 {
		return quick, 0 // settle says
	}
	return nil, p.pause(now)
}

// pause returns how long run may sleep. mu is held.
func (p *Prober) pause(now time.Time) time.Duration {
	wait := idle
	if next, any := p.wheel.Next(); any {
		wait = max(next.Sub(now), 0)
	}
	if len(p.targets) > crowd {
		wait = max(wait, pace)
	}
	p.waking = now.Add(wait)
	behind := time.Duration(0)
	if len(p.waiting) > 0 { // until the probe that ends next wakes us
		behind = now.Sub(p.wheel.DueAt(&p.waiting[0].item))
	}
	p.counters.behind.Store(int64(behind))
	return wait
}

// settle takes in what the connector has started, and returns what pause does.
func (p *Prober) settle(quick []connecting) time.Duration {
	now := clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range quick {
		t := quick[i].target
		if quick[i].errno != errPending {
			p.ended(t, t.connected(quick[i].errno), t.began, now)
		} else if t.asked { // else waited has been called already
			p.wheel.Put(&t.item, t.began.Add(t.params().Timeout))
		}
		quick[i].target = nil
	}
	return p.pause(now)
}

// connected says what a connection that was made, or was not, means.
func (t *target) connected(errno syscall.Errno) outcome {
	if errno == 0 {
		return outcome{verdict: good, cause: "connected"}
	}
	return t.failed(errno, "connecting")
}

// waited takes in a connection that took its time: the connector calls it.
func (p *Prober) waited(t *target, errno syscall.Errno) {
	now := clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wheel.Remove(&t.item)
	p.ended(t, t.connected(errno), t.began, now)
}

// timeOut ends a connection that takes too long. mu is held.
func (p *Prober) timeOut(t *target, now time.Time) {
	if p.connector.abandon(t) {
		p.ended(t, t.failed(context.DeadlineExceeded, "connecting"), t.began, now)
	}
}

// probe asks t once.
func (p *Prober) probe(t *target) {
	began := clock.Now()
	o := t.ask(p.ctx, p.dial)
	now := clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended(t, o, began, now)
}

// ended takes in how a probe ended. mu is held.
func (p *Prober) ended(t *target, o outcome, began, now time.Time) {
	if p.inFlight--; len(p.waiting) > 0 {
		signal(p.wake)
	}
	t.asked = false
	if t.gone || p.ctx.Err() != nil {
		return
	}
	took := now.Sub(began)
	p.counters.count(o, took)
	r := o.result(now, took)
	if o.verdict == unsent {
		p.with(t, func(m *health.Machine) (health.Transition, bool) {
			m.Unsent(r)
			return health.Transition{}, false
		})
	} else {
		p.observe(t, now, r)
	}
	p.plan(t, now)
}
