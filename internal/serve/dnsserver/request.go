package dnsserver

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pharos/internal/dns/dnswire"
)

// Request is one query on its way. It belongs to the loop that received it and is
// valid until the Handler returns.
type Request struct {
	Query     dnswire.Query   // well formed
	Out       dnswire.Builder // Reset for Query, with Limit; the Handler fills it
	Client    netip.AddrPort  // IPv4 as IPv4, without zone
	Local     netip.AddrPort  // the address the query came to
	Now       time.Time       // read once per batch
	Limit     int             // octets that an answer to this client by this transport may have
	Rotation  uint32          // one more for each query of a loop: to rotate RRsets with
	Transport Transport
	TLS       *tls.ConnectionState // of the client's connection, with the certificates it has shown; nil: not encrypted
	Note      Note                 // what the Handler says to the Observer, if there is one
	HasCookie bool                 // Config.Prepare found a good one, so the client's address is not forged

	server  *Server
	from    origin
	tail    []byte              // what followed the question in Query.Msg, which Out may have overwritten
	seal    func([]byte) []byte // of Seal; nil otherwise
	refused bool                // Defer refused this query

	interest Interest // of the Observer
}

// Verdict is what a Handler decided.
type Verdict uint8

// The verdicts.
const (
	Answered Verdict = iota // Request.Out holds the answer: send it
	Drop                    // send nothing
	Later                   // Request.Defer was called: the answer follows
	Sealed                  // as Answered, of a Request that Seal was called for
	Cut                     // of Config.LimitLate: send the answer without records and with TC
)

// Handler decides what becomes of a query. It must not block, and must not keep
// the Request.
type Handler func(r *Request) Verdict

// Errors of Deferred.Send.
var (
	ErrShutdown = errors.New("dnsserver: answer not sent: the server is shut down")
	ErrGone     = errors.New("dnsserver: answer not sent: the client has closed its connection")
	ErrSpent    = errors.New("dnsserver: this query was answered before")
	ErrStream   = errors.New("dnsserver: message not sent: this transport does not carry an answer of several")
	ErrSize     = errors.New("dnsserver: answer not sent: it is longer than the client's limit, or no message at all")
)

// origin is the loop or connection a Request came from.
type origin interface {
	// returnPath returns the way back to the client of the request at hand.
	returnPath() returnPath
}

// returnPath carries one deferred answer, or none.
type returnPath interface {
	send(msg []byte) error
	sendMore(msg []byte) error
	abandon()
}

// Deferred is a query taken off its loop. Exactly one of Send and Drop must be
// called, at some time; until then it counts against Config.MaxDeferred, and
// against the queries in flight of its connection.
type Deferred struct {
	// Constant after Defer.
	query     dnswire.Query
	client    netip.AddrPort
	local     netip.AddrPort
	limit     int
	transport Transport
	hasCookie bool
	interest  Interest
	note      Note
	received  time.Time
	rotation  uint32
	server    *Server
	path      returnPath
	seal      func([]byte) []byte

	spent atomic.Bool
}

// Seal has seal complete every message of the answer, just before it is sent: a
// signature. It may add up to overhead octets, for which room is kept from now on.
// The Handler then returns Sealed where it would have returned Answered; a Deferred
// carries the seal with it. seal is not called by two goroutines at once.
func (r *Request) Seal(overhead int, seal func(msg []byte) []byte) {
	r.seal = seal
	r.Limit -= overhead
	r.Out.Reserve(overhead)
}

// Defer copies what outlives the loop; the Handler then returns Later. It
// returns nil when too many queries are outstanding: then r.Out holds SERVFAIL
// with the reason, and the Handler returns Answered.
func (r *Request) Defer() *Deferred {
	if !r.server.deferrals.enter() {
		r.refused = true
		r.Out.SetRcode(dnswire.RcodeServFail)
		r.Out.SetEDE(dnswire.EDEOther, "too many queries wait for an answer")
		return nil
	}
	d := &Deferred{
		client: r.Client, local: r.Local, limit: r.Limit, transport: r.Transport, hasCookie: r.HasCookie,
		server: r.server, path: r.from.returnPath(), seal: r.seal,
	}
	head := r.Query.Msg[:r.Query.QuestionEnd]
	d.query.Parse(append(append(make([]byte, 0, len(r.Query.Msg)), head...), r.tail...))
	if r.server.observer != nil {
		d.interest, d.note, d.received, d.rotation = r.interest, r.Note, r.Now, r.Rotation
	}
	return d
}

// Note is what the Observer is told when the answer goes out.
func (d *Deferred) Note() *Note { return &d.note }

