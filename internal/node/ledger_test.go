package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/admin/problems"
	"pharos/internal/admin/telemetry"
	"pharos/internal/authority/ledger"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

const storeConfig = "zones: [{name: example.com, kind: store, file: example.com.zone, gate: {minRecords: 3}}]\n"

// addTXT adds a record to the zone example.com of n.
func addTXT(n *Node, owner, text string) (ledger.Receipt, error) {
	return n.ledger.Load().Change(context.Background(), dnsname.MustParse("example.com."), "test", func(*zone.Zone) (update.Change, error) {
		return update.Change{Added: []rdata.Record{{
			Name: dnsname.MustParse(owner), Type: rdata.TypeTXT, Class: rdata.ClassIN, TTL: 60, Data: append([]byte{byte(len(text))}, text...),
		}}}, nil
	})
}

// TestStoreZone: a zone of kind store begins with its file, a change is answered by
// when it is acknowledged, and after a restart; the file does not count any more.
func TestStoreZone(t *testing.T) {
	f := newFolder(t)
	f.write("example.com.zone", exampleZone)
	config := f.config(storeConfig)
	n, stop := start(t, config)
	if got, want := summary(ask(t, n.DNS()[0], "www.example.com.", rdata.TypeA, false)), "NOERROR www.example.com. 3600 IN A 192.0.2.1"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	receipt, err := addTXT(n, "new.example.com.", "here")
	if err != nil || receipt != (ledger.Receipt{From: 1, To: 2, Changed: true}) {
		t.Fatalf("receipt %+v, %v", receipt, err)
	}
	want := `NOERROR new.example.com. 60 IN TXT "here"`
	if got := summary(ask(t, n.DNS()[0], "new.example.com.", rdata.TypeTXT, false)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	made := 0.0
	n.samples(func(s telemetry.Sample) {
		if s.Name == "zone_changes_total" && s.Labels[1] == "made" {
			made = s.Value
		}
	})
	if made != 1 {
		t.Errorf("%v changes counted", made)
	}
	stop()
	f.write("example.com.zone", strings.Replace(exampleZone, "192.0.2.1", "192.0.2.99", 1))
	n, _ = start(t, config)
	if got := summary(ask(t, n.DNS()[0], "new.example.com.", rdata.TypeTXT, false)); got != want {
		t.Errorf("after a restart: got %s, want %s", got, want)
	}
	if got, want := summary(ask(t, n.DNS()[0], "www.example.com.", rdata.TypeA, false)), "NOERROR www.example.com. 3600 IN A 192.0.2.1"; got != want {
		t.Errorf("after a restart: got %s, want %s", got, want)
	}
}

// TestStoreGate: what the gate would not let live is refused before it is kept.
func TestStoreGate(t *testing.T) {
	f := newFolder(t)
	f.write("example.com.zone", exampleZone)
	n, _ := start(t, f.config(strings.Replace(storeConfig, "minRecords: 3", "minRecords: 100", 1)))
	eventually(t, func() string { return n.hasProblem(problems.ZoneRefused) }) // the first one is not served either
	if _, err := addTXT(n, "new.example.com.", "here"); !errors.Is(err, ledger.ErrRefused) || !strings.Contains(err.Error(), "100") {
		t.Errorf("got %v", err)
	}
}

// TestStoreEmpty: without content a zone is SERVFAIL, and what to do is said.
func TestStoreEmpty(t *testing.T) {
	n, _ := start(t, newFolder(t).config("zones: [{name: example.com, kind: store}]\n"))
	if got := summary(ask(t, n.DNS()[0], "www.example.com.", rdata.TypeA, false)); got != "SERVFAIL" {
		t.Errorf("got %s", got)
	}
	eventually(t, func() string { return n.hasProblem(problems.ZoneAbsent) })
	if _, err := addTXT(n, "new.example.com.", "here"); !errors.Is(err, ledger.ErrNoVersion) {
		t.Errorf("got %v", err)
	}
}

// TestJournalAfterRestart: what led to a version is known after a restart, of zones of
// kind file and store, and so IXFR goes on; not for a file that was changed meanwhile
// under the same serial.
func TestJournalAfterRestart(t *testing.T) {
	f := newFolder(t)
	peer := func(serial int, more string) string {
		return fmt.Sprintf("$TTL 300\n@ SOA ns1 hostmaster %d 3600 600 86400 300\n@ NS ns1\nns1 A 127.0.0.1\nonly%d A 192.0.2.1\n%s", serial, serial, more)
	}
	f.write("peer.zone", peer(1, ""))
	f.write("example.com.zone", peer(1, ""))
	config := f.config(`zones:
  - {name: peer.test, file: peer.zone, transfer: [{network: 127.0.0.0/8}]}
  - {name: example.com, kind: store, file: example.com.zone, transfer: [{network: 127.0.0.0/8}]}
`)
	n, stop := start(t, config)
	f.write("peer.zone", peer(2, ""))
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := addTXT(n, "new.example.com.", "here"); err != nil {
		t.Fatal(err)
	}
	differences := func(zone string) int {
		t.Helper()
		q := new(dns.Msg).SetIxfr(zone, 1, "ns1."+zone, "hostmaster."+zone)
		r, _, err := (&dns.Client{Net: "tcp", Timeout: 10 * time.Second}).Exchange(q, n.DNS()[0].String())
		if err != nil || len(r.Answer) < 2 {
			t.Fatalf("%s: %v %v", zone, err, r)
		}
		if _, ok := r.Answer[1].(*dns.SOA); !ok {
			return 0 // the whole zone
		}
		return len(r.Answer) - 4
	}
	for range 3 {
		if got := differences("peer.test."); got != 2 {
			t.Errorf("peer.test: %d differences, want 2", got)
		}
		if got := differences("example.com."); got != 1 {
			t.Errorf("example.com: %d differences, want 1", got)
		}
		stop()
		n, stop = start(t, config)
	}
	stop()
	f.write("peer.zone", peer(2, "secret A 192.0.2.2\n"))
	n, _ = start(t, config)
	if got := differences("peer.test."); got != 0 {
		t.Errorf("other records under the same serial: %d differences, want the whole zone", got)
	}
}
