package zonefile

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// TestRootZones reads two real root zones, one with all its signatures, and has
// miekg/dns read them too: the same records, in the same order.
func TestRootZones(t *testing.T) {
	for name, want := range map[string]int{
		"root-2020-10-19-signed.zone.gz":   21591,
		"root-2026-08-22-unsigned.zone.gz": 0, // whatever miekg/dns counts
	} {
		t.Run(name, func(t *testing.T) {
			text, err := io.ReadAll(sharedFile(t, name))
			if err != nil {
				t.Fatal(err)
			}
			got := readAll(t, string(text), Options{File: name})
			oracle := miekgRecords(t, bytes.NewReader(text))
			if len(got) != len(oracle) || want != 0 && len(got) != want {
				t.Fatalf("read %d records, miekg/dns %d, want %d", len(got), len(oracle), want)
			}
			for i := range got {
				if !sameRecord(got[i], oracle[i]) {
					t.Fatalf("record %d: got %v, miekg/dns %v", i, got[i], oracle[i])
				}
			}
			var written bytes.Buffer
			if err := Write(&written, slices.Values(got)); err != nil {
				t.Fatal(err)
			}
			compareRecords(t, readAll(t, written.String(), Options{File: "written"}), got)
		})
	}
}

// miekgRecords reads a zone with miekg/dns and turns it into our records by way of
// the wire.
func miekgRecords(t *testing.T, r io.Reader) []rdata.Record {
	t.Helper()
	var records []rdata.Record
	parser := dns.NewZoneParser(r, ".", "")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		records = append(records, miekgRecord(t, rr))
	}
	if err := parser.Err(); err != nil {
		t.Fatalf("miekg/dns: %v", err)
	}
	return records
}

func miekgRecord(t *testing.T, rr dns.RR) rdata.Record {
	t.Helper()
	wire := make([]byte, dns.Len(rr)+dnsname.MaxLen)
	end, err := dns.PackRR(rr, wire, 0, nil, false)
	if err != nil {
		t.Fatalf("miekg/dns cannot pack %v: %v", rr, err)
	}
	name, n, err := dnsname.FromWire(wire)
	if err != nil {
		t.Fatal(err)
	}
	header := rr.Header()
	return rdata.Record{
		Name: name, Type: rdata.Type(header.Rrtype), Class: rdata.Class(header.Class), TTL: rdata.TTL(header.Ttl),
		Data: wire[n+10 : end],
	}
}

func sameRecord(a, b rdata.Record) bool {
	return a.Name == b.Name && a.Type == b.Type && a.Class == b.Class && a.TTL == b.TTL && bytes.Equal(a.Data, b.Data)
}

// readAll returns the records of a file that has no errors.
func readAll(t testing.TB, text string, o Options) []rdata.Record {
	t.Helper()
	var records []rdata.Record
	for record, err := range Read(strings.NewReader(text), o) {
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, record)
	}
	return records
}

func compareRecords(t *testing.T, got, want []rdata.Record) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Fatalf("record %d is missing: %v", i, want[i])
		case i >= len(want):
			t.Fatalf("record %d too many: %v", i, got[i])
		case !sameRecord(got[i], want[i]):
			t.Fatalf("record %d: got %v, want %v", i, got[i], want[i])
		}
	}
}
