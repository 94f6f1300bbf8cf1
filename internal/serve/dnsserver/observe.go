package dnsserver

import (
	"net/netip"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Observer is told of queries and what became of them. It is called on the loops, and
// by whoever sends a late answer: it must not block, and keep nothing it is given.
type Observer interface {
	// Wants says how much of a query, which is about to be answered, Observe is to be
	// given.
	Wants(r *Request) Interest
	// Observe is called when the fate of a query is known.
	Observe(x *Exchange)
}

// Interest is how much an Observer wants to know of one query.
type Interest uint8

// The interests.
const (
	Nothing  Interest = iota // Observe is not called
	Facts                    // without the messages
	Messages                 // all
)

// Note is what a Handler says of a query, for the Observer.
type Note struct {
	View      string       // that the client belongs to
	Zone      dnsname.Name // that answered; good until the Observer returns
	Recursive bool         // the client may use the resolver, and wants to
}

// Exchange is a query and what became of it.
type Exchange struct {
	Note
	Interest  Interest
	Query     []byte // the whole message; nil if it was not wanted
	Answer    []byte // nil: there is none
	Name      dnsname.Name
	Type      rdata.Type
	Rcode     dnswire.Rcode
	Client    netip.AddrPort
	Local     netip.AddrPort
	Transport Transport
	Received  time.Time
	Rotation  uint32 // of the Request
}

// watch is what a responder keeps for the Observer.
type watch struct {
	query    []byte // its memory is used over and over
	exchange Exchange
}

// begin asks the Observer what it wants to know of the query msg.
func (a *responder) begin(msg []byte) {
	r := &a.req
	r.Note = Note{}
	if r.interest = r.server.observer.Wants(r); r.interest == Messages {
		a.watch.query = append(a.watch.query[:0], msg...)
	}
}

// observed tells the Observer of an answer, or that there is none.
func (a *responder) observed(answer []byte) {
	w, r := &a.watch, &a.req
	if r.interest == Nothing {
		return
	}
	w.exchange = Exchange{
		Note: r.Note, Interest: r.interest, Answer: answer, Name: r.Query.Name, Type: r.Query.Type, Rcode: r.Out.Rcode(),
		Client: r.Client, Local: r.Local, Transport: r.Transport, Received: r.Now, Rotation: r.Rotation,
	}
	if r.interest == Messages {
		w.exchange.Query = w.query
	}
	r.server.observer.Observe(&w.exchange)
}

// observed tells the Observer of a late answer, or that there is none.
func (d *Deferred) observed(answer []byte) {
	if d.interest == Nothing {
		return
	}
	x := Exchange{
		Note: d.note, Interest: d.interest, Answer: answer, Name: d.query.Name, Type: d.query.Type,
		Client: d.client, Local: d.local, Transport: d.transport, Received: d.received, Rotation: d.rotation,
	}
	if len(answer) >= dnswire.HeaderLen {
		x.Rcode = dnswire.Rcode(answer[3] & 0xF)
	}
	if d.interest == Messages {
		x.Query = d.query.Msg
	}
	d.server.observer.Observe(&x)
}
