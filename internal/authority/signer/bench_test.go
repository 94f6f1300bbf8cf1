package signer

import (
	"fmt"
	"testing"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// BenchmarkChange is how long it takes from a changed record in a large zone to the
// signed version.
func BenchmarkChange(b *testing.B) {
	const size = 100_000
	r := newRig(b, b.TempDir())
	r.settings.Policy.Single = true
	var names []string
	for i := range size {
		names = append(names, fmt.Sprintf("n%d A 192.0.2.1", i))
	}
	first := parse(b, 1, names...)
	published := make(chan rdata.Serial, 1000)
	r.heard = func(z *zone.Zone) { published <- z.Serial() }
	r.offer(first)
	for r.version().DenialType() == 0 {
		select {
		case <-published:
		case <-time.After(5 * time.Minute):
			b.Fatal("is not signed")
		}
	}
	source := journal.Version{Zone: first}
	for b.Loop() {
		edit := source.Zone.Edit()
		name := dnsname.MustParse(fmt.Sprintf("n%d.example.com.", source.Zone.Serial()))
		edit.Delete(rdata.Record{Name: name, Type: rdata.TypeA, Class: rdata.ClassIN, Data: []byte{192, 0, 2, 1}})
		edit.Add(rdata.Record{Name: name, Type: rdata.TypeA, Class: rdata.ClassIN, Data: []byte{192, 0, 2, 2}})
		set, _ := source.Zone.RRset(source.Zone.Apex(), rdata.TypeSOA)
		data, _, _ := set.Record(0)
		soa := rdata.Record{Name: origin, Type: rdata.TypeSOA, Class: rdata.ClassIN, Data: data}
		edit.Delete(soa)
		soa.Data = withSerial(data, source.Zone.Serial()+1)
		edit.Add(soa)
		next, problems := edit.Finish()
		if next == nil {
			b.Fatal(problems)
		}
		d := journal.BetweenAt(source.Zone, next, []dnsname.Name{name})
		source = journal.Version{Zone: next, Journal: source.Journal.With(d, 1<<20)}
		before := r.version().Serial()
		r.mu.Lock()
		r.source = source
		r.mu.Unlock()
		if _, err := r.s.Offer(origin, r.settings, source); err != nil {
			b.Fatal(err)
		}
		for now := before; now == before; {
			now = <-published
		}
	}
}
