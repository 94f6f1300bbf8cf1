package metrics

import (
	"pharos/internal/admin/telemetry"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/outbound"
	"pharos/internal/serve/querytap"
)

// Links emits what became of the resolver's connections to other servers.
func Links(resolver *outbound.Driver, emit func(telemetry.Sample)) {
	for over, transport := range []string{"tcp", "dot", "doh", "doq"} {
		c, _ := resolver.Links(iterate.Transport(over))
		const help = "Connections of the resolver to other servers, by transport: opened, those among them that continued a TLS session, those that failed; and questions on one that there was."
		emit(Counter("resolver_connections_total", help, c.Opened, "transport", transport, "event", "opened"))
		emit(Counter("resolver_connections_total", help, c.Resumed, "transport", transport, "event", "resumed"))
		emit(Counter("resolver_connections_total", help, c.Broken, "transport", transport, "event", "broken"))
		emit(Counter("resolver_connections_total", help, c.Reused, "transport", transport, "event", "reused"))
	}
}

// Tap emits what was told of queries.
func Tap(c querytap.Counts, emit func(telemetry.Sample)) {
	for _, e := range []struct {
		event string
		value uint64
	}{{"frames", c.Frames}, {"lines", c.Lines}, {"dropped", c.Dropped}, {"failed", c.Failed}} {
		emit(Counter("query_tap_total", "Queries told of: dnstap frames and lines of the log written, queries dropped because the queue was full, and those that could not be written.", e.value, "event", e.event))
	}
}
