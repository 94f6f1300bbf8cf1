// Package outbound carries the resolver's questions to other servers: it
// performs what package iterate decides, with real sockets and timers, and owns
// the goroutine that the machine runs on.
//
//	Ask ──► line ──┐                        ┌──► Reply: done(answer)
//	    posted ────┼──► loop: Resolver.Step ├──► Send: a socket, or a link ────────────┐
//	    timers ────┤                        └──► Wait: a timer ────────────────────────┤
//	    sockets ───┘◄──────────────── Arrived, Expired, Failed ◄───────────────────────┘
//
// The loop is one goroutine that does everything about a question itself: it steps
// the machine, opens sockets and reads them (datagrams), and waits for all of them at
// once. Only a link has goroutines of its own, which post what comes of a query.
//
// It decides nothing about names or servers, and it believes nothing: what comes
// in on an exchange's socket goes to the machine as it is. What it does see to is
// that only the asked server's address and port can answer, and only to the port
// that the query left from: over UDP every exchange has a connected socket of its
// own on a random port, which is gone when the exchange is over. Connections over
// TCP, and all encrypted ones, are kept and shared: see links.
//
// Entry points: New; Driver.Ask, Resolve, FromCache, Close.
//
// Concurrency: the methods of a Driver may be called from any goroutine. Its loop
// never waits for a socket, nor for whoever asked.
//
// Sources: RFC 5452 §4.5, §9.2 and §10 (ports), RFC 7766 (TCP), RFC 6891 (size),
// RFC 7858 and RFC 8310 (TLS), RFC 8484 (HTTPS), RFC 9250 (QUIC).
package outbound

import (
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/fairness"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
	"pharos/internal/resolver/seats"
)

// Config is what a Driver is made from. The zero Config works.
type Config struct {
	// Hints, NoHints, Port, NoIPv4, NoIPv6, Limits: see iterate.Config.
	Hints          []rdata.Record
	NoHints        bool
	Port           uint16
	NoIPv4, NoIPv6 bool
	Limits         iterate.Limits
	Routes         []iterate.Route
	// Prefetch fetches answers that are asked for again before they expire.
	Prefetch bool
	// Minimise, MixCase, Aggressive, Validate, Anchors, Negative, Private: see iterate.Config.
	Minimise, MixCase, Aggressive bool
	Reports                       bool // see iterate.Config
	Subnets                       iterate.Subnets
	Validate                      bool
	Anchors                       []rdata.Record
	Negative, Private             []dnsname.Name
	// Inside answers what is sent to iterate.Inside, from a copy of a zone that a Route
	// names; nil bytes: it cannot, and who asks has to go on elsewhere.
	Inside func(now time.Time, query []byte, tcp bool) []byte
	// Observe returns who is to be told how the exchanges with a server end, of which one
	// begins; nil: nobody is. The loop calls both: they must not wait.
	Observe func(server netip.AddrPort) func(Ended)
	// Cache is where to keep what is learnt; nil: a new one of standard size.
	Cache *rrcache.Cache
	// Clients is the number of questions that may be in work or waiting at a time:
	// 10,000, some 20 MB. Who has too many of them waits or is refused; see package
	// fairness.
	Clients int
	// PerNetwork is how many of them one network may have: 1,000, as Unbound has it.
	PerNetwork int
	// Discard is after what time an answer to a client whose address may be forged is
	// not sent any more, if more than lateCrowd questions of its network are under way:
	// 1.9 s, as Unbound has it, a little more than it takes until what has expired is
	// served. So answers held back cannot all come at once (DNSBomb, CVE-2024-33655).
	// Less than 0: never.
	Discard time.Duration
	// Exchanges is the number of sockets open at a time: 2,048, well below the
	// usual limit of file descriptors with room for the listeners. At the limit an
	// exchange fails at once, as if its server could not be reached.
	Exchanges int
	// Connections is the number of connections over TCP and TLS that are kept at a
	// time: 512. At the limit the one that has been idle for longest makes room, or
	// else an exchange fails at once.
	Connections int
	// Peers are the servers of Routes that are asked encrypted: those with the place of
	// each in this list in iterate.Server.Peer.
	Peers []Peer

	// Untold keeps no stories: see iterate.Config.
	Untold bool
	// patience is how long a server asked over a connection is waited for at least: for
	// tests that are not about time, on machines that are busy.
	patience time.Duration
}

