package update

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/rdata"
	"pharos/lab/peers"
	"pharos/lab/tools"
	"pharos/lab/zonetest"
)

// TestPeers sends the same random updates to BIND and Knot and to this package, and
// compares the response codes and what becomes of the zone. BIND gets everything;
// Knot what it does not do otherwise on purpose (PHAROS_LONG sends 10,000 to each):
//
//   - an addition whose TTL differs from that of its RRset: Knot keeps the old one;
//     RFC 2181 §5.2 and RFC 2136 §3.4.2.2 do not say which counts, BIND and we take the new one;
//   - DNAME: Knot ignores one above data, and data below one, as the zone would not be
//     consistent; RFC 6672 §5.2 has such data occluded, not refused;
//   - a deletion of class ANY with a TTL: Knot does not look at it, RFC 2136 §3.4.1.3
//     has FORMERR.
func TestPeers(t *testing.T) {
	for _, kind := range []peers.Kind{peers.Named, peers.Knot} {
		t.Run(string(kind), func(t *testing.T) {
			tools.Need(t, string(kind))
			zones, updates := 8, 40
			if os.Getenv("PHAROS_LONG") != "" {
				zones, updates = 50, 200
			}
			rng := rand.New(rand.NewPCG(2136, uint64(len(kind))))
			server := startPeer(t, kind, zones)
			compared := 0
			for i := range zones {
				compared += differ(t, server, peerOrigin(i), generator{rng: rng, everything: kind == peers.Named}, updates)
			}
			t.Logf("%d updates compared", compared)
		})
	}
}

func peerOrigin(i int) string { return fmt.Sprintf("z%d.test.", i) }

const differZone = `$TTL 300
@      SOA ns1 admin 10 3600 600 86400 60
@      NS  ns1
@      NS  ns2.other.test.
ns1    A   192.0.2.1
a      A   192.0.2.10
a      A   192.0.2.11
a      TXT "one"
b      CNAME a
c.a    MX  10 a
sub    NS  ns.sub
ns.sub A   192.0.2.30
*.w    TXT "wild"
`

