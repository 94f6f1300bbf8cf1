// Package querywatch says which queries are told of, by dnstap and in the log of queries.
//
// It owns the choice, by sample, client and zone, and what is told of an exchange. It does
// not own the frames, the lines and the waiting (package querytap). Where neither is
// configured there is no Observer, and nothing of this is called.
//
// Entry points: New, Observer (a dnsserver.Observer).
//
// Concurrency: an Observer is constant after New; its methods may be called from any
// number of goroutines.
package querywatch

import (
	"slices"

	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/serve/admission"
	"pharos/internal/serve/dnsserver"
	"pharos/internal/serve/querytap"
)

// Config says which queries are told of.
type Config struct {
	Dnstap bool
	Every  uint32 // one of so many by dnstap; at least 1

	Log      bool
	LogEvery uint32         // one of so many in the log; 0: only what follows
	Zones    []dnsname.Name // all queries that are answered from these
	Clients  *admission.ACL // all queries of these
}

// Observer tells a Tap of the queries that are to be told of.
type Observer struct {
	c   Config
	tap *querytap.Tap
}

// New returns an Observer, which closes the tap.
func New(c Config, tap *querytap.Tap) *Observer { return &Observer{c: c, tap: tap} }

// Counts returns what became of the queries that were told of.
func (o *Observer) Counts() querytap.Counts { return o.tap.Counts() }

// Close writes what waits. A nil Observer has nothing.
func (o *Observer) Close() {
	if o != nil {
		o.tap.Close()
	}
}

// Wants implements dnsserver.Observer.
func (o *Observer) Wants(r *dnsserver.Request) dnsserver.Interest {
	switch {
	case o.c.Dnstap && r.Rotation%o.c.Every == 0:
		return dnsserver.Messages
	case o.c.Log && (len(o.c.Zones) > 0 || o.isSampled(r.Rotation) || o.c.Clients.Allows(r.Client.Addr())):
		return dnsserver.Facts
	}
	return dnsserver.Nothing
}

// isSampled reports whether a query is one of so many.
func (o *Observer) isSampled(rotation uint32) bool {
	return o.c.LogEvery > 0 && rotation%o.c.LogEvery == 0
}

// Observe implements dnsserver.Observer.
func (o *Observer) Observe(x *dnsserver.Exchange) {
	e := querytap.Event{
		Client: x.Client, Local: x.Local, Transport: x.Transport.String(), Received: x.Received, Sent: clock.Now(),
		Name: x.Name, Type: x.Type, Rcode: x.Rcode, Octets: len(x.Answer), View: x.View, Recursive: x.Recursive,
		Frame: x.Interest == dnsserver.Messages,
	}
	if e.Frame {
		e.Query, e.Answer = x.Query, x.Answer
	}
	if !x.Zone.IsZero() {
		e.Zone = x.Zone.String()
	}
	e.Line = o.c.Log && (o.isSampled(x.Rotation) || o.c.Clients.Allows(x.Client.Addr()) || slices.Contains(o.c.Zones, x.Zone))
	if e.Frame || e.Line {
		o.tap.Put(&e)
	}
}
