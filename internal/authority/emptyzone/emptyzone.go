// Package emptyzone is the zones of special-use names: names that the Internet can
// know nothing of, and is not to be asked about (RFC 6761, RFC 6303).
//
// It owns which names these are and what is answered for them. It does not own for
// whom (package node).
//
// Entry points: All, Always.
//
// Concurrency: the sets are made once, on first use, and never change.
//
// Sources: RFC 6303, RFC 6761, RFC 6762 §22, RFC 7686, RFC 7793, RFC 8375, RFC 9665.
package emptyzone

import (
	"fmt"
	"strings"
	"sync"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/zonefile"
)

// always are names that no root, be it a private one, says anything about.
var always = []string{
	"localhost", // RFC 6761 §6.3
	"invalid",   // RFC 6761 §6.4
	"onion",     // RFC 7686 §2
}

// byDefault are names that a private root may well know.
var byDefault = []string{
	"test",         // RFC 6761 §6.2
	"local",        // RFC 6762 §22.1: multicast DNS
	"home.arpa",    // RFC 8375 §4
	"service.arpa", // RFC 9665 §8
	// RFC 6303 §4.1 to §4.6, RFC 7793 §3: addresses that are private, of this machine,
	// this link, or for documentation.
	"10.in-addr.arpa", "168.192.in-addr.arpa", "0.in-addr.arpa", "127.in-addr.arpa", "254.169.in-addr.arpa",
	"2.0.192.in-addr.arpa", "100.51.198.in-addr.arpa", "113.0.203.in-addr.arpa", "255.255.255.255.in-addr.arpa",
	"0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
	"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
	"d.f.ip6.arpa", "8.e.f.ip6.arpa", "9.e.f.ip6.arpa", "a.e.f.ip6.arpa", "b.e.f.ip6.arpa", "8.b.d.0.1.0.0.2.ip6.arpa",
}

// localhostRecords: RFC 6761 §6.3: every name at and below is the loopback address.
const localhostRecords = "@ A 127.0.0.1\n@ AAAA ::1\n* A 127.0.0.1\n* AAAA ::1\n"

// All returns the zones of all special-use names.
var All = sync.OnceValue(func() *zone.Set { return build(byDefault, blocks(), always) })

// Always returns those of names that not even a private root knows.
var Always = sync.OnceValue(func() *zone.Set { return build(always) })

// blocks returns the zones of the address blocks that are several zones each:
// 172.16.0.0/12 (RFC 6303 §4.1) and 100.64.0.0/10 (RFC 7793 §3).
func blocks() []string {
	var names []string
	for i := range 16 {
		names = append(names, fmt.Sprintf("%d.172.in-addr.arpa", 16+i))
	}
	for i := range 64 {
		names = append(names, fmt.Sprintf("%d.100.in-addr.arpa", 64+i))
	}
	return names
}

// build makes the zones (RFC 6303 §3).
func build(lists ...[]string) *zone.Set {
	var all []*zone.Zone
	for _, list := range lists {
		for _, name := range list {
			text := "$TTL 10800\n@ SOA @ nobody.invalid. 1 3600 1200 604800 10800\n@ NS @\n"
			if name == "localhost" {
				text += localhostRecords
			}
			origin := dnsname.MustParse(name)
			builder := zone.NewBuilder(origin)
			for record, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: origin}) {
				if err != nil {
					panic("BUG: " + err.Error())
				}
				builder.Add(record)
			}
			z, problems := builder.Finish()
			if z == nil {
				panic(fmt.Sprint("BUG: ", problems))
			}
			all = append(all, z)
		}
	}
	return zone.NewSet(all...)
}
