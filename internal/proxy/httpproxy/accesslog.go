package httpproxy

import (
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/proxy/http1"
)

// logSink takes log lines without ever waiting for the disk: lines gather in
// one buffer while the other is being written.
type logSink struct {
	w       io.Writer
	most    int
	dropped atomic.Uint64
	wake    chan struct{} // holds one; closed by close

	mu       sync.Mutex // held while a line is copied, or the buffers are swapped
	lines    []byte
	spare    []byte
	isClosed bool
}

func newLogSink(w io.Writer, most int) *logSink {
	return &logSink{w: w, most: most, wake: make(chan struct{}, 1)}
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

// run writes until close. An error of the writer costs the lines at hand only:
// they count as dropped.
func (l *logSink) run() {
	for {
		_, open := <-l.wake
		l.mu.Lock()
		lines := l.lines
		l.lines, l.spare = l.spare[:0], lines
		l.mu.Unlock()
		if len(lines) > 0 {
			if _, err := l.w.Write(lines); err != nil {
				l.dropped.Add(1)
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
	if c.server.access != nil {
		x.line = c.appendLine(x.line[:0], x, took)
		c.server.access.add(x.line)
	}
}

// appendLine makes one JSON object with its line feed.
//
//	time client method host target version status in out seconds id route pool member tries reason agent
func (c *client) appendLine(b []byte, x *exchange, took time.Duration) []byte {
	b = append(b, `{"time":"`...)
	b = x.stamp.appendLog(b, x.began)
	b = append(append(append(b, `","client":"`...), c.peerAs.address...), '"')
	if !x.req.InHead() && len(x.req.Method()) > 0 {
		b = append(append(append(b, `,"method":"`...), x.req.Method()...), '"')
		b = appendJSON(append(b, `,"host":`...), x.req.Host())
		b = appendJSON(append(b, `,"target":`...), x.req.Target())
		b = append(append(append(b, `,"version":"`...), c.wire.version(x)...), '"')
	}
	b = strconv.AppendInt(append(b, `,"status":`...), int64(x.status), 10)
	b = strconv.AppendInt(append(b, `,"in":`...), x.received, 10)
	b = strconv.AppendInt(append(b, `,"out":`...), x.sent, 10)
	b = appendSeconds(append(b, `,"seconds":`...), took)
	if len(x.id) > 0 {
		b = appendJSON(append(b, `,"id":`...), x.id)
	}
	if x.route != nil && x.route.Name != "" {
		b = appendJSON(append(b, `,"route":`...), x.route.Name)
	}
	if x.counters != nil {
		b = appendJSON(append(b, `,"pool":`...), x.counters.Name)
	}
	if x.member != nil {
		b = appendJSON(append(b, `,"member":`...), x.member.Name)
		b = strconv.AppendInt(append(b, `,"tries":`...), int64(x.tries), 10)
	}
	if x.reason != "" {
		b = appendJSON(append(b, `,"reason":`...), x.reason)
	}
	if agent, ok := x.req.Get(http1.FieldUserAgent); ok {
		b = appendJSON(append(b, `,"agent":`...), agent)
	}
	return append(b, '}', '\n')
}

// appendSeconds appends d as seconds with six decimals.
func appendSeconds(b []byte, d time.Duration) []byte {
	us := int64(d / time.Microsecond)
	b = append(strconv.AppendInt(b, us/1e6, 10), '.')
	for unit := int64(1e5); unit > 0; unit /= 10 {
		b = append(b, byte('0'+us/unit%10))
	}
	return b
}

// appendJSON appends text as a JSON string. Octets that are no ASCII are
// written as \u00xx, so that the line is valid whatever the client sent.
func appendJSON[T string | []byte](b []byte, text T) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(text) {
		c := text[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20 || c >= 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
