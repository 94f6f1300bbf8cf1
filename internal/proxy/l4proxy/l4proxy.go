// Package l4proxy carries connections and datagrams to members of pools as they are (layer 4).
// It owns the sockets of clients and of members, and what is counted and logged of them. Which
// pool a client goes to is package l4route's to decide, which member package balance's.
//
//	accept -> who (PROXY header, TLS: Admit) -> may he (clients, limits)
//	       -> where (l4route) -> member (affinity, balance) -> connect, or the next member
//	       -> octets both ways, through the kernel -> log line, counters
//	datagram -> session of its client, or a new one -> the same choice -> socket of the session
//
// The way of a connection reads top-down in carry.go, that of a datagram in udp.go.
//
// What is told of members is what the gateway tells: each connection begins and ends on the
// member's load, octets are told while they pass, and how it went is an Outcome (outcome.go).
//
// Entry points: New, Proxy.Follow, Proxy.Serve, Proxy.Shutdown; Proxy.Evict, Proxy.Look.
//
// Concurrency: every method may be called from any goroutine. A connection has two goroutines,
// which end with it; a listener has one, which ends when it is closed; a client of UDP has one,
// which ends with its session. Proxy.Serve's ends with Shutdown.
//
// Lock order: Proxy.mu, then a sessions.mu. Neither is taken for an octet.
package l4proxy

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/proxy/holding"
	"pharos/internal/proxy/l4route"
	"pharos/internal/proxy/linesink"
	"pharos/internal/proxy/places"
	"pharos/internal/traffic/affinity"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// Config is what a Proxy needs. All but Lines and Past is required.
type Config struct {
	Report func(health.Target, health.Result) // tells of a member, when its load says so
	Clock  func() time.Duration               // that of loads: one for all carriers of a node
	// Problem says what is the matter with a listener, "" that nothing is. about is the
	// stream's name and the address.
	Problem func(about, text string)
	Log     *slog.Logger
	Lines   io.Writer // a line for each connection that has ended, some at once; nil: none
	Past    *Past     // which of those that have ended are kept; nil: none
}

// Stream is one stream as configured. It is constant.
type Stream struct {
	Name    string
	UDP     bool
	Listen  []netip.AddrPort
	Routes  *l4route.Table // leads to Pools, by their numbers
	Pools   []Target
	Allows  func(netip.Addr) bool // nil: everybody
	Admit   Admit                 // nil: connections are as they come
	Limits  Limits
	OnDown  bool // cut the connections to a member that is down
	Replies int  // datagrams that end a session; 0: none do
}

// Limits bound a stream.
type Limits struct {
	Connect, Hello, Idle, HalfClosed, Session time.Duration
	Connections, PerClient, Tries             int // PerClient 0: any number
}

// Target is a pool that a stream leads to.
type Target struct {
	Pool     *pool.Pool
	Affinity affinity.Spec // Kind None: there is none
	// Header returns what goes before everything, so that the member knows the client; nil: nothing.
	Header func(client, local netip.AddrPort) []byte
	// TLS is how a member is known; nil: connections are in the clear.
	TLS *tls.Config
	// Room is where clients wait while the pool, which scales, has nobody; nil: they are refused.
	Room *holding.Room

	memory *memory // set by Follow
}

// Admit lets a connection in that is from an address.
type Admit func(conn net.Conn, from netip.Addr) (Arrival, error)

// Arrival is a connection that was let in.
type Arrival struct {
	Conn   net.Conn
	Client netip.AddrPort // whom a proxy has named; the zero value: nobody
	// TLS reports whether TLS ended here; then ServerName is what was asked for.
	TLS        bool
	ServerName string
}

