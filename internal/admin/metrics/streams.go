package metrics

import (
	"pharos/internal/admin/telemetry"
	"pharos/internal/proxy/l4proxy"
)

// Streams gives what streams have carried: there are as many as the configuration has, a
// thousand at most.
func Streams(all []l4proxy.Stat, emit func(telemetry.Sample)) {
	for _, s := range all {
		name := s.Stream.Name
		emit(Counter("stream_connections_total", "Connections, or clients of UDP, that a stream has let in.", s.Taken.Load(), "stream", name))
		emit(Gauge("stream_active", "Those that are carried now.", float64(s.Active.Load()), "stream", name))
		for i := range s.Refused {
			emit(Counter("stream_refused_total", "Connections that were not carried, by the reason.", s.Refused[i].Load(), "stream", name, "reason", l4proxy.Refusal(i).String()))
		}
		emit(Counter("stream_octets_total", "Octets that were carried, from clients (in) and to them (out).", s.Received.Load(), "stream", name, "direction", "in"))
		emit(Counter("stream_octets_total", "Octets that were carried, from clients (in) and to them (out).", s.Sent.Load(), "stream", name, "direction", "out"))
		emit(Counter("stream_retries_total", "Members that were asked after another one could not be reached.", s.Retries.Load(), "stream", name))
		emit(Counter("stream_unreached_total", "Connects to members that failed.", s.Unreached.Load(), "stream", name))
		emit(Counter("stream_broken_total", "Connections that members ended without an answer.", s.Broken.Load(), "stream", name))
		if s.Stream.UDP {
			emit(Counter("stream_displaced_total", "Clients of UDP that gave way to newer ones (limits.connections).", s.Displaced.Load(), "stream", name))
			emit(Counter("stream_dropped_total", "Datagrams for which there was no room.", s.Dropped.Load(), "stream", name))
		}
	}
}
