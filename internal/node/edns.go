package node

import (
	"encoding/binary"
	randv2 "math/rand/v2"
	"net/netip"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/admin/settings"
	"pharos/internal/clock"
	"pharos/internal/dns/dnswire"
	"pharos/internal/serve/admission"
	"pharos/internal/serve/dnsserver"
	"pharos/internal/serve/ednsoptions"
	"pharos/internal/serve/ratelimit"
)

// edns is what all answers are given: options, and how many of them a network gets that
// has shown no cookie. Constant after New.
type edns struct {
	options ednsoptions.Options
	limiter *ratelimit.Limiter // nil: no limit
	exempt  *admission.ACL
}

func newEDNS(cfg config.DNS, now time.Time) (e edns, err error) {
	e.options, err = ednsoptions.New(ednsoptions.Config{
		NSID: cfg.NSID, TCPIdle: time.Duration(cfg.TCPIdle), TLSIdle: time.Duration(cfg.Encrypted.Idle),
		Secret: cfg.CookieSecret, Previous: cfg.CookieSecretPrevious,
	})
	if err != nil {
		return e, err
	}
	if cfg.RateLimit > 0 {
		e.limiter = ratelimit.New(settings.RateLimits(cfg), now)
	}
	e.exempt, err = admission.AllowOnly(cfg.RateLimitExempt)
	return e, err
}

// prepare adds the options of an answer. It is the Prepare of the DNS listeners.
func (n *Node) prepare(r *dnsserver.Request) {
	r.HasCookie = n.edns.options.Add(&r.Query, r.Client.Addr(), r.Transport, r.Now, &r.Out)
}

// limit bounds the answers that go to a network over UDP. It is the Limit of the
// DNS listeners.
func (n *Node) limit(r *dnsserver.Request) dnsserver.Verdict {
	if n.edns.limiter == nil || r.HasCookie {
		return dnsserver.Answered
	}
	switch n.take(r.Now, r.Client.Addr(), ratelimit.ClassOf(r.Out.Rcode(), r.Out.Count(dnswire.Answer))) {
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
	switch n.take(clock.Now(), d.Client().Addr(), ratelimit.ClassOf(dnswire.Rcode(msg[3]&0xF), answers)) {
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
