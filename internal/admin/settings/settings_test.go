package settings

import (
	"net/netip"
	"testing"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/authority/gate"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/outbound"
	"pharos/internal/serve/ratelimit"
)

func TestSerialOfGate(t *testing.T) {
	for _, test := range []struct {
		kind, serial string
		told         int // servers that are sent NOTIFY
		want         gate.Strength
	}{
		{"file", "", 0, gate.Off}, {"file", "auto", 0, gate.Off}, {"file", "auto", 1, gate.Warn},
		{"secondary", "auto", 0, gate.Off}, {"secondary", "refuse", 0, gate.Refuse},
		{"store", "auto", 0, gate.Refuse}, {"store", "off", 0, gate.Off}, {"store", "warn", 0, gate.Warn},
	} {
		zone := config.Zone{Kind: test.kind, ZoneRules: &config.ZoneRules{Notify: make([]config.Peer, test.told)}}
		zone.Gate.Serial = test.serial
		if got := Gate(&zone).Serial; got != test.want {
			t.Errorf("kind %s, gate.serial %q, %d servers told: got %v, want %v", test.kind, test.serial, test.told, got, test.want)
		}
	}
}

// A class of answers without a limit of its own has that of all.
func TestRateLimits(t *testing.T) {
	c := config.DNS{RateLimit: 50}
	c.RateLimits.NXDomain = 5
	got := RateLimits(c).PerSecond
	want := [ratelimit.Classes]int{ratelimit.Answer: 50, ratelimit.Empty: 50, ratelimit.NXDomain: 5, ratelimit.Failure: 50}
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What is remembered beside the cache is part of resolver.cacheSize.
func TestMemoryOfResolver(t *testing.T) {
	r := config.Resolver{CacheSize: 1 << 20}
	cache := Cache(r)
	if sum := cache.RecordOctets + cache.AnswerOctets + questions(r).Memory; sum != 1<<20 {
		t.Errorf("the parts are %d octets in all, want %d", sum, 1<<20)
	}
	if got := discard(r); got >= 0 {
		t.Errorf("limits.discard 0 is %v for the driver, which takes 0 for its standard", got)
	}
	if r.Limits.Discard = config.Duration(time.Second); discard(r) != time.Second {
		t.Errorf("got %v, want 1s", discard(r))
	}
}

// Each encrypted server finds its own peer, over all routes.
func TestAddRoutes(t *testing.T) {
	at := netip.MustParseAddrPort
	server := func(text, transport, name string) config.EncryptedServer {
		s := config.EncryptedServer{Address: at(text), Transport: transport}
		s.TLS.Name = name
		return s
	}
	var c outbound.Config
	AddRoutes(&c, []config.ResolverRoute{
		{Kind: "forward", Encrypted: []config.EncryptedServer{server("192.0.2.1:853", "dot", "a"), server("192.0.2.2:443", "doh", "b")}},
		{Kind: "stub", Validate: true, Servers: []netip.AddrPort{at("192.0.2.3:53")}},
		{Kind: "forward", Encrypted: []config.EncryptedServer{server("192.0.2.4:853", "doq", "c")}},
	})
	if len(c.Routes) != 3 || !c.Routes[0].Forward || c.Routes[1].Forward || len(c.Private) != 2 {
		t.Fatalf("got %d routes (forward %t, %t), %d of them not validated", len(c.Routes), c.Routes[0].Forward, c.Routes[1].Forward, len(c.Private))
	}
	last := c.Routes[2].Encrypted[0]
	if got := c.Peers[last.Peer].Name; got != "c" || last.Over != iterate.DoQ {
		t.Errorf("the last server is verified as %q over %v, want c over DoQ", got, last.Over)
	}
}
