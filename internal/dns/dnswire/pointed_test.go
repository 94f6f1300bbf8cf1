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
