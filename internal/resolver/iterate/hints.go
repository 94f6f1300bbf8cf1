package iterate

import (
	"net/netip"
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// rootServers are the addresses of a.root-servers.net to m.root-servers.net, as
// IANA publishes them in named.root, which is also what the root zone of 2026 says. The
// priming query replaces them by what the root itself says (RFC 9609 §3).
var rootServers = [13][2]string{
	{"198.41.0.4", "2001:503:ba3e::2:30"},
	{"170.247.170.2", "2801:1b8:10::b"},
	{"192.33.4.12", "2001:500:2::c"},
	{"199.7.91.13", "2001:500:2d::d"},
	{"192.203.230.10", "2001:500:a8::e"},
	{"192.5.5.241", "2001:500:2f::f"},
	{"192.112.36.4", "2001:500:12::d0d"},
	{"198.97.190.53", "2001:500:1::53"},
	{"192.36.148.17", "2001:7fe::53"},
	{"192.58.128.30", "2001:503:c27::2:30"},
	{"193.0.14.129", "2001:7fd::1"},
	{"199.7.83.42", "2001:500:9f::42"},
	{"202.12.27.33", "2001:dc3::35"},
}

// hintTTL is the TTL of the built-in hints: that of the file they come from. It
// is not used as a lifetime: hints never expire.
const hintTTL rdata.TTL = 3600000

// RootHints returns the built-in hints: NS, A and AAAA records.
func RootHints() []rdata.Record {
	var records []rdata.Record
	for i, addrs := range rootServers {
		name := dnsname.MustParse(string(rune('a'+i)) + ".root-servers.net.")
		records = append(records, rdata.Record{
			Name: dnsname.Root, Type: rdata.TypeNS, Class: rdata.ClassIN, TTL: hintTTL, Data: name.AppendWire(nil),
		})
		for j, text := range addrs {
			addr := netip.MustParseAddr(text)
			records = append(records, rdata.Record{
				Name: name, Type: [2]rdata.Type{rdata.TypeA, rdata.TypeAAAA}[j],
				Class: rdata.ClassIN, TTL: hintTTL, Data: addr.AsSlice(),
			})
		}
	}
	return records
}

// setHints makes the root's delegation of records.
func (r *Resolver) setHints(records []rdata.Record) {
	r.hints, r.loopback = hintCut(records), false
	for _, s := range r.hints.Servers {
		for _, addr := range s.Addrs {
			r.loopback = r.loopback || addr.IsLoopback() || r.isWeak(WeakLoopback)
		}
	}
}

// rehint makes other hints those that count.
func (r *Resolver) rehint(ev Hints) {
	before := r.hints
	r.setHints(ev.Records)
	r.hintsUntil = time.Time{}
	if shareAddress(before, r.hints) {
		return // of the same root, which says itself who serves it
	}
	r.forgetAll()
	r.beginAnew(map[dnsname.Name]bool{dnsname.Root: true})
}

// shareAddress reports whether a server of both delegations has the same address.
func shareAddress(a, b *rrcache.Delegation) bool {
	has := make(map[netip.Addr]bool)
	for _, s := range a.Servers {
		for _, addr := range s.Addrs {
			has[addr] = true
		}
	}
	for _, s := range b.Servers {
		if slices.ContainsFunc(s.Addrs, func(addr netip.Addr) bool { return has[addr] }) {
			return true
		}
	}
	return false
}

// forgetAll forgets all that was learnt, but for how servers behave.
func (r *Resolver) forgetAll() {
	r.cache.Flush(rrcache.Selection{Name: dnsname.Root, Tree: true})
	r.forgetProofs()
}

// forgetProofs forgets what is remembered beside the cache of what zones say, and what
// did not resolve.
func (r *Resolver) forgetProofs() {
	r.chains.known.clear()
	r.denials.zones.clear()
	r.subnets.known.clear()
	r.failing.known.clear() // else who was asked in vain would go on failing for a minute
}
