package dnssec

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

func TestHashAgainstOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 500 {
		salt := make([]byte, r.IntN(9))
		for i := range salt {
			salt[i] = byte(r.Uint32())
		}
		iterations := r.IntN(60)
		name := fmt.Sprintf("a%d.Example.com.", r.IntN(1000))
		want := dns.HashName(name, dns.SHA1, uint16(iterations), hex.EncodeToString(salt))
		if got := base32hex.EncodeToString(HashName(dnsname.MustParse(name), salt, iterations)); !strings.EqualFold(got, want) {
			t.Fatalf("%s: %s, want %s", name, got, want)
		}
	}
}

// world is a small zone, its tree written out, from which proofs are made and
// judged by the definitions of RFC 1034 and 4592, not by those of the records.
type world struct {
	zone  dnsname.Name
	types map[dnsname.Name][]uint16 // owners with records
}

func (w world) exists(n dnsname.Name) bool {
	for owner := range w.types {
		if owner.IsSubdomainOf(n) {
			return true
		}
	}
	return false
}

// below reports whether n lies below a delegation or a DNAME, where the zone does
// not speak.
func (w world) below(n dnsname.Name) bool {
	for a := n.Parent(); a.IsSubdomainOf(w.zone) && a != w.zone; a = a.Parent() {
		if slices.Contains(w.types[a], dns.TypeNS) || slices.Contains(w.types[a], dns.TypeDNAME) {
			return true
		}
	}
	return false
}

// source is the name that answers for n: itself, or a wildcard; zero if none.
func (w world) source(n dnsname.Name) dnsname.Name {
	if w.exists(n) {
		return n
	}
	encloser := n.Parent()
	for !w.exists(encloser) {
		encloser = encloser.Parent()
	}
	if wild, err := encloser.Child("*"); err == nil && w.exists(wild) {
		return wild
	}
	return dnsname.Name{}
}

func (w world) nxdomain(n dnsname.Name) bool { return !w.below(n) && w.source(n).IsZero() }

func (w world) nodata(n dnsname.Name, t rdata.Type) bool {
	s := w.source(n)
	if w.below(n) || s.IsZero() || slices.Contains(w.types[s], uint16(t)) || slices.Contains(w.types[s], dns.TypeCNAME) {
		return false
	}
	cut := slices.Contains(w.types[s], dns.TypeNS) && s != w.zone
	if t == rdata.TypeDS {
		return s != w.zone
	}
	return !cut
}

// random makes a zone example. with names of one letter.
func randomWorld(r *rand.Rand) world {
	w := world{zone: dnsname.MustParse("example."), types: map[dnsname.Name][]uint16{}}
	w.types[w.zone] = []uint16{dns.TypeNS, dns.TypeSOA}
	for range 2 + r.IntN(6) {
		n := w.zone
		for range 1 + r.IntN(3) {
			n, _ = n.Child(string("ac*eg"[r.IntN(5)]))
		}
		t := [][]uint16{{dns.TypeA}, {dns.TypeA}, {dns.TypeMX}, {dns.TypeCNAME}, {dns.TypeNS}, {dns.TypeNS, dns.TypeDS}, {dns.TypeDNAME}}[r.IntN(7)]
		if n.IsWildcard() && t[0] != dns.TypeA && t[0] != dns.TypeMX {
			t = []uint16{dns.TypeA}
		}
		w.types[n] = t
	}
	for n := range w.types { // what lies below a cut is not in the zone
		if w.below(n) {
			delete(w.types, n)
		}
	}
	return w
}

// denial is every NSEC or NSEC3 record that the zone has.
func (w world) denial(t *testing.T, hashed bool) *Denial {
	var owners []dnsname.Name
	for n := range w.types {
		for a := n; hashed && a != w.zone; a = a.Parent() { // RFC 5155 §7.1: empty non-terminals too
			if !slices.Contains(owners, a) {
				owners = append(owners, a)
			}
		}
		if !slices.Contains(owners, n) {
			owners = append(owners, n)
		}
	}
	sets := []dns.RR{}
	if !hashed {
		slices.SortFunc(owners, dnsname.Name.Compare)
		for i, n := range owners {
			rr := &dns.NSEC{Hdr: dns.RR_Header{Name: n.String(), Rrtype: dns.TypeNSEC, Class: 1}, NextDomain: owners[(i+1)%len(owners)].String()}
			rr.TypeBitMap = append(slices.Clone(w.types[n]), dns.TypeRRSIG, dns.TypeNSEC)
			slices.Sort(rr.TypeBitMap)
			sets = append(sets, rr)
		}
	} else {
		names := map[string]dnsname.Name{}
		var hashes []string
		for _, n := range owners {
			h := dns.HashName(n.String(), dns.SHA1, 2, "ab")
			names[h], hashes = n, append(hashes, h)
		}
		slices.Sort(hashes)
		for i, h := range hashes {
			rr := &dns.NSEC3{Hdr: dns.RR_Header{Name: strings.ToLower(h) + "." + w.zone.String(), Rrtype: dns.TypeNSEC3, Class: 1},
				Hash: 1, Iterations: 2, SaltLength: 1, Salt: "ab", HashLength: 20, NextDomain: hashes[(i+1)%len(hashes)]}
			rr.TypeBitMap = slices.Sorted(slices.Values(w.types[names[h]]))
			sets = append(sets, rr)
		}
	}
	var out []rdata.RRset
	for _, rr := range sets {
		out = append(out, rrset(t, rr))
	}
	return NewDenial(w.zone, out, plenty())
}

