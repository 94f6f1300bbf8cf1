package node

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"pharos/internal/admin/explain"
	"pharos/internal/authority/answer"
	"pharos/internal/authority/steered"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/outbound"
	"pharos/internal/resolver/owncut"
	"pharos/internal/resolver/policy"
	"pharos/internal/resolver/rewrite"
	"pharos/internal/serve/dnsserver"
)

// This file is the way of a query that the resolver would answer, where something is
// to be said in place of, or after, what the Internet says (package rewrite).

// recurse answers a query that is the resolver's: on this loop if it can be, else
// later.
func (n *Node) recurse(s *Snapshot, r *dnsserver.Request, a asker) dnsserver.Verdict {
	rules, cache := s.rules(), n.cacheOf(s)
	if rules == nil {
		if cache.Answer(r.Now, &r.Query, &r.Out, r.Rotation) {
			return dnsserver.Answered
		}
		return n.resolve(s, r, a)
	}
	verdict, hit := rules.Quick(&r.Query, a.near, r.Transport == dnsserver.UDP, &r.Out)
	revision := rules.Revision
	switch verdict {
	case rewrite.Dropped, rewrite.Answered:
		if n.countHit(hit, rules, &r.Note); verdict == rewrite.Dropped {
			return dnsserver.Drop
		}
		return dnsserver.Answered
	case rewrite.Slow:
		return n.resolve(s, r, a)
	case rewrite.Exempt:
		revision = 0
	}
	if cache.AnswerIf(r.Now, &r.Query, &r.Out, r.Rotation, rules, revision) {
		n.countHit(hit, rules, &r.Note)
		return dnsserver.Answered
	}
	return n.resolve(s, r, a)
}

// countHit counts what a rule has done, and has the log of queries say by which zone
// the query was answered.
func (n *Node) countHit(h policy.Hit, rules *rewrite.Rules, note *dnsserver.Note) {
	if h.IsZero() || rules.Local.Owns(h) {
		return
	}
	h.Zone.Count(h.Action)
	if n.logs.observer != nil && h.Action != policy.Disabled {
		note.Zone = h.Zone.Name()
	}
}

// answerByRules has the rules answer for d, with chain before it if that is not empty.
func (n *Node) answerByRules(s *Snapshot, rules *rewrite.Rules, d *dnsserver.Deferred, name dnsname.Name, chain []rdata.Record, client netip.Addr) { //arch:size the question, who waits, and by which rules
	q := d.Query()
	ask := rewrite.Question{Name: name, Type: q.Type, Client: client, UDP: d.Transport() == dnsserver.UDP, CD: q.CD(), DO: q.EDNS.DO, AD: q.AD()}
	rules.Answer(clock.Now(), ask, n.lookup(s, s.optionsOf(d)), func(res rewrite.Result) {
		for _, h := range append(res.Skipped, res.Hit) {
			n.countHit(h, rules, d.Note())
		}
		n.sendResult(d, chain, res)
	})
}

// asking is a question to the resolver, and whom the answer is for where that is ours to say.
type asking struct {
	outbound.Options
	place netip.Addr // the client, or one whom a trusted one names
	ends  int        // how often the way led through steered names of ours so far: see forClient
	// recalls: what the cache has is told at once, and nobody is asked (RD=0).
	recalls bool
}

func (s *Snapshot) optionsOf(d *dnsserver.Deferred) asking {
	q := d.Query()
	return asking{place: s.placeOf(d), Options: outbound.Options{CD: q.CD(), DO: q.EDNS.DO, AD: q.AD(), Near: s.nearOf(d),
		Client: d.Client().Addr(), Forgeable: d.Transport() == dnsserver.UDP && !d.HasCookie()}}
}

// lookup returns how names are looked up for rules: in zones of ours first, for where a
// rule leads may well be one, else by the resolver.
func (n *Node) lookup(s *Snapshot, options asking) rewrite.Resolve {
	return func(name dnsname.Name, t rdata.Type, then func(iterate.Answer)) {
		if z, in := s.find(name, t); z != nil && !isHidden(in, z) {
			n.lookupIn(s, z, name, t, options, then)
			return
		}
		n.askResolver(s, name, t, options, then)
	}
}

