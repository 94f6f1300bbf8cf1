package httpproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"pharos/internal/proxy/h3conn"
	"pharos/internal/proxy/http3"
)

// QUICListener is where connections of HTTP/3 come from.
type QUICListener interface {
	// Accept returns the next connection; after Close it fails.
	Accept(ctx context.Context) (*quic.Conn, error)
	// Close lets nobody in any more, and leaves the connections that there are. Release ends
	// them and gives the address free.
	Close() error
	Release()
	Addr() net.Addr
}

// quicSession is a client connection of HTTP/3, whose requests have seats (quicseat.go).
type quicSession struct {
	client *client // the connection
	conn   *h3conn.Conn
	due    chan struct{} // holds one: something is to be looked at

	mu    sync.Mutex
	seats map[*quicSeat]struct{} // with a request under way
}

// quicTurn is how long a client is given to take what was sent last, before its connection is
// closed: more than a round trip to the other side of the earth.
const quicTurn = 500 * time.Millisecond

// ServeQUIC accepts connections of HTTP/3 on l until Shutdown, when it returns ErrClosed after the
// last of them, or until l fails. It releases l. identify says what was agreed on with a
// connection, and altSvc is as that of a Door.
func (s *Server) ServeQUIC(l QUICListener, altSvc string, identify func(*quic.Conn) *Identity) error {
	defer l.Release()
	if !s.addListener(l) {
		return ErrClosed
	}
	defer s.dropListener(l)
	var running sync.WaitGroup
	defer running.Wait()
	alt := newAlternative(altSvc)
	for {
		conn, err := l.Accept(context.Background())
		switch {
		case err == nil:
			running.Go(func() { s.serveQUIC(conn, identify(conn), alt) }) // ends with its connection, which Shutdown closes
		case s.draining.Load():
			return ErrClosed
		default:
			return err
		}
	}
}

// serveQUIC is the life of a connection after its handshake.
func (s *Server) serveQUIC(conn *quic.Conn, id *Identity, alt *alternative) {
	c := newClient(s, &quicConn{conn})
	c.tls, c.altSvc = id, alt
	q := &quicSession{client: c, due: make(chan struct{}, 1), seats: map[*quicSeat]struct{}{}}
	q.conn = h3conn.New(conn, h3conn.Config{
		MaxHead: s.http.MaxHead(), Resets: s.limits.HTTP3Resets, Clock: s.clock, Counts: &c.shard.http3,
		IsFull: func() bool { return s.inFlight.Load() >= int64(s.limits.MaxConnections) },
		Began:  q.began, Handle: func(t *h3conn.Stream) { t.Owner.(*quicSeat).run() }, Left: q.left, Broken: q.broken,
	})
	c.session = q
	s.mu.Lock()
	full := len(s.clients) >= s.limits.MaxConnections || s.draining.Load()
	if !full {
		s.clients[c] = struct{}{}
	}
	s.mu.Unlock()
	if full {
		s.shards[0].shed.Add(1)
		q.conn.Close(http3.ExcessiveLoad, "too many connections")
		return
	}
	c.shard.accepted.Add(1)
	defer c.end(nil)
	c.setDeadline(s.limits.Idle)
	q.carry()
	q.reportRoundTrip()
}

func (q *quicSession) carry() (rests bool) {
	var keeping sync.WaitGroup
	keeping.Go(q.keep) // ends with the connection
	q.conn.Serve()
	q.conn.Close(http3.NoError, "")
	keeping.Wait()
	return false
}

// mayRest: a connection of QUIC has no descriptor to wait for.
func (q *quicSession) mayRest() bool { return false }

// began gives a request a seat.
func (q *quicSession) began(stream *h3conn.Stream) {
	t := newQUICSeat(q, stream)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.seats[t] = struct{}{}
	q.client.deadline.Store(0)
}

// left gives its seat free.
func (q *quicSession) left(stream *h3conn.Stream) {
	s := q.client.server
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.seats, stream.Owner.(*quicSeat))
	switch {
	case len(q.seats) > 0:
	case s.lastCall.Load():
		q.client.setDeadline(quicTurn)
	default:
		q.client.setDeadline(s.limits.Idle)
	}
}

// keep does what is due until the connection ends.
func (q *quicSession) keep() {
	for {
		select {
		case <-q.due:
			q.housekeep()
		case <-q.conn.Context().Done():
			return
		}
	}
}

// housekeep does what is due.
func (q *quicSession) housekeep() {
	c, s := q.client, q.client.server
	q.mu.Lock()
	d := c.deadline.Load()
	isIdle := len(q.seats) == 0 && d != 0 && s.now.Load() >= d
	q.mu.Unlock()
	last := isIdle || s.lastCall.Load()
	switch {
	case s.cut.Load():
		q.conn.Close(http3.NoError, "")
	case last || s.draining.Load():
		said := q.conn.GoAway(last)
		if !last || q.conn.Active() > 0 {
			return // the last request sets the deadline
		}
		if said {
			c.setDeadline(quicTurn) // for what is on its way
		} else if isIdle {
			q.conn.Close(http3.NoError, "")
		}
	}
}

// nudge has the session look at what is due.
func (q *quicSession) nudge() {
	select {
	case q.due <- struct{}{}:
	default:
	}
}

// appendClients appends the clients of q, all of which have requests under way.
func (q *quicSession) appendClients(all []*client) []*client {
	q.mu.Lock()
	defer q.mu.Unlock()
	for t := range q.seats {
		all = append(all, &t.client)
	}
	return all
}

func (q *quicSession) broken(why *http3.Error) {
	c := q.client
	c.server.log.Debug("a client broke the rules of HTTP/3", "client", c.peer.String(), "code", fmt.Sprintf("%#x", uint64(why.Code)), "reason", why.Text)
}

// reportRoundTrip tells how long the shortest round trip of the connection took.
func (q *quicSession) reportRoundTrip() {
	c := q.client
	local, ok := q.conn.LocalAddr().(*net.UDPAddr)
	took := q.conn.ConnectionStats().MinRTT
	if ok && took > 0 && c.server.cfg.RoundTrip != nil && c.peer.IsValid() && !c.peerAs.trusted {
		c.server.cfg.RoundTrip(c.peer, local.AddrPort().Addr().Unmap(), took)
	}
}

// quicConn is a connection of QUIC where one is asked for that has octets: it has none itself.
type quicConn struct{ *quic.Conn }

var errNoOctets = errors.New("httpproxy: a connection of QUIC has no octets of its own")

func (c *quicConn) Read([]byte) (int, error)  { return 0, errNoOctets }
func (c *quicConn) Write([]byte) (int, error) { return 0, errNoOctets }
func (c *quicConn) Close() error {
	return c.CloseWithError(quic.ApplicationErrorCode(http3.NoError), "")
}
func (c *quicConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *quicConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *quicConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
