package metrics

import (
	"pharos/internal/admin/telemetry"
	"pharos/internal/proxy/served"
)

// mostMirrors bounds the series of routes whose requests are copied.
const mostMirrors = 500

// Mirrors gives what became of copies of requests.
func Mirrors(table *served.Table, emit func(telemetry.Sample)) {
	for _, m := range table.ReadMirrors(mostMirrors) {
		emit(Gauge("http_mirror_requests", "Copies of requests of a route that are under way.", float64(m.UnderWay), "route", m.Route, "pool", m.Pool))
		const help = "Copies of requests of a route: answered, with whatever status, failed, left out since too many were under way (full), and since the content is too large (skipped)."
		for _, e := range []struct {
			outcome string
			value   uint64
		}{{"answered", m.Answered}, {"failed", m.Failed}, {"full", m.Full}, {"skipped", m.Skipped}} {
			emit(Counter("http_mirror_total", help, e.value, "route", m.Route, "pool", m.Pool, "outcome", e.outcome))
		}
	}
}
