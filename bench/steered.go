//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/miekg/dns"

	"pharos/bench/dnsload"
	"pharos/bench/peer"
	"pharos/bench/table"
)

const shapeSteered = "authoritative UDP, %s steered names"

// besideStatic compares a server with itself.
var besideStatic = table.Metric{Name: "CPU of an answer beside that from the zone", Digits: 2}

// steeredNames are as many names as steeredPools pools have; each answer has the
// steeredMembers addresses of one.
const (
	steeredNames   = 1_000
	steeredPools   = 100
	steeredMembers = 4
)

// chains are the ways to steer that are measured, by what they look at.
var chains = []struct{ how, filters string }{
	{"", ""},
	{", by place", ", filters: [{type: up}, {type: near, by: country}, {type: weighted}]"},
	{", by network", ", filters: [{type: up}, {type: sticky}]"},
}

// keepings are the ways to keep past answers for explain that are compared: rounds of all of them by turns.
var keepings = []struct{ name, decisions string }{{table.Own, "memory: 32MiB"}, {"Pharos that keeps nothing", "memory: 0"}, {"Pharos that keeps each answer", "sample: 1"}}

// keptWork is the name of that work.
const keptWork = ", kept for explain as by default"

// steered is names that are answered from pools, beside the same names with the same
// addresses in the zone.
func (a *arena) steered([]peer.Program) ([]table.Row, error) {
	var zone, pools, static strings.Builder
	zone.WriteString("$TTL 5\n$ORIGIN bench.\n@ SOA ns host 1 3600 900 604800 300\n@ NS ns\nns A 192.0.2.3\n")
	static.WriteString(zone.String())
	pools.WriteString("steering: {networks: [{prefix: 127.0.0.0/8, place: {country: NL, continent: EU}}]}\npools:\n")
	for p := range steeredPools {
		fmt.Fprintf(&pools, "  - {name: p%d, check: {type: none}, members: [", p)
		for m := range steeredMembers {
			fmt.Fprintf(&pools, "{name: m%d, address: \"10.0.%d.%d:80\", place: {country: NL, continent: EU}},", m, p, m)
		}
		pools.WriteString("]}\n")
	}
	queries := make([]dnsload.Query, steeredNames)
	for i := range queries {
		q := new(dns.Msg).SetQuestion(fmt.Sprintf("www%d.bench.", i), dns.TypeA)
		q.Id, q.RecursionDesired = 0, false
		msg, err := q.Pack()
		if err != nil {
			return nil, err
		}
		queries[i] = dnsload.NewQuery(msg)
		for m := range steeredMembers {
			fmt.Fprintf(&static, "www%d A 10.0.%d.%d\n", i, i%steeredPools, m)
			queries[i].Answer = append(queries[i].Answer, fmt.Sprintf("A 10.0.%d.%d", i%steeredPools, m))
		}
	}
	files := map[string]string{"static.zone": static.String(), "steered.zone": zone.String()}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	work := fmt.Sprintf(shapeSteered, thousands(steeredNames))
	measure := func(how, file, config string) ([]table.Row, error) {
		program, err := a.choose(peer.PharosZonesWith(a.pharos(), config))
		if err != nil {
			return nil, err
		}
		zones := []peer.ZoneFile{{Name: "bench.", Path: filepath.Join(a.dir, file)}}
		return a.answers(program, work+how, zones, queries[0], queries)
	}
	plain, err := measure(", in the zone", "static.zone", "")
	if err != nil {
		return nil, err
	}
	all := plain
	for _, c := range chains {
		var steer strings.Builder
		steer.WriteString(pools.String() + "steer:\n")
		for i := range steeredNames {
			fmt.Fprintf(&steer, "  - {name: www%d.bench, pool: p%d%s}\n", i, i%steeredPools, c.filters)
		}
		rows, err := measure(c.how, "steered.zone", steer.String())
		if err != nil {
			return nil, err
		}
		compared := table.Row{Work: work + c.how, Metric: besideStatic}
		for i, v := range rows[0].Values {
			compared.Values = append(compared.Values, table.Value{Server: v.Server, Value: v.Value / plain[0].Values[i].Value})
		}
		all = append(append(all, rows...), compared)
	}
	var programs []peer.Program
	for _, keeping := range keepings {
		config := strings.Replace(pools.String(), "steering: {", "steering: {decisions: {"+keeping.decisions+"}, ", 1) + "steer:\n"
		for i := range steeredNames {
			config += fmt.Sprintf("  - {name: www%d.bench, pool: p%d}\n", i, i%steeredPools)
		}
		program := peer.PharosZonesWith(a.pharos(), config)
		program.Name = keeping.name
		programs = append(programs, program)
	}
	chosen, err := a.choose(programs[0], programs[1:]...)
	if err != nil {
		return nil, err
	}
	rows, err := a.answers(chosen, work+keptWork, []peer.ZoneFile{{Name: "bench.", Path: filepath.Join(a.dir, "steered.zone")}}, queries[0], queries)
	if err != nil {
		return nil, err
	}
	share, err := a.keepingShare(work+keptWork, rows[0])
	return append(append(all, rows...), share), err
}
