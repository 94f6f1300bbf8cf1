package node

import (
	"bytes"
	"crypto/tls"
	"errors"
	"iter"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/authority/transfer"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/tsig"
	"pharos/internal/serve/dnsserver"
)

// This file is the way of a zone to other servers:
//
//	AXFR, IXFR -> key -> rules of the zone -> room -> off the loop: zone or journal
//	           -> transfer.Messages -> Deferred.SendMore -> the client's connection
//
// The zone is immutable, so a transfer sends one version however long it takes,
// and holds nobody else up.

// queryPeer answers what other servers send: what is signed (RFC 8945), NOTIFY
// and UPDATE.
func (n *Node) queryPeer(s *Snapshot, r *dnsserver.Request) dnsserver.Verdict {
	if a := s.forwards(&r.Query); a != nil {
		return n.forwardUpdate(s, a, r)
	}
	var key dnsname.Name
	var session *tsig.Session
	answered := dnsserver.Answered
	if r.Query.TSIG != 0 {
		var err error
		session, err = tsig.Verify(r.Query.Msg, s.key, r.Now)
		if session == nil {
			r.Out.SetRcode(dnswire.RcodeFormErr)
			r.Out.SetEDE(dnswire.EDEOther, "the TSIG record is malformed")
			return dnsserver.Answered
		}
		answered = dnsserver.Sealed
		r.Seal(session.Overhead(), func(msg []byte) []byte { return session.Sign(msg, time.Now()) })
		if err != nil {
			n.outgoing.badKeys.Add(1)
			n.log.Debug("signature refused", "client", r.Client.String(), "error", err)
			r.Out.SetRcode(dnswire.RcodeNotAuth) // RFC 8945 §5.2
			r.Out.SetEDE(dnswire.EDEProhibited, "the signature is not accepted: look at the key, its algorithm and the clock")
			return answered
		}
		key = session.Key()
		r.Query.TSIG = 0   // that is settled
		r.HasCookie = true // who has a key is no stranger either
	}
	verdict := dnsserver.Answered
	main := s
	if len(s.views) > 0 {
		s = s.choose(asker{client: r.Client.Addr(), near: r.Client.Addr(), key: key})
	}
	switch {
	case r.Query.Opcode() == dnswire.OpcodeNotify:
		n.notified(s, r, key)
	case r.Query.Opcode() == dnswire.OpcodeUpdate:
		verdict = n.updateZone(s, r, session)
	case r.Query.Type == rdata.TypeAXFR || r.Query.Type == rdata.TypeIXFR:
		verdict = n.transferOut(s, r, key)
	default:
		verdict = n.answer(main, r, key)
	}
	if verdict == dnsserver.Answered {
		return answered
	}
	return verdict
}

// key returns the key called name, or nil.
func (s *Snapshot) key(name dnsname.Name) *tsig.Key { return s.keys[name] }

// mayTransfer reports whether a client, whose request is signed with key if that
// is set and has come over TLS if state is, may have the zone.
func (s *Snapshot) mayTransfer(a *apex, client netip.Addr, key dnsname.Name, state *tls.ConnectionState) bool {
	return slices.ContainsFunc(a.config.Transfer, func(rule config.TransferRule) bool {
		return names(rule, client, key) && s.proves(rule.TLS, state)
	})
}

// refusal is why a request of another server is not carried out.
type refusal struct {
	rcode dnswire.Rcode
	ede   dnswire.EDE
	why   string
}

// admitTransfer finds the zone that a client wants to have, or says why it does
// not get it.
func (s *Snapshot) admitTransfer(q *dnswire.Query, client netip.Addr, key dnsname.Name, state *tls.ConnectionState) (*apex, *Snapshot, *refusal) {
	a, in := s.apex(q.Name)
	switch {
	case a == nil || q.Class != rdata.ClassIN:
		return nil, nil, &refusal{dnswire.RcodeNotAuth, dnswire.EDENotAuthoritative, "not a zone of this server"}
	case !s.mayTransfer(a, client, key, state):
		return nil, nil, &refusal{dnswire.RcodeRefused, dnswire.EDEProhibited, "transfers of this zone are not allowed to this client, key and transport"}
	case a.served.Zone == nil:
		return nil, nil, &refusal{dnswire.RcodeServFail, dnswire.EDENotReady, "the zone is configured here, but there is no version of it to serve"}
	}
	return a, in, nil
}

