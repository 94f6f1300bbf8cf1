package node

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/admin/problems"
	"pharos/internal/authority/ledger"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// TestZoneLimits: what is larger than zones[].gate lets it be is not served, whichever
// way it comes; the version before is, and the limit is named with the remedy.
func TestZoneLimits(t *testing.T) {
	hosts := func(names, addresses int) string {
		var b strings.Builder
		for i := range names {
			for a := range addresses {
				fmt.Fprintf(&b, "h%d A 192.0.2.%d\n", i, a)
			}
		}
		return b.String()
	}
	primary := newFolder(t)
	primary.write("example.com.zone", exampleZone+hosts(10, 1))
	p, _ := start(t, primary.config("zones: [{name: example.com, file: example.com.zone, transfer: [{network: 127.0.0.0/8}]}]\n"))

	f := newFolder(t)
	f.write("example.com.zone", exampleZone)
	n, _ := start(t, f.config(fmt.Sprintf(`keys: [{name: transfer-key, secret: "%s"}]
zones:
  - {name: file.test, file: example.com.zone, gate: {maxNames: 12, maxRecords: 20, maxRRset: 3, maxTypes: 3}}
  - {name: example.com, kind: store, file: example.com.zone, gate: {maxRRset: 2}, updates: [{key: transfer-key}]}
views:
  - {name: inside, clients: [192.0.2.0/24], zones: [{name: example.com, kind: secondary, gate: {maxRecords: 15}, primaries: [{address: "%s"}]}]}
`, peerKey.Secret, p.DNS()[0])))

	for _, tt := range []struct{ what, text, want string }{
		{"names", exampleZone + hosts(8, 1), "15 names, more than zones[].gate.maxNames, 12"},
		{"an RRset", exampleZone + hosts(1, 4), "4 records of one type, more than zones[].gate.maxRRset, 3"},
		{"types", exampleZone + "www TXT x\nwww AAAA ::1\nwww HINFO x x\n", "records of 4 types, more than zones[].gate.maxTypes, 3"},
		{"records, of which reading ends at the first too many", exampleZone + hosts(7, 2) + "a mistake that nobody reads\n", "example.com.zone:22:1: more records than 20"},
	} {
		f.write("example.com.zone", tt.text)
		applied, err := n.reload()
		if err != nil || len(applied.Refused) != 1 || !strings.Contains(applied.Refused[0], tt.want) {
			t.Errorf("%s: refused %q, %v; want %q", tt.what, applied.Refused, err, tt.want)
		}
		if missing := n.hasProblem(problems.ZoneRefused); missing != "" {
			t.Errorf("%s: %s", tt.what, missing)
		}
		if got := summary(ask(t, n.DNS()[0], "www.file.test.", rdata.TypeA, false)); got != "NOERROR www.file.test. 3600 IN A 192.0.2.1" {
			t.Errorf("%s: served is %s", tt.what, got)
		}
	}

	if _, err := addTXT(n, "www.example.com.", "one"); err != nil {
		t.Fatal(err)
	}
	if _, err := addTXT(n, "www.example.com.", "two"); err != nil {
		t.Fatal(err)
	}
	if _, err := addTXT(n, "www.example.com.", "three"); !errors.Is(err, ledger.ErrRefused) || !strings.Contains(err.Error(), "maxRRset, 2") {
		t.Errorf("a third record: got %v", err)
	}
	c := newClient(n, "tcp", peerKey.Secret)
	update := largeUDP(insert(t, "example.com.", "www.example.com. 60 TXT four"))
	if r, err := c.ask(t, update, 0); err != nil || r.Rcode != dns.RcodeRefused || !strings.Contains(r.String(), "maxRRset") {
		t.Errorf("UPDATE: %v, %v", r, err)
	}

	eventually(t, func() string {
		z := n.current.Load().zoneOf("inside", dnsname.MustParse("example.com."))
		if z.Zone != nil {
			t.Fatal("a zone that is too large was taken over")
		}
		for _, p := range n.problems.All() {
			if strings.Contains(p.Text, "a zone of more than 15 records; raise zones[].gate.maxRecords") {
				return ""
			}
		}
		return fmt.Sprint(n.problems.All())
	})
}

// TestTCPQueries: a connection brings as many queries as dns.tcpQueries says.
func TestTCPQueries(t *testing.T) {
	f := newFolder(t)
	f.write("example.com.zone", exampleZone)
	n, _ := start(t, f.config("dns: {tcpQueries: 2}\nzones: [{name: example.com, file: example.com.zone}]\n"))
	conn, err := dns.Dial("tcp", n.DNS()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range 3 {
		q := new(dns.Msg).SetQuestion("www.example.com.", dns.TypeA)
		_, _, err := new(dns.Client).ExchangeWithConn(q, conn)
		if (err == nil) != (i < 2) {
			t.Errorf("query %d: %v", i+1, err)
		}
	}
}
