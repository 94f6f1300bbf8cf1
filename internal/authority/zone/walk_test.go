package zone

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// TestWalk: Nodes, Below and Preceding against the sorted list of names.
func TestWalk(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	origin := dnsname.MustParse("example.")
	for range 30 {
		records := signedApex(t, record(t, "example.", rdata.TypeNSEC, "example. SOA"))
		for range rnd.IntN(40) {
			if n := randomName(rnd, origin); n.IsSubdomainOf(origin) && n != origin {
				records = append(records, record(t, n.String(), rdata.TypeA, "192.0.2.1"))
				if rnd.IntN(2) == 0 {
					records = append(records, record(t, n.String(), rdata.TypeNSEC, "example. A"))
				}
			}
		}
		z, _ := mustBuild(t, records)
		checkWalk(t, z)
	}
}

func checkWalk(t *testing.T, z *Zone) {
	t.Helper()
	var names []dnsname.Name
	var chain []dnsname.Name
	for n := range z.Nodes() {
		names = append(names, z.Name(n))
		if _, ok := z.RRset(n, rdata.TypeNSEC); ok {
			chain = append(chain, z.Name(n))
		}
	}
	if !slices.IsSortedFunc(names, dnsname.Name.Compare) {
		t.Errorf("not in canonical order: %v", names)
	}
	for _, top := range names {
		var want, got []dnsname.Name
		for _, n := range names {
			if n.IsSubdomainOf(top) {
				want = append(want, n)
			}
		}
		for n := range z.Below(z.Lookup(top).Exact) {
			got = append(got, z.Name(n))
		}
		if !slices.Equal(got, want) {
			t.Errorf("below %v: %v, want %v", top, got, want)
		}
		before := chain[len(chain)-1]
		for _, n := range chain {
			if n.Compare(top) < 0 {
				before = n
			}
		}
		if got := z.Name(z.Preceding(top)); got != before {
			t.Errorf("preceding %v: %v, want %v", top, got, before)
		}
	}
}
