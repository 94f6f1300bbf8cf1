package rewrite

import (
	"net/netip"
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/policy"
	"pharos/internal/resolver/rrcache"
)

// course is one question on its way.
type course struct {
	*Rules
	q       Question
	now     time.Time
	resolve Resolve
}

// Answer answers q with what the rules say and resolve finds, and calls done with it,
// once, perhaps before it returns.
func (r *Rules) Answer(now time.Time, q Question, resolve Resolve, done func(Result)) {
	c := &course{Rules: r, q: q, now: now, resolve: resolve}
	switch v4, isPTR := r.translatesPTR(q.Name, q.Type); {
	case slices.Contains(r.Hide, q.Type):
		c.inner(q.Name, q.Type, done) // as it may be local data
	case isPTR:
		c.pointer(v4, done)
	case r.DNS64 != nil && q.Name == ipv4Only && isAddress(q.Type):
		done(c.ipv4Only())
	case r.translates(q.Type, q.CD, q.DO):
		c.translate(done)
	default:
		c.inner(q.Name, q.Type, done)
	}
}

// inner is Answer without DNS64.
func (c *course) inner(name dnsname.Name, t rdata.Type, done func(Result)) {
	if c.Local != nil {
		if h := c.Local.Find(name, t); !h.IsZero() {
			c.apply(stage{name: name, first: true}, t, Result{Hit: h}, done)
			return
		}
	}
	if slices.Contains(c.Hide, t) {
		done(Result{Answer: hidden()})
		return
	}
	var res Result
	if c.Policies != nil {
		h, wait := c.Policies.Before(c.q.Client, name, func(h policy.Hit) { res.Skipped = append(res.Skipped, h) })
		if res.Hit = h; !h.IsZero() && !wait {
			c.apply(stage{name: name, first: true}, t, res, done)
			return
		}
	}
	c.resolve(name, t, func(a iterate.Answer) {
		c.judge(name, t, Result{Answer: a, isFound: true}, done)
	})
}

// hidden is the answer for a type that clients are not to see.
func hidden() iterate.Answer {
	return iterate.Answer{Errors: []dnswire.ExtendedError{{Code: dnswire.EDEFiltered, Text: hiddenText}}}
}

const hiddenText = "records of this type are not given here"

// judge looks at what was found.
func (c *course) judge(name dnsname.Name, t rdata.Type, res Result, done func(Result)) {
	c.findServers(name, res.Answer, func() {
		for _, s := range wayOf(name, t, res.Answer.Answer) {
			client := netip.Addr{}
			if s.first {
				client = c.q.Client
			}
			if c.Policies == nil {
				break
			}
			res.Hit = c.Policies.Response(client, s.name, s.addrs, c.serversOf(s.name), func(h policy.Hit) { res.Skipped = append(res.Skipped, h) })
			if !res.Hit.IsZero() {
				c.apply(s, t, res, done)
				return
			}
		}
		done(c.protect(name, res))
	})
}

// serversOf returns the name servers above a name, nil if nobody asks for them.
func (c *course) serversOf(name dnsname.Name) policy.Servers {
	if !c.Policies.LooksAtServers() {
		return nil
	}
	return cuts{c.Cache, c.now, name}
}

// findServers sees to it that the cache knows name servers above name, if somebody
// asks for them, and goes on with then. An answer from the cache may have outlived what
// is known of the zone cut that it was found behind.
func (c *course) findServers(name dnsname.Name, a iterate.Answer, then func()) {
	if !c.Policies.LooksAtServers() || a.Sent > 0 || a.Rcode == dnswire.RcodeServFail || (cuts{c.Cache, c.now, name}).areKnown() {
		then()
		return
	}
	c.resolve(name, rdata.TypeNS, func(iterate.Answer) { then() })
}

// stage is one name on the way from a question to its answer.
type stage struct {
	name   dnsname.Name
	first  bool           // it is the question's
	before []rdata.Record // that lead to it
	addrs  []netip.Addr   // of the answer, if the way ends here
}

// maxStages is how many names of a way are looked at: 64, far more than the resolver
// follows.
const maxStages = 64

// wayOf returns the names from a question's to the end of its aliases, which only who
// asks for something else follows.
func wayOf(name dnsname.Name, t rdata.Type, records []rdata.Record) []stage {
	way := []stage{{name: name, first: true}}
	for len(way) < maxStages && t != rdata.TypeCNAME && t != rdata.TypeANY {
		last := &way[len(way)-1]
		at := slices.IndexFunc(records, func(r rdata.Record) bool { return r.Type == rdata.TypeCNAME && r.Name == last.name })
		if at < 0 {
			break
		}
		next, ok := rdata.NameAt(records[at].Data, 0)
		if !ok || slices.ContainsFunc(way, func(s stage) bool { return s.name == next }) {
			break
		}
		way = append(way, stage{name: next, before: records[:at+1]})
	}
	last := &way[len(way)-1]
	for _, r := range records {
		if addr, ok := addressIn(r); ok {
			last.addrs = append(last.addrs, addr)
		}
	}
	return way
}

