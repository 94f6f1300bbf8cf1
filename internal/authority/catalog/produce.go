package catalog

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"iter"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Times of the SOA record of a catalog that is made here, in seconds. RFC 9432 leaves
// them open; it should not expire before somebody has looked after its primary.
const (
	refresh = 3600
	retry   = 600
	expire  = 2147483646
)

// invalid is the name server of catalogs, which nobody is to ask (RFC 9432 §4.1).
var invalid = dnsname.MustParse("invalid.")

// LabelOf returns the label of a member in a catalog that is made here. It goes by the
// zone's name, so that a catalog that is made again resets nothing.
func LabelOf(member dnsname.Name) string {
	sum := sha256.Sum256([]byte(member.Wire()))
	return hex.EncodeToString(sum[:16])
}

// Records yields the records of a catalog with members, whose labels are not looked
// at. Its name must be one that Fits.
func Records(origin dnsname.Name, serial rdata.Serial, members []Member) iter.Seq[rdata.Record] {
	return func(yield func(rdata.Record) bool) {
		record := func(name dnsname.Name, t rdata.Type, data []byte) bool {
			return yield(rdata.Record{Name: name, Type: t, Class: rdata.ClassIN, Data: data})
		}
		soa := append(invalid.AppendWire(nil), invalid.Wire()...)
		for _, number := range []uint32{uint32(serial), refresh, retry, expire, 0} {
			soa = binary.BigEndian.AppendUint32(soa, number)
		}
		version, err := origin.Child("version")
		if err != nil || !record(origin, rdata.TypeSOA, soa) || !record(origin, rdata.TypeNS, invalid.AppendWire(nil)) ||
			!record(version, rdata.TypeTXT, text("2")) {
			return
		}
		for _, m := range members {
			if !addMember(origin, m, record) {
				return
			}
		}
	}
}

func addMember(origin dnsname.Name, m Member, record func(dnsname.Name, rdata.Type, []byte) bool) bool {
	name, properties, ok := nameOf(origin, m.Zone)
	if !ok {
		return true
	}
	if !record(name, rdata.TypePTR, m.Zone.AppendWire(nil)) {
		return false
	}
	for _, group := range m.Groups {
		if !record(properties["group"], rdata.TypeTXT, text(group)) {
			return false
		}
	}
	return m.Owner.IsZero() || record(properties["coo"], rdata.TypePTR, m.Owner.AppendWire(nil))
}

// nameOf returns the name of a member in a catalog, and those of its properties; ok is
// false if they are too long.
func nameOf(origin, member dnsname.Name) (name dnsname.Name, properties map[string]dnsname.Name, ok bool) {
	zones, err := origin.Child("zones")
	if err == nil {
		name, err = zones.Child(LabelOf(member))
	}
	properties = map[string]dnsname.Name{}
	for _, p := range []string{"group", "coo"} {
		if err == nil {
			properties[p], err = name.Child(p)
		}
	}
	return name, properties, err == nil
}

// Fits reports whether a catalog of this name can have members: its name must leave
// room for theirs.
func Fits(origin dnsname.Name) bool {
	_, _, ok := nameOf(origin, dnsname.Root)
	return ok
}

// text returns TXT data with s, in strings of 255 octets.
func text(s string) []byte {
	var data []byte
	for first := true; first || len(s) > 0; first = false {
		part := s[:min(len(s), 255)]
		data = append(append(data, byte(len(part))), part...)
		s = s[len(part):]
	}
	return data
}
