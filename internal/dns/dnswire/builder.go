package dnswire

import (
	"encoding/binary"
	"unsafe"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// BufferSlack is by how many octets the buffer of a Builder should be larger
// than its limit: what an owner and two names of RDATA can shrink by
// compression. With less, a record that would just have fitted may be refused.
const BufferSlack = 3 * dnsname.MaxLen

// optLen is the length of an OPT record without options.
const optLen = 11

// questionPointer is a compression pointer to the question's name.
const questionPointer = 0xC000 | HeaderLen

// Builder assembles one response at a time, in a buffer that may be the one in
// which the query lies. It keeps within the size limit, compresses names, and
// allocates nothing. The zero Builder is ready for Reset.
//
// Records are added section by section, in the order of the sections. A record
// that does not fit is refused as a whole and leaves the message as it was; the
// caller decides whether to roll back and whether the response is truncated.
type Builder struct {
	msg     []byte // Invariant: HeaderLen <= len(msg) <= limit, between calls
	limit   int    // octets, less what Finish adds
	whole   int    // octets, with all that is added
	query   *Query
	names   compressor
	counts  sectionCounts
	rcode   Rcode
	flags   [2]byte // third and fourth octet, without QR and rcode
	primed  bool    // names has the question's name
	hasEDE  bool
	ede     EDE
	edeText string

	padding  int // of the response to a multiple of this; 0: none
	reserved int // octets that the caller appends after Finish

	options    [maxOptions]byte // for OPT, but for the extended error
	optionsLen int
}

// Reset begins the response to q in buf: the header with q's id, opcode, RD and
// CD, and q's question. When buf is the memory of q.Msg, they are kept in place
// and whatever followed the question is overwritten. limit is the size of the
// whole response in octets, with the OPT record that Finish adds if q has one.
// q must stay valid until Finish.
func (b *Builder) Reset(q *Query, buf []byte, limit int) {
	head := q.QuestionEnd
	b.msg = buf[:head]
	if unsafe.SliceData(buf) != unsafe.SliceData(q.Msg) {
		copy(b.msg, q.Msg[:head])
	}
	b.query = q
	b.limit = min(limit, cap(buf))
	b.whole, b.padding, b.reserved = b.limit, 0, 0
	if q.EDNS.Present {
		b.limit -= optLen
	}
	b.flags = [2]byte{q.Msg[2] & (0x78 | flagRD), q.Msg[3] & flagCD}
	b.counts, b.rcode = 0, q.Rcode
	b.primed, b.hasEDE, b.optionsLen = false, false, 0
}

// Reserve keeps n octets of the limit free, for what the caller appends to the
// finished response.
func (b *Builder) Reserve(n int) {
	b.limit -= n
	b.reserved += n
}

// SetRcode sets the response code; that of the Query to begin with.
func (b *Builder) SetRcode(r Rcode) { b.rcode = r }

// Rcode returns the response code set so far.
func (b *Builder) Rcode() Rcode { return b.rcode }

// SetAA says whether the answer is authoritative.
func (b *Builder) SetAA(on bool) { b.setFlag(0, flagAA, on) }

// SetTC says whether the answer is truncated.
func (b *Builder) SetTC(on bool) { b.setFlag(0, flagTC, on) }

// SetRA says whether recursion is available.
func (b *Builder) SetRA(on bool) { b.setFlag(1, flagRA, on) }

// SetAD says whether the answer is authenticated (RFC 4035 §3.2.3).
func (b *Builder) SetAD(on bool) { b.setFlag(1, flagAD, on) }

// TC reports whether the answer is marked as truncated.
func (b *Builder) TC() bool { return b.flags[0]&flagTC != 0 }

func (b *Builder) setFlag(octet int, bit byte, on bool) {
	b.flags[octet] &^= bit
	if on {
		b.flags[octet] |= bit
	}
}

// SetEDE adds an extended DNS error (RFC 8914); the last one set is sent, if the
// query had EDNS and there is room for it. text must not change until Finish.
func (b *Builder) SetEDE(code EDE, text string) {
	b.hasEDE, b.ede, b.edeText = true, code, text
}

// Len returns the length of the message so far, in octets, without OPT.
func (b *Builder) Len() int { return len(b.msg) }

// Message returns what there is so far: a header that is not complete, the question and
// the records. It is good until the next call of a method.
func (b *Builder) Message() []byte { return b.msg }

// Count returns the number of records in section s.
func (b *Builder) Count(s Section) int { return int(b.counts.of(s)) }

// sectionCounts is how many records each section has, in 16 bits each: a number, which is
// kept in a register and copied as one. No message has 65,536 records.
type sectionCounts uint64

func (c sectionCounts) of(s Section) uint16   { return uint16(c >> (16 * s)) }
func (c *sectionCounts) add(s Section, n int) { *c += sectionCounts(n) << (16 * s) }

// Mark is a state of the Builder to come back to; see Rollback.
type Mark struct {
	length int
	counts sectionCounts
}

// Mark returns the present state.
func (b *Builder) Mark() Mark { return Mark{len(b.msg), b.counts} }

// Truncate takes back all records, so that the client asks again over TCP.
func (b *Builder) Truncate() {
	b.msg, b.counts, b.hasEDE = b.msg[:b.query.QuestionEnd], 0, false
	b.SetTC(true)
}

// Rollback takes back every record added since m was taken.
func (b *Builder) Rollback(m Mark) { b.msg, b.counts = b.msg[:m.length], m.counts }

// Add appends a record with the RDATA data (uncompressed) to section s. It
// reports false, and leaves the message as it was, when the limit does not allow
// it.
func (b *Builder) Add(s Section, owner dnsname.Name, t rdata.Type, c rdata.Class, ttl rdata.TTL, data []byte) bool {
	before := len(b.msg)
	if before+owner.Len()+10+len(data) > cap(b.msg) {
		return false
	}
	msg := b.msg
	if owner == b.query.Name {
		msg = binary.BigEndian.AppendUint16(msg, questionPointer)
	} else {
		b.prime()
		msg = b.names.appendName(msg, owner.Wire())
	}
	msg = binary.BigEndian.AppendUint16(msg, uint16(t))
	msg = binary.BigEndian.AppendUint16(msg, uint16(c))
	msg = binary.BigEndian.AppendUint32(msg, uint32(ttl))
	lengthAt := len(msg)
	msg = append(msg, 0, 0)
	if l := rdata.LayoutOf(t); l.Compress {
		msg = b.appendRdata(msg, l, data)
	} else {
		msg = append(msg, data...)
	}
	if len(msg) > b.limit {
		return false
	}
	binary.BigEndian.PutUint16(msg[lengthAt:], uint16(len(msg)-lengthAt-2))
	b.msg = msg
	b.counts.add(s, 1)
	return true
}

// appendRdata appends RDATA of layout l, its names compressed.
func (b *Builder) appendRdata(msg []byte, l rdata.Layout, data []byte) []byte {
	b.prime()
	msg = append(msg, data[:l.Prefix]...)
	data = data[l.Prefix:]
	for range l.Names {
		end := 0
		for data[end] != 0 {
			end += 1 + int(data[end])
		}
		msg = b.names.appendName(msg, unsafe.String(unsafe.SliceData(data), end+1))
		data = data[end+1:]
	}
	return append(msg, data...)
}

// AddReady appends count records to section s that are already in wire form,
// each owned by the question's name written as a pointer (0xC00C): one copy. It
// reports false, and leaves the message as it was, when the limit does not allow
// it.
func (b *Builder) AddReady(s Section, count int, records []byte) bool {
	if len(b.msg)+len(records) > b.limit {
		return false
	}
	b.msg = append(b.msg, records...)
	b.counts.add(s, count)
	return true
}

// prime makes the question's name known to the compressor, when first needed.
func (b *Builder) prime() {
	if b.primed {
		return
	}
	b.primed = true
	b.names.reset()
	if !b.query.Name.IsZero() {
		b.names.remember(b.query.Name.Wire(), HeaderLen)
	}
}

// Finish completes the response and returns it: header, and OPT if the query had
// one.
func (b *Builder) Finish() []byte {
	msg := b.msg
	rcode := b.rcode
	if !b.query.EDNS.Present && rcode > 0xF {
		rcode = RcodeServFail // cannot be said without EDNS
	}
	msg[2] = b.flags[0] | flagQR
	msg[3] = b.flags[1] | byte(rcode&0xF)
	questions := uint16(0)
	if b.query.QuestionEnd > HeaderLen {
		questions = 1
	}
	additional := b.counts.of(Additional)
	if b.query.EDNS.Present {
		additional++
		msg = b.appendOPT(msg, rcode)
	}
	binary.BigEndian.PutUint16(msg[4:], questions)
	binary.BigEndian.PutUint16(msg[6:], b.counts.of(Answer))
	binary.BigEndian.PutUint16(msg[8:], b.counts.of(Authority))
	binary.BigEndian.PutUint16(msg[10:], additional)
	b.msg = msg
	return msg
}

// appendOPT appends our OPT record (RFC 6891 §6.1.2), for which Reset kept room,
// with the extended error if that fits too.
func (b *Builder) appendOPT(msg []byte, rcode Rcode) []byte {
	do := byte(0)
	if b.query.EDNS.DO { // RFC 3225 §3: copied
		do = 0x80
	}
	msg = append(msg, 0, 0, byte(rdata.TypeOPT), MaxUDP>>8, MaxUDP&0xFF, byte(rcode>>4), 0, do, 0, 0, 0)
	start := len(msg)
	if optionLen := 6 + len(b.edeText); b.hasEDE && start-optLen+optionLen <= b.limit {
		msg = binary.BigEndian.AppendUint16(msg, optionEDE)
		msg = binary.BigEndian.AppendUint16(msg, uint16(2+len(b.edeText)))
		msg = binary.BigEndian.AppendUint16(msg, uint16(b.ede))
		msg = append(msg, b.edeText...)
	}
	msg = append(msg, b.options[:b.optionsLen]...) // there is room: AddOption has kept it
	if b.padding > 0 {
		msg = b.pad(msg)
	}
	binary.BigEndian.PutUint16(msg[start-2:], uint16(len(msg)-start))
	return msg
}