// TestDenialAgainstTree: with all records of a zone at hand, a name is proven absent
// exactly when it is, and a type exactly when it is.
func TestDenialAgainstTree(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		w := randomWorld(r)
		for _, hashed := range []bool{false, true} {
			d := w.denial(t, hashed)
			for range 30 {
				n := w.zone
				for range r.IntN(5) {
					n, _ = n.Child(string("abcdefgh*"[r.IntN(9)]))
				}
				if got, want := d.NXDomain(n) == Proven, w.nxdomain(n); got != want {
					t.Fatalf("hashed %v, %v: NXDOMAIN proven %v, want %v, in %v", hashed, n, got, want, w.types)
				}
				for _, qtype := range []rdata.Type{rdata.TypeA, rdata.TypeDS, rdata.TypeMX} {
					if got, want := d.NoData(n, qtype) == Proven, w.nodata(n, qtype); got != want {
						t.Fatalf("hashed %v, %v %v: NODATA proven %v, want %v, in %v", hashed, n, qtype, got, want, w.types)
					}
				}
				if n == w.zone || w.below(n) {
					continue
				}
				types := w.types[n]
				want := NoCut
				switch {
				case slices.Contains(types, dns.TypeDS):
					want = Unproven
				case slices.Contains(types, dns.TypeNS):
					want = Delegation
				case w.source(n) != n && !w.source(n).IsZero() && slices.Contains(w.types[w.source(n)], dns.TypeCNAME):
					continue
				}
				if got := d.NoDS(n); got != want {
					t.Fatalf("hashed %v, %v: NoDS %v, want %v, in %v", hashed, n, got, want, w.types)
				}
			}
		}
	}
}

// TestWildcardAgainstTree: a wildcard may stand for a name exactly when it does.
func TestWildcardAgainstTree(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for range 200 {
		w := randomWorld(r)
		for _, hashed := range []bool{false, true} {
			d := w.denial(t, hashed)
			for range 30 {
				n := w.zone
				for range 1 + r.IntN(4) {
					n, _ = n.Child(string("abcdefgh"[r.IntN(8)]))
				}
				for e := n.Parent(); e.IsSubdomainOf(w.zone); e = e.Parent() {
					wild, _ := e.Child("*")
					if !w.exists(wild) || w.below(n) {
						continue
					}
					if got, want := d.Wildcard(n, e) == Proven, w.source(n) == wild; got != want {
						t.Fatalf("hashed %v: %v from %v: proven %v, want %v, in %v", hashed, n, wild, got, want, w.types)
					}
				}
			}
		}
	}
}

// TestNSEC3Work (CVE-2023-50868): a deep name costs no more hashes than the budget,
// and records with many iterations cost none.
func TestNSEC3Work(t *testing.T) {
	deep := dnsname.MustParse(strings.Repeat("a.", 100) + "example.")
	w := world{zone: dnsname.MustParse("example."), types: map[dnsname.Name][]uint16{dnsname.MustParse("example."): {dns.TypeSOA}}}
	d := w.denial(t, true)
	d.budget = &Budget{Hashes: 64}
	if d.NXDomain(deep) == Proven || !d.budget.Exceeded || d.budget.Hashes != 0 {
		t.Errorf("100 labels: %+v", d.budget)
	}
	rr := parse(t, "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example. 300 NSEC3 1 0 51 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr A")
	budget := &Budget{Hashes: 64}
	d = NewDenial(w.zone, []rdata.RRset{rrset(t, rr...)}, budget)
	if got := d.NXDomain(deep); got != Excessive || budget.Hashes != 64 {
		t.Errorf("RFC 9276 §3.2: 51 iterations: %v, %+v", got, budget)
	}
}

// TestOptOut: RFC 5155 §6 and §9.2: what an opt-out record covers is insecure.
func TestOptOut(t *testing.T) {
	zone := dnsname.MustParse("example.")
	apex := dns.HashName("example.", dns.SHA1, 0, "")
	rr := parse(t, strings.ToLower(apex)+".example. 300 NSEC3 1 1 0 - "+apex+" NS SOA")
	d := NewDenial(zone, []rdata.RRset{rrset(t, rr...)}, plenty())
	name := dnsname.MustParse("sub.example.")
	if got := d.NoDS(name); got != OptedOut {
		t.Errorf("NoDS: %v", got)
	}
	if got := d.NXDomain(name); got != OptedOut {
		t.Errorf("NXDomain: %v", got)
	}
	if got := d.Wildcard(name, zone); got != OptedOut {
		t.Errorf("Wildcard: %v", got)
	}
	if got := d.NoData(name, rdata.TypeDS); got != OptedOut {
		t.Errorf("NoData: %v", got)
	}
}

// TestNextOutOfZone (CVE-2026-46582): an NSEC record whose next name is not in the
// zone denies nothing.
func TestNextOutOfZone(t *testing.T) {
	rr := parse(t, "a.example. 300 NSEC z.other. A")
	d := NewDenial(dnsname.MustParse("example."), []rdata.RRset{rrset(t, rr...)}, plenty())
	if !d.Empty() || d.NXDomain(dnsname.MustParse("b.example.")) != Unproven {
		t.Error("it denies b.example.")
	}
}
