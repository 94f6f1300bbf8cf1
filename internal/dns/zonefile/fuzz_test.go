package zonefile

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// FuzzZoneFile: no file crashes the reader or keeps it from ending; every error
// has its place; every record is well formed, and the writer's form of it is read
// as the same record.
func FuzzZoneFile(f *testing.F) {
	for _, name := range []string{"testdata/types.zone", "testdata/errors/records.zone", "testdata/errors/syntax.zone", "testdata/errors/directives.zone"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("$TTL 1h\n@ SOA ns host (1 2\n3 4 5)\n$GENERATE 1-20/3 a${-1,3,x} A 192.0.2.$\n$INCLUDE x y\n TXT \"a\\\"b\" c;d\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		o := Options{Origin: dnsname.MustParse("Example.COM."), File: "fuzz", MaxGenerate: 100}
		o.Open = func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x 60 A 192.0.2.1\n")), nil }
		var records []rdata.Record
		for record, err := range Read(bytes.NewReader(text), o) {
			if err != nil {
				var wrong *Error
				if !errors.As(err, &wrong) || wrong.Line < 1 || wrong.Column < 1 {
					t.Fatalf("%v has no place", err)
				}
				continue
			}
			if err := rdata.Validate(record.Type, record.Data); err != nil {
				t.Fatalf("%v is not well formed: %v", record, err)
			}
			if _, n, err := dnsname.FromWire([]byte(record.Name.Wire())); err != nil || n != record.Name.Len() {
				t.Fatalf("owner %q is not well formed: %v", record.Name.Wire(), err)
			}
			records = append(records, record)
		}
		var written bytes.Buffer
		if err := Write(&written, slices.Values(records)); err != nil {
			t.Fatal(err)
		}
		compareRecords(t, readAll(t, written.String(), Options{File: "written"}), records)
	})
}
