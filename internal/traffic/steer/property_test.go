package steer

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// imagined is a chain, members and a client, made of octets that somebody else has chosen.
type imagined struct{ octets []byte }

func (i *imagined) pick(n int) int {
	if len(i.octets) == 0 || n <= 0 {
		return 0
	}
	v := int(i.octets[0]) % n
	i.octets = i.octets[1:]
	return v
}

var (
	somePlaces = []pool.Place{{}, {Continent: "EU", Country: "NL", Zone: "ams-1", Latitude: 52.4, Longitude: 4.9}, {Continent: "EU", Country: "GB", Latitude: 51.5},
		{Continent: "NA", Country: "US", Region: "NY", Latitude: 40.7, Longitude: -74}}
	someStates = []health.State{health.Unknown, health.Up, health.Down, health.Draining, health.Poor}
	someKinds  = []Kind{Addresses, HTTPS, SRV, MX, CNAME}
)

func (i *imagined) view(name string) *pool.View {
	spec := pool.Spec{Name: name, Policy: pool.Policy(i.pick(int(pool.First) + 1))}
	known := map[netip.AddrPort]health.Status{}
	for m := range i.pick(12) {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i.pick(6))}) // some share one
		if i.pick(3) == 0 {
			addr = netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i.pick(6))})
		}
		address := netip.AddrPortFrom(addr, uint16(1+m))
		host := ""
		if i.pick(3) > 0 {
			host = fmt.Sprintf("m%d.example.net.", i.pick(4))
		}
		s := pool.MemberSpec{Name: fmt.Sprint("m", m), Address: address, Weight: 1 + i.pick(200), Tier: i.pick(3), Capacity: i.pick(4) * 10, Host: host, Place: somePlaces[i.pick(len(somePlaces))]}
		switch i.pick(12) {
		case 0:
			s.Override = pool.Override{State: pool.Drain, Since: noon, Cause: "drained by the operator"}
		case 1:
			s.Override = pool.Override{State: pool.Disabled, Weight: 3, Since: noon}
		case 2:
			s.Drain, s.Override = true, pool.Override{State: pool.Ready}
		}
		spec.Members = append(spec.Members, s)
		known[address] = health.Status{State: someStates[i.pick(len(someStates))], Since: noon.Add(-time.Duration(i.pick(100)) * time.Second)}
	}
	return pool.Compile(spec, func(t health.Target) health.Status { return known[t.Address] }, nil)
}

func (i *imagined) input() (in Input, turn uint64) {
	s := Spec{Name: dnsname.MustParse("www.example.com"), Kind: someKinds[i.pick(len(someKinds))], TTL: 30, ShortTTL: 5, Limit: i.pick(6), WhenDown: Down(i.pick(3))}
	if i.pick(3) > 0 {
		s.Filters = nil
		for _, f := range []Filter{
			{Kind: Up}, {Kind: Tiers}, {Kind: Near, By: Measure(i.pick(5)), Within: i.pick(200)}, {Kind: Measured, Slack: time.Duration(i.pick(40)) * time.Millisecond},
			{Kind: Shed, By: ByConnections, From: 1 + i.pick(100)}, {Kind: []FilterKind{Sticky, Weighted}[i.pick(2)], Bits4: i.pick(33), Bits6: i.pick(129)}, {Kind: Limit, Count: 1 + i.pick(8)},
		} {
			if i.pick(3) > 0 {
				s.Filters = append(s.Filters, f)
			}
		}
	}
	if s.WhenDown == ServeFallback && i.pick(2) == 0 {
		s.Addresses = []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8::1")}
	}
	in = Input{Spec: &NewRule(s).Spec, View: i.view("web"), Changing: i.pick(2) == 0, Variant: uint8(i.pick(Shares))}
	if s.WhenDown == ServeFallback && s.Addresses == nil {
		in.Fallback = i.view("fallback")
	}
	types := slices.DeleteFunc(append([]rdata.Type{rdata.TypeA, rdata.TypeAAAA}, s.Kind.Types()...), func(t rdata.Type) bool { return t == rdata.TypeHTTPS })
	in.Type = types[i.pick(len(types))]
	switch i.pick(3) {
	case 0:
		in.Client.Addr = netip.AddrFrom4([4]byte{203, 0, 113, byte(i.pick(256))})
	case 1:
		in.Client.Addr = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i.pick(256))})
	}
	if p := somePlaces[i.pick(len(somePlaces))]; i.pick(2) == 0 {
		in.Client.Place = Locate(p, "test")
	}
	if i.pick(2) == 0 {
		for range in.View.Members {
			in.Shed = append(in.Shed, uint8(i.pick(Shares+1)))
			in.Trips = append(in.Trips, time.Duration(i.pick(100))*time.Millisecond)
		}
	}
	return in, uint64(i.pick(256)) * 7
}

