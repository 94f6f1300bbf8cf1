package sign

import (
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Revision is a signed version that another one is to follow.
type Revision struct {
	Old *zone.Zone // the version signed last
	New *zone.Zone // the unsigned version that is to be signed; see Strip
	// Touched are the names at which the unsigned version that Old was made of and New
	// differ; more do no harm. The apex need not be among them.
	Touched []dnsname.Name
	// Due are further names, those whose signatures are to be made again; see Due.
	Due []dnsname.Name
}

// Change is records to be deleted from a signed version, and to be added to it.
type Change struct {
	Deleted, Added []rdata.Record
}

// Update returns what makes r.Old the signed form of r.New. Signatures that still fit and
// are not due stay; but where r.New differs in parameters, keys, or in how long denials
// are good, more than the touched names has to change, and it returns ErrWhole: then
// a Plan with r.Old for its old version does it.
func Update(r Revision, params Params, now time.Time) (Change, error) {
	plan, err := NewPlan(r.New, r.Old, params, now)
	if err != nil {
		return Change{}, err
	}
	plan.Work()
	z, _, err := plan.Finish()
	if err != nil {
		return Change{}, err
	}
	return difference(r.Old, z), nil
}

// difference returns what is in one of two versions only.
func difference(old, z *zone.Zone) Change {
	var c Change
	key := func(r rdata.Record) string { return string(pack(nil, r)) }
	in := map[string]bool{}
	for r := range old.Records() {
		in[key(r)] = true
	}
	for r := range z.Records() {
		if k := key(r); in[k] {
			delete(in, k)
		} else {
			c.Added = append(c.Added, r)
		}
	}
	for r := range old.Records() {
		if in[key(r)] {
			c.Deleted = append(c.Deleted, r)
		}
	}
	return c
}

// Due returns the names of a signed zone that have signatures which are due now, up to
// limit of them (0: all), and when the next one is after those. It looks at every signature.
func Due(z *zone.Zone, params Params, now time.Time, limit int) (names []dnsname.Name, next time.Time, err error) {
	p, err := params.withDefaults()
	if err != nil {
		return nil, time.Time{}, err
	}
	due := rdata.Serial(now.Add(p.Refresh).Unix())
	left := int64(1<<31 - 1) // seconds until the next
	for n := range z.Nodes() {
		first := int64(1<<31 - 1)
		sets := z.RRsets(n)
		for set, ok := sets.Next(); ok; set, ok = sets.Next() {
			for at, i := 0, 0; set.Type == rdata.TypeRRSIG && i < set.Count; i++ {
				var data []byte
				data, _, at = set.Record(at)
				first = min(first, int64(int32(expiration(data)-due)))
			}
		}
		switch {
		case first > 0:
			left = min(left, first)
		case limit == 0 || len(names) < limit:
			names = append(names, z.Name(n).Clone())
		default:
			left = 0
		}
	}
	return names, now.Add(time.Duration(left) * time.Second), nil
}

// expiration returns a field of RRSIG RDATA, which the zone has checked to be one.
func expiration(data []byte) rdata.Serial {
	if len(data) < 12 {
		return 0
	}
	return rdata.Serial(data[8])<<24 | rdata.Serial(data[9])<<16 | rdata.Serial(data[10])<<8 | rdata.Serial(data[11])
}
