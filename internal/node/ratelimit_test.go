package node

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/admin/telemetry"
	"pharos/internal/serve/cookie"
)

// flood sends count queries over UDP and returns how many answers there are, and
// how many of them are truncated. All queries are sent at once; a last one over the
// same socket, with a good cookie, is always answered and ends the count.
func flood(t *testing.T, server string, count int, change func(m *dns.Msg)) (answers, truncated int) {
	t.Helper()
	conn, err := net.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	send := func(id int, change func(m *dns.Msg)) {
		m := new(dns.Msg).SetQuestion("www.example.com.", dns.TypeA)
		m.Id = uint16(id)
		change(m)
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(wire); err != nil {
			t.Fatal(err)
		}
	}
	for range count {
		send(1, change)
	}
	send(2, option(10, goodCookie(t, conn.LocalAddr().(*net.UDPAddr))...))
	buf := make([]byte, 2000)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		var m dns.Msg
		if err := m.Unpack(buf[:n]); err != nil {
			t.Fatal(err)
		}
		if m.Id == 2 {
			return answers, truncated
		}
		answers++
		if m.Truncated {
			truncated++
			if len(m.Answer) != 0 {
				t.Errorf("a truncated answer with records: %v", m)
			}
		} else if len(m.Answer) != 1 {
			t.Errorf("answer without its record: %v", m)
		}
	}
}

// goodCookie returns a cookie for a client of a server with ednsSecret.
func goodCookie(t *testing.T, client *net.UDPAddr) []byte {
	t.Helper()
	secret, err := cookie.ParseSecret(ednsSecret)
	if err != nil {
		t.Fatal(err)
	}
	answer, _ := (&cookie.Secrets{Current: secret}).Answer(clientCookie, client.AddrPort().Addr(), uint32(time.Now().Unix()))
	return answer[:]
}

// TestRateLimit: a network gets so many answers in a second over UDP; of the others
// some are truncated; clients with a cookie, over TCP and in exempt networks get all.
func TestRateLimit(t *testing.T) {
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	const zones = "zones: [{name: example.com, file: example.zone}]\n"
	n, _ := start(t, f.config(zones+"dns: {rateLimit: 5, udpWorkers: 1, cookieSecret: "+ednsSecret+"}"))
	server := n.DNS()[0].String()
	began := time.Now()
	answers, truncated := flood(t, server, 100, func(*dns.Msg) {})
	most := 5 * (2 + int(time.Since(began).Seconds()))
	if whole := answers - truncated; whole < 5 || whole > most || truncated == 0 || answers > 95 {
		t.Errorf("flood: %d answers, %d of them truncated; want 5 to %d whole ones, some truncated, some dropped", answers, truncated, most)
	}
	if answers, truncated := flood(t, server, 100, func(m *dns.Msg) {
		option(10, goodCookie(t, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})...)(m)
	}); answers != 100 || truncated != 0 {
		t.Errorf("with a cookie: %d answers, %d truncated; want 100 whole ones", answers, truncated)
	}
	for range 10 {
		m := new(dns.Msg).SetQuestion("www.example.com.", dns.TypeA)
		if r, _, err := (&dns.Client{Net: "tcp"}).Exchange(m, server); err != nil || len(r.Answer) != 1 {
			t.Fatalf("over TCP: %v %v", r, err)
		}
	}
	limited := 0.0
	n.samples(func(s telemetry.Sample) {
		if s.Name == "dns_rate_limited_total" && strings.Contains(strings.Join(s.Labels, " "), "class answer") {
			limited += s.Value
		}
	})
	if limited < 80 {
		t.Errorf("%v answers counted as limited", limited)
	}

	g := newFolder(t)
	g.write("example.zone", exampleZone)
	n, _ = start(t, g.config(zones+"dns: {rateLimit: 5, rateLimitExempt: [127.0.0.0/8], cookieSecret: "+ednsSecret+"}"))
	if answers, truncated := flood(t, n.DNS()[0].String(), 100, func(*dns.Msg) {}); answers < 95 || truncated != 0 {
		t.Errorf("exempt network: %d answers, %d truncated", answers, truncated)
	}
}
