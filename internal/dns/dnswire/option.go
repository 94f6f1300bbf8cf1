package dnswire

import "encoding/binary"

// Option is the code of an EDNS option.
type Option uint16

// The options that are known here.
const (
	OptionNSID      Option = 3  // RFC 5001
	OptionCookie    Option = 10 // RFC 7873
	OptionKeepalive Option = 11 // RFC 7828
	optionEDE              = 15 // RFC 8914 §2
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
	}
	return true
}

// maxOptions is the room for options in a response: a cookie of 24 octets, a
// timeout, and a server's name of MaxNSID.
const maxOptions = 4 + 24 + 4 + 2 + 4 + MaxNSID

// MaxNSID is how many octets a server's name may have; RFC 5001 §2.3 has no limit,
// but every answer has to leave room for it.
const MaxNSID = 64

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
