// Package h3conn drives the server's side of an HTTP/3 connection over quic-go: it has the
// goroutines that package http3, which decides, must not have.
//
// It owns the life of a connection and of its streams: which requests are taken, what a client
// may give up, GOAWAY, and when a request is whole. It does not own what a request means, nor
// limits of time: whoever serves a stream sets deadlines, and is asked whether they were meant.
//
//	Conn.Serve -> a goroutine for each request stream -> Config.Handle(Stream)
//	           -> a goroutine for each one-way stream -> http3.Uni
//
//	Stream.ReadHead -> Stream.Read ... io.EOF -> Stream.Trailers
//	Stream.Interim, Stream.Send ... last
//
// Entry points: New, Conn.Serve, Conn.GoAway, Conn.Close; Stream.
//
// Concurrency: a Conn is used by any goroutine. A Stream is read by one goroutine and written by
// one, at the same time; Reset and deadlines are anybody's.
//
// Sources: RFC 9114 (HTTP/3), RFC 9000 (QUIC), RFC 9220 (WebSocket).
package h3conn

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"pharos/internal/proxy/http3"
	"pharos/internal/proxy/quota"
)

// Config is what a Conn needs.
type Config struct {
	// MaxHead is the most octets of a request head in the form of HTTP/1.1. Above it a
	// Stream says TooLarge.
	MaxHead int
	// Resets is how many requests of a burst a client may give up, or lose because it broke
	// the rules. A tenth of it comes back each second, and one with each that is answered.
	// Above it: H3_EXCESSIVE_LOAD (CVE-2023-44487, CVE-2025-8671).
	Resets int
	// Clock is any clock.
	Clock func() time.Duration
	// IsFull reports whether a request is rejected, which may be sent again elsewhere.
	IsFull func() bool
	// Handle serves a request, from when Began was called for it; Left follows.
	Began  func(*Stream)
	Handle func(*Stream)
	Left   func(*Stream)
	// Broken is told why a connection ends for which its client is to blame.
	Broken func(*http3.Error)
	Counts *Counts
}

// Counts is what is counted of connections that have several requests.
type Counts struct {
	Connections, Ended, Streams, Resets, Broken, Refused atomic.Uint64

	Excesses [quota.Excesses]atomic.Uint64 // connections of those ended, by the bound that was passed
}

// Conn is a connection of HTTP/3.
type Conn struct {
	*quic.Conn
	config  Config
	control *quic.SendStream // ours
	running sync.WaitGroup

	saying sync.Mutex // who says GOAWAY
	said   uint64     // what the last one has named; guarded by saying

	mu       sync.Mutex // never held while something is read or written
	peer     http3.Peer
	active   int // requests
	resets   quota.Budget
	next     uint64 // number of the stream behind the last one that was taken
	rejects  bool   // no more are taken
	isClosed bool
}

// sayTime is how long saying GOAWAY may wait for a client that takes nothing.
const sayTime = 500 * time.Millisecond

// saidNothing is what GOAWAY has named before the first one.
const saidNothing = ^uint64(0)

// New returns a Conn around conn, whose handshake is done.
func New(conn *quic.Conn, c Config) *Conn {
	resets := float64(c.Resets)
	return &Conn{Conn: conn, config: c, said: saidNothing, resets: quota.New(c.Clock(), resets, resets, resets/10)}
}

// Serve serves requests until the connection has ended, and the last of them.
func (c *Conn) Serve() {
	c.config.Counts.Connections.Add(1)
	if c.open() != nil {
		return
	}
	c.running.Go(c.acceptUni)
	for {
		stream, err := c.AcceptStream(c.Context())
		if err != nil {
			break
		}
		if s := c.take(stream); s != nil {
			c.running.Go(s.serve) // ends with its request, which the connection ends at the latest
		}
	}
	c.running.Wait()
}

// open opens our control stream (RFC 9114 §6.2.1).
func (c *Conn) open() error {
	control, err := c.OpenUniStream()
	if err != nil {
		return err
	}
	c.saying.Lock()
	defer c.saying.Unlock()
	c.control = control
	_, err = control.Write(http3.AppendOpening(nil, c.config.MaxHead))
	return err
}

