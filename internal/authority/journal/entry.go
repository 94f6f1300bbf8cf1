package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Entry is one version of a zone in a log: what led to it, when and by whom.
//
//	entry   zone: length u8 | name
//	        version u64 | time i64, ns since 1970 | sum u64 | by: length u8 | text
//	        from u32 | to u32 | old SOA: record | new SOA: record
//	        records deleted u32 | records added u32 | octets of the deleted u32
//	        the deleted | the added
//
// Numbers are big-endian; a record is packed, see package rdata.
type Entry struct {
	Zone       dnsname.Name
	Version    uint64 // counts the versions of the zone
	Time       time.Time
	By         string // who has made it; up to MaxBy octets
	Sum        uint64 // of the version, see SumOf
	Difference *Difference
}

// MaxBy is how long Entry.By can be: its length is one octet.
const MaxBy = 255

// ErrEntry means that octets are no Entry.
var ErrEntry = errors.New("not an entry of a log of versions")

// Append appends e to b. What of e.By is too long is cut off.
func (e *Entry) Append(b []byte) []byte {
	d, by := e.Difference, e.By[:min(len(e.By), MaxBy)]
	b = append(b, byte(e.Zone.Len()))
	b = e.Zone.AppendWire(b)
	b = binary.BigEndian.AppendUint64(b, e.Version)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, e.Sum)
	b = append(b, byte(len(by)))
	b = append(b, by...)
	b = binary.BigEndian.AppendUint32(b, uint32(d.From))
	b = binary.BigEndian.AppendUint32(b, uint32(d.To))
	b = rdata.AppendPacked(b, d.OldSOA)
	b = rdata.AppendPacked(b, d.NewSOA)
	b = binary.BigEndian.AppendUint32(b, uint32(d.deletes))
	b = binary.BigEndian.AppendUint32(b, uint32(d.adds))
	b = binary.BigEndian.AppendUint32(b, uint32(d.added))
	return append(b, d.octets...)
}

// DecodeEntry reads what Append wrote, and all of it. The Entry keeps nothing of b.
func DecodeEntry(b []byte) (*Entry, error) {
	r := reader{rest: b}
	e := &Entry{Zone: r.name(int(r.octet())).Clone(), Version: r.uint64(), Time: time.Unix(0, int64(r.uint64())), Sum: r.uint64()}
	e.By = string(r.take(int(r.octet())))
	d := &Difference{From: rdata.Serial(r.uint32()), To: rdata.Serial(r.uint32())}
	d.OldSOA, d.NewSOA = r.soa(e.Zone), r.soa(e.Zone)
	d.deletes, d.adds, d.added = int(r.uint32()), int(r.uint32()), int(r.uint32())
	if r.failed || d.added > len(r.rest) {
		return nil, fmt.Errorf("%w: it is cut off", ErrEntry)
	}
	d.octets = append([]byte(nil), r.rest...)
	for _, part := range []struct {
		octets []byte
		count  int
	}{{d.octets[:d.added], d.deletes}, {d.octets[d.added:], d.adds}} {
		if err := checkRecords(part.octets, part.count, e.Zone); err != nil {
			return nil, err
		}
	}
	e.Difference = d
	return e, nil
}

// checkRecords checks that b is count records of a zone.
func checkRecords(b []byte, count int, origin dnsname.Name) error {
	r := reader{rest: b}
	n := 0
	for ; len(r.rest) > 0 && !r.failed; n++ {
		record := r.record()
		if !r.failed && (!record.Name.IsSubdomainOf(origin) || rdata.Validate(record.Type, record.Data) != nil) {
			return fmt.Errorf("%w: a record that the zone cannot have", ErrEntry)
		}
	}
	if r.failed || n != count {
		return fmt.Errorf("%w: its records are not as many as it says", ErrEntry)
	}
	return nil
}

// reader takes an entry apart.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) take(n int) []byte {
	if r.failed || n > len(r.rest) {
		r.failed = true
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) octet() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// name reads a name of length octets. It looks at the memory of r.
func (r *reader) name(length int) dnsname.Name {
	wire := r.take(length)
	if _, used, err := dnsname.FromWire(wire); err != nil || used != length {
		r.failed = true
		return dnsname.Root
	}
	n := dnsname.View(wire)
	for _, c := range wire { // all names of a zone are in lower case
		if 'A' <= c && c <= 'Z' {
			r.failed = true
		}
	}
	return n
}

// record reads one record. It looks at the memory of r.
func (r *reader) record() rdata.Record {
	record := rdata.Record{Name: r.name(int(r.octet())), Class: rdata.ClassIN, Type: rdata.Type(r.uint16()), TTL: rdata.TTL(r.uint32())}
	record.Data = r.take(int(r.uint16()))
	return record
}

// soa reads the SOA record of a zone, which gets memory of its own.
func (r *reader) soa(origin dnsname.Name) rdata.Record {
	record := r.record()
	if record.Type != rdata.TypeSOA || record.Name != origin || rdata.Validate(record.Type, record.Data) != nil {
		r.failed = true
		return rdata.Record{}
	}
	record.Name, record.Data = origin, append([]byte(nil), record.Data...)
	return record
}

// SumOf returns a sum over the records of a version, in which their order does not
// count: two versions with the same sum are the same, unless somebody meant them
// not to be. A Difference leads from one sum to the next, see Difference.Shift.
func SumOf(z *zone.Zone) uint64 {
	var sum uint64
	for r := range z.Records() {
		sum += hashRecord(r)
	}
	return sum
}

// Shift returns the sum of the new version, of that of the old one.
func (d *Difference) Shift(sum uint64) uint64 {
	sum += hashRecord(d.NewSOA) - hashRecord(d.OldSOA)
	for r := range d.Deleted() {
		sum -= hashRecord(r)
	}
	for r := range d.Added() {
		sum += hashRecord(r)
	}
	return sum
}

// SumRecord returns what one record adds to the sum of its version.
func SumRecord(r rdata.Record) uint64 { return hashRecord(r) }

// hashRecord is FNV-1a over a record, mixed once more because it is summed up.
func hashRecord(r rdata.Record) uint64 {
	const prime = 0x100000001b3
	h := uint64(0xcbf29ce484222325)
	wire := r.Name.Wire()
	for i := range len(wire) {
		h = (h ^ uint64(wire[i])) * prime
	}
	h = (h ^ uint64(r.Type)) * prime
	h = (h ^ uint64(r.TTL)) * prime
	for _, c := range r.Data {
		h = (h ^ uint64(c)) * prime
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// PeekEntry returns of which zone and version an encoded entry is. The name looks at
// the memory of b.
func PeekEntry(b []byte) (dnsname.Name, uint64, error) {
	r := reader{rest: b}
	name, version := r.name(int(r.octet())), r.uint64()
	if r.take(16) == nil { // the time and the sum
		return dnsname.Name{}, 0, fmt.Errorf("%w: it is cut off", ErrEntry)
	}
	return name, version, nil
}

// PeekTime returns when an encoded entry was made; b is one for PeekEntry.
func PeekTime(b []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(b[1+int(b[0])+8:])))
}
