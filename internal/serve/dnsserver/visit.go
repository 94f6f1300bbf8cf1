package dnsserver

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
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
	inFlight int  // guarded by mu
	dead     bool // guarded by mu
}

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
	v := &Visit{entrance: e, from: from, close: close}
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

// Outcome is what became of a message given to Visit.Ask.
type Outcome uint8

// The outcomes.
const (
	Sent   Outcome = iota // every message of the answer was handed to write
	Silent                // there is no answer, and none will come
	Alien                 // the message is no query
	Lost                  // the client is gone, or write has failed
)

// Ask answers one message, and returns when that is done: at once, or when a
// deferred answer has come. write takes a message of the answer, which is not its
// own to keep, and says whether it is the last; it may wait for the client, for as
// long as Limits.Write. It is called on one goroutine at a time. When ctx ends the
// answer is not wanted any more.
func (v *Visit) Ask(ctx context.Context, msg []byte, write func(msg []byte, last bool) error) Outcome {
	if !v.begin() {
		return Lost
	}
	defer v.end()
	e := v.entrance
	work := connWorks.Get().(*connWork)
	x := &exchange{write: write}
	a := &work.responder
	a.init(e.server, e.transport)
	a.req.from, a.req.Client, a.req.Local, a.req.TLS = x, v.Client, v.Local, v.TLS
	a.req.Now, a.req.Rotation = time.Now(), e.rotation.Add(1)
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
	connWorks.Put(work)
	if fate == deferred {
		return x.wait(ctx)
	}
	return outcome
}

// exchange is one message that Ask answers, and the way back for it. It is made
// for each because a Deferred may outlive it.
type exchange struct {
	write func([]byte, bool) error // called with mu held, or when nobody else has x

	mu     sync.Mutex
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
	if x.gone {
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
	close(x.done)
}

// begin counts one more query in flight, unless the connection is at its end.
func (v *Visit) begin() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.dead {
		return false
	}
	v.inFlight++
	v.idleSince.Store(0)
	if v.queries.Add(1) == int64(v.entrance.limits.Queries) {
		v.entrance.counts.add(ConnectionsSpent, 1)
	}
	return true
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
