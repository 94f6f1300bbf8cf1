package dnswire

import (
	"encoding/binary"

	"pharos/internal/dns/rdata"
)

// LowerTTLs lessens by age the TTL fields that stand at the given offsets from
// from, an earlier Len: of records that AddReady copied out of a cache. An offset
// is two octets, big-endian. A TTL does not go below 0.
func (b *Builder) LowerTTLs(from int, offsets []byte, age rdata.TTL) {
	records := b.msg[from:]
	for ; len(offsets) >= 2; offsets = offsets[2:] {
		at := int(binary.BigEndian.Uint16(offsets))
		field := records[at : at+4]
		ttl := rdata.TTL(binary.BigEndian.Uint32(field))
		binary.BigEndian.PutUint32(field, uint32(ttl-min(ttl, age)))
	}
}

// Freshness returns for how many seconds the answer in msg may be kept: the least
// TTL in its answer section, or, when it says that there is nothing, what its SOA
// record gives for that (RFC 2308 §5). It is 0 for anything else.
func Freshness(msg []byte) uint32 {
	if len(msg) < HeaderLen {
		return 0
	}
	if rcode := Rcode(msg[3] & 0xF); rcode != RcodeNoError && rcode != RcodeNXDomain {
		return 0
	}
	at, ok := HeaderLen, true
	for range binary.BigEndian.Uint16(msg[4:]) {
		if at, ok = skipName(msg, at); !ok {
			return 0
		}
		at += 4
	}
	answers, authority := int(binary.BigEndian.Uint16(msg[6:])), int(binary.BigEndian.Uint16(msg[8:]))
	least, any := uint32(0), false
	for i := range answers + authority {
		if at, ok = skipName(msg, at); !ok || at+10 > len(msg) {
			return 0
		}
		end := at + 10 + int(binary.BigEndian.Uint16(msg[at+8:]))
		if end > len(msg) {
			return 0
		}
		ttl := binary.BigEndian.Uint32(msg[at+4:])
		isSOA := rdata.Type(binary.BigEndian.Uint16(msg[at:])) == rdata.TypeSOA && end-at >= 10+22
		switch {
		case i < answers && (!any || ttl < least):
			least, any = ttl, true
		case i >= answers && answers == 0 && isSOA:
			return min(ttl, binary.BigEndian.Uint32(msg[end-4:]))
		}
		at = end
	}
	return least
}
