package iterate

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// This file is how servers of chosen zones are told for which network a question is
// (RFC 7871), and how answers for one network are kept from all others.
//
// Below the chosen zones every question for addresses is of a network: near. A client
// that does not want to be told of, or of which there is nothing to tell, is of the
// network of nobody, /0. Answers that are good for all go to the cache; those for a
// network stay here.

// Subnets says who is told of clients' networks. The zero Subnets tells nobody.
type Subnets struct {
	Zones []dnsname.Name // at and below which servers are told
	// Bits4 and Bits6 are how much of an address is told: RFC 7871 §11.1 has 24 and 56
	// at most.
	Bits4, Bits6 int
	// Encrypted: servers that are asked encrypted are told, too.
	Encrypted bool
}

// nobody is the network of those who are not told of.
var nobody = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

// subnets are the answers that are for one network each.
type subnets struct {
	known bounded[question, *scoped] // by name, type, and network
	bits  [129]int                   // how many networks of each length there are
	flush uint64                     // rrcache.Cache.Flushes when known was last looked at
	// asking counts the open queries over UDP for a name and type, whatever the
	// network: of several at a time one would be easier to forge an answer to
	// (RebirthDay, CVE-2025-5994).
	asking map[question]int
}

type scoped struct {
	res         result
	kept, until time.Time
}

// questionOf returns what c asks now.
func (r *Resolver) questionOf(c *client) question {
	q := question{name: c.name, t: c.ask.Type}
	if len(r.cfg.Subnets.Zones) == 0 || !isTailored(q.t) || c.ask.Anew {
		return q
	}
	for _, zone := range r.cfg.Subnets.Zones {
		if q.name.IsSubdomainOf(zone) {
			q.near = r.networkOf(c.ask.Near)
			break
		}
	}
	return q
}

// isTailored reports whether answers of a type depend on who asks.
func isTailored(t rdata.Type) bool {
	return t == rdata.TypeA || t == rdata.TypeAAAA || t == rdata.TypeHTTPS || t == rdata.TypeSVCB
}

// networkOf returns as much of an address as is told. Addresses that mean nothing to
// others are nobody's (RFC 7871 §11.1).
func (r *Resolver) networkOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() || addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsUnspecified() || addr.IsMulticast() {
		return nobody
	}
	bits := r.cfg.Subnets.Bits6
	if addr.Is4() {
		bits = r.cfg.Subnets.Bits4
	}
	near, err := addr.Prefix(bits)
	if err != nil || bits == 0 {
		return nobody
	}
	return near
}

// tell decides whether x tells its server of a network, and returns the options for
// that.
func (r *Resolver) tell(x *exchange) []byte {
	near := x.q.near
	if !near.IsValid() || !x.edns || x.lookup.untold || x.to.isEncrypted() && !r.cfg.Subnets.Encrypted {
		return nil
	}
	// The servers of zones above have no answer that could depend on it.
	if !x.lookup.forwards() && !slices.ContainsFunc(r.cfg.Subnets.Zones, x.lookup.cut.Zone.IsSubdomainOf) {
		return nil
	}
	x.near = near
	return dnswire.AppendOption(nil, dnswire.OptionSubnet, subnetOption(near))
}

// subnetOption returns the option's data (RFC 7871 §6).
func subnetOption(near netip.Prefix) []byte {
	family := uint16(1)
	if near.Addr().Is6() {
		family = 2
	}
	data := binary.BigEndian.AppendUint16(nil, family)
	data = append(data, byte(near.Bits()), 0)
	return append(data, near.Masked().Addr().AsSlice()[:(near.Bits()+7)/8]...)
}

// crowded reports whether a query like x, but for another network, is under way over
// UDP already; if not, x is now.
func (r *Resolver) crowded(x *exchange) bool {
	if !x.near.IsValid() || x.isStream() || r.isWeak(WeakNetworks) {
		return false
	}
	q := question{name: x.q.name, t: x.q.t}
	if r.subnets.asking[q] > 0 {
		return true
	}
	if r.subnets.asking == nil {
		r.subnets.asking = make(map[question]int)
	}
	r.subnets.asking[q]++
	x.alone = true
	return false
}

// uncrowd takes in that x is over.
func (r *Resolver) uncrowd(x *exchange) {
	if !x.alone {
		return
	}
	q := question{name: x.q.name, t: x.q.t}
	if r.subnets.asking[q]--; r.subnets.asking[q] == 0 {
		delete(r.subnets.asking, q)
	}
}

