package outbound

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// Error codes of RFC 9250 §4.3.
const (
	quicNoError          = 0x0
	quicProtocolError    = 0x2
	quicRequestCancelled = 0x3
)

// Limits of QUIC connections. Chosen, not derived: what the server may send before
// it is read, in octets.
const (
	quicStreamWindow, quicMaxStreamWindow = 16 << 10, 72 << 10
	quicConnWindow, quicMaxConnWindow     = 64 << 10, 256 << 10
)

// quicLink is the connection to one server over QUIC, with a stream for each
// question (RFC 9250 §4.2). Data before the end of the handshake (0-RTT) is not
// sent: a question could be replayed and seen again.
type quicLink struct {
	links *links
	to    linkTo

	mu     sync.Mutex // guards what follows
	conn   *quicConn  // nil: none, or it has failed
	closed bool
}

// quicConn is one connection, which may not be there yet.
type quicConn struct {
	ready chan struct{} // closed when conn or err is there
	conn  *quic.Conn
	err   error
	used  bool // guarded by quicLink.mu
}

// quicTo returns the link to a server, nil after close.
func (l *links) quicTo(to linkTo) *quicLink {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q := l.quics[to]; q != nil || l.closed {
		return q
	}
	q := &quicLink{links: l, to: to}
	l.quics[to] = q
	return q
}

// askQUIC asks over QUIC.
func (l *links) askQUIC(ctx context.Context, to linkTo, query []byte) ([]byte, time.Duration, error) {
	q := l.quicTo(to)
	if q == nil {
		return nil, 0, net.ErrClosed
	}
	for again := false; ; again = true {
		c, reused := q.connection()
		if c == nil {
			return nil, 0, net.ErrClosed
		}
		reply, took, err := q.ask(ctx, c, query, reused)
		if err == nil || again || !reused || ctx.Err() != nil {
			return reply, took, err
		}
		q.drop(c)
	}
}

// connection returns the connection, which is begun if there is none.
func (q *quicLink) connection() (c *quicConn, reused bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, false
	}
	if c = q.conn; c != nil {
		select {
		case <-c.ready:
			if c.err == nil && c.conn.Context().Err() == nil {
				return c, c.used
			}
		default:
			return c, false
		}
	}
	c = &quicConn{ready: make(chan struct{})}
	q.conn = c
	q.links.work.Go(func() { // ends with the handshake
		defer close(c.ready)
		ctx, cancel := context.WithTimeout(q.links.ctx, q.links.connect)
		defer cancel()
		c.conn, c.err = quic.DialAddr(ctx, q.to.at.String(), q.links.tlsTo(q.to, tls.VersionTLS13, "doq"), &quic.Config{
			HandshakeIdleTimeout: q.links.connect, MaxIdleTimeout: encryptedIdle,
			MaxIncomingStreams: -1, MaxIncomingUniStreams: -1, // RFC 9250 §4.2: the client opens them
			InitialStreamReceiveWindow: quicStreamWindow, MaxStreamReceiveWindow: quicMaxStreamWindow,
			InitialConnectionReceiveWindow: quicConnWindow, MaxConnectionReceiveWindow: quicMaxConnWindow,
		})
		if c.err != nil {
			q.links.broken[q.to.over].Add(1)
			return
		}
		state := c.conn.ConnectionState().TLS
		q.links.met(q.to.over, &state)
	})
	return c, false
}

// drop has the next question go on a new connection.
func (q *quicLink) drop(c *quicConn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.conn != c {
		return
	}
	q.conn = nil
	q.links.broken[q.to.over].Add(1)
	q.end(c)
}

// ask asks on one connection. On one that has been used before it waits for half
// of the time there is: if nothing comes, the other end may have vanished.
func (q *quicLink) ask(ctx context.Context, c *quicConn, query []byte, reused bool) ([]byte, time.Duration, error) {
	select {
	case <-c.ready:
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	}
	if c.err != nil {
		return nil, 0, c.err
	}
	deadline, _ := ctx.Deadline()
	sent := time.Now()
	if reused {
		q.links.reused[q.to.over].Add(1)
		deadline = sent.Add(deadline.Sub(sent) / 2)
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	s, err := c.conn.OpenStreamSync(ctx) // waits while the server lets us have no more
	if err != nil {
		return nil, 0, err
	}
	stop := context.AfterFunc(ctx, func() { // RFC 9250 §4.3.1
		s.CancelWrite(quicRequestCancelled)
		s.CancelRead(quicRequestCancelled)
	})
	defer stop()
	reply, err := q.exchange(c, s, query)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, 0, err
	}
	q.mu.Lock()
	c.used = true
	q.mu.Unlock()
	return reply, time.Since(sent), nil
}

// exchange sends query on a stream of its own, and reads its reply (RFC 9250 §4.2).
func (q *quicLink) exchange(c *quicConn, s *quic.Stream, query []byte) ([]byte, error) {
	msg := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(query)), uint16(len(query)))
	msg = append(append(msg, 0, 0), query[2:]...) // RFC 9250 §4.2.1: id 0
	if _, err := s.Write(msg); err != nil {
		return nil, err
	}
	s.Close() // the end of what we send
	var length [2]byte
	if _, err := io.ReadFull(s, length[:]); err != nil {
		return nil, streamError(err)
	}
	reply := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(s, reply); err != nil {
		return nil, streamError(err)
	}
	var more [1]byte
	if n, err := s.Read(more[:]); n > 0 || len(reply) < 2 || reply[0] != 0 || reply[1] != 0 {
		q.drop(c)
		c.conn.CloseWithError(quicProtocolError, "") // RFC 9250 §4.3.3
		return nil, errors.New("the server breaks the protocol (RFC 9250 §4.3.3)")
	} else if !errors.Is(err, io.EOF) {
		s.CancelRead(quicNoError) // there is the reply; its FIN may be late
	}
	return reply, nil
}

// streamError says what a stream without a whole reply means.
func streamError(err error) error {
	var reset *quic.StreamError
	if errors.As(err, &reset) {
		return fmt.Errorf("the server gave the question up (DoQ error code %d)", reset.ErrorCode)
	}
	return err
}

func (q *quicLink) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if q.conn != nil {
		q.end(q.conn)
	}
}

// end ends a connection, when there is one.
func (q *quicLink) end(c *quicConn) {
	q.links.work.Go(func() { // ends when the close is on its way, or the attempt has failed
		<-c.ready
		if c.err == nil {
			c.conn.CloseWithError(quicNoError, "")
		}
	})
}
