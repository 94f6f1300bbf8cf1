package outbound

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"pharos/internal/resolver/iterate"
)

// stream is one connection over TCP, or TLS on it, with any number of questions on
// it at a time (RFC 7766 §6.2.1.1, RFC 7858 §3.3).
//
// Invariant: it is in links.streams until it is gone.
type stream struct {
	// Constant after openLocked.
	links *links
	to    linkTo
	ready chan struct{} // closed when conn or err is there
	stop  context.CancelFunc

	// Written before ready is closed.
	conn net.Conn
	err  error

	writing sync.Mutex // one message at a time

	// Guarded by links.mu.
	waiting map[uint16]chan []byte // by id; each has room for its reply, or is closed without
	lastID  uint16
	used    bool // a reply has come
	retired bool // takes no more questions
	aborted bool
	gone    bool        // not in the table any more
	heard   time.Time   // when something came last
	since   time.Time   // of idleness
	idle    *time.Timer // runs while there is no question
}

var errClosedEarly = errors.New("the connection was closed without a whole reply")

// askStream asks over TCP or TLS.
func (l *links) askStream(ctx context.Context, to linkTo, query []byte) ([]byte, time.Duration, error) {
	for again := false; ; again = true {
		s, id, replies, reused, err := l.take(to, again)
		if err != nil {
			return nil, 0, err
		}
		reply, took, err := s.ask(ctx, id, query, replies, reused)
		if err == nil || again || !reused || ctx.Err() != nil {
			return reply, took, err
		}
	}
}

// take reserves a place on a connection. If fresh, it is one that was never used.
func (l *links) take(to linkTo, fresh bool) (s *stream, id uint16, replies chan []byte, reused bool, err error) { //arch:size one reservation has all these
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, 0, nil, false, net.ErrClosed
	}
	usable := 0
	for _, have := range l.streams[to] {
		if have.retired || fresh && have.used {
			continue
		}
		if usable++; s == nil || len(have.waiting) < len(s.waiting) {
			s = have
		}
	}
	switch {
	case s != nil && (len(s.waiting) < pipelined || usable >= connectionsPerServer && len(s.waiting) < pipelinedMost):
	case usable >= connectionsPerServer:
		return nil, 0, nil, false, errBusy
	default:
		if s = l.openLocked(to); s == nil {
			return nil, 0, nil, false, errNoSocket
		}
	}
	if s.idle != nil {
		s.idle.Stop()
	}
	for s.lastID++; s.waiting[s.lastID] != nil; s.lastID++ { // there are far fewer than ids
	}
	replies = make(chan []byte, 1)
	s.waiting[s.lastID] = replies
	return s, s.lastID, replies, s.used, nil
}

// openLocked begins a connection; nil if there are too many.
func (l *links) openLocked(to linkTo) *stream {
	if l.count >= l.most && !l.evictLocked() {
		return nil
	}
	ctx, cancel := context.WithTimeout(l.ctx, l.connect)
	s := &stream{links: l, to: to, ready: make(chan struct{}), stop: cancel, waiting: map[uint16]chan []byte{}, lastID: uint16(rand.Uint32())}
	l.streams[to] = append(l.streams[to], s)
	l.count++
	l.work.Go(func() { // ends with the connection: closed by the server, idle, aborted
		defer cancel()
		s.conn, s.err = l.dial(ctx, to)
		close(s.ready)
		if s.err == nil {
			if !s.isAborted() {
				s.read()
			}
			s.conn.Close()
		}
		s.leave()
	})
	return s
}

// evictLocked closes the connection that has been idle for longest.
func (l *links) evictLocked() bool {
	var oldest *stream
	for _, all := range l.streams {
		for _, s := range all {
			if len(s.waiting) == 0 && !s.retired && (oldest == nil || s.since.Before(oldest.since)) {
				oldest = s
			}
		}
	}
	if oldest == nil {
		return false
	}
	oldest.retired = true
	oldest.abort()
	oldest.removeLocked()
	return true
}

// dial connects to a server and agrees on TLS, if that is how it is asked.
func (l *links) dial(ctx context.Context, to linkTo) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", to.at.String())
	if err == nil && to.over == iterate.DoT {
		secure := tls.Client(conn, l.tlsTo(to, tls.VersionTLS12, "dot"))
		if err = secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			err = fmt.Errorf("TLS: %w", err)
		} else {
			state := secure.ConnectionState()
			l.met(to.over, &state)
			return secure, nil
		}
	}
	if err != nil {
		l.broken[to.over].Add(1)
		return nil, err
	}
	l.met(to.over, nil)
	return conn, nil
}

// abort ends the connection, or the attempt to make it. links.mu is held.
func (s *stream) abort() {
	s.aborted = true
	s.stop()
	select {
	case <-s.ready:
		if s.conn != nil {
			go s.conn.Close() // TLS would wait for a write under way; ends at its deadline at the latest
		}
	default:
	}
}

