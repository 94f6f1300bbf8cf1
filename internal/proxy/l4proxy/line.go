package l4proxy

import (
	"encoding/json"
	"strconv"
	"time"
)

// record writes the line of a connection that is over.
func (c *conn) record() {
	c.finish(endDone, false) // whatever the way has left open
	keep := c.keeps(c.proxy, *c.reason.Load())
	if c.proxy.lines == nil && !keep {
		return
	}
	l := Carried{
		Stream: c.stream.Name, Protocol: "tcp", Began: c.began, Client: c.client.String(), Local: c.local.String(), ServerName: c.name,
		Tries: c.tries, Connect: c.connect, Took: c.proxy.cfg.Clock() - c.from, Received: c.received.Load(), Sent: c.sent.Load(), End: *c.reason.Load(),
	}
	if c.peer != c.client {
		l.Peer = c.peer.String()
	}
	if c.target != nil {
		l.Pool = c.target.Pool.Name()
	}
	if c.member != nil {
		l.Member, l.Address = c.member.Name, c.member.Address.String()
	}
	if first := time.Duration(c.first.Load()); first > 0 {
		l.First = first - c.from
	}
	c.proxy.over(&l, &c.fate, keep)
}

// Carried is what is told of a connection, or of a session of datagrams, that is over.
type Carried struct {
	ID, Stream, Protocol, Client, Peer, Local, ServerName, Pool, Member, Address, End string

	Began                        time.Time
	Tries                        int
	Waited, Connect, First, Took time.Duration // First: to the first octet of the member; 0: there was none
	Received, Sent               int64

	Chosen *Chosen  // nil: that was not kept
	Failed []Failed // before Member
}

// write appends a line of JSON to the log.
func (l *Carried) write(p *Proxy) {
	b := make([]byte, 0, 512)
	b = append(b, `{"time":"`...)
	b = l.Began.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, '"')
	for _, f := range [...]struct{ key, value string }{
		{"id", l.ID}, {"stream", l.Stream}, {"protocol", l.Protocol}, {"client", l.Client}, {"peer", l.Peer}, {"local", l.Local}, {"server_name", l.ServerName},
		{"pool", l.Pool}, {"member", l.Member}, {"address", l.Address}, {"end", l.End},
	} {
		if f.value == "" {
			continue
		}
		b = append(append(append(b, `,"`...), f.key...), `":`...)
		b = appendQuoted(b, f.value)
	}
	for _, f := range [...]struct {
		key   string
		value int64
	}{{"tries", int64(l.Tries)}, {"received", l.Received}, {"sent", l.Sent}} {
		b = append(append(append(b, `,"`...), f.key...), `":`...)
		b = strconv.AppendInt(b, f.value, 10)
	}
	for _, f := range [...]struct {
		key   string
		value time.Duration
	}{{"waited_seconds", l.Waited}, {"connect_seconds", l.Connect}, {"first_seconds", l.First}, {"seconds", l.Took}} {
		if f.key == "waited_seconds" && f.value == 0 {
			continue // as nearly always
		}
		b = append(append(append(b, `,"`...), f.key...), `":`...)
		b = strconv.AppendFloat(b, f.value.Seconds(), 'f', 6, 64)
	}
	b = append(b, "}\n"...)
	p.lines.Add(b)
	if now := p.cfg.Clock(); now-time.Duration(p.flushed.Load()) > linesPause {
		p.flushLines(now)
	}
}

// Lines wait to be written until there are half as many as may wait, or for so long: a line after a while
// without any is written at once.
const (
	mostLines  = 1 << 20 // octets; two or three thousand lines
	linesPause = 100 * time.Millisecond
)

// flushLines has the lines written that wait, and says once that some are lost.
func (p *Proxy) flushLines(now time.Duration) {
	if p.lines == nil {
		return
	}
	p.flushed.Store(int64(now))
	p.lines.FlushSoon()
	if lost := p.lines.Dropped(); lost > 0 && p.unlogged.CompareAndSwap(false, true) {
		p.cfg.Log.Warn("lines of connections are lost, as they cannot be written, or not fast enough; this is said once", "lines", lost)
	}
}

// appendQuoted appends s as a string of JSON.
func appendQuoted(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // a string can always be
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
