// Package outgoing sends zones to other servers (RFC 5936, RFC 1995), as many at a time
// as may be:
//
//	AXFR, IXFR -> room -> off the loop: the zone, or what led to it
//	           -> transfer.Messages -> Deferred.SendMore -> the client's connection
//
// The zone is immutable, so a transfer sends one version however long it takes, and
// holds nobody else up. Who may have which zone is the caller's, as is what differences
// are known; how records become messages is package transfer's.
//
// Entry points: New; Transfers.Answer, Transfers.Refuse, Transfers.Counts.
//
// Concurrency: Answer may be called from any loop and does not wait; each transfer has a
// goroutine, which ends with its connection.
//
// Sources: RFC 5936, RFC 1995, RFC 9103, RFC 9250 §4.1.1.
package outgoing

import (
	"errors"
	"iter"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/transfer"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/serve/dnsserver"
)

// Version is what a client gets a zone from.
type Version struct {
	Zone    *zone.Zone
	Journal *journal.Journal // what led to it; may be nil
	// Options adds what a client has asked to know of the zone, in EDNS options.
	Options func(q *dnswire.Query, out *dnswire.Builder)
}

// Limits are how many transfers there may be at a time.
type Limits struct{ All, PerClient int }

// Refusal is why a client does not get a zone.
type Refusal struct {
	Rcode dnswire.Rcode
	EDE   dnswire.EDE
	Why   string
}

// Counts is what became of requests since the start.
type Counts struct {
	Whole, Incremental, Current, Refused, Busy, Failed uint64

	UnderWay int
}

// Transfers are those under way.
type Transfers struct {
	log *slog.Logger

	whole, incremental, current, refused, busy, failed atomic.Uint64

	mu     sync.Mutex         // guards what follows
	open   int                // under way
	client map[netip.Addr]int // of each client; no zeroes
}

// New returns Transfers without any.
func New(log *slog.Logger) *Transfers {
	return &Transfers{log: log, client: map[netip.Addr]int{}}
}

// Counts returns what became of requests.
func (t *Transfers) Counts() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Counts{t.whole.Load(), t.incremental.Load(), t.current.Load(), t.refused.Load(), t.busy.Load(), t.failed.Load(), t.open}
}

// enter takes a place for a transfer to client, if there is one.
func (t *Transfers) enter(client netip.Addr, l Limits) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open >= l.All || t.client[client] >= l.PerClient {
		return false
	}
	t.open++
	t.client[client]++
	return true
}

func (t *Transfers) leave(client netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open--
	if t.client[client]--; t.client[client] == 0 {
		delete(t.client, client)
	}
}

// Refuse answers a request that is not carried out.
func (t *Transfers) Refuse(r *dnsserver.Request, why Refusal) dnsserver.Verdict {
	t.refused.Add(1)
	r.Out.SetRcode(why.Rcode)
	r.Out.SetEDE(why.EDE, why.Why)
	return dnsserver.Answered
}

// delivery is what a client gets.
type delivery struct {
	Version
	records iter.Seq[rdata.Record]
	form    transfer.Form
}

// Answer answers an AXFR or IXFR of a client that may have the zone.
func (t *Transfers) Answer(r *dnsserver.Request, v Version, l Limits) dnsserver.Verdict {
	q := &r.Query
	what := delivery{v, transfer.Whole(v.Zone), transfer.WholeZone}
	if q.Type == rdata.TypeIXFR {
		have, err := serialIn(q)
		if err != nil {
			return t.Refuse(r, Refusal{dnswire.RcodeFormErr, dnswire.EDEOther, "IXFR needs the client's SOA record in its authority section"})
		}
		if !have.Less(v.Zone.Serial()) { // RFC 1995 §2
			t.current.Add(1)
			v.Options(q, &r.Out)
			return addRecords(r, transfer.Current(v.Zone))
		}
		if list, ok := v.Journal.Since(have); ok {
			what.records, what.form = transfer.Differences(v.Zone, list), transfer.Incremental
		}
	}
	if !r.Transport.IsStream() {
		if q.Type == rdata.TypeAXFR {
			return t.Refuse(r, Refusal{dnswire.RcodeRefused, dnswire.EDENotSupported, "AXFR needs TCP, TLS or QUIC (RFC 5936 §4.2, RFC 9103, RFC 9250)"})
		}
		return t.overUDP(r, what)
	}
	client := r.Client.Addr()
	if !t.enter(client, l) {
		t.busy.Add(1)
		r.Out.SetRcode(dnswire.RcodeServFail)
		r.Out.SetEDE(dnswire.EDEOther, "too many transfers are under way; come again later")
		return dnsserver.Answered
	}
	d := r.Defer()
	if d == nil {
		t.leave(client)
		return dnsserver.Answered
	}
	go func() { // ends with the last message, or when its connection does
		defer t.leave(client)
		t.send(d, what)
	}()
	return dnsserver.Later
}

// serialIn returns the serial that the client of an IXFR has (RFC 1995 §3).
func serialIn(q *dnswire.Query) (rdata.Serial, error) {
	m, err := dnswire.ParseMessage(q.Msg)
	if err != nil {
		return 0, err
	}
	for _, r := range m.Authority {
		if r.Type == rdata.TypeSOA && r.Name == q.Name && rdata.Validate(r.Type, r.Data) == nil {
			return transfer.SerialOf(r), nil
		}
	}
	return 0, errors.New("no SOA record")
}

// addRecords answers with records, or not at all if they do not fit.
func addRecords(r *dnsserver.Request, records iter.Seq[rdata.Record]) dnsserver.Verdict {
	r.Out.SetAA(true)
	for record := range records {
		if !r.Out.Add(dnswire.Answer, record.Name, record.Type, record.Class, record.TTL, record.Data) {
			r.Out.SetTC(true)
			break
		}
	}
	return dnsserver.Answered
}

// overUDP answers an IXFR over UDP. RFC 1995 §2: what does not fit one datagram is
// answered with the newest SOA record alone, and the client comes by TCP.
func (t *Transfers) overUDP(r *dnsserver.Request, what delivery) dnsserver.Verdict {
	start := r.Out.Mark()
	if what.form == transfer.Incremental {
		if addRecords(r, what.records); !r.Out.TC() {
			t.incremental.Add(1)
			return dnsserver.Answered
		}
		r.Out.Rollback(start)
		r.Out.SetTC(false)
	}
	t.current.Add(1)
	return addRecords(r, transfer.Current(what.Zone))
}

// send sends records to a client, message by message, as fast as it takes them.
func (t *Transfers) send(d *dnsserver.Deferred, what delivery) {
	began, messages, octets := time.Now(), 0, 0
	err := errors.New("a record is larger than a message can be")
	first := func(out *dnswire.Builder) { what.Options(d.Query(), out) }
	for msg, last := range transfer.Messages(d.Query(), what.records, d.Limit(), first) {
		messages++
		octets += len(msg)
		if last {
			err = d.Send(msg)
			break
		}
		if sendErr := d.SendMore(msg); sendErr != nil {
			err = sendErr
			break
		}
	}
	log := t.log.With("zone", what.Zone.Origin().String(), "serial", uint32(what.Zone.Serial()), "form", what.form.String(), "client", d.Client().String(), "messages", messages, "octets", octets, "took", time.Since(began))
	if err != nil {
		d.Drop()
		t.failed.Add(1)
		log.Warn("zone not sent to its end", "error", err)
		return
	}
	if what.form == transfer.Incremental {
		t.incremental.Add(1)
	} else {
		t.whole.Add(1)
	}
	log.Info("zone sent")
}
