// Package httpproxy is the HTTP gateway: it carries requests from clients to
// members of pools and their responses back.
//
// It owns connections on both sides, their time limits, retries, forwarding
// fields, the access log and the counters. It does not own the syntax of HTTP
// (packages http1 and http2), which route wins (package route), which member is next
// (package balance) nor who is healthy (package health): it reports what it
// sees of members through Config.Report.
//
//	client -> read head -> route -> pick member -> origin exchange -> response -> log
//	          request.go all the way, top-down
//
// Entry points: New, Server.Serve, Server.ServeQUIC, Server.Shutdown, NewTable,
// Server.Counters, Server.Origins.
//
// Concurrency: one goroutine per client connection does everything for it, the
// origin's side included. Two things start another one: request content too
// large to hold (upload.go) and a tunnel (tunnel.go); both end before the
// request does. One goroutine per Server watches the clock (deadline.go) and
// one writes the access log. Shutdown ends all of them.
//
// Sources: RFC 9110 (semantics, §7 routing and forwarding), RFC 9112 (HTTP/1.1),
// RFC 7239 (Forwarded), RFC 9209 (Proxy-Status), RFC 9562 (UUIDv7), RFC 6455 §4
// (WebSocket handshake).
package httpproxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/parking"
	"pharos/internal/proxy/compress"
	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/linesink"
	"pharos/internal/proxy/logline"
	"pharos/internal/proxy/origins"
	"pharos/internal/proxy/places"
	"pharos/internal/proxy/route"
	"pharos/internal/proxy/served"
	"pharos/internal/traffic/health"
)

// Config is what a Server needs to know. Only Table is required.
type Config struct {
	// Table returns the snapshot in force. It is called once per request and must
	// be one atomic load.
	Table func() *served.Table
	// Report takes what traffic shows of a target: every failure and the first
	// success after one. It must not block.
	Report func(health.Target, health.Result)
	// Breaker takes which pool's breaker is not closed, and why, and an empty text when it is
	// again; nil: nobody asks. It is called by one goroutine.
	Breaker func(pool, text string)
	// RoundTrip takes how long round trips to a client took, at the end of its connection
	// to one of our addresses; nil: nobody asks. It must not block.
	RoundTrip func(client, server netip.Addr, took time.Duration)
	// AccessLog takes a line per request, whole ones at a time; nil for none. It is
	// written to by one goroutine, and never makes a request wait.
	AccessLog io.Writer
	// AccessLogFormat makes the lines; nil: a JSON object with logline.DefaultFields.
	AccessLogFormat *logline.Format
	// AccessLogEvery is of how many requests one leaves a line; 0 and 1: each. Those that
	// failed, or were tried more than once, leave one each.
	AccessLogEvery int
	// Tracing has requests take part in traces; nil: they do not.
	Tracing *Tracing
	// Past is which requests are kept; nil: none.
	Past *Past
	// Compression has content be compressed on the way to clients; nil: it goes as it is.
	Compression *Compression
	// Log takes what an operator should know; nil discards it.
	Log *slog.Logger
	// Limits bounds time, sizes and numbers.
	Limits Limits
	// Trusted are the networks whose X-Forwarded-*, Forwarded, X-Real-IP and
	// X-Request-Id fields are believed. From others these fields are deleted.
	Trusted []netip.Prefix
	// HTTP2 says what clear-text connections may speak.
	HTTP2 Versions
	// Via is the pseudonym for the Via field; empty sends none.
	Via string
	// Paths is how request paths are normalised.
	Paths route.Policy
	// Dial opens a connection to an origin server; nil is TCP.
	Dial func(ctx context.Context, address netip.AddrPort) (net.Conn, error)
}

// Versions is which versions of HTTP a clear-text connection may speak. Where both may be
// spoken, the preface of HTTP/2 decides.
type Versions uint8

// The versions.
const (
	Both      Versions = iota
	OnlyHTTP1          // HTTP/1.1
	OnlyHTTP2          // HTTP/2
)

