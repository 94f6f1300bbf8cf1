package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Match is which parts of a message must agree with the entry's.
type Match struct {
	given bool // a MATCH line was there

	Opcode, Qtype, Qname, Subdomain bool
	Rcode, Flags, Question          bool
	Answer, Authority, Additional   bool
	All                             bool // flags, rcode, question and the declared sections: see checkAll
	TTL                             bool // records also agree in their TTLs
	DO, NoEDNS, EDNSOptions         bool
	UDP, TCP                        bool
	Serial                          *uint32 // the SOA in the authority section has this serial
	EDE                             *dnswire.EDE
	EDEAny                          bool
}

func (p *parser) readMatch(e *Entry, words []string, line int) error {
	m := &e.Match
	m.given = true
	flags := map[string]*bool{
		"opcode": &m.Opcode, "qtype": &m.Qtype, "qname": &m.Qname, "subdomain": &m.Subdomain,
		"rcode": &m.Rcode, "flags": &m.Flags, "question": &m.Question, "answer": &m.Answer,
		"authority": &m.Authority, "additional": &m.Additional, "all": &m.All, "all_noedns": &m.All,
		"ttl": &m.TTL, "DO": &m.DO, "noedns": &m.NoEDNS, "ednsdata": &m.EDNSOptions, "UDP": &m.UDP, "TCP": &m.TCP,
		"none": &m.given,
	}
	for _, w := range words {
		if flag, ok := flags[w]; ok {
			*flag = true
			continue
		}
		key, value, _ := strings.Cut(w, "=")
		number, err := strconv.ParseUint(value, 10, 32)
		switch {
		case key == "serial" && err == nil:
			serial := uint32(number)
			m.Serial = &serial
		case w == "ede=any":
			m.EDEAny = true
		case key == "ede" && err == nil:
			code := dnswire.EDE(number)
			m.EDE = &code
		default:
			return &Unsupported{"step", "MATCH " + w, line}
		}
	}
	return nil
}

// Packet is a message on its way, as Check sees it.
type Packet struct {
	*dnswire.Message
	TCP bool
}

// Check returns nil if got agrees with e in everything e asks for; else what
// does not agree.
func (e *Entry) Check(got Packet) error {
	m, want := e.Match, &e.Message
	switch {
	case (m.Opcode || m.All) && got.Opcode != want.Opcode:
		return fmt.Errorf("opcode %v, want %v", got.Opcode, want.Opcode)
	case m.UDP && got.TCP:
		return fmt.Errorf("came over TCP, want UDP")
	case m.TCP && !got.TCP:
		return fmt.Errorf("came over UDP, want TCP")
	case m.DO && !got.EDNS.DO:
		return fmt.Errorf("without DO")
	case m.NoEDNS && got.EDNS.Present:
		return fmt.Errorf("with EDNS")
	case m.EDNSOptions && string(got.EDNS.Options) != string(want.EDNS.Options):
		return fmt.Errorf("EDNS options %x, want %x", got.EDNS.Options, want.EDNS.Options)
	case (m.Rcode || m.All) && got.Rcode != want.Rcode:
		return fmt.Errorf("%v, want %v", got.Rcode, want.Rcode)
	}
	if err := e.checkQuestion(got); err != nil {
		return err
	}
	if m.Flags || m.All {
		if g, w := flagsOf(got.Message), flagsOf(want); g != w {
			return fmt.Errorf("flags %q, want %q", g, w)
		}
	}
	if err := e.checkOptions(got); err != nil {
		return err
	}
	return e.checkSections(got)
}

func (e *Entry) checkQuestion(got Packet) error {
	m, q, want := e.Match, got.Question, e.Message.Question
	if !e.Message.HasQuestion { // Deckard: then there is nothing to compare
		return nil
	}
	whole := m.Question || m.All
	switch {
	case (m.Qtype || whole) && q.Type != want.Type:
		return fmt.Errorf("question type %v, want %v", q.Type, want.Type)
	case (m.Qname || whole) && q.Name != want.Name:
		return fmt.Errorf("question name %v, want %v", q.Name, want.Name)
	case m.Subdomain && !q.Name.IsSubdomainOf(want.Name):
		return fmt.Errorf("question name %v, want one below %v", q.Name, want.Name)
	case whole && q.Class != want.Class:
		return fmt.Errorf("question class %v, want %v", q.Class, want.Class)
	}
	return nil
}

