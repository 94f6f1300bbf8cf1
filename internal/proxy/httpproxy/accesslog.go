package httpproxy

import (
	"bytes"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/proxy/logline"
	"pharos/internal/proxy/tracecontext"
)

// logSink takes log lines without ever waiting for the disk: lines gather in
// one buffer while the other is being written.
type logSink struct {
	w       io.Writer
	format  *logline.Format
	most    int
	dropped atomic.Uint64
	wake    chan struct{} // holds one; closed by close

	mu       sync.Mutex // held while a line is copied, or the buffers are swapped
	lines    []byte
	spare    []byte
	isClosed bool
}

func newLogSink(w io.Writer, format *logline.Format, most int) *logSink {
	return &logSink{w: w, format: format, most: most, wake: make(chan struct{}, 1)}
}

// add takes one line; it is dropped and counted when the writer is too far
// behind.
func (l *logSink) add(line []byte) {
	l.mu.Lock()
	fits := len(l.lines)+len(line) <= l.most && !l.isClosed
	if fits {
		l.lines = append(l.lines, line...)
	}
	half := len(l.lines) > l.most/2
	l.mu.Unlock()
	if !fits {
		l.dropped.Add(1)
	}
	if half {
		l.flushSoon()
	}
}

// flushSoon wakes the writer up.
func (l *logSink) flushSoon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed || len(l.lines) == 0 {
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// close makes run write what there is and end.
func (l *logSink) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.isClosed {
		l.isClosed = true
		close(l.wake)
	}
}

var newline = []byte("\n")

// run writes until close. An error of the writer costs the lines at hand only:
// those that it did not take count as dropped.
func (l *logSink) run() {
	for {
		_, open := <-l.wake
		l.mu.Lock()
		lines := l.lines
		l.lines, l.spare = l.spare[:0], lines
		l.mu.Unlock()
		if len(lines) > 0 {
			if n, err := l.w.Write(lines); err != nil {
				l.dropped.Add(uint64(max(bytes.Count(lines[min(max(n, 0), len(lines)):], newline), 1)))
			}
		}
		if !open {
			return
		}
	}
}

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
	h.latency[bucketOf(took)].Add(1)
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
		x.line = c.server.access.format.Append(x.line[:0], (*logged)(c))
		c.server.access.add(x.line)
	}
}

// isLogged reports whether a request leaves a line: all do that failed or were tried again,
// and one of so many of the others.
func (s *Server) isLogged(x *exchange) bool {
	every := s.cfg.AccessLogEvery
	return every <= 1 || x.status >= 500 || x.status == 0 || x.tries > 1 || rand.Uint32N(uint32(every)) == 0
}
