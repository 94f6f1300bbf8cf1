package ledger

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// BenchmarkChange is durable changes by 64 writers at a time, of one zone and of many.
func BenchmarkChange(b *testing.B) {
	for _, tt := range []struct{ zones, records int }{{1, 10_000}, {64, 10_000}, {1, 1_000_000}} {
		b.Run(fmt.Sprintf("zones=%d/records=%d", tt.zones, tt.records), func(b *testing.B) {
			l := open(b, Config{Folder: b.TempDir()})
			var zones []Zone
			for i := range tt.zones {
				name := dnsname.MustParse(fmt.Sprintf("zone%d.test.", i))
				zones = append(zones, Zone{Name: name, Keep: Keep{Versions: 100, Size: 64 << 20}, Initial: func() (*zone.Zone, error) { return large(b, name, tt.records), nil }})
			}
			l.config.Publish = func(dnsname.Name) {}
			l.Set(zones)
			for _, z := range zones {
				l.Version(z.Name)
			}
			next := make(chan int, 64)
			b.SetParallelism(32) // 64 on two cores
			b.ResetTimer()
			go func() {
				for i := range b.N {
					next <- i
				}
				close(next)
			}()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := <-next
					name := zones[i%len(zones)].Name
					_, err := l.Change(context.Background(), name, "benchmark", func(now *zone.Zone) (update.Change, error) {
						owner, err := name.Child(fmt.Sprintf("n%d", i%500))
						return update.Change{Added: []rdata.Record{{Name: owner, Type: rdata.TypeTXT, Class: rdata.ClassIN, TTL: 60, Data: number(i)}}}, err
					})
					if err != nil {
						b.Fatal(err)
					}
				}
			})
			b.StopTimer()
			c := l.Counts()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
			b.ReportMetric(float64(c.Changes)/float64(max(1, c.Commits)), "changes/sync")
		})
	}
}

// BenchmarkAt is going back a hundred versions of a zone with a million records.
func BenchmarkAt(b *testing.B) {
	l := open(b, Config{Folder: b.TempDir()})
	l.Set([]Zone{{Name: origin, Keep: Keep{Versions: 1000, Size: 64 << 20}, Initial: func() (*zone.Zone, error) { return large(b, origin, 1_000_000), nil }}})
	for i := range 100 {
		l.mustAdd(origin, fmt.Sprintf("new%d TXT new", i))
	}
	for b.Loop() {
		if _, err := l.At(origin, 1); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoad is a start with a zone of a million records.
func BenchmarkLoad(b *testing.B) {
	folder := b.TempDir()
	l := open(b, Config{Folder: folder})
	zones := []Zone{{Name: origin, Keep: Keep{Versions: 1000, Size: 64 << 20}, Initial: func() (*zone.Zone, error) { return large(b, origin, 1_000_000), nil }}}
	l.Set(zones)
	for i := range 100 {
		l.mustAdd(origin, fmt.Sprintf("new%d TXT new", i))
	}
	l.Close()
	for b.Loop() {
		l := open(b, Config{Folder: folder})
		l.Set(zones)
		if l.Version(origin).Zone == nil {
			b.Fatal("nothing loaded")
		}
		l.Close()
	}
}

// large makes a zone of so many records.
func large(tb testing.TB, name dnsname.Name, records int) *zone.Zone {
	b := zone.NewBuilder(name)
	for r := range parse(tb, name, exampleText).Records() {
		b.Add(r)
	}
	for i := range records {
		owner, err := name.Child(fmt.Sprintf("host%d", i))
		if err != nil {
			tb.Fatal(err)
		}
		b.Add(rdata.Record{Name: owner, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 3600, Data: []byte{10, byte(i >> 16), byte(i >> 8), byte(i)}})
	}
	z, problems := b.Finish()
	if z == nil {
		tb.Fatal(strings.TrimSpace(fmt.Sprint(problems)))
	}
	return z
}
