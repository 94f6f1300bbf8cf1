package doh

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"strconv"
	"time"

	"pharos/internal/clock"
	"pharos/internal/dns/dnswire"
	"pharos/internal/proxy/http2"
)

// turn is one request of a session, from its head to the end of its response.
type turn struct {
	session *session
	write   func(answer []byte, last bool) error // t.send; made once for all requests of the turn
	waits   func() context.Context               // t.wait, likewise

	// Owned by the goroutine that answers.
	reads bool // it is the one that reads the connection, too
	bare  bool // the request is a HEAD

	// Guarded by session.mu.
	stream *http2.Stream // nil: the turn is free
	state  turnState
	due    time.Duration // of receiving and sending: when that has taken too long
	rest   []byte        // of sending: what the client has no room for yet
	cancel func()        // ends the waiting for an answer; nil: nobody waits
}

// turnState is how far a request has come.
type turnState uint8

const (
	receiving turnState = iota // content is missing
	waiting                    // for its turn, or for its answer
	sending                    // the client has no room for the rest of the answer
)

func newTurn(s *session) *turn {
	t := &turn{session: s}
	t.write, t.waits = t.send, t.wait
	return t
}

// isAt reports whether a path is that of queries, however it is written (RFC 3986 §6.2.2.2).
func (h *Handler) isAt(path []byte) bool {
	if string(path) == h.Path {
		return true
	}
	if bytes.IndexByte(path, '%') < 0 {
		return false
	}
	plain, err := url.PathUnescape(string(path))
	return err == nil && plain == h.Path
}

var errGone = errors.New("the client does not want the answer any more")

// send takes an answer.
func (t *turn) send(answer []byte, _ bool) error {
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	b := t.begin(200)
	b = append(b, "Content-Type: "+mediaType+"\r\nCache-Control: "+freshness...)
	b = strconv.AppendUint(b, uint64(dnswire.Freshness(answer)), 10)
	b = append(b, "\r\n"...)
	return t.respond(b, answer)
}

// refuse answers that there is no answer, and ends the request as end does.
func (t *turn) refuse(why *refusal) (reads bool) {
	s := t.session
	s.mu.Lock()
	b := append(t.begin(why.status), "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"...)
	if why == &tooMany {
		b = append(b, "Retry-After: 1\r\n"...)
	}
	if t.respond(b, []byte(why.text+"\n")) != nil && t.stream != nil {
		s.conn.Reset(t.stream, http2.Cancel)
	}
	s.mu.Unlock()
	return t.end()
}

// begin begins the head of a response. session.mu is held.
func (t *turn) begin(status int) []byte {
	s := t.session
	b := append(s.text[:0], "HTTP/1.1 "...)
	b = append(strconv.AppendInt(b, int64(status), 10), "\r\n"...)
	b = s.date.AppendDate(b, clock.Now())
	if field := s.carrier.handler.AltSvc; field != "" {
		b = append(append(append(b, "Alt-Svc: "...), field...), "\r\n"...)
	}
	return b
}

// respond sends a response, as far as the client has room for it. session.mu is held.
func (t *turn) respond(head, content []byte) error {
	s := t.session
	head = append(strconv.AppendInt(append(head, "Content-Length: "...), int64(len(content)), 10), "\r\n"...)
	s.text = head[:0]
	if s.closed || s.conn.Failure() != nil || t.stream.Reset() {
		return errGone
	}
	if s.visit.IsSpent() {
		s.goAway()
	}
	s.conn.SendHead(t.stream, head, t.bare)
	if t.bare {
		return nil
	}
	if n := s.conn.SendData(t.stream, content, true); n < len(content) {
		t.rest = append(t.rest[:0], content[n:]...)
		t.state, t.due = sending, s.carrier.clock()+s.limits.Write
		s.lookAt(t.due)
	}
	return nil
}

// end ends a request whose response was handed over, and reports whether this goroutine reads.
// The turn is another request's then.
func (t *turn) end() (reads bool) {
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	reads, t.bare = t.reads, false
	if t.state != sending || t.stream.Reset() {
		s.done(t)
	} else if !reads {
		s.nudge() // who reads has to know until when
	}
	s.sendLate(reads)
	return reads
}

// reset ends a request that has no response, as end does.
func (t *turn) reset() (reads bool) {
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	reads, t.bare = t.reads, false
	s.conn.Reset(t.stream, http2.InternalError)
	s.done(t)
	s.sendLate(reads)
	return reads
}

// sendLate sends what a goroutine has added that does not read: the one that does sends by
// itself. s.mu is held.
func (s *session) sendLate(reads bool) {
	if reads {
		return
	}
	s.flush()
	if s.leaving && s.conn.Active() == 0 {
		s.nudge()
	}
}

// wait is called when an answer is not there at once: another goroutine reads on.
func (t *turn) wait() context.Context {
	s := t.session
	t.reads = false
	ctx := s.contextOf(t)
	s.running.Go(s.run) // ends with the connection, or when another one reads
	return ctx
}
