package rewrite

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/policy"
)

// Verdict is what Quick can say at once.
type Verdict uint8

// The verdicts.
const (
	Ready    Verdict = iota // give what lies ready in the cache, if Passes has nothing against it
	Exempt                  // the same, but policy has nothing to say of it: the rule is a pass
	Answered                // out has the answer
	Dropped                 // there is none
	Slow                    // Answer has to say it
)

// Quick answers a question from client in out, which has been Reset to q, if that can
// be done without resolving. The Hit is what decided; it is zero with Ready and Slow.
func (r *Rules) Quick(q *dnswire.Query, client netip.Addr, isUDP bool, out *dnswire.Builder) (Verdict, policy.Hit) {
	if r.Local != nil {
		if h := r.Local.Find(q.Name, q.Type); !h.IsZero() {
			return r.write(h, q, isUDP, out)
		}
	}
	if slices.Contains(r.Hide, q.Type) {
		out.SetEDE(dnswire.EDEFiltered, hiddenText)
		return Answered, policy.Hit{}
	}
	if r.DNS64 != nil {
		if _, isPTR := r.translatesPTR(q.Name, q.Type); isPTR || q.Name == ipv4Only {
			return Slow, policy.Hit{}
		}
	}
	if r.Policies == nil {
		return Ready, policy.Hit{}
	}
	isSkipped := false
	h, wait := r.Policies.Before(client, q.Name, func(policy.Hit) { isSkipped = true })
	switch {
	case isSkipped, !h.IsZero() && wait:
		return Slow, policy.Hit{}
	case h.IsZero():
		return Ready, policy.Hit{}
	}
	return r.write(h, q, isUDP, out)
}

// write answers with what a rule says, if nothing has to be resolved for it.
func (r *Rules) write(h policy.Hit, q *dnswire.Query, isUDP bool, out *dnswire.Builder) (Verdict, policy.Hit) {
	switch h.Action {
	case policy.Drop:
		return Dropped, h
	case policy.TCPOnly:
		if isUDP {
			out.SetTC(true)
			return Answered, h
		}
		return Exempt, h
	case policy.Passthru:
		return Exempt, h
	case policy.Alias:
		return Slow, policy.Hit{}
	case policy.Local:
		if r.translates(q.Type, q.CD(), q.EDNS.DO) && !h.Has(q.Type) {
			return Slow, policy.Hit{} // there may be addresses to translate
		}
	}
	out.SetRcode(rcodeOf(h.Action))
	out.SetAA(true)
	begin := out.Mark()
	if h.Action == policy.Local {
		fits := true
		h.Each(q.Type, func(t rdata.Type, ttl rdata.TTL, data []byte) bool {
			fits = out.Add(dnswire.Answer, q.Name, t, rdata.ClassIN, ttl, data)
			return fits
		})
		if !fits {
			out.Rollback(begin)
			out.SetTC(true)
			return Answered, h
		}
	}
	if r.Local.Owns(h) {
		return Answered, h
	}
	if code, ok := edeOf(h); ok {
		out.SetEDE(code, h.Zone.Text())
	}
	if soa, ok := h.Zone.SOA(); ok {
		out.Add(dnswire.Additional, soa.Name, soa.Type, soa.Class, soa.TTL, soa.Data)
	}
	return Answered, h
}

// mostAddresses is how many addresses of an answer Passes looks at: 64, more than
// answers have that fit where most clients want them. What has more goes the slow way.
const mostAddresses = 64

// Passes reports whether the answer to q that lies in out from the octet start on may
// be given as it is. isExempt: policy has nothing to say of it. keep: so it is for
// every client that Quick says Ready of.
func (r *Rules) Passes(now time.Time, q *dnswire.Query, out *dnswire.Builder, start int, isExempt bool) (passes, keep bool) {
	var into scratch
	a, ok := r.readAnswer(now, q, out, start, isExempt, &into)
	if !ok {
		return false, false
	}
	if r.translates(q.Type, q.CD(), q.EDNS.DO) && out.Rcode() != dnswire.RcodeNXDomain &&
		(len(a.addrs) == 0 || slices.ContainsFunc(a.addrs, r.DNS64.IsExcluded) || r.DNS64.Ignores(q.Name)) {
		return false, false
	}
	if r.Private != nil && slices.ContainsFunc(a.addrs, r.Private.holds) && !r.Private.isExempt(q.Name) {
		return false, false
	}
	return isExempt || r.isFree(now, a.end, a.addrs), !isExempt
}

// isFree reports whether policy has nothing to say about an answer at a name.
func (r *Rules) isFree(now time.Time, name dnsname.Name, addrs []netip.Addr) bool {
	if r.Policies == nil {
		return true
	}
	isSkipped := false
	var servers policy.Servers
	if r.Policies.LooksAtServers() {
		above := cuts{r.Cache, now, name.Clone()} // name lies on the stack of who asks
		if !above.areKnown() {
			return false
		}
		servers = above
	}
	h := r.Policies.Response(netip.Addr{}, name, addrs, servers, func(policy.Hit) { isSkipped = true })
	return h.IsZero() && !isSkipped
}

// scratch is the memory that an answer is read into.
type scratch struct {
	addrs   [mostAddresses]netip.Addr
	owner   [dnsname.MaxLen]byte
	targets [2][dnsname.MaxLen]byte
}

// answerRead is what readAnswer has found.
type answerRead struct {
	end   dnsname.Name // of the aliases
	addrs []netip.Addr
}

// readAnswer reads the answer section that begins at start, and has policy look at the
// names on the way. ok is false if it has something to say, or the answer cannot be
// read here.
func (r *Rules) readAnswer(now time.Time, q *dnswire.Query, out *dnswire.Builder, start int, isExempt bool, into *scratch) (a answerRead, ok bool) {
	a = answerRead{end: q.Name, addrs: into.addrs[:0]}
	msg, at, turn := out.Message(), start, 0
	for range out.Count(dnswire.Answer) {
		owner, next, err := rdata.UnpackName(into.owner[:0], msg, at)
		if err != nil || next+10 > len(msg) {
			return a, false
		}
		t, length := rdata.Type(binary.BigEndian.Uint16(msg[next:])), int(binary.BigEndian.Uint16(msg[next+8:]))
		data := next + 10
		if at = data + length; at > len(msg) {
			return a, false
		}
		switch {
		case isAddress(t):
			addr, isWhole := netip.AddrFromSlice(msg[data:at])
			if !isWhole || len(a.addrs) == cap(a.addrs) {
				return a, false
			}
			a.addrs = append(a.addrs, addr)
		case t == rdata.TypeCNAME:
			dnsname.Lower(owner)
			if dnsname.View(owner) != a.end || q.Type == rdata.TypeCNAME {
				continue
			}
			if !isExempt && !r.isFree(now, a.end, nil) {
				return a, false
			}
			turn = 1 - turn // a.end lies in the other room
			target, _, err := rdata.UnpackName(into.targets[turn][:0], msg, data)
			if err != nil {
				return a, false
			}
			dnsname.Lower(target)
			a.end = dnsname.View(target)
		}
	}
	return a, true
}
