package dnswire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Errors of ParseMessage, wrapped with the place.
var (
	ErrShortMessage = errors.New("message ends before its last record")
	ErrTrailing     = errors.New("message goes on after its last record")
	ErrOPT          = errors.New("bad OPT record")
)

// Question is the question of a message.
type Question struct {
	Name  dnsname.Name
	Type  rdata.Type
	Class rdata.Class
}

// Message is a whole message with memory of its own, for everything that is not
// on a hot path: the resolver, the command line, tests.
type Message struct {
	ID          uint16
	Opcode      Opcode
	Rcode       Rcode // with EDNS's extension
	QR, AA, TC  bool
	RD, RA      bool
	AD, CD      bool
	HasQuestion bool
	Question    Question
	Answer      []rdata.Record // OPT is not among the records: see EDNS
	Authority   []rdata.Record
	Additional  []rdata.Record
	EDNS        EDNS
	EDE         []ExtendedError
}

// ExtendedError is an extended DNS error (RFC 8914).
type ExtendedError struct {
	Code EDE    `json:"code"`
	Text string `json:"text,omitempty"`
}

// ParseMessage reads a whole message, query or response. It refuses what is
// malformed anywhere; messages with several questions have no meaning (RFC 9619)
// and are refused too.
func ParseMessage(msg []byte) (*Message, error) {
	if len(msg) < HeaderLen {
		return nil, ErrShortMessage
	}
	m := &Message{
		ID:     binary.BigEndian.Uint16(msg),
		Opcode: Opcode(msg[2] >> 3 & 0xF),
		Rcode:  Rcode(msg[3] & 0xF),
		QR:     msg[2]&flagQR != 0, AA: msg[2]&flagAA != 0, TC: msg[2]&flagTC != 0,
		RD: msg[2]&flagRD != 0, RA: msg[3]&flagRA != 0,
		AD: msg[3]&flagAD != 0, CD: msg[3]&flagCD != 0,
	}
	at, err := m.parseQuestion(msg)
	if err != nil {
		return nil, fmt.Errorf("question: %w", err)
	}
	sections := [...]*[]rdata.Record{&m.Answer, &m.Authority, &m.Additional}
	for s, records := range sections {
		count := int(binary.BigEndian.Uint16(msg[6+2*s:]))
		for i := range count {
			if at, err = m.parseRecord(msg, at, Section(s), records); err != nil {
				return nil, fmt.Errorf("%v section, record %d: %w", Section(s), i+1, err)
			}
		}
	}
	if at != len(msg) {
		return nil, ErrTrailing
	}
	return m, nil
}

func (m *Message) parseQuestion(msg []byte) (end int, err error) {
	switch count := binary.BigEndian.Uint16(msg[4:]); count {
	case 0:
		return HeaderLen, nil
	case 1:
	default:
		return 0, fmt.Errorf("%d questions", count)
	}
	name, at, err := parseName(msg, HeaderLen)
	if err != nil {
		return 0, err
	}
	if at+4 > len(msg) {
		return 0, ErrShortMessage
	}
	m.HasQuestion = true
	m.Question = Question{
		Name:  name,
		Type:  rdata.Type(binary.BigEndian.Uint16(msg[at:])),
		Class: rdata.Class(binary.BigEndian.Uint16(msg[at+2:])),
	}
	return at + 4, nil
}

