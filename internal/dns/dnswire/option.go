package dnswire

import (
	"encoding/binary"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Option is the code of an EDNS option.
type Option uint16

// The options that are known here.
const (
	OptionNSID        Option = 3  // RFC 5001
	OptionSubnet      Option = 8  // RFC 7871
	OptionExpire      Option = 9  // RFC 7314
	OptionCookie      Option = 10 // RFC 7873
	OptionKeepalive   Option = 11 // RFC 7828
	optionPadding     Option = 12 // RFC 7830
	OptionReport      Option = 18 // RFC 9567
	OptionZoneVersion Option = 19 // RFC 9660
	optionEDE                = 15 // RFC 8914 §2

	// OptionID asks for the id of the answer, by which it can be explained later. It is one
	// for local use (RFC 6891 §9).
	OptionID Option = 65313
)

// note remembers an option of a query. It reports false for one that is malformed.
func (e *EDNS) note(code uint16, data []byte) bool {
	switch Option(code) {
	case OptionNSID: // RFC 5001 §2.3: what it may contain is ignored
		e.NSID = true
	case OptionKeepalive:
		// RFC 7828 §3.2.1: a query has no timeout; one of the right size is ignored.
		e.Keepalive = true
		return len(data) == 0 || len(data) == 2
	case OptionCookie:
		// RFC 7873 §5.2.2: 8 octets, or 8 and a server's 8 to 32.
		if len(data) != 8 && (len(data) < 16 || len(data) > 40) {
			e.Cookie = nil
			return false
		}
		if e.Cookie == nil { // RFC 7873 §5.2: the first counts
			e.Cookie = data
		}
	case OptionSubnet:
		if _, ok := ParseSubnet(data); !ok || e.Subnet != nil {
			e.Subnet = nil
			return false // RFC 7871 §7.2.1; of two, which counts is anybody's guess
		}
		e.Subnet = data
	case OptionExpire: // RFC 7314 §3.1: empty; what else it may contain is ignored
		e.Expire = true
	case OptionID: // what it may contain is ignored
		e.ID = true
	case OptionZoneVersion:
		e.ZoneVersion = true
		return len(data) == 0 // RFC 9660 §2: a query has no version
	}
	return true
}

// AppendOption appends an option in wire form (RFC 6891 §6.1.2).
func AppendOption(b []byte, code Option, data []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(code))
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// Find returns the data of the first option with a code, a view of e.Options; ok is
// false if there is none.
func (e *EDNS) Find(code Option) (data []byte, ok bool) {
	for o := e.Options; len(o) >= 4; {
		length := 4 + int(binary.BigEndian.Uint16(o[2:])) // which parse has checked
		if Option(binary.BigEndian.Uint16(o)) == code {
			return o[4:length], true
		}
		o = o[length:]
	}
	return nil, false
}

// maxOptions is the room for options in a response: a cookie of 24 octets, a
// timeout, a server's name of MaxNSID, a client's subnet, the time to expiry, a
// zone's version, and the name of an agent for reports.
const maxOptions = 4 + 24 + 4 + 2 + 4 + MaxNSID + 4 + maxSubnet + 4 + 4 + 4 + 6 + 4 + dnsname.MaxLen

// MaxNSID is how many octets a server's name may have; RFC 5001 §2.3 has no limit,
// but every answer has to leave room for it.
const MaxNSID = 64

// AddExpire adds for how many seconds the zone in the answer may yet be served
// (RFC 7314 §3.2).
func (b *Builder) AddExpire(seconds uint32) bool {
	var data [4]byte
	binary.BigEndian.PutUint32(data[:], seconds)
	return b.AddOption(OptionExpire, data[:])
}

// AddZoneVersion adds the serial of the zone that the answer is made from, whose
// apex has so many labels (RFC 9660 §2).
func (b *Builder) AddZoneVersion(labels int, serial rdata.Serial) bool {
	data := [6]byte{byte(labels), zoneVersionSerial}
	binary.BigEndian.PutUint32(data[2:], uint32(serial))
	return b.AddOption(OptionZoneVersion, data[:])
}

const zoneVersionSerial = 0 // RFC 9660 §3: type SOA-SERIAL

// PaddingBlock is what the length of a padded response is a multiple of, in octets
// (RFC 8467 §4.1).
const PaddingBlock = 468

// SetPadding has Finish fill the response up to a multiple of block, so that its
// length says little of what is in it (RFC 7830). Without EDNS in the query it does
// nothing (RFC 7830 §4).
func (b *Builder) SetPadding(block int) { b.padding = block }

// pad appends the padding option, for which there may be no room.
func (b *Builder) pad(msg []byte) []byte {
	length := len(msg) + 4 + b.reserved
	target := min((length+b.padding-1)/b.padding*b.padding, b.whole)
	if length > target {
		return msg
	}
	fill := target - length
	msg = binary.BigEndian.AppendUint16(msg, uint16(optionPadding))
	msg = binary.BigEndian.AppendUint16(msg, uint16(fill))
	start := len(msg)
	msg = msg[:start+fill] // within whole, and so within the buffer
	clear(msg[start:])     // RFC 7830 §3: zeroes
	return msg
}

// AddOption adds an option to the OPT record of the response. It lessens the room
// for records, so it comes before them. Without EDNS in the query, or without
// room, it does nothing and reports false.
func (b *Builder) AddOption(code Option, data []byte) bool {
	size := 4 + len(data)
	if !b.query.EDNS.Present || b.optionsLen+size > len(b.options) || len(b.msg)+size > b.limit {
		return false
	}
	at := b.options[b.optionsLen:]
	binary.BigEndian.PutUint16(at, uint16(code))
	binary.BigEndian.PutUint16(at[2:], uint16(len(data)))
	copy(at[4:], data)
	b.optionsLen += size
	b.limit -= size
	return true
}
