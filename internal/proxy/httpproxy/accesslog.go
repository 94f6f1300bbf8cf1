package httpproxy

import (
	"math/rand/v2"
	"time"

	"pharos/internal/proxy/histogram"
	"pharos/internal/proxy/tracecontext"
)

// record counts the request and writes its line to the access log.
func (c *client) record(x *exchange) {
	took := time.Since(x.began)
	x.times.total = took
	h := c.shard
	class := x.status / 100
	if class > 5 {
		class = 0
	}
	h.classes[class].Add(1)
	h.latency[histogram.Bucket(took)].Add(1)
	h.latencyNanos.Add(uint64(took))
	if x.received > 0 {
		h.bytesIn.Add(uint64(x.received))
	}
	if x.sent > 0 {
		h.bytesOut.Add(uint64(x.sent))
	}
	if x.counters != nil {
		x.counters.Requests[class].Add(1)
	}
	c.observe(x, class)
	var told *tracecontext.Request
	if x.trace.isSampled() {
		told = c.describe(x)
		c.server.cfg.Tracing.Export(told)
	}
	if c.server.cfg.Past != nil {
		c.keep(x, told)
	}
	if c.server.access != nil && c.server.isLogged(x) {
		x.line = c.server.format.Append(x.line[:0], (*logged)(c))
		c.server.access.Add(x.line)
	}
}

// isLogged reports whether a request leaves a line: all do that failed or were tried again,
// and one of so many of the others.
func (s *Server) isLogged(x *exchange) bool {
	every := s.cfg.AccessLogEvery
	return every <= 1 || x.status >= 500 || x.status == 0 || x.tries > 1 || rand.Uint32N(uint32(every)) == 0
}
