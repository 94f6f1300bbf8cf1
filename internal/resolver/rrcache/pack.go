package rrcache

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// This file writes what the record level keeps as octets and reads it again, in
// memory and on disk (docs/formats/resolver-cache.md). Numbers are big-endian.
//
//	entry       rank(1) TTL(4) list(RDATA) list(RRSIG RDATA) SOA count(2) denials
//	SOA         name TTL(4) length(2) RDATA; only the octet 0 if there is none
//	denial      name type(2) TTL(4) list(RDATA) list(RRSIG RDATA)
//	list        count(2), each: length(2) octets
//	name        length(1), wire form
//	delegation  local(1) count(2), each: name count(1), each: 4 or 16 and an address
//	failure     RCODE(2) EDE(2) text length(2) text
//
// rank is Kind | Trust<<2 | State<<5.

// errPacked: what was to be read was not written by this file.
var errPacked = errors.New("not an item of a resolver's cache")

func rankOf(e *Entry) byte { return byte(e.Kind) | byte(e.Trust)<<2 | byte(e.State)<<5 }

func trustIn(rank byte) Trust { return Trust(rank >> 2 & 7) }
func stateIn(rank byte) State { return State(rank >> 5 & 3) }

func appendName(b []byte, n dnsname.Name) []byte { return n.AppendWire(append(b, byte(n.Len()))) }

func appendList(b []byte, list [][]byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(list)))
	for _, data := range list {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
	}
	return b
}

func appendEntry(b []byte, e *Entry) []byte {
	b = append(b, rankOf(e))
	b = binary.BigEndian.AppendUint32(b, uint32(e.Set.TTL))
	b = appendList(appendList(b, e.Set.Data), e.Sigs)
	b = appendName(b, e.SOA.Name)
	if !e.SOA.Name.IsZero() {
		b = binary.BigEndian.AppendUint32(b, uint32(e.SOA.TTL))
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(e.SOA.Data))), e.SOA.Data...)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Denial)))
	for _, s := range e.Denial {
		b = binary.BigEndian.AppendUint16(appendName(b, s.Name), uint16(s.Type))
		b = binary.BigEndian.AppendUint32(b, uint32(s.TTL))
		b = appendList(appendList(b, s.Data), s.Sigs)
	}
	return b
}

func appendDelegation(b []byte, d *Delegation) []byte {
	local := byte(0)
	if d.Local {
		local = 1
	}
	b = binary.BigEndian.AppendUint16(append(b, local), uint16(len(d.Servers)))
	for _, s := range d.Servers {
		addrs := s.Addrs[:min(len(s.Addrs), 255)]
		b = append(appendName(b, s.Name), byte(len(addrs)))
		for _, a := range addrs {
			octets := a.Unmap().AsSlice()
			b = append(append(b, byte(len(octets))), octets...)
		}
	}
	return b
}

func appendFailure(b []byte, f *Failure) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(f.Rcode))
	b = binary.BigEndian.AppendUint16(b, uint16(f.EDE.Code))
	b = binary.BigEndian.AppendUint64(b, f.ID)
	text := f.EDE.Text[:min(len(f.EDE.Text), 1024)]
	return append(binary.BigEndian.AppendUint16(b, uint16(len(text))), text...)
}

// unpacker reads octets; what it returns looks at them. After it has come to the
// end too early, bad is set and everything it returns is empty.
type unpacker struct {
	b   []byte
	bad bool
}

func (u *unpacker) take(n int) []byte {
	if u.bad || n < 0 || n > len(u.b) {
		u.bad = true
		return nil
	}
	out := u.b[:n:n]
	u.b = u.b[n:]
	return out
}