func startPeer(t *testing.T, kind peers.Kind, zones int) netip.AddrPort {
	t.Helper()
	addr, err := peers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	o := peers.Options{Address: addr, Folder: t.TempDir()}
	for i := range zones {
		o.Zones = append(o.Zones, peers.Zone{Name: peerOrigin(i), Text: "$ORIGIN " + peerOrigin(i) + "\n" + differZone, Updates: true})
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s, err := peers.Start(ctx, kind, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		m := new(dns.Msg).SetQuestion(peerOrigin(zones-1), dns.TypeSOA)
		if r, err := dns.Exchange(m, addr.String()); err == nil && r.Rcode == 0 && len(r.Answer) == 1 {
			return addr
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s does not answer:\n%s", kind, s.Log())
		}
	}
}

// differ sends updates of one zone until there is a difference. It returns how many
// were alike.
func differ(t *testing.T, server netip.AddrPort, origin string, g generator, updates int) int {
	t.Helper()
	g.origin = origin
	z := zonetest.Zone(t, origin, differZone)
	for n := range updates {
		m := g.update(z.Serial())
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		theirs, _, err := (&dns.Client{Net: "tcp", Timeout: 10 * time.Second}).Exchange(m, server.String())
		if err != nil {
			t.Fatalf("%v\n%v", err, m)
		}
		ours, next := 0, z
		r, why := Parse(wire)
		var c Change
		if why == nil {
			c, why = r.Decide(z, Terms{Allow: everything})
		}
		if why != nil {
			ours = int(why.Rcode)
		} else {
			next = applied(t, z, c)
		}
		if ours != theirs.Rcode && r != nil && len(r.Prerequisites) > 0 && g.everything {
			// BIND looks at the updates before it looks at the prerequisites; RFC 2136
			// has §3.2 before §3.4.1.
			if _, why := (&Request{Zone: r.Zone, Updates: r.Updates}).Decide(z, Terms{Allow: everything}); why != nil {
				ours = int(why.Rcode)
			}
		}
		if g.everything && ours == 0 && theirs.Rcode == dns.RcodeRefused && lacksServers(next) {
			continue // BIND looks at this here; with us it is the gate that refuses versions
		}
		if ours != theirs.Rcode {
			t.Errorf("update %d: %s, ours %s (%v)\n%v", n, dns.RcodeToString[theirs.Rcode], dns.RcodeToString[ours], why, m)
			return n
		}
		if got, want := recordsOf(next), transferred(t, server, origin); !slices.Equal(got, want) {
			t.Errorf("update %d: ours and theirs\n- %s\n+ %s\n%v", n, strings.Join(without(got, want), "\n- "), strings.Join(without(want, got), "\n+ "), m)
			return n
		}
		z = next
	}
	return updates
}

// lacksServers reports whether a name server of the zone that lies in it has no
// address there.
func lacksServers(z *zone.Zone) bool {
	set, _ := z.RRset(z.Apex(), rdata.TypeNS)
	at := set.Start(0)
	for range set.Count {
		data, _, next := set.Record(at)
		at = next
		name, _ := rdata.NameAt(data, 0)
		if !name.IsSubdomainOf(z.Origin()) {
			continue
		}
		found := z.Lookup(name)
		if found.Exact == 0 || found.DNAME != 0 {
			return true
		}
		_, hasA := z.RRset(found.Exact, rdata.TypeA)
		_, hasAAAA := z.RRset(found.Exact, rdata.TypeAAAA)
		if !hasA && !hasAAAA {
			return true
		}
	}
	return false
}

// applied returns the version that a change makes of z, its serial moved on as
// RFC 2136 §3.6 wants.
func applied(t *testing.T, z *zone.Zone, c Change) *zone.Zone {
	t.Helper()
	if c.IsEmpty() {
		return z
	}
	e := z.Edit()
	isSOA := func(r rdata.Record) bool { return r.Type == rdata.TypeSOA }
	if !slices.ContainsFunc(c.Added, isSOA) {
		for r := range z.Records() {
			if isSOA(r) {
				c.Deleted = append(c.Deleted, r)
				r.Data = slices.Clone(r.Data)
				s := NextSerial(Increment, z.Serial(), time.Time{})
				copy(r.Data[len(r.Data)-20:], []byte{byte(s >> 24), byte(s >> 16), byte(s >> 8), byte(s)})
				c.Added = append(c.Added, r)
			}
		}
	}
	for _, r := range c.Deleted {
		if !e.Delete(r) {
			t.Fatalf("deletes %v, which is not there", r)
		}
	}
	for _, r := range c.Added {
		e.Add(r)
	}
	next, problems := e.Finish()
	if next == nil {
		t.Fatal(problems)
	}
	return next
}

// recordsOf returns the records of a zone as text that can be compared.
func recordsOf(z *zone.Zone) []string {
	var all []string
	for r := range z.Records() {
		all = append(all, plain(r.String()))
	}
	slices.Sort(all)
	return all
}

func plain(text string) string {
	return strings.Replace(strings.ToLower(strings.Join(strings.Fields(text), " ")), " class1 ", " in ", 1)
}

// transferred returns the records that a server has.
func transferred(t *testing.T, server netip.AddrPort, origin string) []string {
	t.Helper()
	envelopes, err := new(dns.Transfer).In(new(dns.Msg).SetAxfr(origin), server.String())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for e := range envelopes {
		if e.Error != nil {
			t.Fatal(e.Error)
		}
		for _, rr := range e.RR {
			all = append(all, plain(rr.String()))
		}
	}
	slices.Sort(all)
	return slices.Compact(all) // the SOA record begins and ends a transfer
}

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// generator makes random updates of a small world, so that they meet each other.
type generator struct {
	rng        *rand.Rand
	origin     string
	everything bool
}

func pick[T any](g generator, list ...T) T { return list[g.rng.IntN(len(list))] }

func (g generator) name() string {
	prefix := pick(g, "", "", "a.", "b.", "c.a.", "d.", "sub.", "ns.sub.", "w.", "*.w.", "x.y.", "n.")
	if g.rng.IntN(40) == 0 {
		return pick(g, "other.test.", "test.", ".", "a"+g.origin)
	}
	return prefix + g.origin
}

// data returns a type and RDATA.
func (g generator) data(serial rdata.Serial) string {
	texts := []string{
		"A 192.0.2.1", "A 192.0.2.10", "A 192.0.2.11", "AAAA 2001:db8::1", "TXT \"one\"", "TXT \"two\"", "CNAME a." + g.origin, "CNAME B." + g.origin,
		"MX 10 a." + g.origin, "MX 20 A." + g.origin, "NS ns1." + g.origin, "NS ns2.other.test.", "NS ns.sub." + g.origin, "SRV 1 2 3 a." + g.origin, "TYPE65300 \\# 2 0102",
	}
	if g.everything {
		texts = append(texts, "DNAME a."+g.origin, "DNAME other.test.")
		for _, s := range []rdata.Serial{serial - 1, serial, serial + 1, serial + 5, serial + 1<<31 + 1} {
			texts = append(texts, fmt.Sprintf("SOA ns1.%s admin.%s %d 3600 600 86400 60", g.origin, g.origin, s))
		}
	}
	return pick(g, texts...)
}

func (g generator) record(class uint16, ttl int, data string) dns.RR {
	name := g.name()
	if strings.HasPrefix(name, "*") && (strings.HasPrefix(data, "NS") || strings.HasPrefix(data, "DNAME")) {
		data = "A 192.0.2.1" // BIND takes neither at a wildcard; RFC 4592 §4.2 and §4.4 advise against them
	}
	rr, err := dns.NewRR(fmt.Sprintf("%s %d %s", name, ttl, data))
	if err != nil {
		panic(err)
	}
	rr.Header().Class = class
	return rr
}

// bare is a record without RDATA.
func (g generator) bare(class uint16) dns.RR {
	t := pick(g, dns.TypeANY, dns.TypeA, dns.TypeTXT, dns.TypeNS, dns.TypeCNAME, dns.TypeSOA, dns.TypeMX)
	if g.rng.IntN(60) == 0 {
		t = dns.TypeAXFR
	}
	ttl := uint32(0)
	if g.everything && g.rng.IntN(60) == 0 {
		ttl = 1
	}
	return &dns.ANY{Hdr: dns.RR_Header{Name: g.name(), Rrtype: t, Class: class, Ttl: ttl}}
}

func (g generator) update(serial rdata.Serial) *dns.Msg {
	m := new(dns.Msg).SetUpdate(g.origin)
	for g.rng.IntN(4) == 0 {
		switch g.rng.IntN(3) {
		case 0:
			m.Answer = append(m.Answer, g.bare(dns.ClassANY))
		case 1:
			m.Answer = append(m.Answer, g.bare(dns.ClassNONE))
		default:
			m.Answer = append(m.Answer, g.record(dns.ClassINET, 0, g.data(serial)))
		}
	}
	for range 1 + g.rng.IntN(4) {
		ttl := 300
		if g.everything {
			ttl = pick(g, 300, 300, 60)
		}
		switch g.rng.IntN(6) {
		case 0:
			m.Ns = append(m.Ns, g.bare(dns.ClassANY))
		case 1:
			m.Ns = append(m.Ns, g.record(dns.ClassNONE, 0, g.data(serial)))
		case 2:
			if g.rng.IntN(30) == 0 {
				m.Ns = append(m.Ns, g.record(dns.ClassCHAOS, 0, g.data(serial)))
			}
		default:
			m.Ns = append(m.Ns, g.record(dns.ClassINET, ttl, g.data(serial)))
		}
	}
	return m
}