// parseRecord reads the record at msg[at:] into records, or into m.EDNS.
func (m *Message) parseRecord(msg []byte, at int, s Section, records *[]rdata.Record) (end int, err error) {
	name, at, err := m.parseOwner(msg, at)
	if err != nil {
		return 0, err
	}
	if at+10 > len(msg) {
		return 0, ErrShortMessage
	}
	fixed, length := msg[at:at+10], int(binary.BigEndian.Uint16(msg[at+8:]))
	at += 10
	end = at + length
	if end > len(msg) {
		return 0, ErrShortMessage
	}
	t := rdata.Type(binary.BigEndian.Uint16(fixed))
	if t == rdata.TypeOPT {
		if s != Additional || m.EDNS.Present || !name.IsRoot() || !m.EDNS.parse(fixed, append([]byte(nil), msg[at:end]...), m.QR) {
			return 0, ErrOPT
		}
		m.Rcode |= Rcode(fixed[4]) << 4
		m.parseEDE()
		return end, nil
	}
	class := rdata.Class(binary.BigEndian.Uint16(fixed[2:]))
	var data []byte
	if length > 0 || class != rdata.ClassANY && class != rdata.ClassNONE { // RFC 2136 §2.4: those may be without
		if data, err = rdata.Unpack(make([]byte, 0, length), t, msg, at, length); err != nil {
			return 0, fmt.Errorf("%v %v: %w", name, t, err)
		}
	}
	ttl := rdata.TTL(binary.BigEndian.Uint32(fixed[4:]))
	if ttl > rdata.MaxTTL { // RFC 2181 §8
		ttl = 0
	}
	*records = append(*records, rdata.Record{
		Name: name, Type: t, Class: class, TTL: ttl, Data: data,
	})
	return end, nil
}

// parseOwner is parseName, without a copy of the question's name, which most records of
// answers have.
func (m *Message) parseOwner(msg []byte, at int) (dnsname.Name, int, error) {
	if m.HasQuestion && at+2 <= len(msg) && msg[at] == 0xC0 && msg[at+1] == HeaderLen {
		return m.Question.Name, at + 2, nil
	}
	return parseName(msg, at)
}

// parseEDE collects the extended errors among the options, which parse has
// checked.
func (m *Message) parseEDE() {
	for o := m.EDNS.Options; len(o) > 0; {
		length := 4 + int(binary.BigEndian.Uint16(o[2:]))
		if binary.BigEndian.Uint16(o) == optionEDE && length >= 6 {
			m.EDE = append(m.EDE, ExtendedError{EDE(binary.BigEndian.Uint16(o[4:])), string(o[6:length])})
		}
		o = o[length:]
	}
}

func parseName(msg []byte, at int) (dnsname.Name, int, error) {
	var scratch [dnsname.MaxLen + 1]byte
	wire, end, err := rdata.UnpackName(scratch[:0], msg, at)
	if err != nil {
		return dnsname.Name{}, 0, err
	}
	name, _, err := dnsname.FromWire(wire)
	return name, end, err
}

// Append appends m in wire form to b, names compressed, with an OPT record if
// m.EDNS.Present. It does not look at the size: that is the sender's to choose.
func (m *Message) Append(b []byte) []byte {
	var names compressor
	names.reset()
	var buf [HeaderLen]byte
	msg := buf[:] // offsets count from the header, so the message is made apart from b
	binary.BigEndian.PutUint16(msg, m.ID)
	msg[2] = bit(m.QR, flagQR) | byte(m.Opcode)<<3 | bit(m.AA, flagAA) | bit(m.TC, flagTC) | bit(m.RD, flagRD)
	msg[3] = bit(m.RA, flagRA) | bit(m.AD, flagAD) | bit(m.CD, flagCD) | byte(m.Rcode&0xF)
	if m.HasQuestion {
		msg[5] = 1
		msg = names.appendName(msg, m.Question.Name.Wire())
		msg = binary.BigEndian.AppendUint16(msg, uint16(m.Question.Type))
		msg = binary.BigEndian.AppendUint16(msg, uint16(m.Question.Class))
	}
	for s, records := range [...][]rdata.Record{m.Answer, m.Authority, m.Additional} {
		binary.BigEndian.PutUint16(msg[6+2*s:], uint16(len(records)))
		for _, r := range records {
			msg = appendRecord(msg, &names, r)
		}
	}
	if m.EDNS.Present {
		binary.BigEndian.PutUint16(msg[10:], uint16(len(m.Additional)+1))
		msg = m.appendOPT(msg)
	}
	return append(b, msg...)
}