// take takes a request; nil: it is rejected, and may be sent again elsewhere (RFC 9114 §4.1.1).
func (c *Conn) take(stream *quic.Stream) *Stream {
	isFull := c.config.IsFull()
	c.mu.Lock()
	if isFull || c.rejects {
		isFull = isFull && !c.rejects
		c.mu.Unlock()
		if isFull {
			c.config.Counts.Refused.Add(1)
		}
		stream.CancelRead(quic.StreamErrorCode(http3.RequestRejected))
		stream.CancelWrite(quic.StreamErrorCode(http3.RequestRejected))
		stream.ReleaseStreamCredit()
		return nil
	}
	c.next = uint64(stream.StreamID()) + 4
	c.peer.Requests++
	c.active++
	c.mu.Unlock()
	c.config.Counts.Streams.Add(1)
	s := newStream(c, stream)
	c.config.Began(s)
	return s
}

// leave gives the place of a request free.
func (c *Conn) leave(s *Stream) {
	c.mu.Lock()
	c.active--
	calm, excess := true, quota.Resets
	if s.broke.Load() || s.left.Load() {
		calm = c.resets.Spend(c.config.Clock(), 1)
	} else {
		c.resets.Earn(1)
	}
	c.mu.Unlock()
	c.config.Left(s)
	s.Stream.ReleaseStreamCredit()
	if !calm {
		if s.broke.Load() {
			excess = quota.Broken
		}
		c.broken(&http3.Error{Code: http3.ExcessiveLoad, Text: "too many requests are given up or break the rules", Excess: excess})
	}
}

// Active returns how many requests are under way.
func (c *Conn) Active() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.active
}

// acceptUni takes the client's one-way streams until the connection ends.
func (c *Conn) acceptUni() {
	for {
		stream, err := c.AcceptUniStream(c.Context())
		if err != nil {
			return
		}
		c.running.Go(func() { c.readUni(stream) })
	}
}

// readUni reads a one-way stream. Its place is never given back: a client needs few.
func (c *Conn) readUni(stream *quic.ReceiveStream) {
	var u http3.Uni
	var room [512]byte
	for {
		n, err := stream.Read(room[:])
		c.mu.Lock()
		more, broken := u.Feed(room[:n], &c.peer)
		c.mu.Unlock()
		if err != nil && broken == nil && c.Context().Err() == nil {
			broken = u.End()
		}
		switch {
		case broken != nil:
			c.broken(broken)
			return
		case !more:
			stream.CancelRead(quic.StreamErrorCode(http3.StreamCreationError))
			return
		case err != nil:
			return
		}
	}
}

// GoAway tells the client to send further requests elsewhere (RFC 9114 §5.2). Those that come
// nevertheless are taken; with last, they are not, and the client is told from which on. It
// waits for a slow client for a moment at most, and reports whether there was something to say.
func (c *Conn) GoAway(last bool) bool {
	c.mu.Lock()
	c.rejects = c.rejects || last
	names := uint64(http3.MaxStreamID)
	if c.rejects {
		names = c.next
	}
	c.mu.Unlock()
	c.saying.Lock()
	defer c.saying.Unlock()
	if c.control == nil || names >= c.said {
		return false
	}
	c.said = names
	c.control.SetWriteDeadline(time.Now().Add(sayTime))
	c.control.Write(http3.AppendGoAway(nil, names))
	return true
}

// broken ends the connection, as the client broke a rule.
func (c *Conn) broken(why *http3.Error) {
	if c.end() {
		c.config.Counts.Ended.Add(1)
		c.config.Counts.Excesses[why.Excess].Add(1)
		c.config.Broken(why)
		c.CloseWithError(quic.ApplicationErrorCode(why.Code), why.Text)
	}
}

// Close ends the connection, and reports whether nobody has before.
func (c *Conn) Close(code http3.ErrCode, text string) bool {
	first := c.end()
	if first {
		c.CloseWithError(quic.ApplicationErrorCode(code), text)
	}
	return first
}

// end reports whether the connection is to be closed, as nobody else does.
func (c *Conn) end() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.isClosed
	c.isClosed = true
	return first
}
