// Package journal is what has changed between the versions of a zone, so that a
// secondary can be told the differences instead of the whole (RFC 1995).
//
// It owns how differences are found, kept within bounds and looked up by serial.
// It does not own how they are sent (package transfer) nor when a version is
// published (package node).
//
//	Difference.octets   the deleted records | the added records    packed, without SOA
//
// It also has the form in which they are kept on disk (entry.go, frame.go), which
// package ledger writes and reads.
//
// Entry points: Between, BetweenAt, Of, Same, Journal.With, Journal.Extend,
// Journal.Since, Difference.Apply, Difference.Revert; Version; Entry, ScanFrames; Budget.
//
// Concurrency: a Difference and a Journal never change after they are made and
// may be shared, but that a Budget may empty a Journal at any time. A Budget's methods
// may be called from anywhere.
//
// Sources: RFC 1995 §2 and §4, RFC 1982.
package journal

import (
	"bytes"
	"cmp"
	"iter"
	"slices"
	"sync/atomic"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/rdata"
)

// Version is a zone and what is known of how it came to be. Its zero value stands
// for a zone that has no version.
type Version struct {
	Zone    *zone.Zone
	Journal *Journal // leads to Zone; nil if nobody has kept account
}

// Difference is how one version of a zone becomes the next. It has memory of its
// own, so that it does not keep the versions alive.
type Difference struct {
	From, To       rdata.Serial
	OldSOA, NewSOA rdata.Record

	octets  []byte
	added   int // where the added records begin in octets
	deletes int
	adds    int
}

// Deleted returns the records that the new version does not have any more,
// without the SOA record. Names and RDATA look at the memory of d.
func (d *Difference) Deleted() iter.Seq[rdata.Record] { return rdata.Packed(d.octets[:d.added]) }

// Added returns the records that the old version did not have, without the SOA
// record. A record whose TTL has changed is deleted and added.
func (d *Difference) Added() iter.Seq[rdata.Record] { return rdata.Packed(d.octets[d.added:]) }

// Len returns the number of records deleted and added, without SOA records.
func (d *Difference) Len() (deleted, added int) { return d.deletes, d.adds }

// overhead is roughly what a Difference takes beside its records.
const overhead = 200

// Size returns roughly how many octets of memory d takes.
func (d *Difference) Size() int {
	return len(d.octets) + len(d.OldSOA.Data) + len(d.NewSOA.Data) + overhead
}

// Between finds what is different in the version now. ok is false if that takes
// more than limit octets, or if the serial does not go forward (RFC 1982).
func Between(old, now *zone.Zone, limit int) (d *Difference, ok bool) {
	if !old.Serial().Less(now.Serial()) {
		return nil, false
	}
	d = &Difference{From: old.Serial(), To: now.Serial(), OldSOA: soaOf(old), NewSOA: soaOf(now)}
	var deleted, added []byte
	fits := compare(old, now, func(r rdata.Record, isAdded bool) bool {
		if isAdded {
			added = rdata.AppendPacked(added, r)
			d.adds++
		} else {
			deleted = rdata.AppendPacked(deleted, r)
			d.deletes++
		}
		return len(added)+len(deleted) <= limit-overhead
	})
	if !fits {
		return nil, false
	}
	d.added = len(deleted)
	d.octets = slices.Concat(deleted, added)
	return d, true
}

// Same reports whether two versions have the same records.
func Same(a, b *zone.Zone) bool {
	x, y := soaOf(a), soaOf(b)
	return same(x, y) && compare(a, b, func(rdata.Record, bool) bool { return false })
}

func soaOf(z *zone.Zone) rdata.Record {
	set, _ := z.RRset(z.Apex(), rdata.TypeSOA)
	data, _, _ := set.Record(0)
	return rdata.Record{Name: z.Origin(), Type: rdata.TypeSOA, Class: rdata.ClassIN, TTL: set.TTL, Data: bytes.Clone(data)}
}

