package metrics

import (
	"pharos/internal/admin/telemetry"
	"pharos/internal/proxy/breaker"
)

// Breakers gives what the breakers of pools do.
func Breakers(all []breaker.OfPool, emit func(telemetry.Sample)) {
	for i := range all {
		r := &all[i]
		for _, s := range []breaker.State{breaker.Closed, breaker.Open, breaker.HalfOpen} {
			is := 0.0
			if r.State == s {
				is = 1
			}
			emit(Gauge("http_breaker_state", "1 for the state that the breaker of a pool is in.", is, "pool", r.Pool, "state", s.String()))
		}
		emit(Gauge("http_breaker_requests", "Requests to a pool whose number is bounded.", float64(r.Inside), "pool", r.Pool, "state", "under_way"))
		emit(Gauge("http_breaker_requests", "Requests to a pool whose number is bounded.", float64(r.Waiting), "pool", r.Pool, "state", "waiting"))
		const help = "How often the breaker of a pool has opened, and requests that were refused while it was (refused_open), since too many were under way (refused_full), that have begun to wait, and that have waited in vain."
		for _, e := range []struct {
			event string
			value uint64
		}{
			{"opened", r.Opened}, {"refused_open", r.RefusedOpen}, {"refused_full", r.RefusedFull}, {"waited", r.Waited}, {"timed_out", r.TimedOut},
		} {
			emit(Counter("http_breaker_total", help, e.value, "pool", r.Pool, "event", e.event))
		}
	}
}
