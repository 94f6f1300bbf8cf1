// Package update decides dynamic updates: what a message with the opcode UPDATE
// asks for, whether it may, and what it changes in one version of a zone.
//
//	UPDATE = zone | prerequisites | updates | additional          RFC 2136 §2
//	in the place of question | answer | authority | additional
//
//	Parse -> Request; Request.Decide(zone, permission) -> Change or Refusal
//
// It owns the form of the message, the five kinds of prerequisites, the meaning of
// additions and deletions, who may change which names and types (Rules), and which
// serial comes next (NextSerial). It does not own signatures (package tsig), what
// becomes of a Change (package ledger), nor the answer on the wire (package node).
//
// A Request is decided against one version as a whole or not at all: until the last
// record has been looked at nothing leaves this package.
//
// Entry points: Parse, Request.Decide, Rules.Allow, NextSerial.
//
// Concurrency: everything is a value or a pure function; a Request and Rules are
// never changed after they are made and may be shared.
//
// Sources: RFC 2136, RFC 3007 §4 (which types), RFC 6672 §5.2 (DNAME), RFC 1982
// (serials), RFC 2181 §5.2 (one TTL for an RRset), RFC 8914 (why not).
package update

import (
	"fmt"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Limits of one update. Beyond them it is refused, with the reason.
const (
	// MaxRecords is how many records an update may have, prerequisites with it: as
	// many addresses with compressed owners as one message can carry.
	MaxRecords = 4096
	// MaxRRset is how many octets the records of one RRset may take in a message,
	// with an owner of two octets each: what is longer could be written, but never
	// be answered (RFC 1035 §4.2.2), less room for a question, OPT and TSIG.
	MaxRRset = dnswire.MaxMessage - 1024
)

// Change is what becomes of a zone. A record whose TTL changes is deleted and
// added. Without an SOA record the serial is for whoever applies the Change to
// move on, by NextSerial; with one it stands in Added, and is newer than before.
// Records may look at the memory of the version that was decided against.
type Change struct {
	Deleted, Added []rdata.Record
}

// IsEmpty reports whether nothing changes: then the serial stays too (RFC 2136
// §3.6).
func (c Change) IsEmpty() bool { return len(c.Deleted) == 0 && len(c.Added) == 0 }

// Refusal is why an update is not carried out. It is an error so that it can pass
// through those who do not know about updates.
type Refusal struct {
	Rcode dnswire.Rcode
	EDE   dnswire.EDE
	Why   string
}

// Error says what the client is told.
func (r *Refusal) Error() string { return fmt.Sprintf("%v: %s", r.Rcode, r.Why) }

func refuse(rcode dnswire.Rcode, ede dnswire.EDE, format string, args ...any) *Refusal {
	return &Refusal{rcode, ede, fmt.Sprintf(format, args...)}
}

func malformed(format string, args ...any) *Refusal {
	return refuse(dnswire.RcodeFormErr, dnswire.EDEInvalidData, format, args...)
}

// Request is one update, with memory of its own.
type Request struct {
	Zone          dnsname.Name
	Prerequisites []rdata.Record // RFC 2136 §2.4
	Updates       []rdata.Record // RFC 2136 §2.5
}

// Parse reads an update in wire form. What is left to check depends on the zone:
// see Decide.
func Parse(msg []byte) (*Request, *Refusal) {
	m, err := dnswire.ParseMessage(msg)
	if err != nil {
		return nil, malformed("the message cannot be read: %v", err)
	}
	switch {
	case m.Opcode != dnswire.OpcodeUpdate || m.QR:
		return nil, malformed("the message is no request with opcode UPDATE")
	case !m.HasQuestion || m.Question.Type != rdata.TypeSOA: // RFC 2136 §3.1.1
		return nil, malformed("the zone section must have one record of type SOA")
	case m.Question.Class != rdata.ClassIN:
		return nil, refuse(dnswire.RcodeNotAuth, dnswire.EDENotAuthoritative, "only class IN is served")
	case len(m.Answer)+len(m.Authority) > MaxRecords:
		return nil, refuse(dnswire.RcodeRefused, dnswire.EDEProhibited, "the update has %d records, more than %d; send several", len(m.Answer)+len(m.Authority), MaxRecords)
	}
	return &Request{Zone: m.Question.Name, Prerequisites: m.Answer, Updates: m.Authority}, nil
}
