// Package dnsserver is the DNS listener: UDP and TCP sockets in, queries to a
// Handler, answers out.
//
// It owns sockets, batches, connections, their limits and their end. It does not
// own what is answered, nor who may ask (package admission): that is the
// Handler's. What is malformed it answers itself, or meets with silence.
//
//	UDP   N sockets per address (SO_REUSEPORT), one locked thread each:
//	      recvmmsg(64) -> Handler, in place in the receive buffer -> sendmmsg
//	TCP   one goroutine per connection: length, message -> Handler -> answers,
//	      several queries in flight, out of order when deferred; DoT is the same
//	      over TLS
//	else  another driver (packages doh and doq) has an Entrance, a Visit for each
//	      connection, and gives each message to Visit.Ask
//	all   Request.Defer takes the query off the loop; Deferred.Send answers it
//	      later, from any goroutine, by the same socket
//
// Entry points: Listen, Server.Open, Server.Serve, Server.Shutdown, Handler,
// Request.Defer; Entrance.Admit and Visit.Ask for other drivers.
//
// Concurrency: the Handler is called from many goroutines at once, one call at a
// time for each Request. A Handler must not block: on UDP it runs on the loop that
// reads the socket. The methods of Server and of Deferred may be called from
// anywhere. A UDP loop blocks in recvmmsg with a plain (not raw) system call, so
// the runtime can give its P away; a process that also does other work should run
// with one P more than it has UDP loops per core, or timers and network goroutines
// wait up to 10 ms for it.
//
// Sources: RFC 1035 §4.2, RFC 6891, RFC 7766, RFC 7858, RFC 8914, RFC 9210,
// RFC 9715, the PROXY protocol version 2.
package dnsserver

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what Listen needs. The zero value of every field but Addresses and
// Handler works.
type Config struct {
	Addresses   []netip.AddrPort // port 0 picks a free port, the same for UDP and TCP
	UDPWorkers  int              // sockets and loops per address; 0: GOMAXPROCS
	MaxDeferred int              // deferred queries outstanding; 0: DefaultMaxDeferred
	TCP         Limits
	Handler     Handler
	Proxies     func(peer netip.Addr) bool            // who sends a PROXY header before each connection and in each datagram; nil: nobody
	Expect      func(questions [][]byte)              // is shown what follows the headers of datagrams that were received at once, before they are looked at one by one; nil: nobody is
	Prepare     func(r *Request)                      // adds EDNS options to an answer before there are records in it; nil: none
	Limit       func(r *Request) Verdict              // the last word on a finished answer over UDP: Answered or Drop; nil: all are sent
	LimitLate   func(d *Deferred, msg []byte) Verdict // the same for one that was deferred: Answered, Drop or Cut; nil: all are sent
	Observer    Observer                              // is told of queries and answers; nil: nobody is
	Log         *slog.Logger                          // nil: slog.Default
}

// DefaultMaxDeferred bounds the queries that wait for an answer from elsewhere,
// each some 2 KB: 32 MB at the most. Above it queries are answered SERVFAIL.
const DefaultMaxDeferred = 16384

// Server listens on its addresses until Shutdown.
type Server struct {
	// Constant after Listen.
	handler   Handler
	expect    func(questions [][]byte)
	prepare   func(r *Request)
	limit     func(r *Request) Verdict
	limitLate func(d *Deferred, msg []byte) Verdict
	observer  Observer
	proxies   func(peer netip.Addr) bool
	log       *slog.Logger
	workers   []*udpWorker
	tcp       *Entrance
	entrances [numTransports]*Entrance // constant after Serve; tcp among them; nil: not open
	parts     []Part                   // constant after Serve

	deferrals deferrals
	panics    atomic.Uint64

	stop  chan struct{}  // closed by the first Shutdown, before anything else
	loops sync.WaitGroup // UDP loops, accept loops, TCP connections

	mu      sync.Mutex // guards what follows
	started bool
	stopped bool
}

