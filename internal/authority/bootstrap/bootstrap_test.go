package bootstrap

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pharos/internal/authority/journal"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/lab/zonetest"
)

const head = "@ SOA ns1 hostmaster 1 3600 900 604800 300\n"

func names(list ...string) (all []dnsname.Name) {
	for _, n := range list {
		all = append(all, dnsname.MustParse(n))
	}
	return all
}

// TestSignals: RFC 9615 §4.1: a zone says for a child what the child's CDS and CDNSKEY
// records say, below each name server that it has; and no longer when it is not asked
// to any more.
func TestSignals(t *testing.T) {
	var s Signals
	child := &Child{
		Zone: zonetest.Zone(t, "child.test.", head+"@ NS ns1.provider.\n@ NS ns2.provider.\n@ NS ns.other.\n@ NS ns.child.test.\nns A 192.0.2.1\n"),
		TTL:  60, Keys: []Key{{CDS: []byte{0, 1, 15, 2, 7}, CDNSKEY: []byte{1, 1, 3, 15, 7}}},
	}
	zoneOf := func(host dnsname.Name) dnsname.Name { // other. is not signed here
		for _, at := range names("provider.", "child.test.") {
			if host.IsSubdomainOf(at) {
				return at
			}
		}
		return dnsname.Name{}
	}
	name := dnsname.MustParse("child.test.")
	if got := fmt.Sprint(s.Update(name, child, zoneOf)); got != "[provider.]" {
		t.Errorf("changed: %s", got)
	}
	if got := s.Update(name, child, zoneOf); got != nil {
		t.Errorf("changed by the same: %v", got)
	}
	provider := zonetest.Zone(t, "provider.", head+"@ NS ns1\nns1 A 192.0.2.1\nns2 A 192.0.2.2\n")
	staged := s.Stage(provider.Origin(), journal.Version{Zone: provider})
	var got []string
	for r := range staged.Zone.Records() {
		if r.Type == rdata.TypeCDS || r.Type == rdata.TypeCDNSKEY {
			got = append(got, fmt.Sprintf("%s %d %s", r.Name, r.TTL, r.Type))
		}
	}
	slices.Sort(got)
	const want = "_dsboot.child.test._signal.ns1.provider. 60 CDNSKEY; _dsboot.child.test._signal.ns1.provider. 60 CDS; " +
		"_dsboot.child.test._signal.ns2.provider. 60 CDNSKEY; _dsboot.child.test._signal.ns2.provider. 60 CDS"
	if text := strings.Join(got, "; "); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if again := s.Stage(provider.Origin(), journal.Version{Zone: provider}); again.Zone != staged.Zone {
		t.Error("the same version was made twice")
	}
	if got := fmt.Sprint(s.Update(name, nil, zoneOf)); got != "[provider.]" {
		t.Errorf("changed at the end: %s", got)
	}
	if after := s.Stage(provider.Origin(), journal.Version{Zone: provider}); after.Zone != provider {
		t.Error("there are signals for nobody")
	}
	if got := s.Update(name, nil, zoneOf); got != nil {
		t.Errorf("changed after the end: %v", got)
	}
}

// TestLongNames: a name of more than 255 octets is not made.
func TestLongNames(t *testing.T) {
	long := strings.Repeat(strings.Repeat("x", 60)+".", 2)
	if got := SignalName(dnsname.MustParse(long), dnsname.MustParse(long)); !got.IsZero() {
		t.Errorf("got %s", got)
	}
	if got := SignalName(dnsname.MustParse("a."), dnsname.MustParse("b.")); got.String() != "_dsboot.a._signal.b." {
		t.Errorf("got %s", got)
	}
}
