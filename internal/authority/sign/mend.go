package sign

import (
	"bytes"
	"maps"
	"slices"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// This file mends the chain of a signed version where names have come or gone, or have
// other types.

// chain updates the records of the chain.
func (u *updating) chain() error {
	switch {
	case u.p.Live:
		return nil
	case u.p.NSEC3 != nil:
		return u.mendHashed()
	}
	return u.mendPlain()
}

// mendPlain updates NSEC records.
func (u *updating) mendPlain() error {
	r := repair[dnsname.Name]{
		compare: dnsname.Name.Compare, removed: map[dnsname.Name]bool{},
		preceding: func(n dnsname.Name) dnsname.Name { return u.old.Name(u.old.Preceding(n)) },
		following: func(n dnsname.Name) dnsname.Name {
			data, _ := u.oldRecord(u.old.Lookup(n).Exact, rdata.TypeNSEC)
			next, _, _ := dnsname.FromWire(data)
			return next
		},
	}
	bitmaps := map[dnsname.Name][]byte{} // of touched names that are in the chain
	for _, n := range u.sorted() {
		before, now := u.old.Lookup(n).Exact, u.names[n]
		_, was := u.oldRecord(before, rdata.TypeNSEC)
		is := now != 0 && u.inChain(now)
		switch {
		case is:
			bitmaps[n] = u.bitmapAt(now, u.contentOf(now, nil))
			if !was {
				r.added = append(r.added, n)
			}
		case was:
			r.removed[n] = true
			u.change.replace(recordsOf(u.old, before, isNSEC), nil)
		}
	}
	owners := slices.AppendSeq(r.owners(), maps.Keys(bitmaps))
	slices.SortFunc(owners, dnsname.Name.Compare)
	for _, n := range slices.Compact(owners) {
		before := u.old.Lookup(n).Exact
		bitmap, touched := bitmaps[n]
		if !touched {
			data, _ := u.oldRecord(before, rdata.TypeNSEC)
			_, length, _ := dnsname.FromWire(data)
			bitmap = data[length:]
		}
		if err := u.mend(u.nsec(n, r.after(n), bitmap), before, isNSEC); err != nil {
			return err
		}
	}
	return nil
}

func isNSEC(t rdata.Type) bool  { return t == rdata.TypeNSEC }
func isNSEC3(t rdata.Type) bool { return t == rdata.TypeNSEC3 }

// oldRecord returns the RDATA of the record of the chain that a node of the old version has.
func (u *updating) oldRecord(n zone.Node, t rdata.Type) (data []byte, ok bool) {
	if n == 0 {
		return nil, false
	}
	set, ok := u.old.RRset(n, t)
	if !ok {
		return nil, false
	}
	data, _, _ = set.Record(0)
	return data, true
}

// mend puts a record of the chain in the place of the one that before has, if any.
func (u *updating) mend(set rdata.RRset, before zone.Node, isChain func(rdata.Type) bool) error {
	next, _, err := u.appendSet(nil, set, before, true)
	var old []rdata.Record
	if before != 0 {
		old = recordsOf(u.old, before, isChain)
	}
	u.change.replace(old, next)
	return err
}

// mendHashed updates NSEC3 records.
func (u *updating) mendHashed() error {
	r := repair[[hashLen]byte]{
		compare: compareHashes, removed: map[[hashLen]byte]bool{},
		preceding: u.precedingHash,
		following: func(h [hashLen]byte) [hashLen]byte {
			next, _ := u.oldHashed(u.beforeHashed(h))
			return next
		},
	}
	bitmaps := map[[hashLen]byte][]byte{}
	for n, now := range u.names {
		h := u.hash(n)
		before := u.beforeHashed(h)
		switch is := now != 0 && u.inChain(now); {
		case is:
			bitmaps[h] = u.bitmapAt(now, u.contentOf(now, nil))
			if before == 0 {
				r.added = append(r.added, h)
			}
		case before != 0:
			r.removed[h] = true
			u.change.replace(recordsOf(u.old, before, isNSEC3), nil)
		}
	}
	slices.SortFunc(r.added, compareHashes)
	owners := slices.AppendSeq(r.owners(), maps.Keys(bitmaps))
	for h := range u.hashOwners {
		if !r.removed[h] {
			owners = append(owners, h)
		}
	}
	slices.SortFunc(owners, compareHashes)
	for _, h := range slices.Compact(owners) {
		before := u.beforeHashed(h)
		bitmap, touched := bitmaps[h]
		if !touched {
			_, bitmap = u.oldHashed(before)
		}
		set, err := u.nsec3(h, r.after(h), bitmap)
		if err == nil {
			err = u.mend(set, before, isNSEC3)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func compareHashes(a, b [hashLen]byte) int { return bytes.Compare(a[:], b[:]) }

// precedingHash returns the hash before h in the old chain, be h in it or not.
func (u *updating) precedingHash(h [hashLen]byte) [hashLen]byte {
	for i := hashLen - 1; i >= 0; i-- { // h - 1
		h[i]--
		if h[i] != 255 {
			break
		}
	}
	before, _ := hashOf(u.old.Name(u.old.Covering(zone.Hash([]byte(label(h))))), u.origin)
	return before
}

// oldHashed returns the next hash and the bit maps of an NSEC3 record of the old version.
func (u *updating) oldHashed(n zone.Node) (next [hashLen]byte, bitmap []byte) {
	data, ok := u.oldRecord(n, rdata.TypeNSEC3)
	if at := 5 + len(u.p.NSEC3.Salt); ok && len(data) >= at+1+hashLen {
		return [hashLen]byte(data[at+1:]), data[at+1+hashLen:]
	}
	return next, nil
}