// checkDecision holds what must be so of every decision.
func checkDecision(t *testing.T, in Input, turn uint64) {
	t.Helper()
	p := Decide(in, nil)
	answer := p.Pick(turn, in.Client.Addr, nil)
	if count, wire, ok := p.Run(turn); ok {
		var pieces []byte
		for _, i := range answer {
			pieces = append(pieces, p.Wire(int(i))...)
		}
		if count != len(answer) || string(wire) != string(pieces) {
			t.Fatalf("Run has %d records %x, Pick %d %x", count, wire, len(answer), pieces)
		}
	}

	// Explained, it is the same decision, and decided again it is so in every octet.
	var trace Trace
	told := Decide(in, &trace)
	if told.Sum() != p.Sum() || !slices.Equal(told.Members, p.Members) || told.TTL != p.TTL || told.AllDown != p.AllDown || told.Fallback != p.Fallback {
		t.Fatalf("explained: %v %v, decided: %v %v", told.Members, told.TTL, p.Members, p.TTL)
	}
	trace.Picked(told, turn, in.Client.Addr)
	if len(trace.Answers) != len(answer) {
		t.Fatalf("%d answers are told, %d given", len(trace.Answers), len(answer))
	}
	for n, i := range answer {
		if want := string(rdata.AppendText(nil, p.Type, p.RDATA(int(i)))); trace.Answers[n].Data != want {
			t.Fatalf("answer %d is told as %s, and is %s", n, trace.Answers[n].Data, want)
		}
	}
	if _, err := json.Marshal(&trace); err != nil {
		t.Fatal(err)
	}
	checkMembers(t, in, p, answer)

	before := p.Sum()
	WhatIf(in, turn)
	if Decide(in, nil).Sum() != before {
		t.Fatal("asking what would change it has changed it")
	}
}

// checkMembers holds whom an answer may name.
func checkMembers(t *testing.T, in Input, p *Prepared, answer []uint16) {
	t.Helper()
	if len(answer) > in.Spec.limit() || len(answer) > MaxLimit {
		t.Fatalf("%d records, of at most %d", len(answer), in.Spec.limit())
	}
	seen := map[string]bool{}
	for _, i := range answer {
		if text := string(p.RDATA(int(i))); seen[text] {
			t.Fatal("two equal records (RFC 2181 §5)")
		} else {
			seen[text] = true
		}
		if p.Members[i] < 0 {
			continue
		}
		m := &p.View.Members[p.Members[i]]
		if m.State == health.Draining {
			t.Fatalf("%s is drained, and answered", m.Name)
		}
		if m.State == health.Down && in.Spec.Filters[0].Kind == Up && !p.AllDown {
			t.Fatalf("%s is down and answered, and not all are", m.Name)
		}
	}
	if p.AllDown {
		for i := range p.View.Members {
			m := &p.View.Members[i]
			if fits := (in.Type != rdata.TypeA && in.Type != rdata.TypeAAAA) || m.Address.Addr().Is4() == (in.Type == rdata.TypeA); fits && m.State.IsServing() && (in.Type == rdata.TypeA || in.Type == rdata.TypeAAAA || m.Host != "") {
				t.Fatalf("all are said to be down, and %s is %s", m.Name, m.State)
			}
		}
	}
}

// TestEveryDecision holds what must be so of thousands of chains, pools and clients by chance.
func TestEveryDecision(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		octets := make([]byte, 20+rnd.IntN(250))
		for i := range octets {
			octets[i] = byte(rnd.Uint32())
		}
		in, turn := (&imagined{octets}).input()
		checkDecision(t, in, turn)
	}
}

// FuzzDecide: no chain, no pool and no client makes a decision panic, name a member that is
// down while others are not, or come out otherwise when it is explained.
func FuzzDecide(f *testing.F) {
	f.Add([]byte("0"))
	f.Add([]byte("www.example.com is answered from a pool of some members, by place and load"))
	f.Fuzz(func(t *testing.T, octets []byte) {
		in, turn := (&imagined{octets}).input()
		checkDecision(t, in, turn)
	})
}
