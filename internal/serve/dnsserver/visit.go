package dnsserver

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/clock"
)

// Visit is one connection of an Entrance that another driver reads. Its exchanges
// run side by side, each on a goroutine of the driver's.
type Visit struct {
	// Constant after Admit; the driver sets TLS, and what a header of a proxy says,
	// before the first Ask.
	Client, Local netip.AddrPort
	TLS           *tls.ConnectionState
	entrance      *Entrance
	from          netip.Addr
	close         func() // ends the connection at once; may be called more than once

	idleSince atomic.Int64 // as tcpConn.idleSince
	queries   atomic.Int64 // begun so far

	// mu comes after connTable.mu.
	mu       sync.Mutex
	inFlight int           // exchanges whose answer is not both made and written; guarded by mu
	dead     bool          // guarded by mu
	large    chan struct{} // one for each large message being received
}

const (
	// largeMessage is above how many octets a message is large. Nearly all queries
	// are shorter; updates may be longer.
	largeMessage = smallBuffer

	// largeMessages is how many large messages of one connection are received at a
	// time: with streams a client could otherwise have 64 KB of memory for each of
	// them, over TCP only once. Arbitrary.
	largeMessages = 4
)

// Admit takes a connection into the table of e, if its limits allow it. close ends
// the connection at once; it is called from any goroutine, perhaps more than once,
// and must not wait. Leave has to follow.
func (e *Entrance) Admit(client netip.AddrPort, close func()) (*Visit, bool) {
	client = netip.AddrPortFrom(client.Addr().Unmap().WithZone(""), client.Port())
	v := newVisit(e, client.Addr(), close)
	v.Client = client
	if !e.conns.admit(v, true) {
		e.counts.add(ConnectionsRefused, 1)
		return nil, false
	}
	e.counts.add(Connections, 1)
	return v, true
}

func newVisit(e *Entrance, from netip.Addr, close func()) *Visit {
	v := &Visit{entrance: e, from: from, close: close, large: make(chan struct{}, largeMessages)}
	v.idleSince.Store(time.Now().UnixNano())
	return v
}

// Leave takes the connection out of the table. It may be called more than once.
func (v *Visit) Leave() { v.entrance.conns.remove(v) }

// IsSpent reports whether the connection has brought all the queries it may.
func (v *Visit) IsSpent() bool {
	most := v.entrance.limits.Queries
	return most > 0 && v.queries.Load() >= int64(most)
}

// Reserve waits until a message of so many octets may be received, and returns what
// to call when it is not needed any more. ok is false when ctx ended before.
func (v *Visit) Reserve(ctx context.Context, octets int) (release func(), ok bool) {
	if octets <= largeMessage {
		return func() {}, true
	}
	select {
	case v.large <- struct{}{}:
		return func() { <-v.large }, true
	case <-ctx.Done():
		return nil, false
	}
}

// IdleFor returns for how long there has been no query in flight, up to now.
func (v *Visit) IdleFor(now time.Time) time.Duration {
	since := v.idleSince.Load()
	if since == 0 {
		return 0
	}
	return now.Sub(time.Unix(0, since))
}

// Limits returns the limits in force.
func (v *Visit) Limits() Limits { return v.entrance.limits }

// Count counts an event of the connection.
func (v *Visit) Count(c Counter) { v.entrance.Count(c) }

// Outcome is what became of a message given to Visit.Ask.
type Outcome uint8

// The outcomes.
const (
	Sent   Outcome = iota // every message of the answer was handed to write
	Silent                // there is no answer, and none will come
	Alien                 // the message is no query
	Lost                  // the client is gone, or write has failed
	Busy                  // the connection has too many queries whose answers nobody waits for any more
)

// Ask answers one message, and returns when that is done: at once, or when a
// deferred answer has come. write takes a message of the answer, which is not its
// own to keep, and says whether it is the last; it may wait for the client, for as
// long as Limits.Write. It is called on one goroutine at a time. When ctx ends the
// answer is not wanted any more.
func (v *Visit) Ask(ctx context.Context, msg []byte, write func(msg []byte, last bool) error) Outcome {
	return v.AskAndWait(msg, write, func() context.Context { return ctx })
}

