package scenario

import (
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// readEntry reads the lines between ENTRY_BEGIN and ENTRY_END.
func (p *parser) readEntry(begin int) (*Entry, error) {
	e := &Entry{Line: begin}
	section := ""
	for {
		fields, line, ok := p.next()
		if !ok {
			return nil, p.errorf(begin, "the entry has no ENTRY_END")
		}
		var err error
		switch fields[0] {
		case "ENTRY_END":
			p.defaults(e)
			return e, nil
		case "MATCH":
			err = p.readMatch(e, fields[1:], line)
		case "ADJUST":
			err = p.readAdjust(e, fields[1:], line)
		case "REPLY":
			err = p.readReply(e, fields[1:], line)
		case "SECTION":
			section, err = p.readSection(e, fields, line)
		case "HEX_ANSWER_BEGIN":
			e.Raw, err = p.readHex("HEX_ANSWER_END")
		case "HEX_EDNSDATA_BEGIN":
			e.Message.EDNS.Present = true
			e.Message.EDNS.Options, err = p.readHex("HEX_EDNSDATA_END")
		case "RAW":
			e.Raw, err = p.readRaw(line)
		case "$ORIGIN", "$TTL":
			err = p.directive(fields, line)
		case "MANDATORY": // Deckard: the entry must be used; a run checks answers only
		case "EXTRA_PACKET":
			more, err := p.readEntry(line)
			if err != nil {
				return nil, err
			}
			more.Adjust.CopyID, more.Adjust.CopyQuery = true, more.Adjust.CopyQuery || e.Adjust.CopyQuery
			e.Extra = append([]*Entry{more}, more.Extra...)
			more.Extra = nil
			p.defaults(e)
			return e, nil
		case "TSIG":
			err = &Unsupported{"step", fields[0] + " in an entry", line}
		default:
			err = p.readRecord(e, section, line)
		}
		if err != nil {
			return nil, err
		}
	}
}

// defaults fills in what the dialect leaves out.
func (p *parser) defaults(e *Entry) {
	if p.scenario.Dialect == Deckard && !e.Match.given {
		e.Match.Opcode, e.Match.Qtype, e.Match.Qname = true, true, true
	}
}

func (p *parser) readAdjust(e *Entry, words []string, line int) error {
	for _, w := range words {
		switch w {
		case "copy_id", "raw_id":
			e.Adjust.CopyID = true
		case "copy_query":
			e.Adjust.CopyQuery = true
		case "do_not_answer":
			e.Adjust.Silent = true
		case "wrong_id":
			e.Adjust.WrongID = true
		case "lower_case":
			e.Adjust.LowerCase = true
		case "refuse":
			e.Adjust.Refuse = true
		default:
			if strings.HasPrefix(w, "sleep=") || strings.HasPrefix(w, "packet_sleep=") {
				continue // a server's pause, which fake time skips
			}
			return &Unsupported{"step", "ADJUST " + w, line}
		}
	}
	return nil
}

// readReply reads flags, RCODE and opcode.
func (p *parser) readReply(e *Entry, words []string, line int) error {
	m := &e.Message
	flags := map[string]*bool{
		"QR": &m.QR, "AA": &m.AA, "TC": &m.TC, "RD": &m.RD, "RA": &m.RA, "AD": &m.AD, "CD": &m.CD, "DO": &m.EDNS.DO,
	}
	for _, w := range words {
		if flag, ok := flags[w]; ok {
			*flag = true
			continue
		}
		if opcode, ok := dns.StringToOpcode[w]; ok {
			m.Opcode = dnswire.Opcode(opcode)
			continue
		}
		rcode, ok := parseRcode(w)
		if !ok {
			return p.errorf(line, "REPLY: %q is no flag, RCODE or opcode", w)
		}
		m.Rcode = rcode
	}
	m.EDNS.Present = m.EDNS.Present || m.EDNS.DO
	return nil
}

func (p *parser) readSection(e *Entry, fields []string, line int) (string, error) {
	if len(fields) < 2 {
		return "", p.errorf(line, "SECTION wants a name")
	}
	switch d := &e.Declared; fields[1] {
	case "QUESTION":
		d.Question = true
	case "ANSWER":
		d.Answer = true
	case "AUTHORITY":
		d.Authority = true
	case "ADDITIONAL":
		d.Additional = true
	default:
		return "", p.errorf(line, "SECTION %s: want QUESTION, ANSWER, AUTHORITY or ADDITIONAL", fields[1])
	}
	return fields[1], nil
}

// readRecord reads the current line as a record of the section.
func (p *parser) readRecord(e *Entry, section string, line int) error {
	text := strings.TrimSpace(stripComment(p.lines[line-1]))
	if section == "" {
		return p.errorf(line, "%q before any SECTION", text)
	}
	if section == "QUESTION" {
		return p.readQuestion(e, strings.Fields(text), line)
	}
	text, err := p.joinLines(text, line)
	if err != nil {
		return err
	}
	r, err := ParseRecord(text, p.origin, p.ttl)
	if err != nil {
		return p.errorf(line, "%w", err)
	}
	switch m := &e.Message; section {
	case "ANSWER":
		m.Answer = append(m.Answer, r)
	case "AUTHORITY":
		m.Authority = append(m.Authority, r)
	default:
		m.Additional = append(m.Additional, r)
	}
	return nil
}

// joinLines adds to a record with an open parenthesis the lines up to the closing
// one (RFC 1035 §5.1).
func (p *parser) joinLines(text string, line int) (string, error) {
	for strings.Count(text, "(") > strings.Count(text, ")") {
		if p.at >= len(p.lines) {
			return "", p.errorf(line, "parenthesis is not closed")
		}
		text += " " + strings.TrimSpace(stripComment(p.lines[p.at]))
		p.at++
	}
	return text, nil
}

// readQuestion reads "name [class] type", in the order people write it or with
// class and type the other way round.
func (p *parser) readQuestion(e *Entry, fields []string, line int) error {
	if len(fields) < 2 {
		return p.errorf(line, "question wants a name, a class and a type")
	}
	name, err := p.name(fields[0])
	if err != nil {
		return p.errorf(line, "%w", err)
	}
	q := dnswire.Question{Name: name, Class: rdata.ClassIN}
	for _, w := range fields[1:] {
		if t, ok := rdata.ParseType(w); ok && (w != "ANY" || q.Type == 0) {
			q.Type = t
		} else if c, ok := rdata.ParseClass(w); ok {
			q.Class = c
		} else if _, err := strconv.ParseUint(w, 10, 31); err != nil { // a TTL in a question means nothing
			return p.errorf(line, "question: %q is neither class nor type", w)
		}
	}
	e.Message.HasQuestion, e.Message.Question = true, q
	return nil
}

func (p *parser) name(text string) (dnsname.Name, error) {
	origin, err := dnsname.Parse(p.origin)
	if err != nil {
		return origin, err
	}
	return dnsname.ParseIn(text, origin)
}

// readHex reads octets in hexadecimal up to the line end.
func (p *parser) readHex(end string) ([]byte, error) {
	var digits strings.Builder
	begin := p.at
	for {
		fields, _, ok := p.next()
		if !ok {
			return nil, p.errorf(begin, "no %s", end)
		}
		if fields[0] == end {
			break
		}
		digits.WriteString(strings.Join(fields, ""))
	}
	octets, err := hex.DecodeString(digits.String())
	if err != nil {
		return nil, p.errorf(begin, "%w", err)
	}
	return octets, nil
}

func (p *parser) readRaw(line int) ([]byte, error) {
	fields, _, ok := p.next()
	if !ok {
		return nil, p.errorf(line, "RAW is not followed by hexadecimal")
	}
	octets, err := hex.DecodeString(strings.Join(fields, ""))
	if err != nil {
		return nil, p.errorf(line, "RAW: %w", err)
	}
	return octets, nil
}

// ParseRecord reads one record in presentation form.
func ParseRecord(text, origin string, ttl uint32) (rdata.Record, error) {
	z := dns.NewZoneParser(strings.NewReader(text+"\n"), origin, "")
	z.SetDefaultTTL(ttl)
	rr, ok := z.Next()
	if !ok {
		if z.Err() != nil {
			return rdata.Record{}, z.Err()
		}
		return rdata.Record{}, errors.New("no record in " + strconv.Quote(text))
	}
	return fromRR(rr)
}

// fromRR converts through wire form, which both sides agree on.
func fromRR(rr dns.RR) (rdata.Record, error) {
	switch rr := rr.(type) { // files may write the types in any order
	case *dns.NSEC:
		slices.Sort(rr.TypeBitMap)
	case *dns.NSEC3:
		slices.Sort(rr.TypeBitMap)
	}
	wire := make([]byte, dns.Len(rr)+1)
	end, err := dns.PackRR(rr, wire, 0, nil, false)
	if err != nil {
		return rdata.Record{}, err
	}
	h := rr.Header()
	name, nameLen, err := dnsname.FromWire(wire[:end])
	if err != nil {
		return rdata.Record{}, err
	}
	if end < nameLen+10 {
		return rdata.Record{}, errors.New("a record without data")
	}
	return rdata.Record{
		Name: name, Type: rdata.Type(h.Rrtype), Class: rdata.Class(h.Class), TTL: rdata.TTL(h.Ttl),
		Data: wire[nameLen+10 : end],
	}, nil
}
