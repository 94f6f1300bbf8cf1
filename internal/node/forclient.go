package node

import (
	"slices"

	"pharos/internal/authority/answer"
	"pharos/internal/authority/live"
	"pharos/internal/authority/steered"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
)

// This file answers each client by itself at the end of others' aliases, where that is a
// steered name of ours: what the resolver has of it is for nobody in particular.

// forClient returns what takes the resolver's answer for a client: the end of it, if that
// is steered, becomes what the client is told when it asks for that name.
func (n *Node) forClient(s *Snapshot, t rdata.Type, o asking, then func(iterate.Answer)) func(iterate.Answer) {
	if n.current.Load().steered.Len() == 0 && s.steered.Len() == 0 || t == rdata.TypeCNAME || o.ends == endsMost {
		return then
	}
	return func(a iterate.Answer) {
		for i, r := range a.Answer {
			if r.Type != rdata.TypeCNAME {
				continue
			}
			name, _ := rdata.NameAt(r.Data, 0)
			if e := n.endFor(s, name, t, o); e != nil {
				n.join(s, a, i+1, e, o, then)
				return
			}
		}
		then(a)
	}
}

// endsMost is how often one answer may lead out of our zones by a steered alias and back
// into them: 3, arbitrary. Beyond it the end is what the resolver has, whoever asks.
const endsMost = 3

// end is what a zone of ours answers about a name at the end of an alias.
type end struct {
	query   dnswire.Query
	outcome answer.Outcome
	scope   int
	msg     []byte
}

// endFor returns what we answer about name for this client; nil if nothing there is steered,
// or if it would lack signatures.
func (n *Node) endFor(s *Snapshot, name dnsname.Name, t rdata.Type, o asking) *end {
	z, in := n.ownZone(s.viewName(), name, t)
	if z == nil || in.steered.Len() == 0 {
		return nil
	}
	var e end
	e.query.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: name, Type: t, Class: rdata.ClassIN, RD: true, EDNS: o.DO, DO: o.DO}))
	var out dnswire.Builder
	out.Reset(&e.query, make([]byte, dnswire.MaxMessage+dnswire.BufferSlack), dnswire.MaxMessage)
	options := answer.Options{Minimal: true}
	if o.DO {
		options.Live, options.Work = in.signerOf(z), live.Work{Now: clock.Now()}
	}
	if e.outcome = answer.With(options, &e.query, z, 0, &out); e.outcome.Kind != answer.Steered {
		return nil
	}
	e.outcome, e.scope = steered.Add(in.steeredQuestion(options, &e.query, z, o.place, clock.Now()), e.outcome, &out)
	if e.outcome.Unsigned != live.Signed {
		return nil
	}
	e.msg = out.Finish()
	return &e
}

// join puts e in the place of what a has from record number at on, and goes on with the
// resolver if e leads out of our zones.
func (n *Node) join(s *Snapshot, a iterate.Answer, at int, e *end, o asking, then func(iterate.Answer)) { //arch:size two answers, and what to do with the one they make
	m, err := dnswire.ParseMessage(e.msg)
	if err != nil {
		panic("BUG: an answer of ours that cannot be read: " + err.Error())
	}
	for at < len(a.Answer) && a.Answer[at].Type == rdata.TypeRRSIG && a.Answer[at].Name == a.Answer[at-1].Name { // of the alias
		at++
	}
	a.Answer = append(slices.Clone(a.Answer[:at]), m.Answer...)
	a.Rcode, a.Authority, a.Additional, a.Referral, a.Scope = m.Rcode, m.Authority, nil, false, max(a.Scope, e.scope)
	chain, target := answer.Chain(e.msg)
	if e.outcome.Kind != answer.Partial || target.IsZero() || len(chain) == 0 {
		then(a)
		return
	}
	o.ends++
	n.askResolver(s, target, e.query.Type, o, func(b iterate.Answer) {
		if o.recalls && b.Rcode == dnswire.RcodeRefused { // it is known so far
			then(a)
			return
		}
		b.Answer, b.AD, b.Scope = append(a.Answer, b.Answer...), false, max(a.Scope, b.Scope)
		then(b)
	})
}
