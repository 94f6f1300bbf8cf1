package probe

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/health"
)

// question is what a DNS check asks, ready to be asked.
type question struct {
	spec   dnswire.QuerySpec
	rcodes []string
	text   string // of the data expected; "": any
	data   []byte
	tcp    bool
}

// compileQuestion returns the question of q. The configuration has checked it; an error
// is one of a state that somebody else has written.
func compileQuestion(q health.Question) (*question, error) {
	name, err := dnsname.Parse(q.Name)
	if err != nil {
		return nil, fmt.Errorf("check.dns.name: %w", err)
	}
	kind, known := rdata.ParseType(cmp.Or(q.Type, "A"))
	if !known {
		return nil, fmt.Errorf("check.dns.type: %q is no type of records", q.Type)
	}
	c := &question{
		spec:   dnswire.QuerySpec{Name: name, Type: kind, Class: rdata.ClassIN, RD: true, EDNS: true},
		rcodes: strings.Split(cmp.Or(q.Rcodes, "NOERROR"), ","), text: q.Answer, tcp: q.TCP,
	}
	if q.Answer != "" {
		if c.data, err = rdata.ParseText(kind, dnsname.Root, q.Answer); err != nil {
			return nil, fmt.Errorf("check.dns.answer: %w", err)
		}
	}
	return c, nil
}

// askDNS asks a question. What comes over UDP and is no answer to it is passed over:
// anybody could have sent it.
func (t *target) askDNS(ctx context.Context, dial dialer) outcome {
	q, network := t.question, "udp"
	if q.tcp {
		network = "tcp"
	}
	c, err := t.connect(ctx, dial, network, nil)
	if err != nil {
		return t.failed(err, "connecting")
	}
	defer c.Close()
	spec := q.spec
	spec.ID = uint16(rand.Uint32())
	query := dnswire.AppendQuery(make([]byte, 2, 512), spec)
	binary.BigEndian.PutUint16(query, uint16(len(query)-2)) // RFC 1035 §4.2.2
	if !q.tcp {
		query = query[2:]
	}
	if _, err := c.Write(query); err != nil {
		return t.failed(err, "sending the question")
	}
	for {
		answer, err := readDNS(c, q.tcp)
		if err != nil {
			return t.failed(err, "waiting for an answer")
		}
		m, err := dnswire.ParseMessage(answer)
		if err == nil && m.QR && m.ID == spec.ID && (!m.HasQuestion || m.Question.Name == spec.Name && m.Question.Type == spec.Type) {
			return q.judge(m)
		}
		if q.tcp {
			return outcome{cause: "the answer is no answer to the question"}
		}
	}
}

// readDNS reads one message.
func readDNS(r io.Reader, tcp bool) ([]byte, error) {
	buf := make([]byte, 1<<16)
	if !tcp {
		n, err := r.Read(buf)
		return buf[:n], err
	}
	if _, err := io.ReadFull(r, buf[:2]); err != nil {
		return nil, err
	}
	buf = buf[:binary.BigEndian.Uint16(buf)]
	_, err := io.ReadFull(r, buf)
	return buf, err
}

// judge says what an answer means.
func (q *question) judge(m *dnswire.Message) outcome {
	o := outcome{cause: m.Rcode.String()}
	found := false
	for _, rcode := range q.rcodes {
		found = found || rcode == m.Rcode.String()
	}
	if !found {
		return o
	}
	if q.data == nil {
		o.verdict = good
		return o
	}
	for _, r := range m.Answer {
		if r.Type == q.spec.Type && bytes.Equal(r.Data, q.data) {
			return outcome{verdict: good, cause: o.cause + " with " + q.text}
		}
	}
	o.cause += fmt.Sprintf(", but no record is %s", q.text)
	if m.TC {
		o.cause += "; the answer is truncated, so ask over TCP"
	}
	return o
}