// Listen binds every address for UDP and TCP. It answers nothing before Serve;
// before that, Open adds other ways in.
// The error says which address, why, and what to do.
func Listen(cfg Config) (*Server, error) {
	if cfg.Handler == nil {
		return nil, errors.New("dnsserver: Listen needs a Handler")
	}
	if err := overlap(UDP, cfg.Addresses); err != nil {
		return nil, err
	}
	s := &Server{
		handler: cfg.Handler,
		prepare: cfg.Prepare, expect: cfg.Expect,
		limit: cfg.Limit, limitLate: cfg.LimitLate, observer: cfg.Observer,
		log:     cfg.Log,
		proxies: cfg.Proxies,
		stop:    make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.tcp = s.newEntrance(TCP, cfg.TCP)
	s.deferrals.max = orDefault(cfg.MaxDeferred, DefaultMaxDeferred)
	for _, addr := range cfg.Addresses {
		if err := s.listen(addr, udpWorkers(cfg.UDPWorkers)); err != nil {
			s.closeSockets()
			return nil, err
		}
	}
	return s, nil
}

// listen binds one address and adds its loops.
func (s *Server) listen(addr netip.AddrPort, workers int) error {
	ln, sockets, err := bindPair(addr, workers)
	if err != nil {
		return err
	}
	s.tcp.add(ln)
	for _, sock := range sockets {
		s.workers = append(s.workers, newUDPWorker(s, sock))
	}
	return nil
}

// Addrs returns the addresses listened on, in the order of Config.Addresses, with
// their real ports.
func (s *Server) Addrs() []netip.AddrPort { return s.tcp.Addrs() }

// Serve answers queries until Shutdown has ended the last loop.
func (s *Server) Serve() {
	s.mu.Lock()
	if s.started || s.stopped {
		s.mu.Unlock()
		<-s.stop
		s.loops.Wait()
		return
	}
	s.started = true
	for _, w := range s.workers { // ended by udpWorker.stop, in Shutdown
		w.running.Store(true)
		s.loops.Go(w.run)
	}
	for l := range s.listeners { // ended by closing the listener, in Shutdown
		s.loops.Go(l.run)
	}
	for _, p := range s.parts { // ended by Part.Stop, in Shutdown
		s.loops.Go(p.Run)
	}
	s.mu.Unlock()
	s.loops.Wait()
}

// Shutdown takes no new queries, answers those that were received before, waits
// until ctx ends for the deferred ones, and closes every socket. It returns nil
// when every query received has been answered or dropped by its Handler, and
// otherwise the error of ctx. A Deferred sent afterwards returns ErrShutdown.
//
// Another server of the same user can listen on the same addresses as soon as
// Shutdown has begun: it gets the queries that come from then on.
func (s *Server) Shutdown(ctx context.Context) error {
	s.beginStop()
	err := waitFor(ctx, s.loops.Wait)
	if err == nil {
		err = waitFor(ctx, s.deferrals.wait)
	}
	for _, e := range s.entrances {
		if e != nil {
			e.conns.killAll()
		}
	}
	s.deferrals.close()
	s.closeSockets()
	return err
}

func (s *Server) beginStop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.stopped = true
	close(s.stop)
	for l := range s.listeners {
		l.ln.Close()
	}
	for _, p := range s.parts {
		p.Stop()
	}
	for _, w := range s.workers {
		w.stop()
	}
	for _, e := range s.entrances {
		if e != nil {
			e.conns.drainAll(time.Now())
		}
	}
}

// listeners yields the listeners of all entrances.
func (s *Server) listeners(yield func(*tcpListener) bool) {
	for _, e := range s.entrances {
		if e == nil {
			continue
		}
		for _, l := range e.listeners {
			if !yield(l) {
				return
			}
		}
	}
}

// closeSockets closes what no loop uses any more. A loop that a Handler still
// holds keeps its socket: a descriptor closed under it could become another file.
func (s *Server) closeSockets() {
	for l := range s.listeners {
		l.ln.Close()
	}
	for _, w := range s.workers {
		if !w.running.Load() {
			w.sock.close()
		}
	}
}

// waitFor calls wait and returns nil when it returns, or ctx's error before.
func waitFor(ctx context.Context, wait func()) error {
	done := make(chan struct{})
	go func() { // ends when what it waits for does, which Shutdown sees to
		defer close(done)
		wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Connections returns the number of open connections of a transport.
func (s *Server) Connections(t Transport) int {
	if e := s.entrances[t]; e != nil {
		return e.conns.len()
	}
	return 0
}

// Outstanding returns the number of deferred queries without an answer yet.
func (s *Server) Outstanding() int { return s.deferrals.len() }

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}
