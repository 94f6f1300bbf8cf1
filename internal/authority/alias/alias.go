// Package alias is the ALIAS record: a name that has the addresses of another one,
// also where a CNAME may not stand, as at the apex of a zone.
//
//	shop.example. 300 ALIAS web.provider.test.
//	        |  Find                         |  Book: when to ask, what is good
//	        v                               v
//	version of the zone  --- Fill ---> the same with A and AAAA of the target
//
// It owns what is done with the records of a zone, and when a target is asked for
// again. It does not own how a target is resolved, nor timers (package aliases).
//
// The record is PowerDNS's: TYPE65401, with a name as RDATA. Its TTL is that of the
// addresses, so that the zone does not change whenever the target's counts down.
//
// Entry points: Find, Follow, Fill; NewBook, Book.Due, Book.Answered.
//
// Concurrency: records are values, zones immutable; a Book belongs to one goroutine
// at a time, and has no clock: now is an argument.
//
// Sources: the documentation of PowerDNS; draft-ietf-dnsop-aname-04, for what is to be
// kept in mind; RFC 1982 (serials).
package alias

import (
	"bytes"
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Record is an ALIAS record.
type Record struct {
	Owner  dnsname.Name
	Target dnsname.Name // in lower case
	TTL    rdata.TTL
	data   []byte // its RDATA, as the zone has it
}

// Find returns the ALIAS records of a zone by their owners, in canonical order. Of
// several at one name the first counts.
func Find(z *zone.Zone) []Record {
	if !z.MayHave(rdata.TypeALIAS) {
		return nil
	}
	return collect(nil, z.Records())
}

// Follow returns the ALIAS records of a later version, given those of an earlier one
// and the differences between them.
func Follow(before []Record, list []*journal.Difference) []Record {
	now := slices.Clone(before)
	for _, d := range list {
		for r := range d.Deleted() {
			now = slices.DeleteFunc(now, func(x Record) bool {
				return r.Type == rdata.TypeALIAS && x.Owner == r.Name && bytes.Equal(x.data, r.Data)
			})
		}
		now = collect(now, d.Added())
	}
	slices.SortStableFunc(now, func(a, b Record) int { return a.Owner.Compare(b.Owner) })
	return now
}

func collect(all []Record, records iter.Seq[rdata.Record]) []Record {
	for r := range records {
		if r.Type != rdata.TypeALIAS {
			continue
		}
		wire := bytes.Clone(r.Data)
		dnsname.Lower(wire)
		all = append(all, Record{Owner: r.Name.Clone(), Target: dnsname.View(wire), TTL: r.TTL, data: bytes.Clone(r.Data)})
	}
	return all
}

// Addresses are the addresses of a target.
type Addresses struct {
	V4, V6 []netip.Addr // in order, each once
}

// IsEmpty reports whether there are none.
func (a Addresses) IsEmpty() bool { return len(a.V4)+len(a.V6) == 0 }

func (a Addresses) equal(b Addresses) bool {
	return slices.Equal(a.V4, b.V4) && slices.Equal(a.V6, b.V6)
}

// MaxAddresses is how many addresses of each family are taken of one target: more do
// not fit in an answer over UDP, and the number bounds what others put in our zones.
const MaxAddresses = 32

// MakeAddresses puts what a resolver found in order, without what refuse holds, and
// without what goes beyond MaxAddresses.
func MakeAddresses(found []netip.Addr, refuse func(netip.Addr) bool) (a Addresses) {
	slices.SortFunc(found, netip.Addr.Compare)
	for _, addr := range slices.Compact(found) {
		switch {
		case refuse != nil && refuse(addr):
		case addr.Is4() && len(a.V4) < MaxAddresses:
			a.V4 = append(a.V4, addr)
		case addr.Is6() && len(a.V6) < MaxAddresses:
			a.V6 = append(a.V6, addr)
		}
	}
	return a
}

// Terms are how a zone is filled.
type Terms struct {
	// Known returns the addresses of a target; ok is false if they were never known.
	Known func(target dnsname.Name) (a Addresses, ok bool)
	// Keep leaves the ALIAS records in the zone, beside the addresses.
	Keep bool
	// Serial is the serial of the result.
	Serial rdata.Serial
}

// Fill returns the version of z in which names with an ALIAS record have the
// addresses of its target. Where the zone has addresses of its own, these stand. An
// ALIAS record whose target was never known stays: an answer then says that the
// addresses are not there yet, rather than that there are none.
func Fill(z *zone.Zone, records []Record, t Terms) (*zone.Zone, error) {
	edit := z.Edit()
	var last dnsname.Name
	for _, r := range records {
		addresses, ok := t.Known(r.Target)
		isFirst := r.Owner != last
		last = r.Owner
		node := z.Lookup(r.Owner).Exact
		isSteered := node != 0 && z.Steering(node).Hides(rdata.TypeA)
		if !t.Keep && (ok || isSteered || !isFirst) {
			edit.Delete(rdata.Record{Name: r.Owner, Type: rdata.TypeALIAS, Class: rdata.ClassIN, Data: r.data})
		}
		if !ok || isSteered || !isFirst || node == 0 {
			continue
		}
		for _, part := range []struct {
			t     rdata.Type
			addrs []netip.Addr
		}{{rdata.TypeA, addresses.V4}, {rdata.TypeAAAA, addresses.V6}} {
			if _, own := z.RRset(node, part.t); own {
				continue
			}
			for _, addr := range part.addrs {
				edit.Add(rdata.Record{Name: r.Owner, Type: part.t, Class: rdata.ClassIN, TTL: r.TTL, Data: addr.AsSlice()})
			}
		}
	}
	edit.SetSerial(t.Serial)
	filled, problems := edit.Finish()
	if filled == nil {
		return nil, fmt.Errorf("alias: %v", problems)
	}
	return filled, nil
}

// NextSerial returns the serial of a version that differs from the one served last,
// if there was one: that of its source if it goes forward, or else the next one
// (RFC 1982), so that secondaries see every change.
func NextSerial(source, served rdata.Serial, wasServed bool) rdata.Serial {
	if !wasServed || served.Less(source) {
		return source
	}
	return served + 1
}
