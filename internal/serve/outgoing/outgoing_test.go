package outgoing

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/authority/journal"
	"pharos/internal/dns/dnswire"
	"pharos/internal/serve/dnsserver"
	"pharos/lab/zonetest"
)

// primary sends the zone big.test., serial 3, whose journal begins with serial 2.
type primary struct {
	*Transfers
	at string
}

func start(t *testing.T, limits Limits) *primary {
	t.Helper()
	text := func(serial int) string {
		var b strings.Builder
		fmt.Fprintf(&b, "@ SOA ns1 admin %d 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.1\nonly%d A 192.0.2.2\n", serial, serial)
		for i := range 3000 {
			fmt.Fprintf(&b, "host%d TXT %q\n", i, strings.Repeat("x", 100))
		}
		return b.String()
	}
	old, now := zonetest.Zone(t, "big.test.", text(2)), zonetest.Zone(t, "big.test.", text(3))
	d, ok := journal.Between(old, now, 1<<20)
	if !ok {
		t.Fatal("no difference")
	}
	log := slog.New(slog.DiscardHandler)
	p := &primary{Transfers: New(log)}
	v := Version{Zone: now, Journal: (*journal.Journal)(nil).With(d, 1<<20), Options: func(q *dnswire.Query, out *dnswire.Builder) {
		if q.EDNS.Expire {
			out.AddExpire(7)
		}
	}}
	l, err := dnsserver.Listen(dnsserver.Config{
		Addresses: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, UDPWorkers: 1, Log: log,
		TCP:     dnsserver.Limits{Connections: 100, PerClient: 100, Queries: 100, Idle: 10 * time.Second, InFlight: 10},
		Handler: func(r *dnsserver.Request) dnsserver.Verdict { return p.Answer(r, v, limits) },
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { l.Serve(); close(done) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		l.Shutdown(ctx)
		<-done
		if c := p.Counts(); c.UnderWay != 0 || len(p.client) != 0 {
			t.Errorf("left over: %+v, %v", c, p.client)
		}
	})
	p.at = l.Addrs()[0].String()
	return p
}

// records returns how many records a transfer has, in how many messages.
func (p *primary) records(t *testing.T, m *dns.Msg) (records, messages int) {
	t.Helper()
	all, err := (&dns.Transfer{ReadTimeout: time.Minute}).In(m, p.at)
	if err != nil {
		t.Fatal(err)
	}
	for e := range all {
		if e.Error != nil {
			t.Error(e.Error)
		}
		records += len(e.RR)
		messages++
	}
	return records, messages
}

func ixfr(serial uint32) *dns.Msg { return new(dns.Msg).SetIxfr("big.test.", serial, "ns1.", "admin.") }

// TestForms: RFC 5936 §2.2, RFC 1995 §2 and §4: the whole zone, what has changed, or
// that nothing has; over UDP never the whole zone.
func TestForms(t *testing.T) {
	p := start(t, Limits{All: 4, PerClient: 4})
	for _, tt := range []struct {
		what string
		m    *dns.Msg
		want int
	}{
		{"AXFR", new(dns.Msg).SetAxfr("big.test."), 3005}, {"IXFR of what is not known", ixfr(1), 3005}, {"IXFR", ixfr(2), 6}, {"IXFR of what is newest", ixfr(3), 1},
	} {
		records, messages := p.records(t, tt.m)
		if records != tt.want || (messages > 1) != (tt.want > 100) {
			t.Errorf("%s: %d records in %d messages, want %d", tt.what, records, messages, tt.want)
		}
	}
	udp := func(m *dns.Msg) *dns.Msg {
		t.Helper()
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EXPIRE{Code: dns.EDNS0EXPIRE, Empty: true})
		r, _, err := (&dns.Client{Timeout: 10 * time.Second}).Exchange(m, p.at)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := udp(ixfr(2)); len(r.Answer) != 6 {
		t.Errorf("differences over UDP: %v", r)
	}
	if r := udp(ixfr(1)); len(r.Answer) != 1 {
		t.Errorf("the zone over UDP: %d records", len(r.Answer))
	}
	if r := udp(ixfr(3)); len(r.Answer) != 1 || !strings.Contains(r.String(), "EXPIRE: 7") {
		t.Errorf("the newest over UDP: %v", r)
	}
	if r := udp(new(dns.Msg).SetAxfr("big.test.")); r.Rcode != dns.RcodeRefused {
		t.Errorf("AXFR over UDP: %v", r)
	}
	none := ixfr(1)
	none.Ns = nil
	if r := udp(none); r.Rcode != dns.RcodeFormatError {
		t.Errorf("IXFR without SOA: %v", r)
	}
	if c := p.Counts(); c.Whole != 2 || c.Incremental != 2 || c.Current != 3 || c.Refused != 2 || c.Failed != 0 {
		t.Errorf("counted %+v", c)
	}
}

// TestLimits: what is over a limit is told to come again.
func TestLimits(t *testing.T) {
	limits := Limits{All: 2, PerClient: 1}
	p := start(t, limits)
	client, other := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")
	if !p.enter(client, limits) || p.enter(client, limits) {
		t.Error("a client has one place")
	}
	r, _, err := (&dns.Client{Net: "tcp", Timeout: 10 * time.Second}).Exchange(new(dns.Msg).SetAxfr("big.test."), p.at)
	if err != nil || r.Rcode != dns.RcodeServerFailure {
		t.Errorf("over the limit: %v, %v", r, err)
	}
	if !p.enter(other, limits) || p.enter(netip.MustParseAddr("192.0.2.2"), limits) {
		t.Error("there are two places for all")
	}
	p.leave(client)
	p.leave(other)
	if records, _ := p.records(t, new(dns.Msg).SetAxfr("big.test.")); records != 3005 {
		t.Errorf("%d records", records)
	}
}
