package node

import (
	"slices"
	"strings"
	"testing"

	"pharos/internal/admin/problems"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// TestGate: a version that the gate refuses leaves the one before it serving, is
// shown as a problem, and is served when the operator accepts it; what is only
// said is said for as long as the version is served.
func TestGate(t *testing.T) {
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	rest := `zones: [{name: example.com, file: example.zone, gate: {maxChange: 10}, transfer: [{network: 127.0.0.1/32}]}]`
	n, _ := start(t, f.config(rest))
	address := func() string { return summary(ask(t, n.DNS()[0], "www.example.com.", rdata.TypeA, false)) }
	reload := func(text string) []string {
		t.Helper()
		f.write("example.zone", text)
		applied, err := n.reload()
		if err != nil {
			t.Fatal(err)
		}
		return applied.Refused
	}
	before := address()

	next := strings.ReplaceAll(exampleZone, "192.0.2.1", "192.0.2.2")
	if refused := reload(next); len(refused) != 1 || !strings.Contains(refused[0], "pharos zone accept example.com.") {
		t.Errorf("too much at once: got %v", refused)
	}
	if got := address(); got != before {
		t.Errorf("after a refused version: got %s, want %s", got, before)
	}
	if missing := n.hasProblem(problems.ZoneRefused); missing != "" {
		t.Error(missing)
	}
	if _, err := n.AcceptZone(t.Context(), "example.com", 99); err == nil {
		t.Error("a version that is not there was accepted")
	}
	if _, err := n.AcceptZone(t.Context(), "example.com", 1); err != nil {
		t.Error(err)
	}
	if got := address(); !strings.HasSuffix(got, "192.0.2.2") {
		t.Errorf("after it was accepted: %s", got)
	}

	// The serial stayed, which is said, now and after reloads that change nothing.
	for range 2 {
		warnings := n.current.Load().apexes.Get(dnsname.MustParse("example.com.")).served.Warnings
		if !slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, "not the serial, 1") }) {
			t.Errorf("warnings %q, want one about the serial", warnings)
		}
		if _, err := n.reload(); err != nil {
			t.Fatal(err)
		}
	}
	// It was accepted once: the next such version is refused again.
	if refused := reload(exampleZone); len(refused) != 1 {
		t.Errorf("the way back: got %v, want a refusal", refused)
	}
}
