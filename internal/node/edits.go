package node

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"

	"pharos/internal/admin/api"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// edit is an api.RecordEdit that was read. Of a deletion, Type and Data may be
// missing.
type edit struct {
	do     string
	record rdata.Record
}

// parseEdits reads the edits of a zone.
func parseEdits(origin dnsname.Name, edits []api.RecordEdit) ([]edit, error) {
	refuse := func(i int, format string, args ...any) error {
		return &api.Refused{Status: http.StatusBadRequest, Err: fmt.Errorf("edit %d: "+format, append([]any{i + 1}, args...)...)}
	}
	list := make([]edit, len(edits))
	for i, e := range edits {
		owner, err := ownerIn(origin, e.Owner)
		if err != nil {
			return nil, err
		}
		list[i] = edit{e.Do, rdata.Record{Name: owner, Class: rdata.ClassIN, TTL: rdata.TTL(e.TTL)}}
		r := &list[i].record
		switch e.Do {
		case "add", "replace":
			if e.Type == "" || e.Data == "" {
				return nil, refuse(i, "%q needs type and data", e.Do)
			}
		case "delete":
		default:
			return nil, refuse(i, "%q is not done; want add, replace or delete", e.Do)
		}
		if rdata.TTL(e.TTL) > rdata.MaxTTL {
			return nil, refuse(i, "TTL %d; the largest is %d", e.TTL, uint32(rdata.MaxTTL))
		}
		if e.Type == "" {
			continue
		}
		var ok bool
		if r.Type, ok = rdata.ParseType(e.Type); !ok || r.Type.IsMeta() {
			return nil, refuse(i, "%q is no type of records that a zone has; write A, TXT, TYPE65280, ...", e.Type)
		}
		if e.Data == "" {
			continue
		}
		if r.Data, err = rdata.ParseText(r.Type, origin, e.Data); err != nil {
			return nil, refuse(i, "%s %s %q: %v", owner, r.Type, e.Data, err)
		}
	}
	return list, nil
}

// setName is an RRset.
type setName struct {
	owner  dnsname.Name
	rrtype rdata.Type
}

// editsOf returns what makes the edits of a version. Deleting what is not there is an
// error: most likely the name was mistyped.
func editsOf(now *zone.Zone, edits []edit) (update.Change, error) {
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
