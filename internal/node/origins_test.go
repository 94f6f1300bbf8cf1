package node

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/outbound"
	"pharos/internal/traffic/health"
)

// TestQueriesAreEvidence: a forwarder that is a member of a pool, and checked as a DNS server,
// is down after three queries in a row that it has not answered, long before the next probe
// asks; and so the names that are answered from that pool leave it out.
func TestQueriesAreEvidence(t *testing.T) {
	var silent atomic.Bool
	var asked atomic.Int64
	forwarder := func(address string) string {
		c, err := net.ListenPacket("udp", address)
		if err != nil {
			t.Skipf("no second address on loopback: %v", err)
		}
		s := &dns.Server{PacketConn: c, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.RecursionAvailable = true
			if q.Question[0].Name != "check.shop.net." {
				if asked.Add(1); silent.Load() {
					return
				}
			}
			rr, _ := dns.NewRR(q.Question[0].Name + " 60 IN A 192.0.2.7")
			m.Answer = []dns.RR{rr}
			w.WriteMsg(m)
		})}
		go s.ActivateAndServe() // ended by Shutdown
		t.Cleanup(func() { s.Shutdown() })
		return c.LocalAddr().String()
	}
	one, two := forwarder("127.0.0.31:0"), forwarder("127.0.0.32:0")
	f := newFolder(t)
	f.write("example.com.zone", steeredZone)
	n, _ := start(t, f.config(fmt.Sprintf(`resolver: {allow: [127.0.0.0/8], validate: false, routes: [{zone: ., servers: ["%s"], validate: false}]}
zones: [{name: example.com, file: example.com.zone}]
pools:
- name: recursors
  check: {type: dns, interval: 1h, dns: {name: check.shop.net}}
  passive: {ejection: 5m}
  members: [{name: one, address: "%s"}, {name: two, address: "%s"}]
steer: [{name: www.example.com, pool: recursors}]
`, one, one, two)))
	state := func(name string) string {
		m, _ := n.memberOf("recursors", name)
		return m.State.String() + ": " + m.Cause
	}
	eventually(t, func() string {
		if one, two := state("one"), state("two"); !strings.HasPrefix(one, "up") || !strings.HasPrefix(two, "up") {
			return one + ", " + two
		}
		return ""
	})
	if m := ask(t, n.DNS()[0], "well.shop.net.", rdata.TypeA, true); !strings.HasSuffix(summary(m), "192.0.2.7") {
		t.Fatalf("forwarded: %s", summary(m))
	}
	if m, _ := n.memberOf("recursors", "one"); m.Load.Gauge.Total()[health.Answered] != 1 {
		t.Errorf("one answer counts as %v", m.Load.Gauge.Total())
	}
	silent.Store(true)
	ask(t, n.DNS()[0], "lost.shop.net.", rdata.TypeA, true)
	eventually(t, func() string {
		if got := state("one"); !strings.HasPrefix(got, "down: 3 failed") || !strings.Contains(got, "no answer to a query in ") {
			return fmt.Sprintf("after %d queries: %s", asked.Load(), got)
		}
		return ""
	})
	if m := ask(t, n.DNS()[0], "www.example.com.", rdata.TypeA, false); !strings.HasSuffix(summary(m), "127.0.0.32") || len(m.Answer) != 1 {
		t.Errorf("answered from the pool: %s", summary(m))
	}
	if got := state("two"); !strings.HasPrefix(got, "up") {
		t.Errorf("whom nobody asked: %s", got)
	}
}

// TestOutcomesOfQueries: what is the server's fault, and what is not.
func TestOutcomesOfQueries(t *testing.T) {
	reply := func(rcode dnswire.Rcode) outbound.Ended {
		return outbound.Ended{Reply: []byte{0, 1, 0x80, byte(rcode), 0, 1, 0, 0, 0, 0, 0, 0}, Took: time.Millisecond}
	}
	for want, e := range map[string]outbound.Ended{
		"answered true": reply(dnswire.RcodeNoError), "answered true ": reply(dnswire.RcodeNXDomain),
		"doubtful true": reply(dnswire.RcodeServFail), "doubtful true ": reply(dnswire.RcodeRefused),
		"broken true": {Reply: []byte{0, 1}}, "late true": {Took: time.Second}, "unreached true": {Err: syscall.ECONNREFUSED},
		"answered false": {Err: fmt.Errorf("%w: %w", iterate.ErrLocal, syscall.EMFILE)}, "answered false ": {Err: fmt.Errorf("%w: %w", iterate.ErrNoRoute, errors.New("no IPv6"))},
	} {
		o, cause, told := outcomeOf(e)
		if got := fmt.Sprint(o, told); got != strings.TrimSpace(want) || told == (cause == "") {
			t.Errorf("%+v: got %s %q, want %s", e, got, cause, want)
		}
	}
}
