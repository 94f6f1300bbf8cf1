package simnet

import (
	"strings"
	"testing"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

func TestZonesServe(t *testing.T) {
	udp, tcp := Zones(zone.NewSet(readZone(t, "example.com.",
		apex("ns1.example.com.")+nsOf("@", "example.com.")+
			"ns1 A 192.0.2.1\nns2 A 192.0.2.2\nwww A 203.0.113.1\nbig TXT "+strings.Repeat(`"`+strings.Repeat("x", 250)+`" `, 8)+"\n")))
	ask := func(s Server, name string, ty rdata.Type, edns bool) *dnswire.Message {
		t.Helper()
		replies := s(New(Config{}).Now(), dnswire.AppendQuery(nil, dnswire.QuerySpec{ID: 7, Name: dnsname.MustParse(name), Type: ty, Class: rdata.ClassIN, EDNS: edns}), alice)
		if len(replies) != 1 {
			t.Fatalf("%s: %d replies", name, len(replies))
		}
		if edns && len(replies[0]) > dnswire.MaxUDP {
			t.Errorf("%s: %d octets over UDP", name, len(replies[0]))
		}
		m, err := dnswire.ParseMessage(replies[0])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return m
	}
	if m := ask(udp, "www.example.com.", rdata.TypeA, true); !m.AA || m.ID != 7 || len(m.Answer) != 1 {
		t.Errorf("www: %+v", m)
	}
	if m := ask(udp, "none.example.com.", rdata.TypeA, true); m.Rcode != dnswire.RcodeNXDomain || len(m.Authority) != 1 {
		t.Errorf("none: %+v", m)
	}
	if m := ask(udp, "www.example.net.", rdata.TypeA, true); m.Rcode != dnswire.RcodeRefused || m.AA {
		t.Errorf("another's zone: %+v", m)
	}
	if m := ask(udp, "big.example.com.", rdata.TypeTXT, true); !m.TC {
		t.Errorf("big over UDP is not truncated: %+v", m)
	}
	if m := ask(tcp, "big.example.com.", rdata.TypeTXT, false); m.TC || len(m.Answer) != 1 {
		t.Errorf("big over TCP: TC %v, %d records", m.TC, len(m.Answer))
	}
	for _, junk := range []string{"", "x", strings.Repeat("\x00", 11), "\x00\x07\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01"} {
		if replies := udp(New(Config{}).Now(), []byte(junk), alice); len(replies) != 0 {
			t.Errorf("%q is answered with %x", junk, replies)
		}
	}
}
