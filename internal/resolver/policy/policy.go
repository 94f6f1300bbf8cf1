// Package policy is response policy zones (RPZ): zones whose records are rules about
// what a resolver answers in place of what the Internet says.
//
// It owns the reading of such a zone's owner names as triggers and of its records as
// actions, and which rule of which zone applies to a question. It does not own where
// the zones come from (they are zones like others), nor what is resolved and when
// (package rewrite).
//
//	bad.example.com            CNAME .              QNAME: the name does not exist
//	*.bad.example.com          CNAME *.             QNAME: any name below has no records
//	24.0.2.0.192.rpz-ip        CNAME rpz-drop.      an address of 192.0.2.0/24 in the answer: none is sent
//	ns.bad.example.rpz-nsdname CNAME rpz-passthru.  a name server by its name: answered as it is
//	32.1.2.0.192.rpz-nsip      CNAME rpz-tcp-only.  a name server by its address: again by TCP
//	32.7.2.0.192.rpz-client-ip A 198.51.100.1       who asks: local data
//
// A Zone costs hardly more than the zone.Zone it is made of: triggers that are names
// are looked up in that, as any name is; those that are networks are numbers in
// sorted lists beside it, 8 octets each for IPv4 and 24 for IPv6.
//
// Entry points: Compile, Set.Before, Set.Response, Hit.Each, Hit.Target.
//
// Concurrency: a Zone and a Set never change after they are made, but for the Counts,
// which are atomic. Lookups take no lock and allocate nothing.
//
// Sources: draft-vixie-dnsop-dns-rpz-00; RFC 4592 for wildcards.
package policy

import (
	"sync/atomic"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
)

// Trigger is what a rule looks at.
type Trigger uint8

// The triggers, in the order in which those of one zone count (draft §5.3).
const (
	ClientIP   Trigger = iota // the address of who asks
	QName                     // the name asked for, or one that an alias leads to
	ResponseIP                // an address in the answer
	NSDName                   // the name of a server that a zone above the name is delegated to
	NSIP                      // the address of such a server
	triggers
)

// String returns the trigger as the draft names it.
func (t Trigger) String() string {
	return [...]string{"client-ip", "qname", "response-ip", "nsdname", "nsip"}[t]
}

// Action is what a rule has done.
type Action uint8

// The actions (draft §3). Given is for Options alone: the zone's own; so is Disabled.
const (
	Given    Action = iota
	Passthru        // answered as if there was no policy
	NXDomain        // no such name
	NoData          // no such records
	Drop            // no answer
	TCPOnly         // truncated over UDP; over anything else as Passthru
	Local           // records of the rule's own: Each
	Alias           // a CNAME to Target
	Disabled        // nothing but the count
	Refuse          // REFUSED; no policy zone says so
	actions
)

// String returns the word for a that configuration and metrics use.
func (a Action) String() string {
	return [...]string{"given", "passthru", "nxdomain", "nodata", "drop", "tcp-only", "local-data", "cname", "disabled", "refuse"}[a]
}

// ParseAction is the reverse of String.
func ParseAction(text string) (Action, bool) {
	for a := range actions {
		if a.String() == text {
			return a, true
		}
	}
	return Given, false
}

// Counts count what was done by the rules of a zone, by Action. They outlive the
// versions of the zone.
type Counts [actions]atomic.Uint64

// Options are what is chosen for a zone as a whole.
type Options struct {
	// Override, unless Given, is done in place of what the rules say. With Alias, CNAME
	// is the target.
	Override Action
	CNAME    dnsname.Name
	// EDE is told with NXDomain and NoData; 0: nothing is.
	EDE dnswire.EDE
	// Counts may be nil.
	Counts *Counts
}

// Zone is one policy zone, ready to be asked.
type Zone struct {
	Options
	zone    *zone.Zone
	names   bool // it has QNAME triggers
	servers bool // it has NSDNAME triggers
	nets    [triggers]networks
	skipped []string
	text    string
}

// Name returns the name of the zone.
func (z *Zone) Name() dnsname.Name { return z.zone.Origin() }

// Text returns what is told to clients beside an extended error.
func (z *Zone) Text() string { return z.text }

// Source returns the version of the zone that z was made of.
func (z *Zone) Source() *zone.Zone { return z.zone }

// Skipped returns what is wrong with owner names that were passed over, at most
// maxSkipped of them.
func (z *Zone) Skipped() []string { return z.skipped }

// Count counts an action that was done.
func (z *Zone) Count(a Action) {
	if z.Counts != nil {
		z.Counts[a].Add(1)
	}
}

// looksAtResponse reports whether z can say something when there is an answer only.
func (z *Zone) looksAtResponse() bool { return !z.nets[ResponseIP].isEmpty() || z.looksAtServers() }

func (z *Zone) looksAtServers() bool { return z.servers || !z.nets[NSIP].isEmpty() }

// Hit is a rule that applies. The zero Hit is none.
type Hit struct {
	Zone    *Zone
	Trigger Trigger
	Action  Action
	node    zone.Node
}

// IsZero reports whether no rule applies.
func (h Hit) IsZero() bool { return h.Zone == nil }

// Rule returns the owner name of the rule. It looks at the zone's memory.
func (h Hit) Rule() dnsname.Name { return h.Zone.zone.Name(h.node) }

// Set is policy zones in the order in which they count (draft §5.2).
type Set struct {
	zones []*Zone
	// The first zone whose triggers look at the answer, and at name servers; len(zones)
	// if there is none.
	response, servers int
}

// NewSet returns the Set of zones; the first counts most.
func NewSet(zones ...*Zone) *Set {
	s := &Set{zones: zones, response: len(zones), servers: len(zones)}
	for i, z := range zones {
		if z.looksAtResponse() {
			s.response = min(s.response, i)
		}
		if z.looksAtServers() {
			s.servers = min(s.servers, i)
		}
	}
	return s
}

// Zones returns the zones of s; not to be written to.
func (s *Set) Zones() []*Zone {
	if s == nil {
		return nil
	}
	return s.zones
}

// LooksAtResponse reports whether answers have to be looked at.
func (s *Set) LooksAtResponse() bool { return s != nil && s.response < len(s.zones) }

// LooksAtServers reports whether name servers have to be looked at.
func (s *Set) LooksAtServers() bool { return s != nil && s.servers < len(s.zones) }