// Proxy carries connections. Make it with New.
type Proxy struct {
	cfg     Config
	stop    chan struct{} // closed when the first Shutdown has ended all
	closing chan struct{} // closed when it begins
	crew    *crew
	lines   *linesink.Sink // nil: none are wanted

	lanes    atomic.Uint32 // of connections, for cursors of pools
	ids      atomic.Uint64 // of connections that are over
	unlogged atomic.Bool   // that lines are lost was said
	flushed  atomic.Int64  // when lines were written last, by Clock
	writing  sync.WaitGroup

	mu       sync.Mutex // guards all below
	serving  bool
	draining bool
	streams  map[string]*running // by name
	doors    map[place]*door
	known    map[string]*memory // by pool
	conns    map[*conn]struct{}
	gone     chan struct{} // closed when draining and conns has become empty; nil: nobody waits
	running  sync.WaitGroup
}

// place is what a listener is told by.
type place struct {
	network string
	address netip.AddrPort
	of      string // the stream, if any port is meant: each has its own
}

func placeOf(s *Stream, address netip.AddrPort) place {
	if address.Port() == 0 {
		return place{s.network(), address, s.Name}
	}
	return place{s.network(), address, ""}
}

// running is a stream as it runs: what outlives reloads.
type running struct {
	name   string
	in     *Proxy
	stream atomic.Pointer[Stream]
	Counters
	places places.Places
	udp    *sessions // nil: it carries connections
}

func (r *running) proxy() *Proxy { return r.in }

// New returns a Proxy that carries nothing yet. Shutdown is to be called, whether it is ever to serve or not.
func New(c Config) *Proxy {
	p := &Proxy{
		cfg: c, stop: make(chan struct{}), closing: make(chan struct{}), streams: map[string]*running{}, doors: map[place]*door{}, known: map[string]*memory{}, conns: map[*conn]struct{}{},
	}
	p.ids.Store(rand.Uint64())
	p.crew = newCrew(p.stop)
	if c.Lines != nil {
		p.lines = linesink.New(c.Lines, mostLines)
		p.writing.Go(p.lines.Run) // ended by Shutdown
	}
	return p
}

// Follow has the proxy carry these streams and no others. Listeners that are new are bound, those that
// are not wanted any more are closed; connections that are there go on.
func (p *Proxy) Follow(streams []Stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted, names := map[place]*running{}, map[string]bool{}
	for i := range streams {
		s := streams[i].clone()
		names[s.Name] = true
		r := p.follow(s)
		for _, address := range s.Listen {
			wanted[placeOf(s, address)] = r
		}
	}
	for name, r := range p.streams {
		if !names[name] {
			delete(p.streams, name)
			if r.udp != nil {
				r.udp.close(endRemoved)
			}
		}
	}
	for at, d := range p.doors {
		if wanted[at] == nil {
			delete(p.doors, at)
			d.close()
		}
	}
	for at, r := range wanted {
		if d := p.doors[at]; d != nil {
			if d.to.Load() != r {
				d.forget()
			}
			d.leadsTo(r)
			continue
		}
		d := &door{proxy: p, place: at}
		d.leadsTo(r)
		p.doors[at] = d
		p.open(d)
	}
	p.keepMemories()
}

// clone returns a copy of s that is the proxy's own.
func (s Stream) clone() *Stream {
	s.Pools = slices.Clone(s.Pools)
	return &s
}

// follow makes s what its stream goes by. mu is held.
func (p *Proxy) follow(s *Stream) *running {
	r := p.streams[s.Name]
	if r != nil && (r.udp != nil) != s.UDP {
		if r.udp != nil {
			r.udp.close(endRemoved)
		}
		r = nil
	}
	if r == nil {
		r = &running{name: s.Name, in: p}
		if s.UDP {
			r.udp = newSessions(r)
		}
		p.streams[s.Name] = r
	}
	for i := range s.Pools {
		p.remember(&s.Pools[i])
	}
	r.stream.Store(s)
	return r
}

func (s *Stream) network() string {
	if s.UDP {
		return "udp"
	}
	return "tcp"
}

// Serve lets clients in, until Shutdown.
func (p *Proxy) Serve() {
	p.mu.Lock()
	p.serving = true
	for _, d := range p.doors {
		p.start(d)
	}
	p.mu.Unlock()
	beat := time.NewTicker(Beat)
	defer beat.Stop()
	for {
		select {
		case <-p.stop:
			p.running.Wait()
			return
		case <-beat.C:
			p.tend()
		}
	}
}

