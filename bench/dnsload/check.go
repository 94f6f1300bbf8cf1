package dnsload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Query is a question and what is right to answer.
type Query struct {
	Msg []byte // ID 0; the ID is put in when it is sent

	// The right answer: RCODE, the records of the answer section as "TYPE RDATA",
	// sorted, and those of the authority section, which are compared only if given.
	Rcode     int
	Answer    []string
	Authority []string

	signed   bool // signatures are asked for: see WithSignatures
	question int  // where the question section of Msg ends
}

// WithSignatures returns q with the bit DO, for a signed zone: beside the right
// answer there have to be signatures, and proofs of what there is not, which are
// not looked at any closer.
func (q Query) WithSignatures() Query {
	var m dns.Msg
	if err := m.Unpack(q.Msg); err != nil {
		panic("BUG: " + err.Error())
	}
	m.IsEdns0().SetDo()
	msg, err := m.Pack()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	q.Msg, q.signed = msg, true
	return q
}

const headerLen = 12

// NewQuery returns a query for a packed message with one question. Its answer is
// to be filled in.
func NewQuery(msg []byte) Query {
	at := headerLen
	for msg[at] != 0 {
		at += int(msg[at]) + 1
	}
	return Query{Msg: msg, question: at + 5}
}

// Bits of the header's third and fourth octet.
const (
	bitQR = 0x80
	bitTC = 0x02
)

// check returns what is wrong with an answer as far as its header and question
// show; "" if nothing is.
func (q *Query) check(msg []byte) string {
	if len(msg) < q.question {
		return fmt.Sprintf("%d octets are too short for an answer", len(msg))
	}
	if rcode := int(msg[3] & 0x0F); msg[2]&bitQR == 0 || rcode != q.Rcode {
		return fmt.Sprintf("QR %t, RCODE %d; want a response with RCODE %d", msg[2]&bitQR != 0, rcode, q.Rcode)
	}
	if msg[2]&bitTC != 0 {
		return "truncated"
	}
	want := len(q.Answer)
	if q.signed && want > 0 {
		want++ // answers are of one RRset
	}
	if n := int(binary.BigEndian.Uint16(msg[6:])); n != want {
		return fmt.Sprintf("%d answer records, want %d", n, want)
	}
	if n := int(binary.BigEndian.Uint16(msg[8:])); n < len(q.Authority) {
		return fmt.Sprintf("%d authority records, want %d", n, len(q.Authority))
	}
	if n := binary.BigEndian.Uint16(msg[4:]); n != 1 || !bytes.Equal(msg[headerLen:q.question], q.Msg[headerLen:q.question]) {
		return fmt.Sprintf("%d questions, want the one that was asked", n)
	}
	return ""
}

// compare unpacks an answer and returns what is wrong with its records.
func (q *Query) compare(msg []byte) string {
	var m dns.Msg
	if err := m.Unpack(msg); err != nil {
		return "cannot be unpacked: " + err.Error()
	}
	if q.signed {
		if len(m.Answer) > 0 && !has(m.Answer, dns.TypeRRSIG) || len(m.Answer) == 0 && !has(m.Ns, dns.TypeRRSIG) {
			return "no signature"
		}
		if q.Rcode == dns.RcodeNameError && !has(m.Ns, dns.TypeNSEC) && !has(m.Ns, dns.TypeNSEC3) {
			return "no proof that the name does not exist"
		}
		m.Answer, m.Ns = withoutProofs(m.Answer), withoutProofs(m.Ns)
	}
	if got := texts(m.Answer); !slices.Equal(got, q.Answer) {
		return fmt.Sprintf("answer section %q, want %q", got, q.Answer)
	}
	if q.Authority != nil {
		if got := texts(m.Ns); !slices.Equal(got, q.Authority) {
			return fmt.Sprintf("authority section %q, want %q", got, q.Authority)
		}
	}
	return ""
}

func has(records []dns.RR, t uint16) bool {
	return slices.ContainsFunc(records, func(rr dns.RR) bool { return rr.Header().Rrtype == t })
}

func withoutProofs(records []dns.RR) []dns.RR {
	return slices.DeleteFunc(records, func(rr dns.RR) bool {
		t := rr.Header().Rrtype
		return t == dns.TypeRRSIG || t == dns.TypeNSEC || t == dns.TypeNSEC3
	})
}

// Verify returns what is wrong with an answer, all of it looked at.
func (q *Query) Verify(msg []byte) error {
	problem := q.check(msg)
	if problem == "" {
		problem = q.compare(msg)
	}
	if problem != "" {
		return errors.New(q.describe() + ": " + problem)
	}
	return nil
}

// texts returns records as "TYPE RDATA", sorted: their order is the server's.
func texts(records []dns.RR) []string {
	var all []string
	for _, rr := range records {
		text := strings.TrimPrefix(rr.String(), rr.Header().String())
		all = append(all, dns.TypeToString[rr.Header().Rrtype]+" "+text)
	}
	slices.Sort(all)
	return all
}

// describe returns the question as text.
func (q *Query) describe() string {
	var m dns.Msg
	if err := m.Unpack(q.Msg); err != nil || len(m.Question) == 0 {
		return "a question that cannot be read"
	}
	return strings.TrimPrefix(m.Question[0].String(), ";")
}