// ErrClosed is what Serve returns after Shutdown.
var ErrClosed = errors.New("the gateway was shut down")

// Server is one gateway. Make it with New.
type Server struct {
	// Constant after New.
	cfg     Config
	limits  Limits
	http    http1.Limits
	began   time.Time
	log     *slog.Logger
	origins *origins.Set
	access  *linesink.Sink  // nil: no access log
	format  *logline.Format // of its lines
	crowd   int64           // requests in flight from which on yielding pays
	stop    chan struct{}
	copies  sync.WaitGroup // of requests, under way
	stopped sync.WaitGroup // the watcher of the clock and the log writer

	// Atomic.
	now      atomic.Int64 // coarse: nanoseconds since began, moved by the watcher
	draining atomic.Bool  // Shutdown has begun: each response says "Connection: close"
	lastCall atomic.Bool  // its grace is over: nobody waits for a request any more
	cut      atomic.Bool  // Shutdown's patience is over: everything is overdue
	shards   [shardCount]shard

	codings  [compress.Zstd + 1]codingCounts
	nextID   atomic.Uint64
	lot      atomic.Pointer[parking.Lot[*client]] // of connections at rest; nil until there is one
	rested   atomic.Int64                         // connections that have come to rest since the last collection
	inFlight atomic.Int64                         // requests whose first octet has come and whose answer has not gone

	// Guarded by mu, which is taken when connections come and go, never per request.
	mu        sync.Mutex
	clients   map[*client]struct{}
	copied    map[*client]struct{} // of copies of requests
	seated    []*client            // room for eachClient
	listeners map[io.Closer]struct{}
	lotAsked  bool
	empty     chan struct{} // closed when draining and the last client is gone

	places     places.Places // of connections, by client
	inspecting places.Places // of requests that wait for their content to have their routes found

	closing chan struct{} // closed when Shutdown begins

	wave wave // owned by the watcher
}

// New returns a Server that is ready for Serve.
func New(cfg Config) *Server {
	s := &Server{
		cfg: cfg, limits: cfg.Limits.WithDefaults(), began: time.Now(), log: cfg.Log,
		stop: make(chan struct{}), empty: make(chan struct{}), closing: make(chan struct{}),
		clients: make(map[*client]struct{}), copied: make(map[*client]struct{}), listeners: make(map[io.Closer]struct{}),
	}
	s.http = s.limits.HTTP
	s.crowd = int64(4 * runtime.GOMAXPROCS(0))
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.origins = origins.New(origins.Limits{PerOrigin: s.limits.IdlePerOrigin, Idle: s.limits.OriginIdle}, cfg.Dial)
	if cfg.AccessLog != nil {
		s.access, s.format = linesink.New(cfg.AccessLog, s.limits.AccessLogBuffer), cfg.lines()
		s.stopped.Go(s.access.Run) // ended by Close in Shutdown
	}
	s.stopped.Go(s.watch) // ended by stop in Shutdown
	return s
}

// Elapsed returns the time by which the loads of members are noted (pool.MemberLoad). A nil
// Server notes none.
func (s *Server) Elapsed() time.Duration {
	if s == nil {
		return 0
	}
	return time.Since(s.began)
}

// Serve accepts connections on l, in the clear, until Shutdown, when it returns ErrClosed, or
// until l fails. It closes l. Several listeners may be served at once.
func (s *Server) Serve(l net.Listener) error { return s.ServeBehind(nil, l) }

// ServeBehind is Serve for connections that are let in by d; nil: as they are.
func (s *Server) ServeBehind(d *Door, l net.Listener) error {
	if !s.addListener(l) {
		l.Close()
		return ErrClosed
	}
	defer s.dropListener(l)
	var alt *alternative
	if d != nil {
		alt = newAlternative(d.AltSvc)
	}
	pause := time.Duration(0)
	for {
		conn, err := l.Accept()
		if err == nil {
			pause = 0
			s.accept(conn, d, alt)
			continue
		}
		if s.draining.Load() {
			return ErrClosed
		}
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() && !isTransient(err) {
			return err
		}
		// Out of descriptors, mostly: wait a little, for some to be given back.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.log.Warn("cannot accept a connection; trying again", "address", l.Addr().String(), "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-s.stop:
			return ErrClosed
		}
	}
}

