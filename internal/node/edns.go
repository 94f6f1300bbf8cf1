package node

import (
	"crypto/rand"
	"encoding/binary"
	randv2 "math/rand/v2"
	"net/netip"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/admin/settings"
	"pharos/internal/clock"
	"pharos/internal/dns/dnswire"
	"pharos/internal/serve/admission"
	"pharos/internal/serve/cookie"
	"pharos/internal/serve/dnsserver"
	"pharos/internal/serve/ratelimit"
)

// edns is what answers say of this server and to its clients, whatever the
// question: who it is, how long a connection may rest, and a cookie; and how many
// answers a network gets that has shown none. Constant after New.
type edns struct {
	nsid      []byte
	keepalive [2]byte // over TCP; RFC 7828 §3.1: in units of 100 ms
	overTLS   [2]byte // over DoT
	secrets   cookie.Secrets
	limiter   *ratelimit.Limiter // nil: no limit
	exempt    *admission.ACL
}

func newEDNS(cfg config.DNS, now time.Time) (edns, error) {
	e := edns{nsid: []byte(cfg.NSID)}
	binary.BigEndian.PutUint16(e.keepalive[:], uint16(min(time.Duration(cfg.TCPIdle)/(100*time.Millisecond), 1<<16-1)))
	binary.BigEndian.PutUint16(e.overTLS[:], uint16(min(time.Duration(cfg.Encrypted.Idle)/(100*time.Millisecond), 1<<16-1)))
	var err error
	if cfg.CookieSecret == "" {
		rand.Read(e.secrets.Current[:]) // which never fails
	} else if e.secrets.Current, err = cookie.ParseSecret(cfg.CookieSecret); err != nil {
		return e, err
	}
	if e.secrets.HasOther = cfg.CookieSecretPrevious != ""; e.secrets.HasOther {
		if e.secrets.Other, err = cookie.ParseSecret(cfg.CookieSecretPrevious); err != nil {
			return e, err
		}
	}
	if cfg.RateLimit > 0 {
		e.limiter = ratelimit.New(settings.RateLimits(cfg), now)
	}
	e.exempt, err = admission.AllowOnly(cfg.RateLimitExempt)
	return e, err
}

// prepare adds the options of an answer. It is the Prepare of the DNS listeners.
func (n *Node) prepare(r *dnsserver.Request) {
	r.HasCookie = n.edns.addOptions(&r.Query, r.Client.Addr(), r.Transport, r.Now, &r.Out)
}

// addOptions adds to out, an answer to q that has no records yet, what the client
// asks for. It reports whether the client has shown a good cookie.
func (e *edns) addOptions(q *dnswire.Query, client netip.Addr, transport dnsserver.Transport, now time.Time, out *dnswire.Builder) (hasCookie bool) {
	if q.EDNS.Version != 0 { // RFC 6891 §6.1.3: what its options mean is not known here
		return false
	}
	if q.EDNS.Cookie != nil {
		var answer [cookie.Len]byte
		answer, hasCookie = e.secrets.Answer(q.EDNS.Cookie, client, uint32(now.Unix()))
		out.AddOption(dnswire.OptionCookie, answer[:])
	}
	if q.EDNS.NSID && len(e.nsid) > 0 {
		out.AddOption(dnswire.OptionNSID, e.nsid)
	}
	switch { // RFC 7828 §3.2.1: ignored over UDP
	case q.EDNS.Keepalive && transport == dnsserver.TCP:
		out.AddOption(dnswire.OptionKeepalive, e.keepalive[:])
	case q.EDNS.Keepalive && transport == dnsserver.DoT:
		out.AddOption(dnswire.OptionKeepalive, e.overTLS[:])
	}
	if transport.IsEncrypted() { // RFC 8467 §4.1; RFC 7830 §4 lets a server pad unasked
		out.SetPadding(dnswire.PaddingBlock)
	}
	return hasCookie
}

// limit bounds the answers that go to a network over UDP. It is the Limit of the
// DNS listeners.
func (n *Node) limit(r *dnsserver.Request) dnsserver.Verdict {
	if n.edns.limiter == nil || r.HasCookie {
		return dnsserver.Answered
	}
	switch n.take(r.Now, r.Client.Addr(), classOf(r.Out.Rcode(), r.Out.Count(dnswire.Answer))) {
	case ratelimit.Drop:
		return dnsserver.Drop
	case ratelimit.Truncate:
		r.Out.Truncate()
	}
	return dnsserver.Answered
}

// limitLate is limit for an answer that was deferred.
func (n *Node) limitLate(d *dnsserver.Deferred, msg []byte) dnsserver.Verdict {
	if n.edns.limiter == nil || d.HasCookie() {
		return dnsserver.Answered
	}
	answers := int(binary.BigEndian.Uint16(msg[6:]))
	switch n.take(clock.Now(), d.Client().Addr(), classOf(dnswire.Rcode(msg[3]&0xF), answers)) {
	case ratelimit.Drop:
		return dnsserver.Drop
	case ratelimit.Truncate:
		return dnsserver.Cut
	}
	return dnsserver.Answered
}

// take takes one answer to a client without a cookie out of its network's account.
// Those that may use the resolver have no limit: it works for nobody else.
func (n *Node) take(now time.Time, client netip.Addr, c ratelimit.Class) ratelimit.Verdict {
	e := &n.edns
	if e.exempt.Allows(client) || n.current.Load().choose(askerAt(client)).recursion.Allows(client) {
		return ratelimit.Send
	}
	return e.limiter.Take(now, client, c, randv2.Uint32())
}

// classOf returns the class of an answer for its limit.
func classOf(rcode dnswire.Rcode, answers int) ratelimit.Class {
	switch {
	case rcode == dnswire.RcodeNXDomain:
		return ratelimit.NXDomain
	case rcode != dnswire.RcodeNoError:
		return ratelimit.Failure
	case answers > 0:
		return ratelimit.Answer
	default:
		return ratelimit.Empty
	}
}
