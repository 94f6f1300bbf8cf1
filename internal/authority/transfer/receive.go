package transfer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Form is what a primary has sent.
type Form uint8

// The forms.
const (
	Unknown     Form = iota // not enough has come
	UpToDate                // one SOA record, no newer than ours
	WholeZone               // all records
	Incremental             // differences
)

// String returns the form in words.
func (f Form) String() string {
	return [...]string{"unknown", "up to date", "whole zone", "differences"}[f]
}

// ErrNoDifferences means that a primary has something newer, but did not send the
// differences asked for: AXFR, or TCP, is next.
var ErrNoDifferences = errors.New("the primary has a newer version, but sent no differences")

// Limits bound one transfer.
type Limits struct {
	Records int   // 0: no limit
	Zone    int   // records of a zone that comes whole; 0: no limit
	Octets  int64 // of messages; 0: no limit
}

// Change is one difference as it was received.
type Change struct {
	From, To       rdata.Serial
	Deleted, Added []rdata.Record // without SOA records
	SOA            rdata.Record   // the new one
}

// Receiver takes the messages of one transfer and checks them. What it is given
// is believed only when Take has said that all of it is there.
type Receiver struct {
	// Constant.
	Zone   dnsname.Name
	Asked  rdata.Type   // AXFR or IXFR
	Have   rdata.Serial // IXFR: the version that is there
	Limits Limits
	// Record is called for each record of a WholeZone, the SOA record once. It may
	// keep the record.
	Record func(rdata.Record)

	form    Form
	soa     rdata.Record // the first: the version that is sent
	changes []Change
	adding  bool // the last Change is past its new SOA
	records int
	octets  int64
	done    bool
}

// Form returns what is sent, as far as that can be told.
func (r *Receiver) Form() Form { return r.form }

// SOA returns the SOA record of the version that is sent; zero at first.
func (r *Receiver) SOA() rdata.Record { return r.soa }

// Changes returns the differences of an Incremental transfer.
func (r *Receiver) Changes() []Change { return r.changes }

// Received returns how many records and octets have come.
func (r *Receiver) Received() (records int, octets int64) { return r.records, r.octets }

// SerialOf returns the serial of an SOA record.
func SerialOf(soa rdata.Record) rdata.Serial {
	if len(soa.Data) < 20 {
		return 0
	}
	return rdata.Serial(binary.BigEndian.Uint32(soa.Data[len(soa.Data)-20:]))
}

// Take takes the next message, without its signature. done says that it was the
// last. After an error nothing of the transfer counts.
func (r *Receiver) Take(msg []byte) (done bool, err error) {
	if r.octets += int64(len(msg)); r.Limits.Octets > 0 && r.octets > r.Limits.Octets {
		return false, fmt.Errorf("more than %d octets; raise transfers.maxSize if that is right", r.Limits.Octets)
	}
	m, err := dnswire.ParseMessage(msg)
	if err != nil {
		return false, fmt.Errorf("malformed message: %w", err)
	}
	if err := r.checkHeader(m); err != nil {
		return false, err
	}
	if len(m.Answer) == 0 {
		return false, errors.New("a message without records")
	}
	for _, record := range m.Answer {
		if err := r.take(record); err != nil {
			return false, err
		}
	}
	if r.form == Unknown && r.soa.Name == r.Zone {
		return r.afterLoneSOA()
	}
	return r.done, nil
}

// checkHeader checks what does not depend on the records (RFC 5936 §2.2.1).
func (r *Receiver) checkHeader(m *dnswire.Message) error {
	q := dnswire.Question{Name: r.Zone, Type: r.Asked, Class: rdata.ClassIN}
	switch {
	case !m.QR || m.Opcode != dnswire.OpcodeQuery:
		return errors.New("a message that is no response to a query")
	case m.Rcode != dnswire.RcodeNoError:
		return &Refused{m.Rcode, m.EDE}
	case m.HasQuestion && m.Question != q:
		return fmt.Errorf("a message about %s %s", m.Question.Name, m.Question.Type)
	case m.TC:
		return errors.New("a truncated message")
	}
	return nil
}

// Refused is a primary's response code other than NOERROR.
type Refused struct {
	Rcode dnswire.Rcode
	EDE   []dnswire.ExtendedError
}

// Error says what the primary said.
func (r *Refused) Error() string {
	text := fmt.Sprintf("the primary answers %s", r.Rcode)
	for _, e := range r.EDE {
		text += fmt.Sprintf(" (%s: %s)", e.Code, e.Text)
	}
	return text
}

