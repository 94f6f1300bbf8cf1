package node

import (
	"fmt"
	"net/netip"
	"time"

	"pharos/internal/admin/certdesk"
	"pharos/internal/admin/config"
	"pharos/internal/admin/settings"
	"pharos/internal/clock"
	"pharos/internal/serve/admission"
	"pharos/internal/serve/dnsserver"
	"pharos/internal/serve/entrances"
	"pharos/internal/serve/ratelimit"
)

// This file joins the DNS listeners in all their forms to query.

// listenDNS binds every address at which DNS is spoken, in whatever form.
func (n *Node) listenDNS(cfg *config.Config) error {
	if len(cfg.Listen.DNS) == 0 && !cfg.Listen.HasEncrypted() {
		return nil
	}
	proxies, err := admission.AllowOnly(cfg.DNS.Proxy.Trusted)
	if err != nil {
		return fmt.Errorf("dns.proxy.trusted: %w", err)
	}
	e := cfg.DNS.Encrypted
	c := entrances.Config{
		DNS: dnsserver.Config{
			Addresses: cfg.Listen.DNS, UDPWorkers: settings.UDPWorkers(cfg.DNS), Handler: n.query, Log: n.log,
			Expect: n.expect, Prepare: n.prepare, Limit: n.limit, LimitLate: n.limitLate,
			TCP: dnsserver.Limits{
				Connections: cfg.DNS.TCPConnections, PerClient: cfg.DNS.TCPPerClient, Queries: cfg.DNS.TCPQueries,
				Idle: time.Duration(cfg.DNS.TCPIdle), InFlight: cfg.DNS.TCPPipeline,
			},
		},
		DoT: cfg.Listen.DoT, DoH: cfg.Listen.DoH, DoH3: cfg.Listen.DoH3, DoQ: cfg.Listen.DoQ,
		Limits: dnsserver.Limits{
			Connections: e.Connections, PerClient: e.PerClient, Queries: e.Queries,
			Idle: time.Duration(e.Idle), InFlight: e.Pipeline,
		},
		Path: e.Path,
		TLS: entrances.TLS{
			Least: settings.LeastTLS(cfg.TLS), Certificate: n.certificates.Get,
			AsksClients: func() bool { return len(n.current.Load().authorities) > 0 },
		},
	}
	shakes := ratelimit.NewHandshakes(e.Handshakes, e.HandshakesPerNetwork, n.started)
	c.Handshake = func(client netip.Addr, proven bool) bool { return shakes.Allow(clock.Now(), client, proven) }
	if n.logs.observer != nil {
		c.DNS.Observer = n.logs.observer
	}
	if len(cfg.DNS.Proxy.Trusted) > 0 {
		c.DNS.Proxies = proxies.Allows
	}
	n.dns, err = entrances.Listen(c)
	return err
}

// Encrypted returns the addresses of a form of DNS: dot, doh, doh3 or doq.
func (n *Node) Encrypted(form string) []netip.AddrPort {
	for _, r := range n.dns.Encrypted() {
		if r.Form == form {
			return r.Addrs
		}
	}
	return nil
}

// followCertificates reads certificates again when reload says so, or when it is due;
// and reports how they are.
func (n *Node) followCertificates(cfg *config.Config, now time.Time, reload bool) {
	certdesk.Desk{Store: &n.certificates, Problem: n.problem, Keep: n.problems.Keep, Log: n.log}.Follow(cfg, now, reload)
}
