// Package dnswire is the DNS message on the wire: reading a query without
// allocating, assembling its response in place, and reading and writing whole
// messages where speed does not matter.
//
//	 0  1  2  3  4  5  6  7  8  9 10 11 | 12 ...
//	+-----+-----+-----+-----+-----+-----+------------------------------------
//	| ID  |flags| QD  | AN  | NS  | AR  | question | answer | authority | ...
//	+-----+-----+-----+-----+-----+-----+------------------------------------
//	flags: QR opcode(4) AA TC RD RA Z AD CD rcode(4)
//
// It owns the header, the question, EDNS(0) and compression. It does not own
// what an answer says (packages answer, iterate) nor sockets.
//
// Entry points: Query.Parse, Builder, ParseMessage, Message.Append.
//
// Concurrency: a Query and a Builder belong to one goroutine and are reused from
// message to message; a Message is a value.
//
// Sources: RFC 1035 §4, RFC 6891, RFC 8914, RFC 9619, RFC 3597 §4, RFC 6895 §2;
// RFC 5001, RFC 7314, RFC 7828, RFC 7871, RFC 7873, RFC 9660 (options).
package dnswire

import (
	"encoding/binary"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// HeaderLen is the length of a message's header in octets.
const HeaderLen = 12

// Sizes of messages, in octets.
const (
	MaxUDP512  = 512   // RFC 1035 §4.2.1: the limit over UDP without EDNS
	MaxUDP     = 1232  // what we send and offer over UDP: fits IPv6's least MTU, so nothing is fragmented
	MaxMessage = 65535 // RFC 1035 §4.2.2: the limit over TCP
)

// Bits of the header's third and fourth octet.
const (
	flagQR = 0x80 // third
	flagAA = 0x04
	flagTC = 0x02
	flagRD = 0x01
	flagRA = 0x80 // fourth
	flagAD = 0x20
	flagCD = 0x10
)

// Verdict is what becomes of a received message.
type Verdict uint8

const (
	Accept Verdict = iota // a well-formed query, NOTIFY or UPDATE, to be answered on its merits
	Reject                // to be answered with Query.Rcode and no records
	Ignore                // to be met with silence
)

// Query is a view of one query message, or of a NOTIFY or an UPDATE, whose zone is its
// question (RFC 2136 §2.3). Its fields are valid until the next Parse, and as long as the memory of the message is left alone.
type Query struct {
	Msg         []byte       // the whole message as received
	Name        dnsname.Name // QNAME in lower case: memory of this Query, Clone it to keep it
	Type        rdata.Type
	Class       rdata.Class
	QuestionEnd int   // offset after the question; HeaderLen when there is none to echo
	TSIG        int   // offset of the TSIG record, with which the message ends; 0 if it is not signed
	Rcode       Rcode // the response code of a rejected query; it may be NoError (RFC 7873 §5.4)
	EDNS        EDNS

	lower [dnsname.MaxLen]byte
}

// EDNS is what a query's OPT record says (RFC 6891 §6.1).
type EDNS struct {
	Present bool
	DO      bool // RFC 3225: DNSSEC records are understood
	CO      bool // RFC 9824 §5: compact denials are understood by their NXNAME bit
	Version uint8
	UDPSize uint16 // the sender's limit for UDP, as sent
	Options []byte // the options, checked to be well formed; a view of the message

	// Options that servers know; others are ignored (RFC 6891 §6.1.2).
	NSID        bool   // RFC 5001: the server's name is wanted
	Keepalive   bool   // RFC 7828: the server's idle timeout is wanted
	Expire      bool   // RFC 7314: the time until the zone expires is wanted
	ZoneVersion bool   // RFC 9660: the zone's serial is wanted
	ID          bool   // OptionID: the id of the answer is wanted
	Cookie      []byte // RFC 7873: the client's cookie, and the server's if it has one; a view of the message
	Subnet      []byte // RFC 7871: for whom the question is, for ParseSubnet; a view of the message
}

// ID returns the message's id.
func (q *Query) ID() uint16 { return binary.BigEndian.Uint16(q.Msg) }

// Opcode returns the message's opcode.
func (q *Query) Opcode() Opcode { return Opcode(q.Msg[2] >> 3 & 0x0F) }

// RD reports whether recursion is desired.
func (q *Query) RD() bool { return q.Msg[2]&flagRD != 0 }

// CD reports whether checking is disabled (RFC 4035 §3.2.2).
func (q *Query) CD() bool { return q.Msg[3]&flagCD != 0 }

// AD reports whether the client understands the AD bit (RFC 6840 §5.7).
func (q *Query) AD() bool { return q.Msg[3]&flagAD != 0 }

// UDPLimit returns the number of octets a response over UDP may have: what the
// client can take, but not over MaxUDP, and not under 512 (RFC 6891 §6.2.3).
func (q *Query) UDPLimit() int {
	if !q.EDNS.Present {
		return MaxUDP512
	}
	return min(max(int(q.EDNS.UDPSize), MaxUDP512), MaxUDP)
}

// Parse reads msg into q and says what becomes of it. It allocates nothing.
func (q *Query) Parse(msg []byte) Verdict {
	q.Msg, q.Name, q.Type, q.Class = msg, dnsname.Name{}, 0, 0
	q.QuestionEnd, q.TSIG, q.Rcode = HeaderLen, 0, RcodeNoError
	q.EDNS = EDNS{} // in its place; among the others it would be made elsewhere and copied
	// A response is never answered, lest two servers talk for ever; nor is what
	// has no whole header.
	if len(msg) < HeaderLen || msg[2]&flagQR != 0 {
		return Ignore
	}
	op := q.Opcode()
	if op != OpcodeQuery && op != OpcodeNotify && op != OpcodeUpdate {
		return q.reject(q.parseUnknown())
	}
	// RFC 9619: a QUERY has one question. Records in its answer section mean
	// nothing; its authority section may have IXFR's SOA (RFC 1995 §3). The answer
	// section of a NOTIFY may have the new SOA (RFC 1996 §3.7). An UPDATE has its
	// prerequisites and its changes in the place of answer and authority.
	questions := binary.BigEndian.Uint16(msg[4:])
	if questions > 1 || questions == 0 && op != OpcodeQuery || binary.BigEndian.Uint16(msg[6:]) != 0 && op == OpcodeQuery {
		return q.reject(RcodeFormErr)
	}
	if questions == 1 && !q.parseQuestion() {
		return q.reject(RcodeFormErr)
	}
	rcode := q.parseRecords()
	if questions == 0 && rcode == RcodeNoError {
		// RFC 7873 §5.4: a query without a question is for a server cookie only.
		if q.EDNS.Cookie == nil {
			rcode = RcodeFormErr
		}
		return q.reject(rcode)
	}
	if rcode != RcodeNoError {
		return q.reject(rcode)
	}
	return Accept
}

func (q *Query) reject(r Rcode) Verdict {
	q.Rcode = r
	return Reject
}

// parseUnknown reads a message with an opcode that is not known as if it had the form of
// a query: whoever sends OPT gets OPT, and BADVERS if its version is not known (RFC 6891
// §6.1.1 and §6.1.3). Nothing else of it counts.
func (q *Query) parseUnknown() Rcode {
	rcode := RcodeFormErr
	if questions := binary.BigEndian.Uint16(q.Msg[4:]); questions == 0 || questions == 1 && q.parseQuestion() {
		rcode = q.parseRecords()
	}
	q.Name, q.Type, q.Class, q.QuestionEnd, q.TSIG = dnsname.Name{}, 0, 0, HeaderLen, 0
	if rcode == RcodeBadVers {
		return rcode
	}
	if rcode != RcodeNoError {
		q.EDNS = EDNS{}
	}
	return RcodeNotImp
}

// parseQuestion reads the question. Its name must be plain: nothing stands
// before it to point to.
func (q *Query) parseQuestion() bool {
	msg, at := q.Msg, HeaderLen
	for {
		if at >= len(msg) {
			return false
		}
		length := int(msg[at])
		at++
		if length == 0 {
			break
		}
		at += length
		if length > dnsname.MaxLabelLen || at-HeaderLen >= dnsname.MaxLen {
			return false
		}
	}
	if at+4 > len(msg) {
		return false
	}
	lower := q.lower[:copy(q.lower[:], msg[HeaderLen:at])]
	dnsname.Lower(lower)
	q.Name = dnsname.View(lower)
	q.Type = rdata.Type(binary.BigEndian.Uint16(msg[at:]))
	q.Class = rdata.Class(binary.BigEndian.Uint16(msg[at+2:]))
	q.QuestionEnd = at + 4
	return true
}

// parseRecords walks over what follows the question, to find the OPT record and
// to see that the message ends where its records do. Those before the additional
// section are not looked into.
func (q *Query) parseRecords() Rcode {
	authority := int(binary.BigEndian.Uint16(q.Msg[6:])) + int(binary.BigEndian.Uint16(q.Msg[8:]))
	total := authority + int(binary.BigEndian.Uint16(q.Msg[10:]))
	at, rcode := q.QuestionEnd, RcodeNoError
	for i := range total {
		owner := at
		var ok bool
		if at, ok = skipName(q.Msg, at); !ok || at+10 > len(q.Msg) {
			return RcodeFormErr
		}
		fixed := q.Msg[at:]
		end := at + 10 + int(binary.BigEndian.Uint16(fixed[8:]))
		if end > len(q.Msg) {
			return RcodeFormErr
		}
		switch rdata.Type(binary.BigEndian.Uint16(fixed)) {
		case rdata.TypeOPT:
			// RFC 6891 §6.1.1: one OPT, in the additional section, owned by the root.
			if i < authority || q.EDNS.Present || q.Msg[owner] != 0 {
				q.EDNS = EDNS{} // what cannot be understood is not answered with OPT
				return RcodeFormErr
			}
			if !q.EDNS.parse(fixed, q.Msg[at+10:end], false) {
				return RcodeFormErr
			}
			if q.EDNS.Version != 0 {
				rcode = RcodeBadVers // RFC 6891 §6.1.3
			}
		case rdata.TypeTSIG:
			// RFC 8945 §5.2: the last record of the additional section.
			if i < authority || i != total-1 {
				return RcodeFormErr
			}
			q.TSIG = owner
		}
		at = end
	}
	if at != len(q.Msg) {
		return RcodeFormErr
	}
	return rcode
}

// parse reads an OPT record from its fixed fields after the owner and its
// RDATA. It reports whether the options are well formed (RFC 6891 §6.1.2). What only
// servers say, a response may have without having been asked for it.
func (e *EDNS) parse(fixed, options []byte, isResponse bool) bool {
	*e = EDNS{}
	e.Present = true
	e.UDPSize = binary.BigEndian.Uint16(fixed[2:])
	e.Version = fixed[5]
	e.DO = fixed[6]&0x80 != 0
	e.CO = fixed[6]&0x40 != 0
	e.Options = options
	for len(options) > 0 {
		if len(options) < 4 || 4+int(binary.BigEndian.Uint16(options[2:])) > len(options) {
			*e = EDNS{}
			return false
		}
		length := 4 + int(binary.BigEndian.Uint16(options[2:]))
		code := binary.BigEndian.Uint16(options)
		isTheirs := isResponse && (Option(code) == OptionSubnet || Option(code) == OptionZoneVersion)
		if !isTheirs && !e.note(code, options[4:length]) {
			return false
		}
		options = options[length:]
	}
	return true
}

// skipName returns the offset after the name at msg[at:], compressed or not,
// without following pointers.
func skipName(msg []byte, at int) (int, bool) {
	for at < len(msg) {
		switch c := int(msg[at]); {
		case c == 0:
			return at + 1, true
		case c >= 0xC0:
			return at + 2, at+2 <= len(msg)
		case c > dnsname.MaxLabelLen:
			return 0, false
		default:
			at += 1 + c
		}
	}
	return 0, false
}

// Keep returns a copy of q with memory of its own: header, question and what
// EDNS said, but not the options, nor other records. It may be taken while a
// response is being made in the memory of q.Msg, before its Finish.
func (q *Query) Keep() *Query {
	k := &Query{
		Msg: append([]byte(nil), q.Msg[:q.QuestionEnd]...), Type: q.Type, Class: q.Class,
		QuestionEnd: q.QuestionEnd, Rcode: q.Rcode, EDNS: q.EDNS, lower: q.lower,
	}
	k.EDNS.Options, k.EDNS.Cookie, k.EDNS.Subnet = nil, nil, nil
	if !q.Name.IsZero() {
		k.Name = dnsname.View(k.lower[:q.Name.Len()])
	}
	return k
}