// scopeOf returns the network that m, the reply to x, is good for; invalid: for all.
// ok is false if it speaks of another network than was asked for: RFC 7871 §7.3.
func (x *exchange) scopeOf(m *dnswire.Message) (scope netip.Prefix, ok bool) {
	data, has := m.EDNS.Find(dnswire.OptionSubnet)
	if !has || !x.near.IsValid() {
		return netip.Prefix{}, true // it knows nothing of networks, or was not asked
	}
	want := subnetOption(x.near)
	if len(data) != len(want) || string(data[:3]) != string(want[:3]) || string(data[4:]) != string(want[4:]) {
		return netip.Prefix{}, false
	}
	bits := min(int(data[3]), x.near.Bits()) // §7.3.1: what was not told cannot have mattered
	switch {
	case x.near.Bits() == 0:
		return nobody, true
	case bits == 0:
		return netip.Prefix{}, true
	}
	return netip.PrefixFrom(x.near.Addr(), bits).Masked(), true
}

// keepScoped keeps what a reply taught for one network.
func (r *Resolver) keepScoped(q question, res result) {
	ttl := res.soa.TTL
	if !res.hasSOA {
		ttl = rdata.MaxTTL
	}
	for _, part := range [...][]rdata.Record{res.chain, res.records} {
		for _, record := range part {
			ttl = min(ttl, record.TTL)
		}
	}
	if !res.hasSOA && len(res.chain)+len(res.records) == 0 || ttl == 0 { // RFC 2308 §5
		return
	}
	s := &r.subnets
	q.name, q.near = q.name.Clone(), res.near
	if !s.known.has(q) {
		s.bits[q.near.Bits()]++
	}
	s.known.dropped = func(q question, _ *scoped) { s.bits[q.near.Bits()]-- }
	s.known.put(q, &scoped{res, r.now, r.now.Add(time.Duration(min(ttl, r.cache.Limits().MaxTTL)) * time.Second)}, res.octets())
}

// scopedOctets is what a result takes beside its records.
const scopedOctets = 512

// octets is what a result takes, at most: records and parts may share memory.
func (res *result) octets() int {
	return scopedOctets + recordsOctets(res.chain) + recordsOctets(res.records) + recordsOctets([]rdata.Record{res.soa}) +
		signedOctets(res.parts) + signedOctets(res.denial) + listOctets(res.soaSigs)
}

func (s *subnets) forget(q question) {
	if s.known.has(q) {
		s.known.drop(q)
		s.bits[q.near.Bits()]--
	}
}

// recallFor looks up what c asks now: among the answers for its network, the longest
// prefix first, and then among those for all.
func (r *Resolver) recallFor(c *client) (result, bool) {
	q := r.questionOf(c)
	if q.near.IsValid() {
		if n := r.cache.Flushes(); n != r.subnets.flush { // rare: which ones does not matter
			r.subnets.known.clear()
			r.subnets.bits, r.subnets.flush = [129]int{}, n
		}
		if res, ok := r.subnets.get(r.now, q); ok {
			return res, true
		}
	}
	return r.recall(question{name: q.name, t: q.t})
}

func (s *subnets) get(now time.Time, q question) (result, bool) {
	if s.known.len() == 0 {
		return result{}, false
	}
	least := min(1, q.near.Bits()) // nobody's answers are nobody else's
	for bits := q.near.Bits(); bits >= least; bits-- {
		if s.bits[bits] == 0 {
			continue
		}
		shorter := q
		shorter.near = netip.PrefixFrom(q.near.Addr(), bits).Masked()
		if entry := s.known.get(shorter); entry != nil && now.Before(entry.until) {
			return entry.res.aged(rdata.TTL(now.Sub(entry.kept) / time.Second)), true
		}
	}
	return result{}, false
}

// aged returns res as it is some seconds later.
func (res result) aged(by rdata.TTL) result {
	res.chain, res.records = agedRecords(res.chain, by), agedRecords(res.records, by)
	res.soa.TTL -= min(by, res.soa.TTL)
	parts := make([]rrcache.Signed, len(res.parts))
	for i, part := range res.parts {
		part.TTL -= min(by, part.TTL)
		parts[i] = part
	}
	res.parts, res.from = parts, Server{}
	return res
}

func agedRecords(in []rdata.Record, by rdata.TTL) []rdata.Record {
	out := make([]rdata.Record, len(in))
	for i, record := range in {
		record.TTL -= min(by, record.TTL)
		out[i] = record
	}
	return out
}

// judged notes what validation came to about an answer for one network.
func (s *subnets) judged(q question, res result) {
	q.near = res.near
	if s.known.has(q) && res.near.IsValid() {
		s.known.get(q).res.state = res.state
	}
}
