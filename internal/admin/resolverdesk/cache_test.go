package resolverdesk

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
)

// office has a desk for a resolver outside of views, whose cache knows www.example. and
// that none.example. is not there, and one of the view inside, which knows nothing.
func office(t *testing.T) *Desk {
	t.Helper()
	now := time.Now()
	limits := rrcache.Limits{RecordOctets: 1 << 20, AnswerOctets: 1 << 20}
	full, empty := rrcache.New(now, limits), rrcache.New(now, limits)
	www := dnsname.MustParse("www.example.")
	full.Put(now, rdata.RRset{Name: www, Type: rdata.TypeA, TTL: 300, Data: [][]byte{{192, 0, 2, 1}}}, rrcache.TrustAnswer)
	full.PutFailure(now, dnsname.MustParse("lost.example."), rdata.TypeA, rrcache.Failure{})
	full.PutDelegation(now, dnsname.MustParse("sub.example."), []rrcache.Server{{Name: dnsname.MustParse("ns.sub.example."), Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.53")}}}, 300, time.Time{})
	servers := func() []iterate.KnownServer {
		return []iterate.KnownServer{{Addr: netip.MustParseAddrPort("192.0.2.53:53"), Dead: now.Add(-time.Minute), NoEDNS: now.Add(time.Hour),
			Lame: []iterate.KnownZone{{Zone: dnsname.MustParse("old."), Until: now.Add(-time.Minute)}, {Zone: dnsname.MustParse("lame."), Until: now.Add(time.Hour)}}}}
	}
	return New(Config{Log: slog.New(slog.DiscardHandler), Resolvers: func(each func(Resolver)) {
		each(Resolver{Cache: full, Servers: servers, Kept: func() any { return map[string]int{"entries": 3} }})
		each(Resolver{View: "inside", Cache: empty, Servers: func() []iterate.KnownServer { return nil }})
	}})
}

func dump(t *testing.T, d *Desk, q api.CacheQuery) string {
	t.Helper()
	var lines []string
	err := d.Dump(q, func(e api.CacheEntry) error {
		lines = append(lines, fmt.Sprintf("%s %s %s %d", e.Kind, e.Name, e.Type, len(e.Records)))
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}

// TestCache: what is known is shown, all or a part, and forgotten when asked for.
func TestCache(t *testing.T) {
	d := office(t)
	stats := d.Stats()
	if len(stats) != 2 || stats[0].Servers != 1 || string(stats[0].Kept) != `{"entries":3}` || stats[0].Records != 3 || stats[1].View != "inside" || stats[1].Records != 0 || stats[1].Kept != nil {
		t.Errorf("stats %+v", stats)
	}
	servers, err := d.Servers("")
	if err != nil || len(servers) != 1 || !servers[0].Dead.IsZero() || servers[0].NoEDNS.IsZero() || strings.Join(servers[0].Lame, " ") != "lame." {
		t.Errorf("servers %+v, %v", servers, err)
	}
	const all = "delegation sub.example. NS 2; failure lost.example. A 0; records www.example. A 1"
	if got := dump(t, d, api.CacheQuery{}); got != all {
		t.Errorf("all: %s", got)
	}
	if got := dump(t, d, api.CacheQuery{Name: "www.example", Type: "A"}); got != "records www.example. A 1" {
		t.Errorf("one: %s", got)
	}
	if got, err := d.Flush(api.CacheQuery{Name: "example", Tree: true}); err != nil || got.Flushed != 3 {
		t.Errorf("flushed %+v, %v", got, err)
	}
	if got := dump(t, d, api.CacheQuery{}); got != "" {
		t.Errorf("after that: %s", got)
	}
	stop := errors.New("the caller has gone")
	d = office(t)
	if err := d.Dump(api.CacheQuery{}, func(api.CacheEntry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a dump whose caller has gone: %v", err)
	}
}

// TestRefusals: what cannot be is refused with the reason.
func TestRefusals(t *testing.T) {
	d := office(t)
	_, noView := d.Servers("outside")
	_, noName := d.Flush(api.CacheQuery{Name: "a..b"})
	noType := d.Dump(api.CacheQuery{Type: "NONE"}, nil)
	for _, x := range []struct {
		err    error
		status int
		want   string
	}{{noView, 404, `no view "outside"`}, {noName, 400, "name \""}, {noType, 400, "no type of records"}} {
		var refused *api.Refused
		if !errors.As(x.err, &refused) || refused.Status != x.status || !strings.Contains(x.err.Error(), x.want) {
			t.Errorf("%v, want status %d and %q", x.err, x.status, x.want)
		}
	}
}