func (u *unpacker) octet() byte {
	if b := u.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (u *unpacker) uint16() uint16 {
	if b := u.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (u *unpacker) uint32() uint32 {
	if b := u.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (u *unpacker) uint64() uint64 {
	if b := u.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// name returns the zero Name where there is none.
func (u *unpacker) name() dnsname.Name {
	wire := u.take(int(u.octet()))
	if len(wire) == 0 {
		return dnsname.Name{}
	}
	return dnsname.View(wire)
}

func (u *unpacker) list() [][]byte {
	count := int(u.uint16())
	if count == 0 || count > len(u.b)/2 {
		u.bad = u.bad || count != 0
		return nil
	}
	out := make([][]byte, count)
	for i := range out {
		out[i] = u.take(int(u.uint16()))
	}
	return out
}

// entry reads the entry for name and t.
func (u *unpacker) entry(name dnsname.Name, t rdata.Type) *Entry {
	rank := u.octet()
	e := &Entry{Kind: Kind(rank & 3), Trust: trustIn(rank), State: stateIn(rank)}
	ttl := rdata.TTL(u.uint32())
	data := u.list()
	if e.Kind == Positive {
		e.Set = rdata.RRset{Name: name, Type: t, Class: rdata.ClassIN, TTL: ttl, Data: data}
	}
	e.Sigs = u.list()
	if soa := u.name(); !soa.IsZero() {
		e.SOA = rdata.Record{Name: soa, Type: rdata.TypeSOA, Class: rdata.ClassIN, TTL: rdata.TTL(u.uint32())}
		e.SOA.Data = u.take(int(u.uint16()))
	}
	for range u.uint16() {
		s := Signed{RRset: rdata.RRset{Name: u.name(), Type: rdata.Type(u.uint16()), Class: rdata.ClassIN, TTL: rdata.TTL(u.uint32())}}
		s.Data, s.Sigs = u.list(), u.list()
		if u.bad {
			return e
		}
		e.Denial = append(e.Denial, s)
	}
	return e
}

func (u *unpacker) delegation(zone dnsname.Name) *Delegation {
	d := &Delegation{Zone: zone, Local: u.octet() == 1}
	for range u.uint16() {
		s := Server{Name: u.name()}
		for range u.octet() {
			addr, ok := netip.AddrFromSlice(u.take(int(u.octet())))
			u.bad = u.bad || !ok
			s.Addrs = append(s.Addrs, addr)
		}
		if u.bad {
			return d
		}
		d.Servers = append(d.Servers, s)
	}
	return d
}

func (u *unpacker) failure() *Failure {
	f := &Failure{Rcode: dnswire.Rcode(u.uint16())}
	f.EDE.Code = dnswire.EDE(u.uint16())
	f.ID = u.uint64()
	f.EDE.Text = string(u.take(int(u.uint16())))
	return f
}

// unpackItem reads the value of an item, which is *Entry, *Delegation or *Failure by
// k.slot. The value looks at b.
func unpackItem(k key, b []byte) (any, error) {
	u := unpacker{b: b}
	var value any
	switch k.slot {
	case slotSet, slotName:
		value = u.entry(k.name, k.t)
	case slotCut:
		value = u.delegation(k.name)
	case slotFailure:
		value = u.failure()
	}
	if u.bad || value == nil || len(u.b) > 0 {
		return nil, errPacked
	}
	return value, nil
}

// mustUnpack is unpackItem for what was written by this process.
func mustUnpack(k key, b []byte) any {
	value, err := unpackItem(k, b)
	if err != nil {
		panic("BUG: " + err.Error() + ": " + k.name.String())
	}
	return value
}

// An item in a chunk is a head, the owner in wire form, and its value.
//
//	offset size
//	0      4    octets of the item; a multiple of 8
//	4      4    hash of the key
//	8      8    until: nanoseconds since the cache's epoch
//	16     4    born: seconds since then
//	20     4    number, by which the item is known again
//	24     2    type
//	26     1    slot
//	27     1    marks: uses, and the flags below
//	28     1    octets of the owner
//	29     1    how many octets at the end are not of the value
//	30     -    owner, value
type item []byte

const itemHead = 30

// Marks of an item.
const (
	usesMask = 0x03 // how often it was used, up to 3; less one each time its turn comes
	markDead = 0x04 // replaced or forgotten
	markMain = 0x08 // of the main queue
)

func (it item) size() int       { return int(binary.LittleEndian.Uint32(it)) }
func (it item) hash() uint32    { return binary.LittleEndian.Uint32(it[4:]) }
func (it item) until() instant  { return instant(binary.LittleEndian.Uint64(it[8:])) }
func (it item) born() instant   { return instant(binary.LittleEndian.Uint32(it[16:])) * time.Second }
func (it item) number() uint32  { return binary.LittleEndian.Uint32(it[20:]) }
func (it item) t() rdata.Type   { return rdata.Type(binary.LittleEndian.Uint16(it[24:])) }
func (it item) slot() slot      { return slot(it[26]) }
func (it item) uses() int       { return int(it[27] & usesMask) }
func (it item) has(m byte) bool { return it[27]&m != 0 }
func (it item) rank() byte      { return it[itemHead+int(it[28])] }
func (it item) owner() []byte   { return it[itemHead : itemHead+int(it[28])] }
func (it item) value() []byte   { return it[itemHead+int(it[28]) : it.size()-int(it[29])] }

// key returns the item's key, which looks at it.
func (it item) key() key { return key{dnsname.View(it.owner()), it.t(), it.slot()} }

func (it item) setUntil(until instant) { binary.LittleEndian.PutUint64(it[8:], uint64(until)) }
func (it item) setUses(n int)          { it[27] = it[27]&^usesMask | byte(n) }
func (it item) setState(s State) {
	at := itemHead + int(it[28])
	it[at] = it[at]&^(3<<5) | byte(s)<<5
}

// useAfter is how old an item is when using it begins to count: what one question
// brings is read several times on its behalf, and that says nothing of its being
// asked for again.
const useAfter = time.Second

func (it item) use(now instant) {
	if n := it.uses(); n < usesMask && now-it.born() >= useAfter {
		it.setUses(n + 1)
	}
}

// packedSize returns the octets of an item.
func packedSize(k key, value []byte) int { return (itemHead + k.name.Len() + len(value) + 7) &^ 7 }

// head is what an item has beside its key and value.
type head struct {
	hash        uint32
	born, until instant
	number      uint32
	marks       byte
}

// write makes room into an item.
func (it item) write(k key, value []byte, h head) {
	size := packedSize(k, value)
	binary.LittleEndian.PutUint32(it, uint32(size))
	binary.LittleEndian.PutUint32(it[4:], h.hash)
	it.setUntil(h.until)
	binary.LittleEndian.PutUint32(it[16:], uint32(max(h.born, 0)/time.Second))
	binary.LittleEndian.PutUint32(it[20:], h.number)
	binary.LittleEndian.PutUint16(it[24:], uint16(k.t))
	it[26], it[27], it[28] = byte(k.slot), h.marks, byte(k.name.Len())
	n := itemHead + copy(it[itemHead:], k.name.Wire())
	n += copy(it[n:], value)
	it[29] = byte(size - n)
}