func appendRecord(msg []byte, names *compressor, r rdata.Record) []byte {
	msg = names.appendName(msg, r.Name.Wire())
	msg = binary.BigEndian.AppendUint16(msg, uint16(r.Type))
	msg = binary.BigEndian.AppendUint16(msg, uint16(r.Class))
	msg = binary.BigEndian.AppendUint32(msg, uint32(r.TTL))
	lengthAt := len(msg)
	msg = append(msg, 0, 0)
	l := rdata.LayoutOf(r.Type)
	if l.Compress && len(r.Data) > l.Prefix {
		data := r.Data
		msg = append(msg, data[:l.Prefix]...)
		data = data[l.Prefix:]
		for range l.Names {
			n, length, err := dnsname.FromWire(data)
			if err != nil {
				break // not RDATA of its type: sent as it is
			}
			msg = names.appendName(msg, n.Wire())
			data = data[length:]
		}
		msg = append(msg, data...)
	} else {
		msg = append(msg, r.Data...)
	}
	binary.BigEndian.PutUint16(msg[lengthAt:], uint16(len(msg)-lengthAt-2))
	return msg
}

func (m *Message) appendOPT(msg []byte) []byte {
	msg = append(msg, 0, 0, byte(rdata.TypeOPT))
	msg = binary.BigEndian.AppendUint16(msg, m.EDNS.UDPSize)
	msg = append(msg, byte(m.Rcode>>4), m.EDNS.Version, bit(m.EDNS.DO, 0x80), 0)
	options := append([]byte(nil), m.EDNS.Options...)
	if len(options) == 0 {
		for _, e := range m.EDE {
			options = binary.BigEndian.AppendUint16(options, optionEDE)
			options = binary.BigEndian.AppendUint16(options, uint16(2+len(e.Text)))
			options = binary.BigEndian.AppendUint16(options, uint16(e.Code))
			options = append(options, e.Text...)
		}
	}
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(options)))
	return append(msg, options...)
}

func bit(on bool, mask byte) byte {
	if on {
		return mask
	}
	return 0
}

// QuerySpec is what an outgoing query asks.
type QuerySpec struct {
	ID         uint16
	Name       dnsname.Name
	Type       rdata.Type
	Class      rdata.Class
	RD, CD, AD bool
	EDNS       bool // send an OPT record, offering MaxUDP octets
	DO         bool // RFC 3225; needs EDNS
	// Options are more options in wire form (see AppendOption); they need EDNS.
	Options []byte
	// Padding fills the query up to a multiple of so many octets (RFC 7830); 0: not.
	// It needs EDNS.
	Padding int
}

// AppendQuery appends the query of s in wire form to b.
func AppendQuery(b []byte, s QuerySpec) []byte {
	start := len(b)
	b = slices.Grow(b, HeaderLen+s.Name.Len()+4+11+len(s.Options)+s.Padding)
	b = binary.BigEndian.AppendUint16(b, s.ID)
	b = append(b, bit(s.RD, flagRD), bit(s.AD, flagAD)|bit(s.CD, flagCD), 0, 1, 0, 0, 0, 0, 0, bit(s.EDNS, 1))
	b = s.Name.AppendWire(b)
	b = binary.BigEndian.AppendUint16(b, uint16(s.Type))
	b = binary.BigEndian.AppendUint16(b, uint16(s.Class))
	if s.EDNS {
		b = append(b, 0, 0, byte(rdata.TypeOPT), MaxUDP>>8, MaxUDP&0xFF, 0, 0, bit(s.DO, 0x80), 0, 0, 0)
		options := len(b)
		b = append(b, s.Options...)
		if s.Padding > 0 {
			over := (len(b) + 4 - start) % s.Padding
			b = AppendOption(b, optionPadding, make([]byte, (s.Padding-over)%s.Padding))
		}
		binary.BigEndian.PutUint16(b[options-2:], uint16(len(b)-options))
	}
	return b
}
