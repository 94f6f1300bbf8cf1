package dnswire

import (
	"encoding/binary"

	"pharos/internal/dns/rdata"
)

// LowerTTLs lessens by age the TTL fields that stand at the given offsets from
// from, an earlier Len: of records that AddReady copied out of a cache. A TTL
// does not go below 0.
func (b *Builder) LowerTTLs(from int, offsets []uint16, age rdata.TTL) {
	records := b.msg[from:]
	for _, at := range offsets {
		field := records[at : at+4]
		ttl := rdata.TTL(binary.BigEndian.Uint32(field))
		binary.BigEndian.PutUint32(field, uint32(ttl-min(ttl, age)))
	}
}