// isHidden reports whether a zone is a policy zone: a rule may not lead there.
func isHidden(in *Snapshot, z *zone.Zone) bool {
	rules, restricted := in.restricted[z.Origin()]
	return restricted && len(rules) == 0
}

func (n *Node) askResolver(s *Snapshot, name dnsname.Name, t rdata.Type, options asking, then func(iterate.Answer)) {
	then = n.forClient(s, t, options, then)
	if options.recalls {
		then(n.recallFrom(s, name, t))
		return
	}
	if n.resolverOf(s).Ask(name, t, options.Options, then) {
		return
	}
	then(iterate.Answer{Rcode: dnswire.RcodeServFail, Errors: []dnswire.ExtendedError{
		{Code: dnswire.EDEOther, Text: "too many questions wait for the resolver, or too many of this network (resolver.limits)"}}})
}

// recallFrom returns what the cache has, for a query with RD=0; REFUSED if that is nothing.
func (n *Node) recallFrom(s *Snapshot, name dnsname.Name, t rdata.Type) iterate.Answer {
	a, ok := n.resolverOf(s).FromCache(clock.Now(), name, t)
	if !ok {
		a = iterate.Answer{Rcode: dnswire.RcodeRefused, Errors: []dnswire.ExtendedError{{Code: dnswire.EDENotAuthoritative, Text: nothingKnown}}}
	}
	return a
}

// lookupIn looks a name up in a zone of ours, and goes on with the resolver where what
// is ours ends.
func (n *Node) lookupIn(s *Snapshot, z *zone.Zone, name dnsname.Name, t rdata.Type, options asking, then func(iterate.Answer)) { //arch:size as lookup, and in which zone
	q := new(dnswire.Query)
	q.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: name, Type: t, Class: rdata.ClassIN, RD: true}))
	var out dnswire.Builder
	out.Reset(q, make([]byte, dnswire.MaxMessage+dnswire.BufferSlack), dnswire.MaxMessage)
	outcome := answer.With(answer.Options{Minimal: true}, q, z, 0, &out)
	if _, in := s.find(name, t); outcome.Kind == answer.Steered {
		outcome, _ = steered.Add(in.steeredQuestion(answer.Options{Minimal: true}, q, z, options.place, clock.Now()), outcome, &out)
	}
	if outcome.Kind == answer.Referral {
		owncut.Learn(n.cacheOf(s), clock.Now(), z, outcome.Last.Cut)
		if outcome.Aliases == 0 {
			n.askResolver(s, name, t, options, then)
			return
		}
	}
	msg := out.Finish()
	m, err := dnswire.ParseMessage(msg)
	if err != nil {
		panic("BUG: an answer of ours that cannot be read: " + err.Error())
	}
	chain, target := answer.Chain(msg)
	if target.IsZero() || outcome.Kind != answer.Partial && outcome.Kind != answer.Referral {
		then(iterate.Answer{Rcode: m.Rcode, Answer: m.Answer, Authority: m.Authority, Cached: true})
		return
	}
	n.askResolver(s, target, t, options, func(a iterate.Answer) {
		a.Answer, a.AD = append(slices.Clip(chain), a.Answer...), false
		then(a)
	})
}

// sendResult sends what rules and resolver have made of a deferred query.
func (n *Node) sendResult(d *dnsserver.Deferred, chain []rdata.Record, res rewrite.Result) {
	if res.Drop || res.Late {
		d.Drop()
		return
	}
	n.keepFailure(d, res.Answer)
	n.reply(d, func(out *dnswire.Builder) {
		a := res.Answer
		if len(chain) > 0 {
			a.Answer = append(slices.Clip(chain), a.Answer...)
			a.AD = false // nobody has validated it
		}
		// RFC 1035 §4.1.1: AA is about the question's name, which may be ours.
		out.SetAA(len(chain) > 0 || res.AA)
		if res.Truncate {
			out.SetRA(true)
			out.SetTC(true)
			return
		}
		n.addScope(d, a.Scope, out)
		a.Write(out)
	})
}