func (s *Server) accept(conn net.Conn, d *Door, alt *alternative) {
	c := newClient(s, conn)
	c.altSvc = alt
	if d != nil && d.IsOpen(c.peer) {
		d = nil
	}
	s.mu.Lock()
	full := len(s.clients) >= s.limits.MaxConnections
	if !full && !s.draining.Load() {
		s.clients[c] = struct{}{}
	} else {
		c = nil
	}
	s.mu.Unlock()
	if c == nil {
		s.shards[0].shed.Add(1)
		if d == nil || !d.IsTLS {
			s.sayFull(conn)
		}
		conn.Close()
		return
	}
	c.shard.accepted.Add(1)
	go c.serve(d) // ends with its connection, which its deadline or Shutdown closes
}

// sayFull tells a client in the clear that there is no place, unless it does not listen.
func (s *Server) sayFull(conn net.Conn) {
	conn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	conn.Write(overloaded)
}

func (s *Server) remove(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
	if len(s.clients) == 0 && s.draining.Load() {
		s.closeEmpty()
	}
}

// closeEmpty closes empty once; mu is held.
func (s *Server) closeEmpty() {
	select {
	case <-s.empty:
	default:
		close(s.empty)
	}
}

func (s *Server) addListener(l io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) dropListener(l io.Closer) {
	l.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

// Shutdown stops accepting, and lets requests in flight be answered with
// "Connection: close". Connections that have been idle for a while are closed at
// once, the others after Limits.DrainGrace: a client that was told nothing may just
// be sending its next request (RFC 9112 §9.5). It returns when the last is done. When ctx ends first, what is left is cut off and ctx's error returned.
// The Server cannot be used again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	first := s.draining.CompareAndSwap(false, true)
	if first {
		close(s.closing)
	}
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.clients {
		if c.isLongIdle(s.limits.DrainGrace) {
			c.closeIfIdle()
		}
		if c.session != nil {
			c.session.nudge() // it says GOAWAY
		}
	}
	if len(s.clients) == 0 {
		s.closeEmpty()
	}
	s.mu.Unlock()
	err := s.awaitEmpty(ctx)
	if first {
		s.endCopies()
		close(s.stop)
		if s.access != nil {
			s.access.Close()
		}
		s.origins.Close()
		if lot := s.lot.Load(); lot != nil {
			lot.Close()
		}
	}
	s.stopped.Wait()
	return err
}

// awaitEmpty returns when the last client is gone: by itself, after the grace, or
// cut off when ctx ends.
func (s *Server) awaitEmpty(ctx context.Context) error {
	grace := time.NewTimer(s.limits.DrainGrace)
	defer grace.Stop()
	for {
		select {
		case <-s.empty:
			return nil
		case <-grace.C:
			s.closeIdle()
		case <-ctx.Done():
			s.cutOff()
			<-s.empty
			return ctx.Err()
		}
	}
}

// closeIdle closes the connections that wait for a request, and those that will.
func (s *Server) closeIdle() {
	s.lastCall.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		c.closeIfIdle()
		if c.session != nil {
			c.session.nudge()
		}
	}
}

// cutOff interrupts whatever connections wait for, so that their goroutines end.
// The watcher repeats it, for those that were between two waits.
func (s *Server) cutOff() {
	s.cut.Store(true)
	s.interruptOverdue()
}

// overloaded is sent when there are MaxConnections already.
var overloaded = []byte("HTTP/1.1 503 Service Unavailable\r\nProxy-Status: pharos; error=connection_limit_reached\r\n" +
	"Content-Length: 0\r\nConnection: close\r\n\r\n")
