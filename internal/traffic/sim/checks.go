package sim

import (
	"slices"
	"time"

	"pharos/internal/traffic/health"
	"pharos/internal/traffic/passive"
)

// checked is a target with the machine of its state, as a node has it.
type checked struct {
	target  health.Target
	machine health.Machine
	server  int
	turn    uint32        // of the probe that is planned
	due     time.Time     // of that
	asked   bool          // a probe is under way
	outcome health.Result // of it
}

// jitterPart is the part of its waiting time by which a probe comes earlier at most, as in
// package probe.
const jitterPart = 10

// addChecks makes the machines of all targets and plans their first probes.
func (w *world) addChecks() {
	for _, t := range w.registry.Targets() {
		c := &checked{target: t, machine: health.New(t.Check, w.at()), server: w.byAddress[t.Address]}
		w.byTarget[t] = c
		w.checks = append(w.checks, c)
		w.schedule(len(w.checks)-1, w.at())
	}
	w.registry.Refresh(func(t health.Target) health.Status { return w.byTarget[t].machine.Status() })
}

// schedule plans what a machine wants next.
func (w *world) schedule(i int, next time.Time) {
	c := w.checks[i]
	c.turn++
	if c.due = next; next.IsZero() {
		return
	}
	wait := next.Sub(w.at())
	if c.target.Check.Kind != health.None && wait >= jitterPart {
		wait -= time.Duration(w.rng.Int64N(int64(wait / jitterPart)))
	}
	w.after(max(wait, 0), event{kind: probe, of: int32(i), turn: c.turn})
}

// probe begins what is due of a target: a probe, or the end of its ejection.
func (w *world) probe(i int) {
	c := w.checks[i]
	if c.target.Check.Kind == health.None {
		if _, changed := c.machine.Expire(w.at()); changed {
			w.apply(c)
		}
		w.schedule(i, c.machine.Next())
		return
	}
	w.probes++
	c.asked = true
	took, ok, cause := w.ask(c)
	c.outcome = health.Result{OK: ok, Latency: took, Cause: cause}
	w.after(took, event{kind: probed, of: int32(i)})
}

// ask returns how a probe that begins now will end. A connection is made as long as the
// server is there; what asks for an answer waits like others, and begins to fail when
// answers take longer than its timeout.
func (w *world) ask(c *checked) (took time.Duration, ok bool, cause string) {
	s := &w.servers[c.server]
	timeout := c.target.Check.Params.Normal().Timeout
	switch {
	case s.silent > 0:
		return timeout, false, "timeout connecting"
	case s.refusing > 0:
		return s.trip, false, "connection refused"
	case c.target.Check.Kind == health.TCP || c.target.Check.Kind == health.ICMP:
		return s.trip, true, "connected"
	}
	took = s.trip + w.takes(s)
	if ahead := len(s.waiting) - s.head; s.busy >= s.of.Workers {
		took += time.Duration(float64(ahead+1) / float64(s.of.Workers) * float64(s.of.takesAt(s.busy)) * s.slow)
		if ahead >= s.of.Queue {
			return s.trip, false, "status 503"
		}
	}
	if took > timeout {
		return timeout, false, "timeout waiting for the response"
	}
	for _, i := range s.active {
		if h := &w.happens[i]; h.Does == "errors" && h.Probes && w.rng.IntN(100) < h.Share {
			return took, false, "status 500"
		}
	}
	return took, true, "status 200"
}

// probed takes in how a probe has ended.
func (w *world) probed(i int) {
	c := w.checks[i]
	c.asked = false
	c.outcome.At = w.at()
	w.evidence(c, c.outcome)
	w.schedule(i, c.machine.Next())
}

// addJury has members compared by the traffic that they carry, as a node does.
func (w *world) addJury() {
	if w.variant.By != ByGateway {
		return
	}
	w.passive = passive.New(passive.Config{
		Pools: w.registry.Pools,
		Grade: func(t health.Target, g health.Grade) {
			c := w.byTarget[t]
			before := c.machine.Notes()
			if _, changed := c.machine.Grade(w.at(), g); changed || c.machine.Notes() != before {
				w.apply(c)
			}
		},
		Eject: func(t health.Target, cause string) {
			c := w.byTarget[t]
			if _, changed := c.machine.Eject(w.at(), cause); changed {
				w.apply(c)
				w.hasten(c)
			}
		},
	})
	w.after(passive.Beat, event{kind: compare})
}

// evidence gives a result to a machine, and what follows from it to the pools.
func (w *world) evidence(c *checked, r health.Result) {
	if !w.variant.hasHealth() {
		return
	}
	if _, changed := c.machine.Observe(w.at(), r); changed {
		w.apply(c)
	}
	if r.Passive {
		w.hasten(c)
	}
}

// hasten plans what a machine wants next, if that is earlier than what is planned.
func (w *world) hasten(c *checked) {
	if next := c.machine.Next(); !c.asked && !next.IsZero() && (c.due.IsZero() || next.Before(c.due)) {
		w.schedule(slices.Index(w.checks, c), next)
	}
}

// apply publishes views with the state of a target.
func (w *world) apply(c *checked) {
	w.registry.Apply(c.target, c.machine.Status())
	w.noteVerdict(c)
	if !w.warming && w.pool.View().Spec().SlowStart > 0 {
		w.warming = true
		w.after(warmEach, event{kind: warm})
	}
}
