package node

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/settings"
	"pharos/internal/clock"
	"pharos/internal/proxy/tlscert"
	"pharos/internal/serve/admission"
	"pharos/internal/serve/dnsserver"
	"pharos/internal/serve/entrances"
	"pharos/internal/serve/ratelimit"
)

// This file joins the DNS listeners in all their forms to query, and keeps the
// certificates that the encrypted ones show:
//
//	file, tick, reload -> tlscert.Store -> each TLS handshake

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

// loadCertificates reads what encrypted listeners show.
func (n *Node) loadCertificates(cfg *config.Config) error {
	if !cfg.Listen.HasTLS() {
		return nil
	}
	if err := n.certificates.Load(settings.Certificates(cfg), clock.Now()); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	return nil
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

// checkCertificates reads the certificates as a start does, but makes none.
func checkCertificates(cfg *config.Config, report io.Writer) error {
	var store tlscert.Store
	w := settings.Certificates(cfg)
	if err := errors.Join(store.Set(w.Sources), store.SetAuthorities(w.Authorities)); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	for _, s := range store.Status() {
		fmt.Fprintf(report, "certificate %s: for %s, until %s\n", s.Certificate, strings.Join(s.Names, ", "), s.Until.UTC().Format(time.DateTime))
	}
	return nil
}

// followCertificates reads certificates again when reload says so, or when it is due;
// and reports how they are.
func (n *Node) followCertificates(cfg *config.Config, now time.Time, reload bool) {
	if !cfg.Listen.HasTLS() {
		return
	}
	var failed error
	if w := settings.Certificates(cfg); reload || n.certificates.IsDue(w, now) {
		failed = n.certificates.Load(w, now)
		n.log.Info("certificates read", "ok", failed == nil)
	}
	var about []string
	for _, s := range n.certificates.Status() {
		about = append(about, s.Certificate)
		n.problem(problems.CertificateRefused, s.Certificate, s.Problem)
		n.problem(problems.CertificateEnding, s.Certificate, s.Ending(now))
	}
	if len(about) == 0 && failed != nil {
		about = append(about, "tls")
		n.problem(problems.CertificateRefused, "tls", failed.Error())
	}
	n.problems.Keep(problems.CertificateRefused, about)
	n.problems.Keep(problems.CertificateEnding, about)
}

// certificateList returns the certificates for status.
func (n *Node) certificateList() []api.Certificate {
	var all []api.Certificate
	for _, s := range n.certificates.Status() {
		if s.Key == "" {
			continue // authorities, of clients
		}
		all = append(all, api.Certificate{
			File: s.Certificate, Names: s.Names, Until: s.Until, Fingerprint: s.Fingerprint, Pin: s.Pin,
		})
	}
	return all
}
