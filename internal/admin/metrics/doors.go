package metrics

import (
	"pharos/internal/admin/telemetry"
	"pharos/internal/proxy/doorway"
)

// Door gives how connections fared at the listeners of the gateway of one form, http or
// https, before anything of HTTP was read.
func Door(form string, c *doorway.Counts, emit func(telemetry.Sample)) {
	const help = "Connections at the door of the gateway: headers of proxies that were refused (missing, malformed or late), TLS handshakes that succeeded, of those that continued a session, that failed, and that were too many; of QUIC, clients that had to prove their address, and connections refused since their client had too many."
	for _, e := range []struct {
		event string
		value uint64
	}{
		{"headers_refused", c.HeadersRefused.Load()}, {"handshakes", c.Handshakes.Load()}, {"handshakes_resumed", c.Resumed.Load()},
		{"handshakes_failed", c.HandshakesFailed.Load()}, {"handshakes_refused", c.HandshakesRefused.Load()},
		{"retries", c.Retries.Load()}, {"crowded", c.Crowded.Load()},
	} {
		emit(Counter("http_door_total", help, e.value, "listener", form, "event", e.event))
	}
}
