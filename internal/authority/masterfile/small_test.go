package masterfile

import (
	"os"
	"path/filepath"
	"testing"

	"pharos/internal/dns/dnsname"
)

// BenchmarkLoadSmall reads one of a million small zones.
func BenchmarkLoadSmall(b *testing.B) {
	file := filepath.Join(b.TempDir(), "small.zone")
	text := "$TTL 86400\n@ SOA ns1 hostmaster 1 7200 3600 1209600 300\n@ NS ns1\n@ NS ns2\n@ A 192.0.2.3\n@ MX 10 www\nns1 A 192.0.2.1\nns2 A 192.0.2.2\nwww A 192.0.2.3\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
	origin := dnsname.MustParse("zone123456.many.example.")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(origin, file, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