// Beat is how often idle connections are looked for, and listeners that could not be bound
// are tried again.
const Beat = time.Second

// keepFrom is how old a connection is when it is worth while to look whether the member is still there: a third
// of how long it has to be silent for that.
const keepFrom = 5 * time.Second

// tend ends what has been idle for too long, and binds what could not be bound.
func (p *Proxy) tend() {
	now := p.cfg.Clock()
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		limit := c.patience()
		if limit > 0 && now-time.Duration(c.last.Load()) > limit {
			c.finish(endIdle, false)
		}
		if limit > 0 && !c.kept && now-c.from > keepFrom {
			c.kept = true
			c.keepAlive()
		}
	}
	for _, r := range p.streams {
		if r.udp != nil {
			r.udp.expire(now)
		}
	}
	for _, d := range p.doors {
		if !d.isOpen() {
			p.open(d)
		}
	}
	p.flushLines(now)
}

// Evict cuts the connections that are carried to a member, whose load this is, and
// returns how many it has found. A nil Proxy has none.
func (p *Proxy) Evict(member *pool.MemberLoad) (found int) {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if c.load.Load() == member && c.finish(endEvicted, true) {
			found++
		}
	}
	for _, r := range p.streams {
		if r.udp != nil {
			found += r.udp.evict(func(s *session) bool { return s.load.Load() == member }, endEvicted)
		}
	}
	return found
}

// Look takes in that the members of pools have other states: of those that are down it cuts
// the connections where a stream says so.
func (p *Proxy) Look(changed []*pool.Pool) {
	if p == nil {
		return
	}
	down := map[*pool.MemberLoad]bool{}
	for _, one := range changed {
		v := one.View()
		for i := range v.Members {
			if v.Members[i].State == health.Down {
				down[v.Members[i].Load] = true
			}
		}
	}
	if len(down) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if c.of.stream.Load().OnDown && down[c.load.Load()] {
			c.finish(endDown, true)
		}
	}
	for _, r := range p.streams {
		if r.udp != nil {
			r.udp.evict(func(s *session) bool { return down[s.load.Load()] }, endDown)
		}
	}
}

// Shutdown lets nobody in any more, waits until the connections that there are have ended,
// and cuts what is left when ctx ends; it returns how many. That is no error: a connection may
// be meant to last for ever. Datagrams are not waited for.
func (p *Proxy) Shutdown(ctx context.Context) (cut int) {
	p.mu.Lock()
	first := !p.draining
	p.draining = true
	if first {
		close(p.closing)
	}
	for _, d := range p.doors {
		d.close()
	}
	for _, r := range p.streams {
		if r.udp != nil {
			r.udp.close(endStopped)
		}
	}
	gone := make(chan struct{})
	if len(p.conns) == 0 {
		close(gone)
	} else {
		p.gone = gone
	}
	p.mu.Unlock()
	select {
	case <-gone:
	case <-ctx.Done():
		p.mu.Lock()
		cut = len(p.conns)
		for c := range p.conns {
			c.finish(endStopped, true)
		}
		p.mu.Unlock()
	}
	if first {
		close(p.stop)
	}
	p.running.Wait()
	select {
	case <-gone: // also those that were cut have left their lines
	case <-time.After(farewell):
	}
	if p.lines != nil {
		p.lines.Close()
	}
	p.writing.Wait()
	return cut
}

// farewell is how long the line of a connection that was cut is waited for. It ends at once, unless whoever lets
// connections in does not look up.
const farewell = time.Second

// enter notes a connection; false: nobody is let in any more.
func (p *Proxy) enter(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) leave(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	if p.gone != nil && len(p.conns) == 0 {
		close(p.gone)
		p.gone = nil
	}
}

// Addrs returns where a stream lets clients in; nil: nowhere.
func (p *Proxy) Addrs(stream string) (all []netip.AddrPort) {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.doors {
		if d.to.Load().name == stream && d.isOpen() {
			all = append(all, d.bound)
		}
	}
	return all
}
