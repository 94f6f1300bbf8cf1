package transfer

import (
	"fmt"
	"iter"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// identity is what makes two records one (RFC 2136 §1.1.1: the TTL does not
// count, nor the case of names within RDATA).
type identity struct {
	name   dnsname.Name
	rrtype rdata.Type
	data   string
}

func identityOf(r rdata.Record) identity {
	return identity{r.Name, r.Type, string(foldNames(r.Type, r.Data))}
}

// foldNames returns data with its domain names in lower case: a primary may
// compress a name onto one in another case.
func foldNames(t rdata.Type, data []byte) []byte {
	l := rdata.LayoutOf(t)
	if l.Names == 0 || l.Prefix < 0 || l.Prefix >= len(data) {
		return data
	}
	folded := append([]byte(nil), data...)
	at := l.Prefix
	for range l.Names {
		begin := at
		for at < len(folded) && folded[at] != 0 {
			at += 1 + int(folded[at])
		}
		at = min(at+1, len(folded))
		dnsname.Lower(folded[begin:at])
	}
	return folded
}

// fate is what becomes of a record in a series of changes.
type fate struct {
	gone  bool // the record of the old version does not stay
	added bool
	as    rdata.Record // if added
}

// fates are those of all records that are told of. names has their owners, for
// most names of a zone have none.
type fates struct {
	of    map[identity]fate
	names map[dnsname.Name]bool
}

func (f *fates) set(id identity, to fate) {
	f.of[id] = to
	f.names[id.name] = true
}

func (f *fates) find(r rdata.Record) (fate, bool) {
	if !f.names[r.Name] {
		return fate{}, false
	}
	found, changed := f.of[identityOf(r)]
	return found, changed
}

// Apply returns the records of the version that changes make of old. It fails if
// they do not fit it: then the two servers have different versions with one
// serial, and only AXFR helps.
func Apply(old *zone.Zone, changes []Change) (iter.Seq[rdata.Record], error) {
	fates := fates{of: map[identity]fate{}, names: map[dnsname.Name]bool{}}
	for _, c := range changes {
		for _, r := range c.Deleted {
			id := identityOf(r)
			f, known := fates.of[id]
			if known && !f.added {
				return nil, misfit(r, c, "deletes the record %s %s twice")
			}
			fates.set(id, fate{gone: !known || f.gone})
		}
		for _, r := range c.Added {
			id := identityOf(r)
			f := fates.of[id]
			if f.added {
				return nil, misfit(r, c, "adds the record %s %s twice")
			}
			fates.set(id, fate{gone: f.gone, added: true, as: r})
		}
	}
	missing := 0
	for _, f := range fates.of {
		if f.gone {
			missing++
		}
	}
	for r := range old.Records() {
		if f, changed := fates.find(r); changed && f.gone {
			missing--
		}
	}
	if missing != 0 {
		return nil, fmt.Errorf("differences from serial %d delete %d records that are not there", changes[0].From, missing)
	}
	return applied(old, changes[len(changes)-1].SOA, fates), nil
}

func misfit(r rdata.Record, c Change, text string) error {
	return fmt.Errorf("the difference from serial %d to %d "+text, c.From, c.To, r.Name, r.Type)
}

// applied yields the new version's records.
func applied(old *zone.Zone, soa rdata.Record, fates fates) iter.Seq[rdata.Record] {
	return func(yield func(rdata.Record) bool) {
		if !yield(soa) {
			return
		}
		for r := range old.Records() {
			if r.Type == rdata.TypeSOA && r.Name == old.Origin() {
				continue
			}
			if _, changed := fates.find(r); !changed && !yield(r) {
				return
			}
		}
		for _, f := range fates.of {
			if f.added && !yield(f.as) {
				return
			}
		}
	}
}