// AskAndWait is Ask for who wants to know when an answer is not there at once: waits is
// called before it is waited for, and returns the context that ends that.
func (v *Visit) AskAndWait(msg []byte, write func(msg []byte, last bool) error, waits func() context.Context) Outcome {
	if outcome := v.begin(); outcome != Sent {
		return outcome
	}
	e := v.entrance
	work := connWorks.Get().(*connWork)
	x := work.exchange
	if x == nil {
		x = new(exchange)
		work.exchange = x
	}
	x.visit, x.write = v, write
	a := &work.responder
	a.init(e.server, e.transport)
	a.req.from, a.req.Client, a.req.Local, a.req.TLS = x, v.Client, v.Local, v.TLS
	a.req.Now, a.req.Rotation = clock.Now(), e.rotation.Add(1)
	answer, fate := a.respond(msg, work.buf[2:])
	outcome := Silent
	switch fate {
	case answered:
		if outcome = Sent; write(answer, true) == nil {
			a.counts.answered(a.req.Out.Rcode(), isTruncated(answer))
		} else {
			outcome = Lost
			a.counts.events[SendErrors]++
		}
	case alien:
		outcome = Alien
	}
	e.counts.flush(&a.counts)
	a.req.from = nil // which a pool should not hold
	a.req.TLS = nil
	if fate == deferred {
		work.exchange = nil // a Deferred has it
	} else {
		*x = exchange{}
	}
	connWorks.Put(work)
	if fate == deferred {
		return x.wait(waits())
	}
	v.end()
	return outcome
}

// exchange is one message that Ask answers, and the way back for it. One that is
// deferred is not used again, because its Deferred may outlive it.
type exchange struct {
	visit *Visit
	write func([]byte, bool) error // called with mu held, or when nobody else has x

	mu     sync.Mutex
	ended  bool          // by send or abandon; guarded by mu
	done   chan struct{} // made by returnPath; closed when answer is there, or will never be
	answer []byte        // guarded by mu
	gone   bool          // nobody waits any more; guarded by mu
}

// returnPath implements origin.
func (x *exchange) returnPath() returnPath {
	x.done = make(chan struct{})
	return x
}

// wait waits for the deferred answer and writes it.
func (x *exchange) wait(ctx context.Context) Outcome {
	select {
	case <-x.done:
	case <-ctx.Done():
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.gone = true
	if x.ended {
		defer x.visit.end()
	} // else whoever has the Deferred still works for this client
	switch {
	case x.answer == nil && ctx.Err() != nil:
		return Lost
	case x.answer == nil:
		return Silent
	case x.write(x.answer, true) != nil:
		return Lost
	}
	return Sent
}

// send implements returnPath.
func (x *exchange) send(msg []byte) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ended = true
	if x.gone {
		x.visit.end()
		return ErrGone
	}
	x.answer = append([]byte(nil), msg...)
	close(x.done)
	return nil
}

// sendMore implements returnPath. The caller's goroutine does the writing, as for
// tcpConn.
func (x *exchange) sendMore(msg []byte) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.gone {
		return ErrGone
	}
	return x.write(msg, false)
}

// abandon implements returnPath.
func (x *exchange) abandon() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ended = true
	if x.gone {
		x.visit.end()
		return
	}
	close(x.done)
}

// begin counts one more query in flight, and returns Sent, if there may be one
// more. A client that takes its questions back and asks others has the old ones
// counted until they are answered. The twofold is for those that are just being
// written.
func (v *Visit) begin() Outcome {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.dead:
		return Lost
	case v.inFlight >= 2*v.entrance.limits.InFlight:
		return Busy
	}
	v.inFlight++
	v.idleSince.Store(0)
	if v.queries.Add(1) == int64(v.entrance.limits.Queries) {
		v.entrance.counts.add(ConnectionsSpent, 1)
	}
	return Sent
}

func (v *Visit) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.inFlight--; v.inFlight == 0 {
		v.idleSince.Store(time.Now().UnixNano())
	}
}

func (v *Visit) address() netip.Addr { return v.from }

func (v *Visit) idleAt() int64 { return v.idleSince.Load() }

// evict implements guest.
func (v *Visit) evict() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.inFlight > 0 || v.dead {
		return false
	}
	v.dead = true
	v.close()
	return true
}

// drain implements guest. The driver's Part.Stop sees to it.
func (v *Visit) drain(time.Time) {}

// kill implements guest.
func (v *Visit) kill() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dead = true
	v.close()
}

func (v *Visit) check() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if idle := v.idleSince.Load() != 0; v.inFlight < 0 || idle != (v.inFlight == 0) {
		return fmt.Errorf("%v: idle %v with %d queries in flight", v.Client, idle, v.inFlight)
	}
	return nil
}
