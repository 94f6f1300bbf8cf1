package iterate

import (
	"errors"
	"net/netip"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Event is something that happened outside the machine: Ask, Arrived, Expired,
// Failed, Trust or Reroute.
type Event interface{ event() }

// Ask is a client's question. It is answered by exactly one Reply with the same
// Token, which the asker chooses and must not use twice at a time.
type Ask struct {
	Token  uint64
	Name   dnsname.Name
	Type   rdata.Type
	Class  rdata.Class // 0 is taken as IN
	CD, DO bool
	AD     bool       // the client understands AD (RFC 6840 §5.7)
	Trace  bool       // collect Answer.Trace
	Near   netip.Addr // for whom it is: servers of Config.Subnets are told its network; invalid: nobody's
	Heavy  bool       // from a network that has more than its share in work: it may do less
	Fresh  bool       // ask whatever the cache has, for the cache alone: there is no Reply
	// Anew asks whatever the cache has, and passes over negative trust anchors; what it
	// comes to is told to the asker alone. It is for looking after trust itself.
	Anew bool
}

// Arrived is a message from the address and port an exchange was sent to, to the
// address and port it was sent from. The exchange stays open: whether the
// message ends it is for the machine to say, with Close.
type Arrived struct {
	Exchange uint64
	Msg      []byte // may be changed, and is not kept after Step returns
	// Took is the time since the query left, where a connection had to be made
	// first; 0: since the Send.
	Took time.Duration
}

// Expired says that the Timeout of a Send or Wait is over; that exchange is
// closed.
type Expired struct{ Exchange uint64 }

// Failed says that an exchange came to nothing: it could not be sent, the
// connection was refused or broke, no resource was left. It is closed. Err is
// ErrNoRoute, perhaps wrapped, when this machine has no way to the address's
// family at all, and ErrLocal when the fault is on this side; everything else
// is held against the server.
type Failed struct {
	Exchange uint64
	Err      error
}

// Trust replaces the trust anchors, which may be none at all, and the negative ones. What
// was remembered of chains of trust is forgotten, and so is all that is known at and
// below names that are negative trust anchors now or were, and those whose anchor is new,
// gone, or another one altogether: not of the same keys any more.
type Trust struct {
	Anchors  []rdata.Record
	Negative []dnsname.Name
}

// Hints replaces the hints; with none at all there is nobody to begin with. If no address
// of theirs was one of those before it is another root: all is forgotten, and what is being
// looked up begins anew.
type Hints struct{ Records []rdata.Record }

func (Ask) event()     {}
func (Hints) event()   {}
func (Arrived) event() {}
func (Expired) event() {}
func (Failed) event()  {}
func (Trust) event()   {}

// What Failed.Err may be or wrap.
var (
	// ErrNoRoute: the network of this address family is unreachable from here,
	// whichever address is tried.
	ErrNoRoute = errors.New("no route to this address family")
	// ErrLocal: this machine could not do it, for want of sockets, memory or rights.
	ErrLocal = errors.New("not sent")
)

// Action is something the machine wants done: Send, Wait, Close or Reply.
type Action interface{ action() }

// Send opens an exchange: Msg goes to To, from a port of its own over UDP
// (RFC 5452 §4.5), or on a connection that others may use at the same time. Every
// message that comes back for it is an Arrived, with the id of Msg. After Timeout it is an Expired, at once if it failed a Failed;
// after either the exchange is closed.
type Send struct {
	Exchange uint64 // never used twice by one Resolver
	To       netip.AddrPort
	TCP      bool      // Over is Do53: not UDP
	Over     Transport // never another one instead
	Peer     int       // see Server
	Msg      []byte    // without the length octets of TCP; the receiver may keep it
	Timeout  time.Duration
}

// Wait asks for Expired after Timeout, unless it is closed before. It shares the
// numbering of Send.
type Wait struct {
	Exchange uint64
	Timeout  time.Duration
}

// Close ends an exchange of Send or Wait: no event of it is wanted any more.
// Events that were already on their way are ignored.
type Close struct{ Exchange uint64 }

// Reply answers the Ask with this Token.
type Reply struct {
	Token  uint64
	Answer Answer
}

func (Send) action()  {}
func (Wait) action()  {}
func (Close) action() {}
func (Reply) action() {}