// Options of one question.
type Options struct {
	Class  rdata.Class // 0: IN
	CD, DO bool
	AD     bool // the client understands AD
	Trace  bool
	Anew   bool // see iterate.Ask
	// Client is who asks, by whose network the work is shared out; the zero Addr is
	// this machine for itself.
	Client netip.Addr
	// Near is for whom the question is, where servers are told of networks: see
	// iterate.Subnets.
	Near netip.Addr
	// Forgeable: the client's address is not proven (UDP without a good cookie).
	Forgeable bool
}

// ErrRefused is Resolve's error when there are too many questions, or the Driver
// is closed.
var ErrRefused = errors.New("the resolver takes no more questions: too many are waiting, or it is shutting down")

// errNoSocket: Config.Exchanges is reached.
var errNoSocket = fmt.Errorf("%w: too many exchanges are open", iterate.ErrLocal)

// Driver owns a Resolver and its sockets. Make it with New, end it with Close.
type Driver struct {
	// Constant after New.
	cache     *rrcache.Cache
	resolver  *iterate.Resolver // its Step belongs to the loop
	exchanges int64
	inside    func(now time.Time, query []byte, tcp bool) []byte
	observe   func(server netip.AddrPort) func(Ended) // see Config
	discard   time.Duration
	patience  time.Duration // see Config
	due       chan rrcache.Question
	over      chan struct{} // closed by the loop when it ends
	links     *links
	datagrams datagrams // the loop's, but for wake
	trusted   *trusted
	running   sync.WaitGroup
	watch     stopwatch // of timers

	// Owned by the loop.
	questions seats.Table[*question] // by token
	open      seats.Table[*exchange] // by number
	spare     []*exchange
	timers    wheel
	lastToken uint64
	acts      []iterate.Action
	backlog   []iterate.Event // of actions that failed at once

	// Atomic.
	sockets atomic.Int64 // queries on their way
	ending  atomic.Bool  // set by Close
	news    atomic.Bool  // something has been put into line, posted or due since the loop has looked
	asleep  atomic.Bool  // the loop waits, or is about to

	closing sync.RWMutex // guards closed: while it is read, an accepted Ask reaches the loop
	closed  bool

	mu       sync.Mutex // guards counters
	counters iterate.Counters

	postMu sync.Mutex // guards posted; taken alone
	posted []event

	lineMu sync.Mutex // guards line; taken alone
	line   *fairness.Queue[ask]
}

type ask struct {
	question  iterate.Ask
	done      func(iterate.Answer)
	since     time.Time
	forgeable bool
}

// question is an ask in work.
type question struct {
	ask
	from *fairness.Party[ask]
}

// event is something for the loop: an event of the machine's, or what is to be run.
type event struct {
	ev  iterate.Event
	run func()
}

// New starts a Driver.
func New(cfg Config) *Driver { return start(cfg, newDatagrams) }

// start is New with a way to carry datagrams.
func start(cfg Config, carry func(open *seats.Table[*exchange], port func() int) datagrams) *Driver {
	if cfg.Cache == nil {
		cfg.Cache = rrcache.New(clock.Now(), rrcache.Limits{})
	}
	if cfg.Clients <= 0 {
		cfg.Clients = 10000
	}
	if cfg.Exchanges <= 0 {
		cfg.Exchanges = 2048
	}
	if cfg.PerNetwork <= 0 {
		cfg.PerNetwork = 1000
	}
	if cfg.Discard == 0 {
		cfg.Discard = 1900 * time.Millisecond
	}
	if cfg.Connections <= 0 {
		cfg.Connections = 512
	}
	linked := newLinks(cfg.Connections, cfg.patience)
	numbers := linked.setPeers(clock.Now(), cfg.Peers)
	var seed [32]byte
	cryptorand.Read(seed[:]) // never fails
	d := &Driver{
		inside: cfg.Inside,
		cache:  cfg.Cache,
		resolver: iterate.New(iterate.Config{
			Hints: cfg.Hints, NoHints: cfg.NoHints, Port: cfg.Port, NoIPv4: cfg.NoIPv4, NoIPv6: cfg.NoIPv6, Limits: cfg.Limits,
			Rand: rand.New(rand.NewChaCha8(seed)), Cache: cfg.Cache,
			Routes: numbered(cfg.Routes, numbers), Minimise: cfg.Minimise, Reports: cfg.Reports, Subnets: cfg.Subnets, MixCase: cfg.MixCase, Aggressive: cfg.Aggressive,
			Untold: cfg.Untold, Validate: cfg.Validate, Anchors: cfg.Anchors, Negative: cfg.Negative, Private: cfg.Private,
		}),
		exchanges: int64(cfg.Exchanges), observe: cfg.Observe, discard: cfg.Discard, patience: cfg.patience,
		line:  fairness.New[ask](lineOf(cfg)),
		due:   make(chan rrcache.Question, prefetchQueue),
		over:  make(chan struct{}),
		links: linked, trusted: newTrusted(cfg),
		watch: newStopwatch(),
	}
	d.datagrams = carry(&d.open, randomPorts())
	if cfg.Prefetch {
		d.cache.OnDue(d.prefetch)
	}
	d.running.Go(d.loop) // ended by Close
	return d
}