// transferOut answers a request for a whole zone, signed with key if that is set.
func (n *Node) transferOut(s *Snapshot, r *dnsserver.Request, key dnsname.Name) dnsserver.Verdict {
	q := &r.Query
	refuse := func(why refusal) dnsserver.Verdict {
		n.outgoing.refused.Add(1)
		r.Out.SetRcode(why.rcode)
		r.Out.SetEDE(why.ede, why.why)
		return dnsserver.Answered
	}
	a, s, why := s.admitTransfer(q, r.Client.Addr(), key, r.TLS)
	if why != nil {
		return refuse(*why)
	}
	z, records, form := a.served.Zone, transfer.Whole(a.served.Zone), transfer.WholeZone
	if q.Type == rdata.TypeIXFR {
		have, err := serialIn(q)
		if err != nil {
			return refuse(refusal{dnswire.RcodeFormErr, dnswire.EDEOther, "IXFR needs the client's SOA record in its authority section"})
		}
		if !have.Less(z.Serial()) { // RFC 1995 §2
			n.outgoing.current.Add(1)
			n.addExpire(s, z, q, &r.Out)
			return addRecords(r, transfer.Current(z))
		}
		if list, ok := a.served.journal.Since(have); ok {
			records, form = transfer.Differences(z, list), transfer.Incremental
		}
	}
	if !r.Transport.IsStream() {
		if q.Type == rdata.TypeAXFR {
			return refuse(refusal{dnswire.RcodeRefused, dnswire.EDENotSupported, "AXFR needs TCP, TLS or QUIC (RFC 5936 §4.2, RFC 9103, RFC 9250)"})
		}
		return n.differencesOverUDP(r, z, records, form)
	}
	client := r.Client.Addr()
	if !n.outgoing.enter(client, s.Config.Transfers.Outgoing, s.Config.Transfers.OutgoingPerClient) {
		return refuse(refusal{dnswire.RcodeServFail, dnswire.EDEOther, "too many transfers are under way; come again later"})
	}
	d := r.Defer()
	if d == nil {
		n.outgoing.leave(client)
		return dnsserver.Answered
	}
	go func() { // ends with the last message, or when its connection does
		defer n.outgoing.leave(client)
		n.sendZone(s, d, z, delivery{records, form})
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

// differencesOverUDP answers an IXFR over UDP. RFC 1995 §2: what does not fit one
// datagram is answered with the newest SOA record alone, and the client comes by
// TCP.
func (n *Node) differencesOverUDP(r *dnsserver.Request, z *zone.Zone, records iter.Seq[rdata.Record], form transfer.Form) dnsserver.Verdict {
	start := r.Out.Mark()
	if form == transfer.Incremental {
		if addRecords(r, records); !r.Out.TC() {
			n.outgoing.incremental.Add(1)
			return dnsserver.Answered
		}
		r.Out.Rollback(start)
		r.Out.SetTC(false)
	}
	n.outgoing.current.Add(1)
	return addRecords(r, transfer.Current(z))
}

// delivery is what a client gets of a zone.
type delivery struct {
	records iter.Seq[rdata.Record]
	form    transfer.Form
}

// sendZone sends records to a client, message by message, as fast as it takes
// them.
func (n *Node) sendZone(s *Snapshot, d *dnsserver.Deferred, z *zone.Zone, what delivery) {
	began, messages, octets := time.Now(), 0, 0
	err := errors.New("a record is larger than a message can be")
	first := func(out *dnswire.Builder) { n.addExpire(s, z, d.Query(), out) }
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
	log := n.log.With("zone", z.Origin().String(), "serial", uint32(z.Serial()), "form", what.form.String(), "client", d.Client().String(), "messages", messages, "octets", octets, "took", time.Since(began))
	if err != nil {
		d.Drop()
		n.outgoing.failed.Add(1)
		log.Warn("zone not sent to its end", "error", err)
		return
	}
	if what.form == transfer.Incremental {
		n.outgoing.incremental.Add(1)
	} else {
		n.outgoing.whole.Add(1)
	}
	log.Info("zone sent")
}

// outgoing counts the transfers to secondaries, and bounds them.
type outgoing struct {
	whole, incremental, current, refused, failed, badKeys atomic.Uint64

	mu     sync.Mutex         // guards what follows
	open   int                // transfers under way
	client map[netip.Addr]int // of each client; no zeroes
}

// enter takes a place for a transfer to client, if there is one.
func (o *outgoing) enter(client netip.Addr, most, mostPerClient int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open >= most || o.client[client] >= mostPerClient {
		return false
	}
	if o.client == nil {
		o.client = map[netip.Addr]int{}
	}
	o.open++
	o.client[client]++
	return true
}

func (o *outgoing) leave(client netip.Addr) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open--
	if o.client[client]--; o.client[client] == 0 {
		delete(o.client, client)
	}
}

// underWay returns the number of transfers under way.
func (o *outgoing) underWay() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open
}

// notified takes a NOTIFY (RFC 1996 §3.10): from the addresses of the zone's
// primaries, and from who has one of their keys. Its SOA record is a hint only.
func (n *Node) notified(s *Snapshot, r *dnsserver.Request, key dnsname.Name) {
	q := &r.Query
	a, in := s.apex(q.Name)
	switch {
	case q.Type != rdata.TypeSOA || q.Class != rdata.ClassIN:
		r.Out.SetRcode(dnswire.RcodeFormErr)
		r.Out.SetEDE(dnswire.EDEOther, "NOTIFY is about SOA in class IN")
		return
	case a == nil:
		r.Out.SetRcode(dnswire.RcodeNotAuth)
		r.Out.SetEDE(dnswire.EDENotAuthoritative, "not a zone of this server")
		return
	case !a.hasPrimary(r.Client.Addr(), key):
		r.Out.SetRcode(dnswire.RcodeRefused)
		r.Out.SetEDE(dnswire.EDEProhibited, "not from a primary of this zone")
		return
	}
	r.Out.SetAA(true)
	var serial rdata.Serial
	hasSerial := false
	if m, err := dnswire.ParseMessage(q.Msg); err == nil {
		i := slices.IndexFunc(m.Answer, func(x rdata.Record) bool {
			return x.Type == rdata.TypeSOA && x.Name == q.Name && rdata.Validate(x.Type, x.Data) == nil
		})
		if hasSerial = i >= 0; hasSerial {
			serial = transfer.SerialOf(m.Answer[i])
		}
	}
	n.secondariesOf(in).Notified(a.served.Name, serial, hasSerial)
}

// hasPrimary reports whether a message comes from a primary of the zone.
func (a *apex) hasPrimary(from netip.Addr, key dnsname.Name) bool {
	for _, p := range a.config.Primaries {
		address := p.Address.Addr().Unmap()
		if bytes.Equal(address.AsSlice(), from.AsSlice()) || !key.IsZero() && p.Key == key {
			return true
		}
	}
	return false
}
