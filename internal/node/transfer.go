package node

import (
	"bytes"
	"crypto/tls"
	"net/netip"
	"slices"

	"pharos/internal/admin/config"
	"pharos/internal/authority/transfer"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/tsig"
	"pharos/internal/serve/dnsserver"
	"pharos/internal/serve/outgoing"
)

// This file is the way of what other servers send:
//
//	AXFR, IXFR -> key -> rules of the zone -> outgoing.Transfers -> the client's connection
//	NOTIFY     -> key -> primaries of the zone -> xfr.Secondaries (secondary.go)
//	UPDATE     -> key -> update.go

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
		r.Seal(session.Overhead(), func(msg []byte) []byte { return session.Sign(msg, clock.Now()) })
		if err != nil {
			n.badKeys.Add(1)
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

// admitTransfer finds the zone that a client wants to have, or says why it does
// not get it.
func (s *Snapshot) admitTransfer(q *dnswire.Query, client netip.Addr, key dnsname.Name, state *tls.ConnectionState) (*apex, *Snapshot, *outgoing.Refusal) {
	a, in := s.apex(q.Name)
	switch {
	case a == nil || q.Class != rdata.ClassIN:
		return nil, nil, &outgoing.Refusal{Rcode: dnswire.RcodeNotAuth, EDE: dnswire.EDENotAuthoritative, Why: "not a zone of this server"}
	case !s.mayTransfer(a, client, key, state):
		return nil, nil, &outgoing.Refusal{Rcode: dnswire.RcodeRefused, EDE: dnswire.EDEProhibited, Why: "transfers of this zone are not allowed to this client, key and transport"}
	case a.served.Zone == nil:
		return nil, nil, &outgoing.Refusal{Rcode: dnswire.RcodeServFail, EDE: dnswire.EDENotReady, Why: "the zone is configured here, but there is no version of it to serve"}
	}
	return a, in, nil
}

// transferOut answers a request for a whole zone, signed with key if that is set.
func (n *Node) transferOut(s *Snapshot, r *dnsserver.Request, key dnsname.Name) dnsserver.Verdict {
	a, in, why := s.admitTransfer(&r.Query, r.Client.Addr(), key, r.TLS)
	if why != nil {
		return n.outgoing.Refuse(r, *why)
	}
	z := a.served.Zone
	v := outgoing.Version{Zone: z, Journal: a.served.Journal, Options: func(q *dnswire.Query, out *dnswire.Builder) { n.addExpire(in, z, q, out) }}
	t := &in.Config.Transfers
	return n.outgoing.Answer(r, v, outgoing.Limits{All: t.Outgoing, PerClient: t.OutgoingPerClient})
}

// notified takes a NOTIFY (RFC 1996 §3.10): from the addresses of the zone's
// primaries, and from who has one of their keys. Its SOA record is a hint only.
func (n *Node) notified(s *Snapshot, r *dnsserver.Request, key dnsname.Name) {
	q := &r.Query
	a, in := s.apex(q.Name)
	switch {
	case q.Type == rdata.TypeCDS && q.Class == rdata.ClassIN:
		n.notifiedOfChild(r)
		return
	case q.Type != rdata.TypeSOA || q.Class != rdata.ClassIN:
		r.Out.SetRcode(dnswire.RcodeFormErr)
		r.Out.SetEDE(dnswire.EDEOther, "NOTIFY is about SOA or CDS in class IN")
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
