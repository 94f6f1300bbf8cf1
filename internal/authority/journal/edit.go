package journal

import (
	"cmp"
	"fmt"
	"slices"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// BetweenAt is Between for versions that differ at no owner name but names, and at
// the SOA record; whichever way their serials go. It takes no longer the larger the
// zone is.
func BetweenAt(old, now *zone.Zone, names []dnsname.Name) *Difference {
	d := &Difference{From: old.Serial(), To: now.Serial(), OldSOA: soaOf(old), NewSOA: soaOf(now)}
	names = slices.Clone(names)
	slices.SortFunc(names, dnsname.Name.Compare)
	var deleted, added []byte
	for _, n := range slices.Compact(names) {
		a, b := withoutSOA(old, RecordsAt(old, n)), withoutSOA(now, RecordsAt(now, n))
		if slices.EqualFunc(a, b, same) {
			continue
		}
		for _, r := range without(a, b) {
			deleted = rdata.AppendPacked(deleted, r)
			d.deletes++
		}
		for _, r := range without(b, a) {
			added = rdata.AppendPacked(added, r)
			d.adds++
		}
	}
	d.added = len(deleted)
	d.octets = slices.Concat(deleted, added)
	return d
}

// Of is Between for versions of which it is known what was deleted and what added
// to make one of the other. The SOA record may be among it, and what is both deleted
// and added is no difference. It takes no longer the larger the zone is, and, unlike
// BetweenAt, finds the owners of NSEC3 records, which are no names to look up.
func Of(old, now *zone.Zone, deletedRecords, addedRecords []rdata.Record) *Difference {
	d := &Difference{From: old.Serial(), To: now.Serial(), OldSOA: soaOf(old), NewSOA: soaOf(now)}
	a, b := inOrder(withoutSOA(old, slices.Clone(deletedRecords))), inOrder(withoutSOA(now, slices.Clone(addedRecords)))
	var deleted, added []byte
	for len(a) > 0 || len(b) > 0 {
		side := 0
		switch {
		case len(a) == 0:
			side = 1
		case len(b) == 0:
			side = -1
		default:
			side = ownerOrder(a[0], b[0])
		}
		if side < 0 {
			deleted = rdata.AppendPacked(deleted, a[0])
			d.deletes++
		}
		if side > 0 {
			added = rdata.AppendPacked(added, b[0])
			d.adds++
		}
		if side <= 0 {
			a = a[1:]
		}
		if side >= 0 {
			b = b[1:]
		}
	}
	d.added = len(deleted)
	d.octets = slices.Concat(deleted, added)
	return d
}

func ownerOrder(a, b rdata.Record) int { return cmp.Or(a.Name.Compare(b.Name), order(a, b)) }

// inOrder sorts a list of records, and leaves out what is there twice.
func inOrder(list []rdata.Record) []rdata.Record {
	slices.SortFunc(list, ownerOrder)
	return slices.CompactFunc(list, func(a, b rdata.Record) bool { return ownerOrder(a, b) == 0 })
}

// RecordsAt returns the records of a name. They look at the memory of z, but for the
// name.
func RecordsAt(z *zone.Zone, n dnsname.Name) []rdata.Record {
	node := z.Lookup(n).Exact
	if node == 0 {
		return nil
	}
	var list []rdata.Record
	sets := z.RRsets(node)
	for set, ok := sets.Next(); ok; set, ok = sets.Next() {
		at := 0
		for range set.Count {
			var data []byte
			data, _, at = set.Record(at)
			list = append(list, rdata.Record{Name: n, Type: set.Type, Class: rdata.ClassIN, TTL: set.TTL, Data: data})
		}
	}
	return list
}

func withoutSOA(z *zone.Zone, list []rdata.Record) []rdata.Record {
	return slices.DeleteFunc(list, func(r rdata.Record) bool { return r.Type == rdata.TypeSOA && r.Name == z.Origin() })
}

// All returns the differences, oldest first, which the caller must not change.
func (j *Journal) All() []*Difference {
	return j.get().differences
}

// IsEmpty reports whether nothing has changed but, perhaps, the serial in the SOA
// record.
func (d *Difference) IsEmpty() bool {
	return d.deletes == 0 && d.adds == 0 && d.OldSOA.TTL == d.NewSOA.TTL && string(withoutSerial(d.OldSOA)) == string(withoutSerial(d.NewSOA))
}

// withoutSerial returns the RDATA of an SOA record without the serial, which
// stands 20 octets before the end.
func withoutSerial(soa rdata.Record) []byte {
	at := len(soa.Data) - 20
	return append(slices.Clone(soa.Data[:at]), soa.Data[at+4:]...)
}

// Apply makes the changes of d to the old version.
func (d *Difference) Apply(e *zone.Editor) error {
	return replace(e, d, d.OldSOA, d.NewSOA, d.octets[:d.added], d.octets[d.added:])
}

// Revert takes the changes of d back from the new version.
func (d *Difference) Revert(e *zone.Editor) error {
	return replace(e, d, d.NewSOA, d.OldSOA, d.octets[d.added:], d.octets[:d.added])
}

func replace(e *zone.Editor, d *Difference, oldSOA, newSOA rdata.Record, deleted, added []byte) error {
	if !e.Delete(oldSOA) {
		return fmt.Errorf("the difference between serial %d and %d does not fit: the version has another SOA record", d.From, d.To)
	}
	for r := range rdata.Packed(deleted) {
		if !e.Delete(r) {
			return fmt.Errorf("the difference between serial %d and %d does not fit: the version has no record %s %s to delete", d.From, d.To, r.Name, r.Type)
		}
	}
	e.Add(newSOA)
	for r := range rdata.Packed(added) {
		e.Add(r)
	}
	return nil
}

// Compare calls found for each record, but the SOA records, that only one of two
// versions of a zone has, in the order of names, until found returns false.
func Compare(old, now *zone.Zone, found func(r rdata.Record, isAdded bool) bool) {
	compare(old, now, found)
}

// Extend is With for several differences, oldest first, at the cost of one.
func (j *Journal) Extend(limit int, list ...*Difference) *Journal {
	if len(list) == 0 {
		return j
	}
	all, size := list, 0
	if before := j.get().differences; len(before) > 0 {
		all = slices.Concat(before, list)
	}
	// As many as fit and join up, seen from the newest.
	first := len(all)
	for first > 0 {
		d := all[first-1]
		if size+d.Size() > limit || first < len(all) && all[first].From != d.To {
			break
		}
		size += d.Size()
		first--
	}
	if all = all[first:]; len(all) == 0 {
		return nil
	}
	return newJournal(all, size)
}
