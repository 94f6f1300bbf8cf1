package metrics

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pharos/internal/admin/telemetry"
	"pharos/internal/proxy/httpproxy"
	"pharos/internal/proxy/served"
	"pharos/internal/resolver/outbound"
	"pharos/internal/resolver/rrcache"
	"pharos/internal/serve/dnsserver"
	"pharos/internal/serve/ratelimit"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/probe"
)

// TestSamples: a name has one kind, one help text and one set of labels, and no sample
// is given twice: Prometheus would refuse the whole scrape.
func TestSamples(t *testing.T) {
	now := time.Now()
	cache := rrcache.New(now, rrcache.Limits{RecordOctets: 1 << 20, AnswerOctets: 1 << 20})
	resolver := outbound.New(outbound.Config{Cache: cache})
	defer resolver.Close()
	server, err := dnsserver.Listen(dnsserver.Config{
		Addresses: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, UDPWorkers: 1, Log: slog.New(slog.DiscardHandler),
		Handler: func(*dnsserver.Request) dnsserver.Verdict { return dnsserver.Drop },
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { server.Serve(); close(done) }()
	defer func() {
		server.Shutdown(t.Context())
		<-done
	}()
	pools, err := pool.NewRegistry([]pool.Spec{{Name: "web", Members: []pool.MemberSpec{{Name: "a", Address: netip.MustParseAddrPort("192.0.2.1:80")}}}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	table, errs := served.New(nil, pools.Pools(), nil, nil)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	prober := probe.New(probe.Config{})
	defer prober.Close()

	described, seen := map[string]string{}, map[string]bool{}
	take := func(s telemetry.Sample) {
		var labels []string
		for i := 0; i+1 < len(s.Labels); i += 2 {
			labels = append(labels, s.Labels[i])
		}
		description := fmt.Sprint(s.Kind, s.Help, labels)
		if before, there := described[s.Name]; there && before != description {
			t.Errorf("%s is described as %s, and as %s", s.Name, before, description)
		}
		described[s.Name] = description
		id := s.Name + fmt.Sprintf("%q", s.Labels)
		if seen[id] || len(s.Labels)%2 != 0 || s.Help == "" || strings.ToLower(s.Name) != s.Name {
			t.Errorf("sample %+v, seen before: %v", s, seen[id])
		}
		seen[id] = true
	}
	DNS(server, take)
	RateLimit(ratelimit.New(ratelimit.Config{PerSecond: [ratelimit.Classes]int{1, 1, 1, 1}, Slip: 2, IPv4Prefix: 24, IPv6Prefix: 56}, now), take)
	Resolver(cache, resolver, take)
	Gateway(httpproxy.Counters{}, table, take)
	Health(prober.Counters(), pools.Pools(), take)
	for _, name := range []string{"dns_events_total", "dns_rate_limited_total", "resolver_sent_total", "cache_octets", "http_request_seconds", "member_state", "probes_total"} {
		if described[name] == "" {
			t.Errorf("there is no %s", name)
		}
	}
}
