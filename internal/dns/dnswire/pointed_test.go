package dnswire

import (
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// TestAddPointed: an owner may be the end of the question's name, or a name in
// RDATA before; a record that does not fit leaves no trace.
func TestAddPointed(t *testing.T) {
	_, b := reset(t, "www.Example.com.", MaxUDP512)
	ns := dnsname.MustParse("ns1.provider.net.")
	b.AddPointed(Authority, HeaderLen+4, rdata.TypeNS, rdata.ClassIN, 60, []byte(ns.Wire()))
	target := b.Len() - ns.Len()
	b.AddPointed(Additional, target, rdata.TypeA, rdata.ClassIN, 60, []byte{192, 0, 2, 1})
	before := b.Len()
	if b.AddPointed(Additional, target, rdata.TypeTXT, rdata.ClassIN, 60, make([]byte, MaxUDP512)) || b.Len() != before {
		t.Error("a record over the limit was added")
	}
	var m dns.Msg
	if err := m.Unpack(b.Finish()); err != nil {
		t.Fatal(err)
	}
	got := m.Ns[0].String() + "\n" + m.Extra[0].String()
	if want := "Example.com.\t60\tIN\tNS\tns1.provider.net.\nns1.provider.net.\t60\tIN\tA\t192.0.2.1"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if CanPointTo(HeaderLen-1) || !CanPointTo(HeaderLen) || !CanPointTo(0x3FFF) || CanPointTo(0x4000) {
		t.Error("pointers have 14 bits and lead behind the header")
	}
}

// TestAddBelow: the record is the one that Add writes, and is refused just where it
// would pass the limit.
func TestAddBelow(t *testing.T) {
	var q Query
	if q.Parse(query(t, "www.example.", dns.TypeA, false)) != Accept {
		t.Fatal("query")
	}
	record := rdata.Record{Name: dnsname.MustParse("abc.example."), Type: rdata.TypeNSEC3, Class: rdata.ClassIN, TTL: 7, Data: []byte{1, 0, 0, 0, 0, 1, 9}}
	suffix := dnsname.MustParse("example.").Len()
	const size = HeaderLen + 17 + 4 + 2 + 10 + 7 // header, question, "abc", pointer, fields, RDATA
	for limit, want := range map[int]bool{size - 1: false, size: true, 512: true} {
		var b Builder
		b.Reset(&q, make([]byte, 1000), limit)
		if got := b.AddBelow(Authority, record, suffix, HeaderLen+4); got != want {
			t.Errorf("limit %d: %v, want %v", limit, got, want)
			continue
		}
		m, err := ParseMessage(b.Finish())
		if err != nil {
			t.Fatal(err)
		}
		if got := len(m.Authority); got != 0 != want || want && m.Authority[0].String() != record.String() {
			t.Errorf("limit %d: %v", limit, m.Authority)
		}
	}
}
