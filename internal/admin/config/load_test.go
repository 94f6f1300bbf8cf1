package config

import (
	"errors"
	"fmt"
	"strings"

	"pharos/internal/cluster/document"

	"encoding/json"
	"reflect"
	"testing"
)

// An empty file, one with only a comment and one that has only zones all work.
func TestZeroConfigWorks(t *testing.T) {
	for _, text := range []string{"", "# nothing yet\n", "---\n", "{}\n", "zones:\n", "pools: []\n"} {
		got, err := Parse("pharos.yaml", []byte(text))
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		got.File, got.Pools = "", nil
		want := Default()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("Parse(%q) = %+v, want the defaults %+v", text, got, want)
		}
	}
	c, err := Parse("/etc/pharos/pharos.yaml", []byte("zones: [{name: Example.com, file: zones/e.zone}]"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Zones[0].File, "/etc/pharos/zones/e.zone"; got != want {
		t.Errorf("zone file = %q, want %q", got, want)
	}
	if got, want := c.Zones[0].Name.String(), "example.com."; got != want {
		t.Errorf("zone name = %q, want %q", got, want)
	}
}

// What encoding/json writes of a configuration is a configuration again, equal
// to the first.
func TestRoundTrip(t *testing.T) {
	text := `
data: /d
listen: {dns: ["192.0.2.1:53"], http: ["0.0.0.0:80"]}
zones: [{name: example.com, file: /z}]
pools:
  - name: web
    policy: weightedRoundRobin
    check: {type: http, path: "/health?full=1", interval: 1m30s, status: "204"}
    members: [{name: a, address: "10.0.0.1:8080", weight: 3, drain: true}]
steer: [{name: www.example.com, pool: web}]
routes: [{host: "*.example.com", path: /api, pool: web}]
gateway: {limits: {fields: 64KiB}}
`
	first, err := Parse("x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, first)
}

// roundTrip checks that what encoding/json writes of first is read as the same.
func roundTrip(t *testing.T, first *Config) {
	t.Helper()
	written, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Parse(first.File, written)
	if err != nil {
		t.Fatalf("%v\n%s", err, written)
	}
	again, err := json.Marshal(second)
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != string(written) {
		t.Errorf("after a round trip:\n%s\nwant\n%s", again, written)
	}
}

// What is applied at run time is as strict as the file, but its pools may be
// elsewhere.
func TestParseResources(t *testing.T) {
	r, err := ParseResources("routes.yaml", []byte("routes: [{pool: elsewhere}]\nsteer: [{name: a.example, pool: p}]"))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(r.All()); got != 2 || r.Routes[0].Path != "/" {
		t.Errorf("%d resources, %+v; want 2 with defaults", got, r)
	}
	for text, want := range map[string]string{
		"data: x":                             `routes.yaml:1:1: data: unknown key; known keys here: pools, filters, steer, routes`,
		"routes: [{pool: p}, {pool: p}]":      `routes.yaml:1:21: routes[1]: host "*" with path "/" is already routes[0]; remove one of them; or give each a name, and say under when which requests it is for`,
		"pools: [{name: p, members: []}]":     `routes.yaml:1:28: pools[0].members: the pool has no members; name them, or a list of them under discover, or what makes them under scale`,
		`{"steer":[{"name":"a","poll":"p"}]}`: "routes.yaml:1:11: steer[0]: \"pool\" is missing; add it, for example pool: web\nroutes.yaml:1:23: steer[0].poll: unknown key; did you mean \"pool\"?",
	} {
		if _, err := ParseResources("routes.yaml", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: %v\nwant %s", text, err, want)
		}
	}
}

// A file with as many mistakes as can be is answered in a moment.
func TestManyMistakesAreCheap(t *testing.T) {
	var b strings.Builder
	b.WriteString("pools:\n")
	for i := range 3000 {
		fmt.Fprintf(&b, "- {name: pool-with-a-long-name-%d, members: [{name: a, address: \"10.0.0.1:80\"}]}\n", i)
	}
	b.WriteString("steer:\n")
	for i := range 30000 {
		fmt.Fprintf(&b, "- {name: n%d.example, pool: pool-with-a-lost-name-%d}\n", i, i)
	}
	_, err := Parse("x", []byte(b.String()))
	var problems *document.Problems
	if !errors.As(err, &problems) || len(problems.List) != document.MaxProblems || problems.More != 30000-document.MaxProblems {
		t.Errorf("error = %.300v", err)
	}
}