func (e *Entry) checkOptions(got Packet) error {
	m := e.Match
	has := func(code dnswire.EDE) bool {
		return slices.ContainsFunc(got.EDE, func(x dnswire.ExtendedError) bool { return x.Code == code })
	}
	switch {
	case m.EDEAny && len(got.EDE) == 0:
		return fmt.Errorf("no extended error")
	case m.EDE != nil && !has(*m.EDE):
		return fmt.Errorf("extended errors %v, want %v", got.EDE, *m.EDE)
	}
	if m.Serial != nil {
		for _, r := range got.Authority {
			if serial, ok := soaSerial(r); ok && serial == *m.Serial {
				return nil
			}
		}
		return fmt.Errorf("no SOA with serial %d in the authority section", *m.Serial)
	}
	return nil
}

// checkSections compares sections as sets. Under "all" the answer must agree in
// full. Authority and additional records that only accompany an answer are the
// server's choice (RFC 2308 §2.1, RFC 9499 "minimal responses"), so there
// only the SOA, without which a negative answer could not be cached, is looked at.
func (e *Entry) checkSections(got Packet) error {
	m, want := e.Match, &e.Message
	if m.Answer || m.All {
		if err := sameRecords("answer", got.Answer, want.Answer, m.TTL); err != nil {
			return err
		}
	}
	if m.Authority {
		if err := sameRecords("authority", got.Authority, want.Authority, m.TTL); err != nil {
			return err
		}
	} else if m.All && e.Declared.Authority {
		if err := sameRecords("authority (SOA)", onlySOA(got.Authority), onlySOA(want.Authority), m.TTL); err != nil {
			return err
		}
	}
	if m.Additional {
		return sameRecords("additional", got.Additional, want.Additional, m.TTL)
	}
	return nil
}

func onlySOA(records []rdata.Record) []rdata.Record {
	return slices.DeleteFunc(slices.Clone(records), func(r rdata.Record) bool { return r.Type != rdata.TypeSOA })
}

// sameRecords compares two sections as sets of records; an error lists what is
// missing and what is too much.
func sameRecords(section string, got, want []rdata.Record, ttl bool) error {
	missing, extra := map[string]int{}, []string{}
	for _, r := range want {
		missing[canonical(r, ttl)]++
	}
	for _, r := range got {
		key := canonical(r, ttl)
		if missing[key] > 0 {
			missing[key]--
		} else {
			extra = append(extra, key)
		}
	}
	lost := []string{}
	for key, count := range missing {
		for range count {
			lost = append(lost, key)
		}
	}
	if len(lost)+len(extra) == 0 {
		return nil
	}
	slices.Sort(lost)
	return fmt.Errorf("%s section lacks %q and has too much %q", section, lost, extra)
}

// canonical returns r as text that is equal for equal records: owner and names in
// RDATA in lower case (RFC 4034 §6.2), the TTL only if it counts.
func canonical(r rdata.Record, ttl bool) string {
	r.Data = slices.Clone(r.Data)
	if l := rdata.LayoutOf(r.Type); l.Names > 0 && l.Prefix >= 0 && l.Prefix <= len(r.Data) {
		at := l.Prefix
		for range l.Names {
			n, length, err := dnsname.FromWire(r.Data[at:])
			if err != nil {
				break
			}
			copy(r.Data[at:], n.Wire())
			at += length
		}
	}
	if !ttl {
		r.TTL = 0
	}
	return strings.ReplaceAll(r.String(), "\t", " ")
}

func soaSerial(r rdata.Record) (uint32, bool) {
	if r.Type != rdata.TypeSOA || len(r.Data) < 20 {
		return 0, false
	}
	d := r.Data[len(r.Data)-20:]
	return uint32(d[0])<<24 | uint32(d[1])<<16 | uint32(d[2])<<8 | uint32(d[3]), true
}

// flagsOf returns the header flags that are set, as words.
func flagsOf(m *dnswire.Message) string {
	var words []string
	for _, f := range []struct {
		on   bool
		word string
	}{{m.QR, "QR"}, {m.AA, "AA"}, {m.TC, "TC"}, {m.RD, "RD"}, {m.RA, "RA"}, {m.AD, "AD"}, {m.CD, "CD"}} {
		if f.on {
			words = append(words, f.word)
		}
	}
	return strings.Join(words, " ")
}
