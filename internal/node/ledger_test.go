package node

import (
	"context"
	"errors"
	"strings"
	"testing"

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
	eventually(t, func() string { return n.hasProblem(zoneRefused) }) // the first one is not served either
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
	eventually(t, func() string { return n.hasProblem(zoneAbsent) })
	if _, err := addTXT(n, "new.example.com.", "here"); !errors.Is(err, ledger.ErrNoVersion) {
		t.Errorf("got %v", err)
	}
}
