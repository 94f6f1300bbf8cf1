package scenario_test

import (
	"compress/gzip"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
	"pharos/lab/simnet"
)

// rootTime is when the signed root zone of 2020 is verified.
var rootTime = time.Date(2020, 10, 20, 12, 0, 0, 0, time.UTC)

// readRoot reads the signed root zone of 19 October 2020.
func readRoot(t *testing.T) (*zone.Zone, []rdata.Record) {
	t.Helper()
	f, err := os.Open(filepath.Join(sharedFolder(t, repositoryRoot(t)), "data/root-2020-10-19-signed.zone.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b := zone.NewBuilder(dnsname.Root)
	var records []rdata.Record
	for record, err := range zonefile.Read(text, zonefile.Options{Origin: dnsname.Root, File: "root", TTL: 86400}) {
		if err != nil {
			t.Fatal(err)
		}
		b.Add(record)
		records = append(records, record)
	}
	z, problems := b.Finish()
	if z == nil {
		t.Fatal(problems)
	}
	return z, records
}

// TestRootZoneVerifies: every signature of the root zone of 2020, by keys that the
// anchor of IANA leads to.
func TestRootZoneVerifies(t *testing.T) {
	_, records := readRoot(t)
	type key struct {
		name dnsname.Name
		t    rdata.Type
	}
	sets, sigs := map[key]*rdata.RRset{}, map[key][][]byte{}
	for _, r := range records {
		if r.Type == rdata.TypeRRSIG {
			sig, ok := dnssec.ParseSignature(r.Data)
			if !ok {
				t.Fatalf("cannot read the signature %v", r)
			}
			sigs[key{r.Name, sig.Covered}] = append(sigs[key{r.Name, sig.Covered}], r.Data)
			continue
		}
		k := key{r.Name, r.Type}
		if sets[k] == nil {
			sets[k] = &rdata.RRset{Name: r.Name, Type: r.Type, Class: r.Class, TTL: r.TTL}
		}
		sets[k].Data = append(sets[k].Data, r.Data)
	}
	v := dnssec.Verifier{Now: rootTime, Budget: &dnssec.Budget{Signatures: 1 << 20}}
	var anchors [][]byte
	for _, r := range iterate.RootAnchors() {
		anchors = append(anchors, r.Data)
	}
	usable, _ := v.Policy.Usable(anchors)
	apex := key{dnsname.Root, rdata.TypeDNSKEY}
	keys, verdict := v.Match(*sets[apex], sigs[apex], usable)
	if verdict.Fault != nil {
		t.Fatalf("the keys: %s", verdict.Fault.Text)
	}
	verified, ds := 0, 0
	for k, list := range sigs {
		if verdict := v.Verify(*sets[k], list, keys, dnsname.Root); verdict.Fault != nil {
			t.Errorf("%v %v: %s", k.name, k.t, verdict.Fault.Text)
			continue
		}
		verified++
		if k.t == rdata.TypeDS {
			ds++
		}
	}
	if ds != 1372 || verified != len(sigs) || verified < 2000 {
		t.Errorf("%d RRsets verified of %d, among them %d of DS, want 1372", verified, len(sigs), ds)
	}
	t.Logf("%d RRsets verified", verified)
}

// TestRootZoneValidates: the resolver, asking a server of that zone, finds every DS
// RRset secure from the built-in anchor, what is unsigned insecure, and what does not
// exist securely absent; with the zone's signatures run out, nothing.
func TestRootZoneValidates(t *testing.T) {
	z, records := readRoot(t)
	network, resolver := rootInternet(t, z, rootTime)
	ask := func(name string, ty rdata.Type) (a iterate.Answer) {
		resolver.Ask(iterate.Ask{Name: dnsname.MustParse(name), Type: ty, DO: true}, func(got iterate.Answer) { a = got })
		if !network.Run(100000) {
			t.Fatal("no end in sight")
		}
		return a
	}
	secure, seen := 0, map[dnsname.Name]bool{}
	for _, r := range records {
		if r.Type == rdata.TypeDS && !seen[r.Name] {
			seen[r.Name] = true
			if a := ask(r.Name.String(), rdata.TypeDS); a.State == rrcache.Secure && a.AD && a.Rcode == dnswire.RcodeNoError {
				secure++
			} else {
				t.Errorf("%v DS: %v, %v, %v", r.Name, a.State, a.Rcode, a.Errors)
			}
		}
	}
	if secure != 1372 {
		t.Errorf("only %d DS RRsets are secure", secure)
	}
	for _, absent := range []string{"no-such-tld.", "a.b.no-such-tld.", "zzzz.", "0."} {
		if a := ask(absent, rdata.TypeA); a.State != rrcache.Secure || a.Rcode != dnswire.RcodeNXDomain || !a.AD {
			t.Errorf("%s: %v, %v, %v", absent, a.State, a.Rcode, a.Errors)
		}
	}
	for _, r := range records {
		if r.Type == rdata.TypeNS && !seen[r.Name] && !r.Name.IsRoot() {
			seen[r.Name] = true
			if a := ask(r.Name.String(), rdata.TypeDS); a.State != rrcache.Secure || a.Rcode != dnswire.RcodeNoError || len(a.Answer) > 0 {
				t.Errorf("%v has no DS: %v, %v, %v", r.Name, a.State, a.Rcode, a.Errors)
			}
		}
	}
	network, resolver = rootInternet(t, z, rootTime.AddDate(0, 2, 0))
	if a := ask("com.", rdata.TypeDS); a.Rcode != dnswire.RcodeServFail || len(a.Errors) != 1 || a.Errors[0].Code != dnswire.EDESignatureExpired {
		t.Errorf("two months later: %v, %v, %v", a.State, a.Rcode, a.Errors)
	}
}

// rootInternet has nothing but the root's servers, and a resolver.
func rootInternet(t *testing.T, z *zone.Zone, begin time.Time) (*simnet.Network, *simnet.Host) {
	t.Helper()
	network := simnet.New(simnet.Config{Start: begin, Seed: 1})
	udp, tcp := simnet.Zones(zone.NewSet(z))
	for _, hint := range iterate.RootHints() {
		if addr, ok := netip.AddrFromSlice(hint.Data); ok && hint.Type == rdata.TypeA {
			network.Serve(netip.AddrPortFrom(addr, 53), udp, tcp)
		}
	}
	core := iterate.New(iterate.Config{NoIPv6: true, Rand: rand.New(rand.NewPCG(1, 2)), Cache: rrcache.New(begin, rrcache.Limits{}), Validate: true})
	return network, simnet.NewHost(network, netip.MustParseAddr("198.51.100.53"), netip.Addr{}, core)
}
