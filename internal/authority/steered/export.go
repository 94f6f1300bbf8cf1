package steered

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"net/netip"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/steer"
)

// Present is what a steered name is answered with now, for who knows nothing of the
// client: what servers get that know nothing of pools.
type Present struct {
	Name    dnsname.Name
	How     zone.Steering
	Records []rdata.Record

	sum uint64
}

// PresentOf returns the present answer of a rule: the first of a cycle, by the TTL of calm
// times, whatever the load. These would change it every second.
func PresentOf(r *steer.Rule) Present {
	return *r.PerView(func() any { p := presentOf(r); return &p }).(*Present)
}

func presentOf(r *steer.Rule) Present {
	how, _ := zone.ParseSteering(r.Kind.String())
	p := Present{Name: r.Name, How: how}
	add := func(t rdata.Type, ttl rdata.TTL, data []byte) {
		p.Records = append(p.Records, rdata.Record{Name: r.Name, Type: t, Class: rdata.ClassIN, TTL: ttl, Data: bytes.Clone(data)})
	}
	all := func(t rdata.Type) (*steer.Prepared, []uint16) {
		decided := r.Default(t)
		return decided, decided.Pick(0, netip.Addr{}, nil)
	}
	for _, t := range r.Kind.Types() {
		if t == rdata.TypeHTTPS || t == rdata.TypeSVCB {
			v4, picks4 := all(rdata.TypeA)
			v6, picks6 := all(rdata.TypeAAAA)
			if len(picks4)+len(picks6) > 0 {
				add(t, r.TTL, r.AppendService(nil, v4, v6, picks4, picks6))
			}
			continue
		}
		decided, picks := all(t)
		for _, i := range picks {
			add(t, decided.TTL, decided.RDATA(int(i)))
		}
	}
	return NewPresent(p.Name, how, p.Records)
}

// NewPresent returns the present answer of a name.
func NewPresent(name dnsname.Name, how zone.Steering, records []rdata.Record) Present {
	h := fnv.New64a()
	h.Write(append(name.AppendWire(nil), byte(how)))
	p := Present{Name: name, How: how, Records: records, sum: h.Sum64()}
	for _, r := range records {
		h.Reset()
		fmt.Fprintf(h, "%s %d %d %x", r.Name, r.Type, r.TTL, r.Data)
		p.sum += h.Sum64()
	}
	return p
}

// Sum stands for what answers say, whatever their order.
func Sum(answers []Present) (sum uint64) {
	for i := range answers {
		sum += answers[i].sum
	}
	return sum
}

// Export returns the version of z, with another serial, in which steered names have the
// present answers. What z itself has of such records stays with it: it is left out of the
// version, not of what the operator keeps.
func Export(z *zone.Zone, answers []Present, serial rdata.Serial) (*zone.Zone, error) {
	edit := z.Edit()
	for _, p := range answers {
		if node := z.Lookup(p.Name).Exact; node != 0 {
			sets := z.RRsets(node)
			for set, ok := sets.Next(); ok; set, ok = sets.Next() {
				at := 0
				for range set.Count {
					var data []byte
					if data, _, at = set.Record(at); p.How.Hides(set.Type) {
						edit.Delete(rdata.Record{Name: p.Name, Type: set.Type, Class: rdata.ClassIN, TTL: set.TTL, Data: data})
					}
				}
			}
		}
		for _, r := range p.Records {
			edit.Add(r)
		}
	}
	edit.SetSerial(serial)
	exported, problems := edit.Finish()
	if exported == nil {
		return nil, fmt.Errorf("the answers of pools cannot be put into the zone: %v", problems)
	}
	return exported, nil
}