// cacheByRules is queryCache where there are rules.
func (n *Node) cacheByRules(s *Snapshot, rules *rewrite.Rules, r *dnsserver.Request, client netip.Addr) dnsserver.Verdict {
	q := &r.Query
	ask := rewrite.Question{Name: q.Name.Clone(), Type: q.Type, Client: client, UDP: r.Transport == dnsserver.UDP, CD: q.CD(), DO: q.EDNS.DO, AD: q.AD()}
	verdict := dnsserver.Answered
	known := func(name dnsname.Name, t rdata.Type, then func(iterate.Answer)) {
		n.askResolver(s, name, t, asking{Options: outbound.Options{DO: ask.DO}, place: client, recalls: true}, then)
	}
	rules.Answer(r.Now, ask, known, func(res rewrite.Result) {
		n.countHit(res.Hit, rules, &r.Note)
		switch {
		case res.Drop:
			verdict = dnsserver.Drop
		case res.Truncate:
			r.Out.SetTC(true)
		default:
			res.Write(&r.Out)
			r.Out.SetAA(res.AA)
		}
	})
	return verdict
}

// explainRules tells what is said in place of, or after, what the resolver finds, by the
// code that says it.
func (x explained) explainRules(ctx context.Context, e *explain.Explanation, q *dnswire.Query) {
	n, s, rules := x.node, x.in, x.in.rules()
	ask := rewrite.Question{Name: q.Name.Clone(), Type: q.Type, Client: x.near, UDP: true}
	resolve := func(name dnsname.Name, t rdata.Type, then func(iterate.Answer)) {
		if z, in := s.find(name, t); z != nil && !isHidden(in, z) {
			e.Add(explain.Zone, fmt.Sprintf("%s %s is looked up in zone %s of this node", name, t, z.Origin()))
			n.lookupIn(s, z, name, t, asking{place: x.near}, then)
			return
		}
		a, err := x.resolver.Resolve(ctx, name, t, outbound.Options{Trace: true})
		if err != nil {
			a = iterate.Answer{Rcode: dnswire.RcodeServFail, Errors: []dnswire.ExtendedError{{Code: dnswire.EDEOther, Text: err.Error()}}}
		}
		e.AddTrace(a.Trace)
		e.Add(explain.Resolve, fmt.Sprintf("%s, in %v", a.Spent, a.Elapsed.Round(time.Microsecond)))
		then(a)
	}
	done := make(chan rewrite.Result, 1)
	rules.Answer(clock.Now(), ask, resolve, func(res rewrite.Result) { done <- res })
	var res rewrite.Result
	select {
	case res = <-done:
	case <-ctx.Done():
		e.Add(explain.Resolve, fmt.Sprintf("the resolver did not answer: %v", ctx.Err()))
		return
	}
	for _, h := range append(res.Skipped, res.Hit) {
		switch {
		case h.IsZero():
		case rules.Local.Owns(h):
			e.Add(explain.Policy, fmt.Sprintf("resolver.localData says so: %s", h.Action))
		default:
			e.Add(explain.Policy, fmt.Sprintf("policy zone %s: %s, by %s", h.Zone.Name(), h.Action, h.Trigger), "rule "+h.Rule().String())
		}
	}
	if res.Hit.IsZero() {
		e.Add(explain.Policy, fmt.Sprintf("%d policy zones: no rule applies", len(rules.Policies.Zones())))
	}
	switch e.Outcome = res.Rcode.String(); {
	case res.Drop:
		e.Outcome = "no answer"
	case res.Truncate:
		e.Outcome = "truncated: the client is to come again over TCP"
	}
	e.Result = nil
	for _, r := range res.Answer.Answer {
		e.Result = append(e.Result, r.String())
	}
	for _, x := range res.Errors {
		e.Warnings = append(e.Warnings, fmt.Sprintf("%s: %s", x.Code, x.Text))
	}
}

// nothingKnown is told to who asks without RD for what the cache has not.
const nothingKnown = "nothing known of this name yet; ask with recursion desired"
