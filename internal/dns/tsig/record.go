package tsig

import (
	"encoding/binary"
	"errors"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Errors of messages that cannot be verified at all; a server answers FORMERR.
var (
	ErrMalformed = errors.New("tsig: the TSIG record or the message is malformed")
	ErrUnsigned  = errors.New("tsig: the message is not signed, but ought to be")
	ErrStream    = errors.New("tsig: too many messages of the stream without a signature")
)

const (
	headerLen = 12
	timesLen  = 8         // TIME SIGNED and FUDGE
	unixBits  = 1<<48 - 1 // TIME SIGNED has 48 bits
)

// record is a TSIG record as it stands in a message.
type record struct {
	at        int // offset of its owner name: the end of what is signed
	key       dnsname.Name
	algorithm dnsname.Name
	times     [timesLen]byte // TIME SIGNED, FUDGE
	mac       []byte
	id        uint16 // ORIGINAL ID
	code      Code
	other     []byte
}

func (r *record) signed() time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(r.times[:])>>16), 0)
}

func (r *record) fudge() time.Duration {
	return time.Duration(binary.BigEndian.Uint16(r.times[6:])) * time.Second
}

// times returns TIME SIGNED and FUDGE for a message signed at now.
func timesOf(now time.Time) (t [timesLen]byte) {
	binary.BigEndian.PutUint64(t[:], uint64(now.Unix())&unixBits<<16|uint64(Fudge/time.Second))
	return t
}

// find returns the TSIG record of msg, or nil if it has none. RFC 8945 §5.2: it
// must be the last record of the additional section, and the only one.
func find(msg []byte) (*record, error) {
	if len(msg) < headerLen {
		return nil, ErrMalformed
	}
	at := headerLen
	for range binary.BigEndian.Uint16(msg[4:]) {
		if at = skipName(msg, at); at < 0 || at+4 > len(msg) {
			return nil, ErrMalformed
		}
		at += 4
	}
	additional := int(binary.BigEndian.Uint16(msg[10:]))
	total := int(binary.BigEndian.Uint16(msg[6:])) + int(binary.BigEndian.Uint16(msg[8:])) + additional
	for i := range total {
		owner := at
		if at = skipName(msg, at); at < 0 || at+10 > len(msg) {
			return nil, ErrMalformed
		}
		end := at + 10 + int(binary.BigEndian.Uint16(msg[at+8:]))
		if end > len(msg) {
			return nil, ErrMalformed
		}
		if rdata.Type(binary.BigEndian.Uint16(msg[at:])) == rdata.TypeTSIG {
			if i != total-1 || additional == 0 || end != len(msg) {
				return nil, ErrMalformed
			}
			return parse(msg, owner, at)
		}
		at = end
	}
	if at != len(msg) {
		return nil, ErrMalformed
	}
	return nil, nil
}

// skipName returns the offset after the name at msg[at:], or -1.
func skipName(msg []byte, at int) int {
	for at < len(msg) {
		switch c := int(msg[at]); {
		case c == 0:
			return at + 1
		case c >= 0xC0:
			return at + 2
		case c > dnsname.MaxLabelLen:
			return -1
		default:
			at += 1 + c
		}
	}
	return -1
}

// parse reads the record that begins at msg[owner:], its type at msg[at:], and
// ends the message.
func parse(msg []byte, owner, at int) (*record, error) {
	r := &record{at: owner}
	var err error
	if r.key, _, err = unpack(msg, owner); err != nil {
		return nil, err
	}
	// RFC 8945 §4.2: class ANY, TTL 0.
	if rdata.Class(binary.BigEndian.Uint16(msg[at+2:])) != rdata.ClassANY || binary.BigEndian.Uint32(msg[at+4:]) != 0 {
		return nil, ErrMalformed
	}
	end := 0
	if r.algorithm, end, err = unpack(msg, at+10); err != nil {
		return nil, err
	}
	rest := msg[min(end, len(msg)):]
	if len(rest) < timesLen+2 {
		return nil, ErrMalformed
	}
	copy(r.times[:], rest)
	size := int(binary.BigEndian.Uint16(rest[timesLen:]))
	rest = rest[timesLen+2:]
	if len(rest) < size+6 {
		return nil, ErrMalformed
	}
	r.mac, rest = rest[:size], rest[size:]
	r.id = binary.BigEndian.Uint16(rest)
	r.code = Code(binary.BigEndian.Uint16(rest[2:]))
	if r.other = rest[6:]; len(r.other) != int(binary.BigEndian.Uint16(rest[4:])) {
		return nil, ErrMalformed
	}
	return r, nil
}

func unpack(msg []byte, at int) (dnsname.Name, int, error) {
	wire, end, err := rdata.UnpackName(nil, msg, at)
	if err != nil {
		return dnsname.Name{}, 0, ErrMalformed
	}
	name, _, err := dnsname.FromWire(wire)
	if err != nil {
		return dnsname.Name{}, 0, ErrMalformed
	}
	return name, end, nil
}

// append appends r to msg and counts it.
func (r *record) append(msg []byte) []byte {
	binary.BigEndian.PutUint16(msg[10:], binary.BigEndian.Uint16(msg[10:])+1)
	msg = append(msg, r.key.Wire()...)
	msg = binary.BigEndian.AppendUint16(msg, uint16(rdata.TypeTSIG))
	msg = binary.BigEndian.AppendUint16(msg, uint16(rdata.ClassANY))
	msg = append(msg, 0, 0, 0, 0)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(r.algorithm.Wire())+timesLen+8+len(r.mac)+len(r.other)))
	msg = append(msg, r.algorithm.Wire()...)
	msg = append(msg, r.times[:]...)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(r.mac)))
	msg = append(msg, r.mac...)
	msg = binary.BigEndian.AppendUint16(msg, r.id)
	msg = binary.BigEndian.AppendUint16(msg, uint16(r.code))
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(r.other)))
	return append(msg, r.other...)
}