func (s *stream) isAborted() bool {
	s.links.mu.Lock()
	defer s.links.mu.Unlock()
	return s.aborted
}

// ask sends query and waits for its reply, or until ctx is over. On a connection
// that has been used before it waits for half of that time: if nothing comes, the
// other end may have vanished.
func (s *stream) ask(ctx context.Context, id uint16, query []byte, replies chan []byte, reused bool) ([]byte, time.Duration, error) { //arch:size one question on a reserved place
	defer s.release(id)
	select {
	case <-s.ready:
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	}
	if s.err != nil {
		return nil, 0, s.err
	}
	patience := ctx
	sent := time.Now()
	deadline, _ := ctx.Deadline()
	if reused {
		s.links.reused[s.to.over].Add(1)
		var cancel context.CancelFunc
		patience, cancel = context.WithDeadline(ctx, sent.Add(deadline.Sub(sent)/2))
		defer cancel()
	}
	if err := s.write(id, query, deadline); err != nil {
		return nil, 0, err
	}
	select {
	case reply, ok := <-replies:
		if !ok {
			return nil, 0, errClosedEarly
		}
		return reply, time.Since(sent), nil
	case <-patience.Done():
		s.distrust(sent)
		return nil, 0, context.Cause(patience)
	}
}

// write sends one message with its length, in one piece (RFC 7766 §8).
func (s *stream) write(id uint16, query []byte, deadline time.Time) error {
	msg := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(query)), uint16(len(query)))
	msg = binary.BigEndian.AppendUint16(msg, id)
	msg = append(msg, query[2:]...)
	s.writing.Lock()
	defer s.writing.Unlock()
	s.conn.SetWriteDeadline(deadline)
	_, err := s.conn.Write(msg)
	if err != nil {
		s.retire() // part of the message may have gone out
	}
	return err
}

// read brings replies to those who wait for them, until the connection ends or the
// other side talks nonsense.
func (s *stream) read() {
	unasked := 0
	for {
		var length [2]byte
		if _, err := io.ReadFull(s.conn, length[:]); err != nil {
			return
		}
		msg := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(s.conn, msg); err != nil {
			return
		}
		if !s.deliver(msg) {
			if unasked++; unasked >= strays {
				return
			}
		}
	}
}

// deliver gives a message to who waits for it, and reports whether somebody does.
func (s *stream) deliver(msg []byte) bool {
	if len(msg) < 2 {
		return false
	}
	s.links.mu.Lock()
	defer s.links.mu.Unlock()
	s.heard, s.used = time.Now(), true
	id := binary.BigEndian.Uint16(msg)
	replies := s.waiting[id]
	if replies == nil {
		return false
	}
	select {
	case replies <- msg:
		return true
	default: // there was one already
		return false
	}
}

// release gives the place of a question back.
func (s *stream) release(id uint16) {
	s.links.mu.Lock()
	defer s.links.mu.Unlock()
	delete(s.waiting, id)
	if len(s.waiting) > 0 || s.gone {
		return
	}
	if s.retired {
		s.abort()
		return
	}
	s.since = time.Now()
	if s.idle == nil {
		s.idle = time.AfterFunc(s.idleTime(), s.rest)
	} else {
		s.idle.Reset(s.idleTime())
	}
}

func (s *stream) idleTime() time.Duration {
	if s.to.over == iterate.Do53 {
		return plainIdle
	}
	return encryptedIdle
}

// rest ends the connection if it has been idle for its time.
func (s *stream) rest() {
	s.links.mu.Lock()
	defer s.links.mu.Unlock()
	if len(s.waiting) == 0 && !s.gone {
		s.retired = true
		s.abort()
	}
}

// retire lets no more questions onto the connection, which ends with its last one.
func (s *stream) retire() {
	s.links.mu.Lock()
	defer s.links.mu.Unlock()
	s.retired = true
}

// distrust retires a connection from which nothing has come since a question went
// out that got no reply.
func (s *stream) distrust(sent time.Time) {
	s.links.mu.Lock()
	defer s.links.mu.Unlock()
	if s.heard.Before(sent) {
		s.retired = true
	}
}

// leave takes the connection out; who still waits is told.
func (s *stream) leave() {
	s.links.mu.Lock()
	defer s.links.mu.Unlock()
	if len(s.waiting) > 0 && s.err == nil {
		s.links.broken[s.to.over].Add(1)
	}
	for _, replies := range s.waiting {
		close(replies)
	}
	clear(s.waiting)
	s.retired = true
	if s.idle != nil {
		s.idle.Stop()
	}
	s.removeLocked()
}

// removeLocked takes the connection out of the table; twice does no harm.
func (s *stream) removeLocked() {
	if s.gone {
		return
	}
	s.gone = true
	s.links.count--
	all := s.links.streams[s.to]
	for i, have := range all {
		if have == s {
			all = append(all[:i], all[i+1:]...)
			break
		}
	}
	if s.links.streams[s.to] = all; len(all) == 0 {
		delete(s.links.streams, s.to)
	}
}
