// Package zonemd makes and checks the digest of a whole zone (RFC 8976): that what was
// transferred or read from a file is what the publisher of the zone has made.
//
// It owns the digest of scheme SIMPLE with SHA-384 and SHA-512, and when a ZONEMD record
// counts. It does not own whether the record itself is signed (package sign), nor what
// happens to a zone without or with a wrong one (package gate).
//
//	ZONEMD RDATA   serial u32 | scheme u8 | hash algorithm u8 | digest
//
// Entry points: Sum, Verify, Record.
//
// Concurrency: functions of their arguments.
//
// Sources: RFC 8976 §2.2, §3.3 and §4; RFC 4034 §6; RFC 6840 §5.1.
package zonemd

import (
	"bytes"
	"crypto"
	_ "crypto/sha512" // makes SHA-384 and SHA-512 available
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"iter"
	"slices"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// Hash algorithms (RFC 8976 §5.3), and the one scheme (§5.2).
const (
	SHA384 = 1
	SHA512 = 2

	schemeSimple = 1
)

const (
	headLen      = 6  // octets of RDATA before the digest
	minDigestLen = 12 // RFC 8976 §2.2.4
)

var hashes = map[uint8]crypto.Hash{SHA384: crypto.SHA384, SHA512: crypto.SHA512}

// ErrHash is a hash algorithm that is not known.
var ErrHash = errors.New("want 1 (SHA-384) or 2 (SHA-512)")

// Sum returns the digest of a zone (RFC 8976 §3.3). records are all of it in the
// canonical order of names, as zone.Zone.Records gives them; those outside of origin
// and duplicates do not count.
func Sum(origin dnsname.Name, records iter.Seq[rdata.Record], algorithm uint8) ([]byte, error) {
	algorithms, ok := hashes[algorithm]
	if !ok {
		return nil, fmt.Errorf("hash algorithm %d: %w", algorithm, ErrHash)
	}
	d := digester{origin: origin, sums: []hash.Hash{algorithms.New()}}
	d.all(records)
	return d.sums[0].Sum(nil), nil
}

// Record returns the RDATA of a ZONEMD record. With a nil digest it is a placeholder of
// the same length (RFC 8976 §3.1).
func Record(serial rdata.Serial, algorithm uint8, digest []byte) ([]byte, error) {
	h, ok := hashes[algorithm]
	if !ok {
		return nil, fmt.Errorf("hash algorithm %d: %w", algorithm, ErrHash)
	}
	if digest == nil {
		digest = make([]byte, h.Size())
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(serial))
	return append(append(b, schemeSimple, algorithm), digest...), nil
}

// digester feeds the records of a zone to hashes.
type digester struct {
	origin  dnsname.Name
	sums    []hash.Hash
	group   []rdata.Record // of one name
	members []member
	b       []byte
}

func (d *digester) all(records iter.Seq[rdata.Record]) {
	for r := range records {
		if len(d.group) > 0 && d.group[0].Name != r.Name {
			d.name()
		}
		d.group = append(d.group, r)
	}
	d.name()
}

// name feeds the records of one name: RFC 8976 §3.3.1: by type, and by canonical RDATA;
// of RRSIG records these begin with the type that they cover.
func (d *digester) name() {
	group := d.group
	d.group = d.group[:0]
	if len(group) == 0 || !group[0].Name.IsSubdomainOf(d.origin) {
		return
	}
	slices.SortStableFunc(group, func(a, b rdata.Record) int { return int(a.Type) - int(b.Type) })
	for len(group) > 0 {
		count := 1
		for count < len(group) && group[count].Type == group[0].Type {
			count++
		}
		d.set(group[:count])
		group = group[count:]
	}
}

// member is a record of an RRset. RRSIG records of one name differ in TTL, for each has
// that of what it covers (RFC 4034 §3).
type member struct {
	data []byte // in canonical form
	ttl  rdata.TTL
}

// set feeds the records of one name and type.
func (d *digester) set(records []rdata.Record) {
	apex := records[0].Name == d.origin
	if apex && records[0].Type == rdata.TypeZONEMD { // RFC 8976 §3.3.2: it cannot have a part in itself
		return
	}
	d.members = d.members[:0]
	for _, r := range records {
		if apex && r.Type == rdata.TypeRRSIG && covers(r.Data) == rdata.TypeZONEMD {
			continue
		}
		d.members = append(d.members, member{dnssec.CanonicalRDATA(r.Type, r.Data), r.TTL})
	}
	slices.SortStableFunc(d.members, func(a, b member) int { return bytes.Compare(a.data, b.data) })
	for i, m := range d.members {
		if i == 0 || !bytes.Equal(m.data, d.members[i-1].data) {
			d.record(records[0], m)
		}
	}
}

func (d *digester) record(r rdata.Record, m member) {
	b := r.Name.AppendWire(d.b[:0])
	b = binary.BigEndian.AppendUint16(b, uint16(r.Type))
	b = binary.BigEndian.AppendUint16(b, uint16(r.Class))
	b = binary.BigEndian.AppendUint32(b, uint32(m.ttl))
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.data)))
	d.b = append(b, m.data...)
	for _, sum := range d.sums {
		sum.Write(d.b)
	}
}

// covers returns the type that RRSIG RDATA covers.
func covers(data []byte) rdata.Type {
	if len(data) < 2 {
		return 0
	}
	return rdata.Type(binary.BigEndian.Uint16(data))
}
