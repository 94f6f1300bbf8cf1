// Package edits is what an operator changes of a zone by hand: a record added, an RRset
// replaced, a name deleted.
//
// It owns how an edit is read and what it changes in a version; edits are carried out
// in their order, and all or none. It does not own dynamic updates (package update),
// whose rules are made for programs: where RFC 2136 passes over what makes no sense, a
// person is told.
//
// Entry points: Parse, Change.
//
// Concurrency: everything is a value or a pure function.
//
// Sources: RFC 2181 §5.2 (one TTL for an RRset), RFC 2136 §3.4.2.2 (what there is one
// of).
package edits

import (
	"bytes"
	"fmt"
	"slices"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Edit is one change, as it is typed.
type Edit struct {
	// Do is "add"; "replace", which is add instead of all there are of the type; or
	// "delete", which without Data is of all records of the type, and without Type of
	// all of the name.
	Do    string
	Owner string // relative to the zone; "@" or nothing is its apex
	TTL   uint32
	Type  string
	Data  string // in presentation form, names relative to the zone
}

// Parsed is an Edit that was read. Of a deletion, type and data may be missing.
type Parsed struct {
	do     string
	record rdata.Record
}

// Parse reads the edits of a zone. The error says which of them is wrong.
func Parse(origin dnsname.Name, edits []Edit) ([]Parsed, error) {
	list := make([]Parsed, len(edits))
	for i, e := range edits {
		var err error
		if list[i], err = parse(origin, e); err != nil {
			return nil, fmt.Errorf("edit %d: %w", i+1, err)
		}
	}
	return list, nil
}

func parse(origin dnsname.Name, e Edit) (p Parsed, err error) {
	p = Parsed{e.Do, rdata.Record{Class: rdata.ClassIN, TTL: rdata.TTL(e.TTL)}}
	r := &p.record
	if r.Name, err = Owner(origin, e.Owner); err != nil {
		return p, err
	}
	switch {
	case e.Do != "add" && e.Do != "replace" && e.Do != "delete":
		return p, fmt.Errorf("%q is not done; want add, replace or delete", e.Do)
	case e.Do != "delete" && (e.Type == "" || e.Data == ""):
		return p, fmt.Errorf("%q needs type and data", e.Do)
	case r.TTL > rdata.MaxTTL:
		return p, fmt.Errorf("TTL %d; the largest is %d", e.TTL, uint32(rdata.MaxTTL))
	case e.Type == "":
		return p, nil
	}
	var ok bool
	if r.Type, ok = rdata.ParseType(e.Type); !ok || r.Type.IsMeta() {
		return p, fmt.Errorf("%q is no type of records that a zone has; write for example A, TXT or TYPE65280", e.Type)
	}
	if e.Data == "" {
		return p, nil
	}
	if r.Data, err = rdata.ParseText(r.Type, origin, e.Data); err != nil {
		return p, fmt.Errorf("%s %s %q: %w", r.Name, r.Type, e.Data, err)
	}
	return p, nil
}

// Owner reads an owner name, relative to the zone or absolute; "@" and nothing are the
// apex.
func Owner(origin dnsname.Name, text string) (dnsname.Name, error) {
	if text == "" || text == "@" {
		return origin, nil
	}
	owner, err := dnsname.ParseIn(text, origin)
	if err == nil && !owner.IsSubdomainOf(origin) {
		err = fmt.Errorf("%s is not in zone %s; without a final dot the zone's name is added", owner, origin)
	}
	return owner, err
}

// setName is an RRset.
type setName struct {
	owner  dnsname.Name
	rrtype rdata.Type
}

// Change returns what makes the edits of a version. Deleting what is not there is an
// error: most likely the name was mistyped.
func Change(now *zone.Zone, edits []Parsed) (update.Change, error) {
	sets := map[setName][]rdata.Record{} // as they will be
	var order []setName
	load := func(owner dnsname.Name) {
		for _, r := range journal.RecordsAt(now, owner) {
			key := setName{owner, r.Type}
			sets[key] = append(sets[key], r)
			if !slices.Contains(order, key) {
				order = append(order, key)
			}
		}
	}
	loaded := map[dnsname.Name]bool{}
	for _, e := range edits {
		owner := e.record.Name
		if !loaded[owner] {
			loaded[owner] = true
			load(owner)
		}
		key := setName{owner, e.record.Type}
		if e.do == "delete" {
			if !deleteFrom(sets, e.record) {
				return update.Change{}, fmt.Errorf("there is no record %s to delete", describe(e.record))
			}
			continue
		}
		if !slices.Contains(order, key) {
			order = append(order, key)
		}
		// RFC 2181 §5.2: the records of an RRset have one TTL; the newest counts. And
		// there is one CNAME, DNAME and SOA record at a name (RFC 2136 §3.4.2.2).
		isSingle := key.rrtype == rdata.TypeCNAME || key.rrtype == rdata.TypeDNAME || key.rrtype == rdata.TypeSOA
		var next []rdata.Record
		for _, r := range sets[key] {
			if r.TTL = e.record.TTL; e.do == "add" && !isSingle && !bytes.Equal(r.Data, e.record.Data) {
				next = append(next, r)
			}
		}
		sets[key] = append(next, e.record)
	}
	return changeBetween(now, order, sets), nil
}

// deleteFrom deletes what r names, and reports whether it was there. The SOA record,
// without which there is no zone, only goes when it is named with its data.
func deleteFrom(sets map[setName][]rdata.Record, r rdata.Record) bool {
	found := false
	for key, list := range sets {
		if key.owner != r.Name || r.Type != 0 && key.rrtype != r.Type || key.rrtype == rdata.TypeSOA && r.Data == nil {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(list), func(have rdata.Record) bool { return r.Data == nil || bytes.Equal(have.Data, r.Data) })
		found = found || len(left) < len(list)
		sets[key] = left
	}
	return found
}

func describe(r rdata.Record) string {
	text := r.Name.String()
	if r.Type != 0 {
		text += " " + r.Type.String()
	}
	if r.Data != nil {
		text += " " + string(rdata.AppendText(nil, r.Type, r.Data))
	}
	return text
}

// changeBetween returns what leads from a version to RRsets.
func changeBetween(now *zone.Zone, order []setName, sets map[setName][]rdata.Record) update.Change {
	var change update.Change
	same := func(a rdata.Record) func(rdata.Record) bool {
		return func(b rdata.Record) bool { return a.TTL == b.TTL && bytes.Equal(a.Data, b.Data) }
	}
	for _, key := range order {
		var old []rdata.Record
		for _, r := range journal.RecordsAt(now, key.owner) {
			if r.Type == key.rrtype {
				old = append(old, r)
			}
		}
		for _, r := range old {
			if !slices.ContainsFunc(sets[key], same(r)) {
				change.Deleted = append(change.Deleted, r)
			}
		}
		for _, r := range sets[key] {
			if !slices.ContainsFunc(old, same(r)) {
				change.Added = append(change.Added, r)
			}
		}
	}
	return change
}
