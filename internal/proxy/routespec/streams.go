package routespec

import (
	"crypto/tls"
	"net/netip"

	"pharos/internal/cluster/state"
	"pharos/internal/proxy/l4proxy"
	"pharos/internal/serve/proxyheader"
	"pharos/internal/traffic/affinity"
	"pharos/internal/traffic/pool"
)

// Target returns how connections, or datagrams, are carried to the members of a pool.
func Target(p *state.Pool, to *pool.Pool, remembers affinity.Spec, datagrams bool) l4proxy.Target {
	t := l4proxy.Target{Pool: to, Affinity: remembers}
	o := p.Origin
	o.Protocol = ""
	if datagrams {
		if o.ProxyProtocol != "" {
			t.Header = func(client, local netip.AddrPort) []byte {
				return proxyheader.Append(nil, headerOf(client, local), false)
			}
		}
		return t
	}
	if r := reachOf(&o); r != nil {
		t.Header, t.TLS = r.Header, r.TLS
	}
	if t.TLS != nil {
		t.TLS = withoutProtocol(t.TLS)
	}
	return t
}

// withoutProtocol returns c for connections of which nobody knows what is spoken on them.
func withoutProtocol(c *tls.Config) *tls.Config {
	c.NextProtos = nil
	return c
}
