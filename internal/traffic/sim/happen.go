package sim

import (
	"slices"
	"time"

	"pharos/internal/traffic/health"
)

// happening is one thing that happens to a server, and what came of it.
type happening struct {
	*Event
	server   int
	from, to time.Duration

	seen     time.Duration // when a verdict took the member out; -1: none did
	lastSent time.Duration // when a request was sent to it last
	sent     spread        // requests in the meantime, by when
	failed   uint64        // of requests that it was the last to have
}

// addHappenings plans what is going to happen: what has a time of its own, and what happens
// by chance, as often as it is said and independent of the policy.
func (w *world) addHappenings() {
	for i := range w.plan.Events {
		e := &w.plan.Events[i]
		for at, s := range w.servers {
			if s.name != e.Member && e.Member != "*" {
				continue
			}
			if e.Every == 0 {
				w.addHappening(e, at, e.At.Std(), e.For.Std())
				continue
			}
			for t := w.chance(e.Every.Std()); t < w.plan.Length.Std(); t += w.chance(e.Every.Std()) {
				t = w.addHappening(e, at, t, max(w.chance(e.For.Std()), time.Second))
			}
		}
	}
	for i := range w.happens {
		h := &w.happens[i]
		w.after(h.from, event{kind: begin, of: int32(i)})
		w.after(h.to, event{kind: end, of: int32(i)})
	}
}

// chance draws a time of that mean.
func (w *world) chance(mean time.Duration) time.Duration {
	return time.Duration(w.fate.ExpFloat64() * float64(mean))
}

func (w *world) addHappening(e *Event, server int, from, lasts time.Duration) time.Duration {
	to := min(from+lasts, w.plan.Length.Std())
	w.happens = append(w.happens, happening{Event: e, server: server, from: from, to: to, seen: -1, lastSent: -1})
	return to
}

// takesOut reports whether the server is to have no traffic meanwhile.
func (h *happening) takesOut() bool { return h.Does != "slow" && h.Does != "errors" }

func (w *world) begin(i int) {
	h := &w.happens[i]
	s := &w.servers[h.server]
	s.active = append(s.active, i)
	if h.takesOut() {
		w.noteUnwell(h)
	}
	for _, c := range w.checks {
		if state := c.machine.State(); c.server == h.server && (state == health.Down || state == health.Draining) {
			h.seen = w.now // by what has happened before
		}
	}
	switch h.Does {
	case "crash":
		if s.refusing++; s.refusing == 1 && s.silent == 0 {
			w.fall(h.server, false)
		}
	case "vanish":
		if s.silent++; s.silent == 1 && s.refusing == 0 {
			w.fall(h.server, true)
		}
	case "slow":
		s.slow *= float64(h.By)
	case "drain":
		s.drained++
		w.drain(h.server, true)
	}
}

func (w *world) end(i int) {
	h := &w.happens[i]
	s := &w.servers[h.server]
	s.active = slices.DeleteFunc(s.active, func(other int) bool { return other == i })
	switch h.Does {
	case "crash":
		s.refusing--
	case "vanish":
		s.silent--
	case "slow":
		s.slow /= float64(h.By)
	case "drain":
		if s.drained--; s.drained == 0 {
			w.drain(h.server, false)
		}
	}
}

// drain does as an operator who takes a member out, or gives it back. Without health there is
// one as well: he edits the zone.
func (w *world) drain(server int, on bool) {
	for _, c := range w.checks {
		if c.server != server {
			continue
		}
		if _, changed := c.machine.Drain(w.at(), on); changed {
			w.apply(c)
		}
	}
}
