package node

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"pharos/internal/admin/api"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// TestExplainFailure: who is told SERVFAIL has an id in hand for which the operator is
// told what was tried; finished answers carry the same id.
func TestExplainFailure(t *testing.T) {
	f := newFolder(t)
	n, _ := start(t, f.config("resolver: {specialNames: false, routes: [{zone: \".\", servers: [\"127.0.0.1:1\"], validate: false}]}\n"))
	var id string
	for range 3 {
		m := ask(t, n.DNS()[0], "www.example.net.", rdata.TypeA, true)
		if summary(m) != "SERVFAIL" || len(m.EDE) != 1 {
			t.Fatalf("got %s with %v, want SERVFAIL with an extended error", summary(m), m.EDE)
		}
		told, _, ok := strings.Cut(m.EDE[0].Text, ": ")
		if !ok || !strings.HasPrefix(told, "servfail-") || id != "" && told != id {
			t.Fatalf("extended error %q; want one that begins with an id, the same each time (%s)", m.EDE[0].Text, id)
		}
		id = told
	}
	e, err := n.Explain(t.Context(), api.ExplainRequest{ID: strings.ToUpper(id), From: netip.MustParseAddr("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	e.WriteText(&text)
	for _, want := range []string{"www.example.net. A  for 127.0.0.1", "ask 127.0.0.1:1", "cannot be reached", "gave up", "1 queries", "SERVFAIL (" + id + ")"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	var refused *api.Refused
	if _, err := n.Explain(t.Context(), api.ExplainRequest{ID: "servfail-00000000"}); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		t.Errorf("an id of nothing: %v", err)
	}
}

// TestExplainResolve: with --resolve every server is asked, though the answer is in the
// cache, and the cache learns nothing from it.
func TestExplainResolve(t *testing.T) {
	f := newFolder(t)
	f.write("corp.zone", "$TTL 1h\n@ SOA ns host 1 1h 15m 1w 1h\n@ NS ns\nns A 127.0.0.1\nwww A 192.0.2.77\n")
	owner, _ := start(t, f.config("resolver: {allow: []}\nzones: [{name: corp.test, file: corp.zone}]\n"))
	g := newFolder(t)
	n, _ := start(t, g.config("resolver: {specialNames: false, routes: [{zone: corp.test, kind: stub, servers: [\""+owner.DNS()[0].String()+"\"], validate: false}, {zone: \".\", servers: [\"127.0.0.1:1\"], validate: false}]}\n"))
	r := api.ExplainRequest{Name: "www.corp.test", Resolve: true, From: netip.MustParseAddr("127.0.0.1")}
	for range 2 {
		e, err := n.Explain(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		e.WriteText(&text)
		if !strings.Contains(text.String(), "ask "+owner.DNS()[0].String()) || !strings.Contains(text.String(), "192.0.2.77") {
			t.Errorf("the server was not asked:\n%s", text.String())
		}
	}
	if _, known := n.resolver.FromCache(n.started, dnsname.MustParse("www.corp.test."), rdata.TypeA); known {
		t.Error("the cache has learnt from an explanation")
	}
}
