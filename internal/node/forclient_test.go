package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pharos/internal/dns/rdata"
	"pharos/lab/tools"
)

// At the end of others' aliases a steered name of ours is answered for each client by
// itself, as if it had asked for that name: nobody is told what is right for another.
func TestAliasesToSteeredNames(t *testing.T) {
	tools.Need(t, "dig")
	foreign, _ := authority(t, "127.0.0.8", 0, ".", `$TTL 1h
@ SOA ns.test. host.test. 1 1h 15m 1w 1h
@ NS ns.test.
ns.test. A 127.0.0.8
to.test. CNAME www.corp.test.
twice.test. CNAME to.test.
static.test. CNAME alias.corp.test.
out.test. CNAME out.corp.test.
loop.test. CNAME loop.corp.test.
none.test. CNAME www.corp.test.
near.test. A 192.0.2.91
far.test. A 192.0.2.92
`)
	port := foreign.DNS()[0].Port()
	f := newFolder(t)
	f.write("hints", ". 1d NS ns.test.\nns.test. 1d A 127.0.0.8\n")
	f.write("corp.zone", "$TTL 1h\n@ SOA ns host 1 1h 15m 1w 5m\n@ NS ns\nns A 127.0.0.1\nalias CNAME www\n")
	n, _ := start(t, f.config(fmt.Sprintf(`resolver: {rootHints: hints, port: %d, validate: false}
dns: {clientSubnet: {trusted: [127.0.0.1/32]}}
steering: {networks: [{prefix: 10.0.0.0/8, place: {zone: a, country: NL, continent: EU}}, {prefix: 11.0.0.0/8, place: {zone: b, country: US, continent: NA}}]}
zones: [{name: corp.test, file: corp.zone}]
pools:
- name: web
  check: {type: none}
  members:
  - {name: a, address: "192.0.2.1:80", place: {zone: a, country: NL, continent: EU}}
  - {name: b, address: "192.0.2.2:80", place: {zone: b, country: US, continent: NA}}
- name: names
  check: {type: none}
  members:
  - {name: near, host: near.test, address: "192.0.2.91:80", place: {zone: a, country: NL, continent: EU}}
  - {name: far, host: far.test, address: "192.0.2.92:80", place: {zone: b, country: US, continent: NA}}
- name: circle
  check: {type: none}
  members: [{name: a, host: loop.test, address: "192.0.2.93:80"}]
steer:
- {name: www.corp.test, pool: web, ttl: 30s, filters: [{type: near, by: country}, {type: limit, count: 1}]}
- {name: out.corp.test, pool: names, answer: cname, ttl: 30s, filters: [{type: near, by: country}, {type: limit, count: 1}]}
- {name: loop.corp.test, pool: circle, answer: cname}
`, port)))
	short := func(name, subnet, kind string, more ...string) string {
		out := run(t, "dig", append(append(at(n.dns.Addrs()[0]), "+subnet="+subnet, "+tries=1", "+time=8", name, kind), more...)...)
		var got []string
		for line := range strings.Lines(out) {
			if fields := strings.Fields(line); len(fields) == 5 && fields[3] == "A" {
				got = append(got, fields[4])
			}
			if _, rest, ok := strings.Cut(line, "status: "); ok {
				status, _, _ := strings.Cut(rest, ",")
				got = append(got, status)
			}
		}
		slices.Sort(got)
		return strings.Join(got, " ")
	}
	for range 2 { // and again, with what is in the cache
		for _, c := range []struct{ name, subnet, want string }{
			{"to.test", "10.0.0.0/8", "192.0.2.1 NOERROR"}, {"to.test", "11.0.0.0/8", "192.0.2.2 NOERROR"},
			{"twice.test", "11.0.0.0/8", "192.0.2.2 NOERROR"}, {"twice.test", "10.0.0.0/8", "192.0.2.1 NOERROR"},
			{"static.test", "10.0.0.0/8", "192.0.2.1 NOERROR"}, {"static.test", "11.0.0.0/8", "192.0.2.2 NOERROR"},
		} {
			if got := short(c.name, c.subnet, "A"); got != c.want {
				t.Errorf("%s for %s: %s, want %s", c.name, c.subnet, got, c.want)
			}
		}
		for subnet, want := range map[string]string{"10.0.0.0/8": "192.0.2.91", "11.0.0.0/8": "192.0.2.92"} {
			if got := short("out.test", subnet, "A"); !strings.Contains(got, want) || strings.Count(got, "192.0.2.") != 1 {
				t.Errorf("out.test for %s: %s, want %s", subnet, got, want)
			}
		}
	}
	// Without RD, too, what the cache has of aliases; but nobody is asked about where they lead.
	for _, c := range []struct{ name, subnet, want string }{
		{"to.test", "10.0.0.0/8", "192.0.2.1 NOERROR"}, {"twice.test", "11.0.0.0/8", "192.0.2.2 NOERROR"}, {"static.test", "11.0.0.0/8", "192.0.2.2 NOERROR"},
		{"out.test", "10.0.0.0/8", "192.0.2.91 NOERROR"},
	} {
		if got := short(c.name, c.subnet, "A", "+norecurse"); got != c.want {
			t.Errorf("%s for %s without RD: %s, want %s", c.name, c.subnet, got, c.want)
		}
	}
	if got := short("none.test", "10.0.0.0/8", "MX"); got != "NOERROR" {
		t.Errorf("none.test MX: %s, want NODATA", got)
	}
	if m := ask(t, n.dns.Addrs()[0], "loop.test", rdata.TypeA, true); len(m.Answer) > 20 {
		t.Errorf("a loop through a steered name: %d records", len(m.Answer))
	}
}