// Query returns the query, in memory of its own.
func (d *Deferred) Query() *dnswire.Query { return &d.query }

// Client returns the client's address.
func (d *Deferred) Client() netip.AddrPort { return d.client }

// Local returns the address the query came to.
func (d *Deferred) Local() netip.AddrPort { return d.local }

// Transport returns how the query came.
func (d *Deferred) Transport() Transport { return d.transport }

// Limit returns how many octets the answer may have.
func (d *Deferred) Limit() int { return d.limit }

// Send sends msg, which is the caller's again when Send returns. It does not wait
// for a slow client.
func (d *Deferred) Send(msg []byte) error {
	if d.spent.Swap(true) {
		return ErrSpent
	}
	defer d.server.deferrals.leave()
	counts := d.server.countsOf(d.transport)
	if msg = d.limited(msg); msg == nil {
		counts.add(Dropped, 1)
		d.path.abandon()
		d.observed(nil)
		return nil
	}
	if len(msg) < dnswire.HeaderLen || len(msg) > d.limit {
		counts.add(SendErrors, 1)
		d.path.abandon()
		return ErrSize
	}
	if d.server.deferrals.isClosed() {
		d.path.abandon()
		return ErrShutdown
	}
	msg = d.sealed(msg)
	d.observed(msg)
	err := d.path.send(msg)
	if errors.Is(err, syscall.EMSGSIZE) { // too long for the interface
		msg = d.sealed(d.truncated())
		err = d.path.send(msg)
	}
	if err != nil {
		counts.add(SendErrors, 1)
		return err
	}
	counts.answered(msg)
	return nil
}

// limited returns what goes out in place of msg, or nil: the last word on an answer
// over UDP is Config.LimitLate's.
func (d *Deferred) limited(msg []byte) []byte {
	if d.server.limitLate == nil || d.transport != UDP || len(msg) < dnswire.HeaderLen {
		return msg
	}
	switch d.server.limitLate(d, msg) {
	case Drop:
		return nil
	case Cut:
		return d.truncated()
	}
	return msg
}

// truncated returns an answer without records that has the client ask over TCP.
func (d *Deferred) truncated() []byte {
	var out dnswire.Builder
	out.Reset(&d.query, make([]byte, dnswire.MaxUDP512+dnswire.BufferSlack), dnswire.MaxUDP512)
	out.Truncate()
	return out.Finish()
}

// HasCookie reports whether the client has shown a good cookie.
func (d *Deferred) HasCookie() bool { return d.hasCookie }

func (d *Deferred) sealed(msg []byte) []byte {
	if d.seal == nil {
		return msg
	}
	return d.seal(msg)
}

// SendMore sends one message of an answer of several; Send sends the last, or
// Drop gives the rest up. Unlike Send it waits until the kernel has taken the
// message, at most Limits.Write, after which the client is cut off: so whoever
// makes the messages is never ahead of the client. Not to be called on a loop.
func (d *Deferred) SendMore(msg []byte) error {
	switch {
	case d.spent.Load():
		return ErrSpent
	case !d.transport.IsStream():
		return ErrStream
	case len(msg) < dnswire.HeaderLen || len(msg) > d.limit:
		return ErrSize
	case d.server.deferrals.isClosed():
		return ErrShutdown
	}
	return d.path.sendMore(d.sealed(msg))
}

// Drop gives the query up without an answer.
func (d *Deferred) Drop() {
	if d.spent.Swap(true) {
		return
	}
	defer d.server.deferrals.leave()
	d.server.countsOf(d.transport).add(Dropped, 1)
	d.observed(nil)
	d.path.abandon()
}

// deferrals counts the deferred queries outstanding.
type deferrals struct {
	max int // constant after Listen

	mu     sync.Mutex // guards what follows
	open   int
	closed bool
	idle   []chan struct{} // each closed when open falls to 0
}

func (d *deferrals) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open >= d.max || d.closed {
		return false
	}
	d.open++
	return true
}

func (d *deferrals) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
	if d.open == 0 {
		d.wakeLocked()
	}
}

// wait returns when no deferred query is outstanding, or after close.
func (d *deferrals) wait() {
	d.mu.Lock()
	if d.open == 0 || d.closed {
		d.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	d.idle = append(d.idle, idle)
	d.mu.Unlock()
	<-idle
}

func (d *deferrals) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.wakeLocked()
}

func (d *deferrals) wakeLocked() {
	for _, c := range d.idle {
		close(c)
	}
	d.idle = nil
}

func (d *deferrals) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

func (d *deferrals) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}
