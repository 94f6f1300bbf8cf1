package zonefile

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"

	"pharos/internal/dns/dnsname"
)

// hostZone returns a zone of hosts with an A and an AAAA record each, as large
// zones of hosts are written.
func hostZone(hosts int) []byte {
	var b bytes.Buffer
	b.WriteString("$ORIGIN example.com.\n$TTL 3600\n@ IN SOA ns1 hostmaster 1 7200 3600 1209600 3600\n@ IN NS ns1\nns1 IN A 192.0.2.53\n")
	for i := range hosts {
		fmt.Fprintf(&b, "host%d\tIN\tA\t10.%d.%d.%d\nhost%d\tIN\tAAAA\t2001:db8::%x\n", i, i>>16&255, i>>8&255, i&255, i, i)
	}
	return b.Bytes()
}

// delegationZone returns a zone of delegations with two NS records each, names
// absolute, as registries write them.
func delegationZone(delegations int) []byte {
	var b bytes.Buffer
	b.WriteString("test. 900 IN SOA ns1.test. hostmaster.test. 1 7200 3600 1209600 3600\n")
	for i := range delegations {
		fmt.Fprintf(&b, "domain%d.test.\t86400\tin\tns\tns1.host%d.test.\ndomain%d.test.\t86400\tin\tns\tns2.host%d.test.\n", i, i%1000, i, i%1000)
	}
	return b.Bytes()
}

func BenchmarkReadHosts(b *testing.B)       { benchmarkRead(b, hostZone(50000)) }
func BenchmarkReadDelegations(b *testing.B) { benchmarkRead(b, delegationZone(50000)) }

func BenchmarkReadSignedRoot(b *testing.B) {
	text, err := io.ReadAll(sharedFile(b, "root-2020-10-19-signed.zone.gz"))
	if err != nil {
		b.Fatal(err)
	}
	benchmarkRead(b, text)
}

func benchmarkRead(b *testing.B, text []byte) {
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	records := 0
	for b.Loop() {
		for _, err := range Read(bytes.NewReader(text), Options{Origin: dnsname.Root}) {
			if err != nil {
				b.Fatal(err)
			}
			records++
		}
	}
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "RR/s")
}

func BenchmarkWrite(b *testing.B) {
	records := readAll(b, string(hostZone(50000)), Options{})
	b.ReportAllocs()
	for b.Loop() {
		if err := Write(io.Discard, slices.Values(records)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(records)*b.N)/b.Elapsed().Seconds(), "RR/s")
}

// TestNoGarbagePerRecord: reading takes memory by the chunk, not by the record.
func TestNoGarbagePerRecord(t *testing.T) {
	const hosts = 1000
	text := hostZone(hosts)
	got := testing.AllocsPerRun(5, func() {
		for _, err := range Read(bytes.NewReader(text), Options{}) {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	// 2,003 records in 60 KB of names and RDATA, beside the Reader and its buffer.
	if got > 30 {
		t.Errorf("%v allocations for %d records", got, 2*hosts+3)
	}
}
