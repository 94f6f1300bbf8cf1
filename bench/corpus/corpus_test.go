package corpus

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/bench/dnsload"
)

var small = Zone{Origin: "bench.example.", Shape: Shape{Hosts: 700, Mail: 30, Texts: 20, Aliases: 40, Delegations: 60, Glue: 50}}

// read parses the zone's master file with another library.
func read(t *testing.T, z Zone) map[string][]dns.RR {
	t.Helper()
	var text bytes.Buffer
	n, err := z.WriteTo(&text)
	if err != nil || n != int64(text.Len()) {
		t.Fatalf("WriteTo = %d, %v; wrote %d", n, err, text.Len())
	}
	all := map[string][]dns.RR{}
	p := dns.NewZoneParser(&text, "", "")
	count := 0
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		all[rr.Header().Name] = append(all[rr.Header().Name], rr)
		count++
	}
	if p.Err() != nil {
		t.Fatal(p.Err())
	}
	if count != z.Records() {
		t.Errorf("the file has %d records, Records says %d", count, z.Records())
	}
	return all
}

// TestQuestionsFitZone answers every question naively from the master file.
func TestQuestionsFitZone(t *testing.T) {
	zone := read(t, small)
	kinds := map[string]int{}
	for _, q := range append(small.Questions(3000, 1, Usual), small.Every(1)...) {
		var m dns.Msg
		if err := m.Unpack(q.Msg); err != nil {
			t.Fatal(err)
		}
		if m.IsEdns0() == nil {
			t.Fatal("a question without EDNS")
		}
		name, rtype := m.Question[0].Name, m.Question[0].Qtype
		got := resolve(zone, name, rtype)
		switch {
		case q.Rcode == dns.RcodeNameError:
			kinds["missing"]++
			if zone[name] != nil {
				t.Errorf("%s is said to be missing", name)
			}
		case len(q.Answer) == 0:
			kinds["referral"]++
			cut := name[strings.IndexByte(name, '.')+1:]
			if ns := resolve(zone, cut, dns.TypeNS); !slices.Equal(ns, q.Authority) {
				t.Errorf("%s: referral %q, the zone has %q", name, q.Authority, ns)
			}
		default:
			kinds["address"]++
			if !slices.Equal(got, q.Answer) {
				t.Errorf("%s %d: want %q, the zone has %q", name, rtype, q.Answer, got)
			}
		}
	}
	for kind, least := range map[string]int{"missing": 200, "referral": 200, "address": 2200} {
		if kinds[kind] < least {
			t.Errorf("%d questions of kind %s, want %d or more", kinds[kind], kind, least)
		}
	}
}

// resolve returns the records of a type at a name as texts, through one CNAME.
func resolve(zone map[string][]dns.RR, name string, rtype uint16) []string {
	var texts []string
	for _, rr := range zone[name] {
		text := dns.TypeToString[rr.Header().Rrtype] + " " + strings.TrimPrefix(rr.String(), rr.Header().String())
		if alias, ok := rr.(*dns.CNAME); ok && rtype != dns.TypeCNAME {
			texts = append(texts, text)
			texts = append(texts, resolve(zone, alias.Target, rtype)...)
		} else if rr.Header().Rrtype == rtype {
			texts = append(texts, text)
		}
	}
	slices.Sort(texts)
	return texts
}

// TestSameSeedSameQuestions: runs on different days ask the same.
func TestSameSeedSameQuestions(t *testing.T) {
	same := func(a, b []dnsload.Query) bool {
		return slices.EqualFunc(a, b, func(x, y dnsload.Query) bool { return bytes.Equal(x.Msg, y.Msg) })
	}
	if !same(small.Questions(100, 7, Usual), small.Questions(100, 7, Usual)) {
		t.Error("the same seed gave other questions")
	}
	if same(small.Questions(100, 7, Usual), small.Questions(100, 8, Usual)) {
		t.Error("another seed gave the same questions")
	}
}

func TestAddressesAreValid(t *testing.T) {
	for _, i := range []int{0, 1, 255, 256, 65535, 65536, 500_000, 1<<24 - 1} {
		if _, err := netip.ParseAddr(a(i)); err != nil {
			t.Error(err)
		}
		addr, err := netip.ParseAddr(aaaa(i))
		if err != nil || addr.String() != aaaa(i) {
			t.Errorf("%s is written %s (%v)", aaaa(i), addr, err)
		}
	}
}

// TestRoot: the root zone delegates the zone, with glue.
func TestRoot(t *testing.T) {
	p := dns.NewZoneParser(strings.NewReader(small.Root("127.0.0.1")), ".", "")
	types := map[string]int{}
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		types[rr.Header().Name+" "+dns.TypeToString[rr.Header().Rrtype]]++
	}
	if p.Err() != nil {
		t.Fatal(p.Err())
	}
	for _, want := range []string{". SOA", ". NS", "ns.root-bench. A", "bench.example. NS", "ns1.bench.example. A"} {
		if types[want] != 1 {
			t.Errorf("the root zone has %d of %s, want 1", types[want], want)
		}
	}
}