// Cache returns the cache, for lookups on the listeners' loops.
func (d *Driver) Cache() *rrcache.Cache { return d.cache }

// FromCache answers without asking anybody; see iterate.Resolver.FromCache.
func (d *Driver) FromCache(now time.Time, name dnsname.Name, t rdata.Type) (iterate.Answer, bool) {
	return d.resolver.FromCache(now, name, t)
}

// Counters returns what happened since New, and the number of questions and
// sockets in work.
func (d *Driver) Counters() (c iterate.Counters, questions, sockets int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting, working := d.Line()
	return d.counters, waiting + working, int(d.sockets.Load())
}

// Ask asks and returns; done is called with the answer, once, on the Driver's
// loop, and must not block nor call Close. It reports false, and done is not
// called, when there are too many questions or the Driver is closed. name is kept:
// it must not be a view.
func (d *Driver) Ask(name dnsname.Name, t rdata.Type, o Options, done func(iterate.Answer)) bool {
	d.closing.RLock()
	defer d.closing.RUnlock()
	if d.closed {
		return false
	}
	a := ask{
		question: iterate.Ask{Name: name, Type: t, Class: o.Class, CD: o.CD, DO: o.DO, AD: o.AD, Trace: o.Trace, Anew: o.Anew, Near: o.Near},
		done:     done, since: clock.Now(), forgeable: o.Forgeable,
	}
	d.lineMu.Lock()
	ok := d.line.Add(o.Client, a)
	d.lineMu.Unlock()
	if ok {
		d.wake()
	}
	return ok
}

// lineOf bounds the line: as many questions in work as there are sockets for, with
// a quarter left to those that need several.
func lineOf(c Config) fairness.Config {
	work := min(max(1, c.Exchanges*3/4), c.Clients)
	return fairness.Config{Work: work, Total: c.Clients, PerNetwork: c.PerNetwork}
}

// Line returns how many questions wait for their turn, and how many are in work.
func (d *Driver) Line() (waiting, working int) {
	d.lineMu.Lock()
	defer d.lineMu.Unlock()
	return d.line.Outstanding()
}

// Refused returns how many questions were not taken, because their network or all
// together had too many.
func (d *Driver) Refused() uint64 {
	d.lineMu.Lock()
	defer d.lineMu.Unlock()
	return d.line.Refused()
}

// Trust replaces the trust anchors and the negative ones. They count when it returns.
func (d *Driver) Trust(anchors []rdata.Record, negative []dnsname.Name) {
	d.trusted.set(anchors, negative)
	d.inLoop(func() { d.stepAll(iterate.Trust{Anchors: anchors, Negative: negative}) })
}

// prefetchQueue is how many questions wait to be fetched ahead: 256, arbitrary. What
// finds no room is left to the next one who asks for it after its time.
const prefetchQueue = 256

// prefetch has the answer to a question fetched for the cache. It does not wait.
func (d *Driver) prefetch(q rrcache.Question) {
	q.Name = q.Name.Clone() // it looks at a listener's buffer
	select {
	case d.due <- q:
		d.wake()
	default:
	}
}

// Resolve asks and waits for the answer, or until ctx is over.
func (d *Driver) Resolve(ctx context.Context, name dnsname.Name, t rdata.Type, o Options) (iterate.Answer, error) {
	answer := make(chan iterate.Answer, 1)
	if !d.Ask(name, t, o, func(a iterate.Answer) { answer <- a }) {
		return iterate.Answer{}, ErrRefused
	}
	select {
	case a := <-answer:
		return a, nil
	case <-ctx.Done():
		return iterate.Answer{}, ctx.Err()
	}
}

// Close ends all work and returns when every goroutine and socket is gone.
// Questions that were not answered get SERVFAIL with EDE "Not Ready".
func (d *Driver) Close() {
	d.closing.Lock()
	first := !d.closed
	d.closed = true
	d.closing.Unlock()
	if first {
		d.ending.Store(true)
		d.wake()
	}
	d.running.Wait()
	d.links.close()
	if first {
		d.datagrams.close()
	}
}

// Links returns the counters of connections over one transport, and how many there
// are over TCP and TLS together.
func (d *Driver) Links(over iterate.Transport) (c LinkCounts, open int) {
	return d.links.counts(over), d.links.open()
}
