// Package zonetest makes zones of text, and text of zones, for tests.
//
// It is for the tests of packages above internal/dns/zonefile and
// internal/authority/zone, whose own tests cannot use it.
//
// Entry points: Zone, Records, Text; Sign, for a zone with signatures.
package zonetest

import (
	"iter"
	"strings"
	"testing"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

// Zone returns the zone that is in a master file. A file without a TTL has one of 300
// seconds.
func Zone(t testing.TB, origin, text string) *zone.Zone {
	t.Helper()
	b := zone.NewBuilder(dnsname.MustParse(origin))
	for _, r := range Records(t, origin, text) {
		b.Add(r)
	}
	z, problems := b.Finish()
	if z == nil {
		t.Fatalf("%v in the zone:\n%s", problems, text)
	}
	return z
}

// Records returns the records that are in a master file.
func Records(t testing.TB, origin, text string) []rdata.Record {
	t.Helper()
	var all []rdata.Record
	for r, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: dnsname.MustParse(origin), TTL: 300}) {
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		all = append(all, r)
	}
	return all
}

// Text returns records, a line each, with single spaces.
func Text(records iter.Seq[rdata.Record]) string {
	var lines []string
	for r := range records {
		lines = append(lines, strings.Join(strings.Fields(r.String()), " "))
	}
	return strings.Join(lines, "\n")
}