func addressIn(r rdata.Record) (netip.Addr, bool) {
	if !isAddress(r.Type) {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(r.Data)
}

// apply does what the rule res.Hit says at s.
func (c *course) apply(s stage, t rdata.Type, res Result, done func(Result)) {
	h := res.Hit
	switch h.Action {
	case policy.Drop:
		done(Result{Drop: true, Hit: h, Skipped: res.Skipped})
		return
	case policy.TCPOnly:
		if c.q.UDP {
			done(Result{Truncate: true, Hit: h, Skipped: res.Skipped})
			return
		}
		fallthrough
	case policy.Passthru:
		c.pass(s, t, res, done)
		return
	case policy.Alias:
		c.lead(s, t, res, done)
		return
	}
	out := Result{Hit: h, Skipped: res.Skipped, AA: s.isOurs(h)}
	out.Rcode = rcodeOf(h.Action)
	out.Answer.Answer = slices.Clip(s.before)
	if h.Action == policy.Local {
		h.Each(t, func(rt rdata.Type, ttl rdata.TTL, data []byte) bool {
			out.Answer.Answer = append(out.Answer.Answer, rdata.Record{Name: s.name, Type: rt, Class: rdata.ClassIN, TTL: ttl, Data: data})
			return true
		})
	}
	c.sign(&out)
	done(out)
}

// isOurs reports whether an answer by h at s is our own word from beginning to end.
func (s stage) isOurs(h policy.Hit) bool { return s.first && h.Trigger != policy.ResponseIP }

func rcodeOf(a policy.Action) dnswire.Rcode {
	switch a {
	case policy.NXDomain:
		return dnswire.RcodeNXDomain
	case policy.Refuse:
		return dnswire.RcodeRefused
	}
	return dnswire.RcodeNoError
}

// sign says whose answer it is: by the extended error (RFC 8914 §4.5, §4.16 to §4.18)
// and the policy zone's SOA record (draft §6).
func (c *course) sign(res *Result) {
	if c.Local.Owns(res.Hit) {
		return
	}
	z := res.Hit.Zone
	if code, ok := edeOf(res.Hit); ok {
		res.Errors = []dnswire.ExtendedError{{Code: code, Text: z.Text()}}
	}
	if soa, ok := z.SOA(); ok {
		res.Additional = append(slices.Clip(res.Additional), soa)
	}
}

// edeOf returns the extended error that is told with what a rule says.
func edeOf(h policy.Hit) (dnswire.EDE, bool) {
	switch {
	case h.Zone.EDE == 0:
		return 0, false
	case h.Action == policy.Local || h.Action == policy.Alias:
		return dnswire.EDEForgedAnswer, true
	}
	return h.Zone.EDE, true
}

// pass answers with what there is, if it was not asked for yet.
func (c *course) pass(s stage, t rdata.Type, res Result, done func(Result)) {
	if res.isFound {
		done(c.protect(c.q.Name, res))
		return
	}
	c.resolve(s.name, t, func(a iterate.Answer) {
		res.Answer = a
		done(c.protect(s.name, res))
	})
}

// tooLong is what is told of a name that an alias would make too long.
const tooLong = "the name that the alias leads to would be too long"

// lead follows the alias that a rule sets. What is at its end is the operator's own
// choice: policy is not asked about it again, so there are no loops.
func (c *course) lead(s stage, t rdata.Type, res Result, done func(Result)) {
	h := res.Hit
	out := Result{Hit: h, Skipped: res.Skipped, AA: s.isOurs(h)}
	target, err := h.Target(s.name)
	if err != nil { // as for DNAME, RFC 6672 §2.2
		out.Rcode = dnswire.RcodeYXDomain
		out.Errors = []dnswire.ExtendedError{{Code: dnswire.EDEOther, Text: tooLong}}
		done(out)
		return
	}
	cname := rdata.Record{Name: s.name, Type: rdata.TypeCNAME, Class: rdata.ClassIN, TTL: h.TTL(), Data: target.AppendWire(nil)}
	chain := append(slices.Clip(s.before), cname)
	if t == rdata.TypeCNAME || t == rdata.TypeANY || target == s.name {
		out.Answer.Answer = chain
		c.sign(&out)
		done(out)
		return
	}
	c.resolve(target, t, func(a iterate.Answer) {
		out.Answer = a
		out.Answer.Answer = append(chain, withoutSignatures(a.Answer)...)
		out.AD, out.State = false, rrcache.Indeterminate
		out.AA = out.AA && (h.Trigger == policy.QName || h.Trigger == policy.ClientIP)
		if a.Rcode != dnswire.RcodeServFail {
			c.sign(&out)
		}
		done(out)
	})
}

func withoutSignatures(records []rdata.Record) []rdata.Record {
	return slices.DeleteFunc(slices.Clone(records), func(r rdata.Record) bool { return r.Type == rdata.TypeRRSIG })
}

// privateText is what is told of addresses that are left out.
const privateText = "private addresses for a public name are left out (rebinding protection)"

// protect takes private addresses out of an answer for a public name.
func (c *course) protect(name dnsname.Name, res Result) Result {
	if c.Private == nil || c.Private.isExempt(name) {
		return res
	}
	isPrivate := func(r rdata.Record) bool {
		addr, ok := addressIn(r)
		return ok && c.Private.holds(addr)
	}
	if !slices.ContainsFunc(res.Answer.Answer, isPrivate) {
		return res
	}
	kept := slices.DeleteFunc(slices.Clone(res.Answer.Answer), isPrivate)
	res.Answer.Answer = withoutSignatures(kept)
	res.AD, res.State = false, rrcache.Indeterminate
	res.Errors = []dnswire.ExtendedError{{Code: dnswire.EDEBlocked, Text: privateText}}
	return res
}
