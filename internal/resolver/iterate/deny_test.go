package iterate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// RFC 8198 §5.1: what has been proven of a zone answers questions that were never
// asked; with what was proven as proof.
func TestAggressive(t *testing.T) {
	for _, nsec3 := range []int{-1, 0, 5} {
		t.Run(fmt.Sprintf("NSEC3 %d", nsec3), func(t *testing.T) {
			w := newSignedWorld(t)
			w.example.nsec3, w.com.nsec3 = nsec3, nsec3
			w.begin(func(c *Config) { c.Aggressive = true })
			w.wantState(w.query("zz.example.com.", "A"), rrcache.Secure, "NXDOMAIN")
			w.wantState(w.query("www.example.com.", "MX"), rrcache.Secure, "NOERROR |")
			w.asked = nil
			a := w.query("www.example.com.", "TXT", "DO")
			w.wantState(a, rrcache.Secure, "NOERROR |")
			if nsec3 < 0 { // zzz is covered by what covered zz
				w.wantState(w.query("zzz.example.com.", "A"), rrcache.Secure, "NXDOMAIN")
			}
			if w.wantAsked(); !a.AD || !slices.ContainsFunc(a.Authority, func(r rdata.Record) bool { return r.Type == rdata.TypeNSEC || r.Type == rdata.TypeNSEC3 }) {
				t.Errorf("AD %v, authority %v: want the proof", a.AD, a.Authority)
			}
			// RFC 4035 §3.2.2: with CD the client judges for itself.
			w.query("www.example.com.", "HINFO", "CD")
			w.wantAsked("192.0.2.3 www.example.com. HINFO")
			// RFC 8198 §5.4: not longer than the proof.
			w.pass(time.Hour + time.Second)
			w.query("www.example.com.", "TXT")
			if len(w.asked) == 0 {
				t.Error("answered from a proof that is out of date")
			}
		})
	}
}

// A proof about a zone says nothing of what lies below its delegations, opted-out
// spans and aliases: with or without it every answer is the same.
func TestAggressiveOracle(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 8))
	labels := []string{"a", "www", "ent", "alias", "away", "d", "x", "zz", "*", "plain", "example", "ns", "wild", "to", "here", "deep"}
	types := []string{"A", "AAAA", "TXT", "NS", "DS", "CNAME", "SOA", "MX"}
	for _, nsec3 := range []int{-1, 0} {
		for _, optOut := range []bool{false, true} {
			worlds := [2]*signedWorld{wildWorld(t, nsec3), wildWorld(t, nsec3)}
			for i, w := range worlds {
				w.latency = 0
				w.com.optOut = optOut
				w.begin(func(c *Config) { c.Aggressive = i == 1 })
			}
			for range 400 {
				name := []string{"example.com.", "com.", "plain.com.", ".", "wild.example.com.", "to.example.com."}[random.IntN(6)]
				if name == "." {
					name = ""
				}
				for range random.IntN(3) {
					name = labels[random.IntN(len(labels))] + "." + name
				}
				if name == "" {
					name = "."
				}
				qtype := types[random.IntN(len(types))]
				plain, made := worlds[0].query(name, qtype), worlds[1].query(name, qtype)
				if plain.Rcode != made.Rcode || plain.State != made.State || render(Answer{Answer: plain.Answer}) != render(Answer{Answer: made.Answer}) {
					t.Errorf("NSEC3 %d, opt-out %v: %s %s: with proofs %s (%v), without %s (%v)", nsec3, optOut, name, qtype,
						render(made), made.State, render(plain), plain.State)
				}
			}
			if a, b := len(worlds[0].asked), len(worlds[1].asked); b >= a {
				t.Errorf("NSEC3 %d, opt-out %v: %d queries with proofs, %d without", nsec3, optOut, b, a)
			}
		}
	}
}

// The memory of proofs is bounded, and one zone has at most half of it.
func TestAggressiveBounds(t *testing.T) {
	w := newSignedWorld(t)
	w.begin(func(c *Config) { c.Aggressive, c.Limits.Memory = true, 1<<20 })
	for i := range 500 {
		zone := rr(fmt.Sprintf("z%d.example.com. 900 SOA", i))
		w.r.now = w.now
		res := result{hasSOA: true, soa: zone}
		for j := range 3 {
			name := rr(fmt.Sprintf("n%d.z%d.example.com. 300 A 192.0.2.1", j, i)).Name
			w.r.learnDenial(zone.Name, &res, []rrcache.Signed{{RRset: rdata.RRset{Name: name, Type: rdata.TypeNSEC, Data: [][]byte{zone.Name.AppendWire(nil)}}}}, 300)
		}
	}
	w.r.check()
	if n := w.r.denials.zones.len(); n < 100 || n == 500 || w.r.denials.zones.get(rr("z499.example.com. 900 SOA").Name) == nil {
		t.Errorf("%d zones of 500, want the newest hundred or more", n)
	}
	z, most, whole := &provenZone{}, 64<<10, 0
	for i := range 5000 {
		z.put(&z.plain, proven{Signed: rrcache.Signed{RRset: rdata.RRset{Name: rr(fmt.Sprintf("n%d. 300 A 192.0.2.1", i)).Name}}}, most)
		whole = max(whole, z.octets)
		sum := 0
		for _, p := range z.plain {
			sum += p.octets()
		}
		if sum+recordsOctets([]rdata.Record{z.soa}) < z.octets-100 || z.octets > most {
			t.Fatalf("%d octets counted, there are %d; want at most %d", z.octets, sum, most)
		}
	}
	if whole < most*9/10 {
		t.Errorf("at most %d octets were used of %d", whole, most)
	}
}