// afterLoneSOA decides what a first message with nothing but an SOA record means.
func (r *Receiver) afterLoneSOA() (done bool, err error) {
	if r.Asked == rdata.TypeAXFR {
		return false, nil // RFC 5936 §2.2: the rest comes in further messages
	}
	if r.Have.Less(SerialOf(r.soa)) {
		return false, ErrNoDifferences
	}
	r.form, r.done = UpToDate, true
	return true, nil
}

// take takes one record.
func (r *Receiver) take(record rdata.Record) error {
	if r.form == WholeZone && r.Limits.Zone > 0 && r.records > r.Limits.Zone {
		return fmt.Errorf("a zone of more than %d records; raise zones[].gate.maxRecords if that is right", r.Limits.Zone)
	}
	if r.records++; r.Limits.Records > 0 && r.records > r.Limits.Records {
		return fmt.Errorf("more than %d records; raise transfers.maxRecords if that is right", r.Limits.Records)
	}
	switch {
	case r.done:
		return errors.New("records after the SOA record that ends the transfer")
	case !record.Name.IsSubdomainOf(r.Zone):
		return fmt.Errorf("the record %s %s is outside of the zone", record.Name, record.Type)
	case record.Class != rdata.ClassIN || record.Type.IsMeta():
		return fmt.Errorf("the record %s %s %s belongs in no zone", record.Name, record.Class, record.Type)
	case record.Type == rdata.TypeSOA && record.Name != r.Zone:
		return fmt.Errorf("an SOA record of %s, which is below the apex", record.Name)
	}
	if err := rdata.Validate(record.Type, record.Data); err != nil {
		return fmt.Errorf("the record %s %s: %w", record.Name, record.Type, err)
	}
	isSOA := record.Type == rdata.TypeSOA
	if r.soa.Name.IsZero() {
		if !isSOA {
			return fmt.Errorf("the first record is %s %s, not the SOA record", record.Name, record.Type)
		}
		r.soa = record
		return nil
	}
	switch r.form {
	case Unknown:
		return r.takeSecond(record, isSOA)
	case Incremental:
		return r.takeChange(record, isSOA)
	}
	return r.takeWhole(record, isSOA)
}

// takeSecond takes the second record, which tells the form (RFC 1995 §4).
func (r *Receiver) takeSecond(record rdata.Record, isSOA bool) error {
	if r.Asked == rdata.TypeIXFR && !r.Have.Less(SerialOf(r.soa)) {
		return fmt.Errorf("a transfer of serial %d to one that has %d: serials must go forward (RFC 1982)", SerialOf(r.soa), r.Have)
	}
	if r.Asked == rdata.TypeIXFR && isSOA {
		r.form = Incremental
		return r.beginChange(record, r.Have)
	}
	r.form = WholeZone
	r.Record(r.soa)
	return r.takeWhole(record, isSOA)
}

// takeWhole takes a record of an AXFR. RFC 5936 §2.2: it ends with the SOA record
// it began with, and no other is in between.
func (r *Receiver) takeWhole(record rdata.Record, isSOA bool) error {
	if !isSOA {
		r.Record(record)
		return nil
	}
	if !bytes.Equal(record.Data, r.soa.Data) {
		return fmt.Errorf("an SOA record with serial %d in a transfer of serial %d; the zone has changed on the way, or the primary errs", SerialOf(record), SerialOf(r.soa))
	}
	r.done = true
	return nil
}

// takeChange takes a record of the differences: old SOA, deleted, new SOA, added,
// and so on, or the SOA record that ends all.
func (r *Receiver) takeChange(record rdata.Record, isSOA bool) error {
	c := &r.changes[len(r.changes)-1]
	switch {
	case !isSOA && r.adding:
		c.Added = append(c.Added, record)
	case !isSOA:
		c.Deleted = append(c.Deleted, record)
	case !r.adding:
		c.To, c.SOA, r.adding = SerialOf(record), record, true
		if !c.From.Less(c.To) {
			return fmt.Errorf("differences from serial %d to %d: serials must go forward (RFC 1982)", c.From, c.To)
		}
	case c.To == SerialOf(r.soa):
		if SerialOf(record) != c.To {
			return fmt.Errorf("differences end with serial %d instead of %d", SerialOf(record), c.To)
		}
		r.done = true
	default:
		return r.beginChange(record, c.To)
	}
	return nil
}

// beginChange begins the differences from the version of the SOA record.
func (r *Receiver) beginChange(soa rdata.Record, want rdata.Serial) error {
	if SerialOf(soa) != want {
		return fmt.Errorf("differences from serial %d where those from %d must follow", SerialOf(soa), want)
	}
	r.changes = append(r.changes, Change{From: want})
	r.adding = false
	return nil
}