// compare calls found for each record that only one of the versions has, until it
// returns false; then compare does too. Both give their names in one order, so
// they are walked side by side.
func compare(old, now *zone.Zone, found func(r rdata.Record, isAdded bool) bool) bool {
	nextOld, stopOld := iter.Pull(byName(old))
	defer stopOld()
	nextNow, stopNow := iter.Pull(byName(now))
	defer stopNow()
	a, moreOld := nextOld()
	b, moreNow := nextNow()
	for moreOld || moreNow {
		order := 0
		switch {
		case !moreNow:
			order = -1
		case !moreOld:
			order = 1
		default:
			order = a[0].Name.Compare(b[0].Name)
		}
		var deleted, added []rdata.Record
		switch {
		case order < 0:
			deleted = a
		case order > 0:
			added = b
		case !slices.EqualFunc(a, b, same):
			deleted, added = without(a, b), without(b, a)
		}
		for _, r := range deleted {
			if !found(r, false) {
				return false
			}
		}
		for _, r := range added {
			if !found(r, true) {
				return false
			}
		}
		if order <= 0 {
			a, moreOld = nextOld()
		}
		if order >= 0 {
			b, moreNow = nextNow()
		}
	}
	return true
}

// byName yields the records of z name by name, without the zone's SOA record. A
// slice is good until the next one.
func byName(z *zone.Zone) iter.Seq[[]rdata.Record] {
	return func(yield func([]rdata.Record) bool) {
		var group []rdata.Record
		for r := range z.Records() {
			if r.Type == rdata.TypeSOA && r.Name == z.Origin() {
				continue
			}
			if len(group) > 0 && group[0].Name != r.Name {
				if !yield(group) {
					return
				}
				group = group[:0]
			}
			group = append(group, r)
		}
		if len(group) > 0 {
			yield(group)
		}
	}
}

func same(a, b rdata.Record) bool {
	return a.Type == b.Type && a.TTL == b.TTL && bytes.Equal(a.Data, b.Data)
}

func order(a, b rdata.Record) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), bytes.Compare(a.Data, b.Data), cmp.Compare(a.TTL, b.TTL))
}

// without returns the records of one name in a that are not in b.
func without(a, b []rdata.Record) []rdata.Record {
	b = slices.SortedFunc(slices.Values(b), order)
	var left []rdata.Record
	for _, r := range a {
		if _, there := slices.BinarySearchFunc(b, r, order); !there {
			left = append(left, r)
		}
	}
	return left
}

// Journal is the last differences of one zone, oldest first, each beginning where
// the one before ends. A nil Journal is empty, and so is one that a Budget has dropped.
type Journal struct {
	content atomic.Pointer[content] // nil: empty
}

type content struct {
	differences []*Difference
	size        int
}

func newJournal(differences []*Difference, size int) *Journal {
	j := new(Journal)
	j.content.Store(&content{differences, size})
	return j
}

// get returns what is in j now.
func (j *Journal) get() content {
	if j != nil {
		if c := j.content.Load(); c != nil {
			return *c
		}
	}
	return content{}
}

// With returns the journal with d behind it, and as much of what j has as limit
// octets allow. A d that does not begin where j ends begins a new journal, and so
// does a nil d, which stands for what cannot be told.
func (j *Journal) With(d *Difference, limit int) *Journal {
	if d == nil || d.Size() > limit {
		return nil
	}
	before, size := j.get().differences, d.Size()
	if len(before) == 0 || before[len(before)-1].To != d.From {
		return newJournal([]*Difference{d}, size)
	}
	first := len(before)
	for first > 0 && size+before[first-1].Size() <= limit {
		first--
		size += before[first].Size()
	}
	return newJournal(append(slices.Clone(before[first:]), d), size)
}

// Since returns the differences that lead from the version with serial from to the
// newest. ok is false if the journal does not go back to it.
func (j *Journal) Since(from rdata.Serial) (list []*Difference, ok bool) {
	// From the newest on: a serial may have wrapped around.
	all := j.get().differences
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].From == from {
			return all[i:], true
		}
	}
	return nil, false
}

// Stats returns the number of differences and roughly their octets of memory.
func (j *Journal) Stats() (differences, sizeBytes int) {
	c := j.get()
	return len(c.differences), c.size
}
