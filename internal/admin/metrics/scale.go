package metrics

import (
	"pharos/internal/admin/telemetry"
	"pharos/internal/proxy/holding"
	"pharos/internal/traffic/fleet"
)

// Scale gives how a pool scales.
func Scale(pool string, s *fleet.Status, emit func(telemetry.Sample)) {
	for _, phase := range []string{"starting", "serving", "leaving", "stopping"} {
		n := 0
		for _, m := range s.Members {
			if m.Phase == phase {
				n++
			}
		}
		emit(Gauge("scale_members", "Members that were made, by phase.", float64(n), "pool", pool, "phase", phase))
	}
	for _, e := range []struct {
		event string
		value uint64
	}{{"started", s.Started}, {"ended", s.Ended}, {"failed", s.Failed}} {
		emit(Counter("scale_events_total", "Members that were started, that ended by decision, and that failed by themselves, or messages to a webhook in vain.", e.value, "pool", pool, "event", e.event))
	}
	emit(Gauge("scale_trouble", "1 while a pool cannot get the members that it should have.", One(s.Trouble != ""), "pool", pool))
	if len(s.Decisions) > 0 {
		d := &s.Decisions[0]
		emit(Gauge("scale_have", "Members that count, as the last decision saw them.", float64(d.Have), "pool", pool))
		emit(Gauge("scale_want", "Members that are wanted, within the bounds.", float64(d.Want), "pool", pool))
		emit(Gauge("scale_min", "The fewest members there may be now.", float64(d.Min), "pool", pool))
		emit(Gauge("scale_max", "The most members there may be now.", float64(d.Max), "pool", pool))
	}
}

// Holds gives what became of requests and connections that waited for a first member.
func Holds(all []holding.Counters, emit func(telemetry.Sample)) {
	for _, h := range all {
		emit(Gauge("http_held_requests", "Requests, and connections of streams, that wait for the first member of a pool.", float64(h.Waiting), "pool", h.Pool))
		emit(Gauge("http_held_octets", "Memory that they have.", float64(h.Octets), "pool", h.Pool))
		for _, e := range []struct {
			event string
			value uint64
		}{{"held", h.Held}, {"refused", h.Refused}, {"timed_out", h.TimedOut}} {
			emit(Counter("http_held_total", "Requests that have begun to wait, that found no room, and that have waited in vain.", e.value, "pool", h.Pool, "event", e.event))
		}
	}
}
