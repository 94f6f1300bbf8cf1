package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/proxy/tlscert"
	"pharos/internal/serve/admission"
	"pharos/internal/serve/dnsserver"
	"pharos/internal/serve/doh"
	"pharos/internal/serve/doq"
)

// This file joins the encrypted ways to the same Handler as all others, and keeps
// the certificates that they show:
//
//	file, tick, reload -> tlscert.Store -> each TLS handshake
//	DoT        dnsserver                       -> query
//	DoH, DoH3  dnsserver, doq -> doh -> a Visit -> query
//	DoQ        doq            ->        a Visit -> query

// listenDNS binds every address at which DNS is spoken, in whatever form.
func (n *Node) listenDNS(cfg *config.Config) error {
	if len(cfg.Listen.DNS) == 0 && !cfg.Listen.HasEncrypted() {
		return nil
	}
	proxies, err := admission.AllowOnly(cfg.DNS.Proxy.Trusted)
	if err != nil {
		return fmt.Errorf("dns.proxy.trusted: %w", err)
	}
	c := dnsserver.Config{
		Addresses: cfg.Listen.DNS, UDPWorkers: udpWorkers(cfg.DNS), Handler: n.query, Log: n.log,
		Expect: n.expect, Prepare: n.prepare, Limit: n.limit, LimitLate: n.limitLate,
		TCP: dnsserver.Limits{
			Connections: cfg.DNS.TCPConnections, PerClient: cfg.DNS.TCPPerClient, Queries: cfg.DNS.TCPQueries,
			Idle: time.Duration(cfg.DNS.TCPIdle), InFlight: cfg.DNS.TCPPipeline,
		},
	}
	if n.logs.observer != nil {
		c.Observer = n.logs.observer
	}
	if len(cfg.DNS.Proxy.Trusted) > 0 {
		c.Proxies = proxies.Allows
	}
	if n.dns, err = dnsserver.Listen(c); err != nil {
		return fmt.Errorf("listen.dns: %w", err)
	}
	if !cfg.Listen.HasEncrypted() {
		return nil
	}
	if err := n.loadCertificates(cfg); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	return n.listenEncrypted(cfg)
}

// listenEncrypted adds the encrypted ways in.
func (n *Node) listenEncrypted(cfg *config.Config) error {
	if len(cfg.Listen.DoT) > 0 {
		e, err := n.dns.Open(dnsserver.EntranceConfig{
			Transport: dnsserver.DoT, Addresses: cfg.Listen.DoT, Limits: encryptedLimits(cfg.DNS.Encrypted),
			TLS: n.tlsConfig(leastTLS(cfg.TLS), "dot"),
		})
		if err != nil {
			return fmt.Errorf("listen.dot: %w", err)
		}
		n.encrypted = append(n.encrypted, reachable{"dot", e.Addrs()})
	}
	return errors.Join(n.listenHTTPS(cfg), n.listenQUIC(cfg))
}

// listenHTTPS adds DNS over HTTPS, on HTTP/3 and on HTTP/2, which tells clients of
// the former.
func (n *Node) listenHTTPS(cfg *config.Config) error {
	h := &doh.Handler{Path: cfg.DNS.Encrypted.Path}
	if len(cfg.Listen.DoH3) > 0 {
		h3 := &http3.Server{
			Handler: h, MaxHeaderBytes: doh.MaxFields, IdleTimeout: time.Duration(cfg.DNS.Encrypted.Idle), Logger: slog.New(slog.DiscardHandler),
			ConnContext: func(ctx context.Context, c *quic.Conn) context.Context { return doh.WithVisit(ctx, doq.VisitOf(c)) },
		}
		l, err := n.listenOverQUIC(cfg, doq.Config{
			Transport: dnsserver.DoH3, Addresses: cfg.Listen.DoH3, TLS: n.tlsConfig(tls.VersionTLS13, http3.NextProtoH3),
			Carry: func(c *quic.Conn) { h3.ServeQUICConn(c) }, Drain: func() { h3.Shutdown(context.Background()) },
		})
		if err != nil {
			return fmt.Errorf("listen.doh3: %w", err)
		}
		h.AltSvc = fmt.Sprintf(`h3=":%d"; ma=86400`, l.Addrs()[0].Port())
	}
	if len(cfg.Listen.DoH) == 0 {
		return nil
	}
	limits := encryptedLimits(cfg.DNS.Encrypted)
	carrier := doh.NewCarrier(h, limits, n.log)
	e, err := n.dns.Open(dnsserver.EntranceConfig{
		Transport: dnsserver.DoH, Addresses: cfg.Listen.DoH, Limits: limits,
		TLS: n.tlsConfig(leastTLS(cfg.TLS), "h2"), Carry: carrier.Carry,
	})
	if err != nil {
		return fmt.Errorf("listen.doh: %w", err)
	}
	n.dns.AddPart(carrier)
	n.encrypted = append(n.encrypted, reachable{"doh", e.Addrs()})
	return nil
}

// listenQUIC adds DNS over QUIC.
func (n *Node) listenQUIC(cfg *config.Config) error {
	if len(cfg.Listen.DoQ) == 0 {
		return nil
	}
	_, err := n.listenOverQUIC(cfg, doq.Config{Transport: dnsserver.DoQ, Addresses: cfg.Listen.DoQ, TLS: n.tlsConfig(tls.VersionTLS13, "doq")})
	if err != nil {
		return fmt.Errorf("listen.doq: %w", err)
	}
	return nil
}

// listenOverQUIC adds one of the forms that QUIC carries.
func (n *Node) listenOverQUIC(cfg *config.Config, c doq.Config) (*doq.Listener, error) {
	var err error
	if c.Entrance, err = n.dns.Open(dnsserver.EntranceConfig{Transport: c.Transport, Limits: encryptedLimits(cfg.DNS.Encrypted)}); err != nil {
		return nil, err
	}
	c.Log = n.log
	l, err := doq.Listen(c)
	if err != nil {
		return nil, err
	}
	n.dns.AddPart(l)
	n.encrypted = append(n.encrypted, reachable{c.Transport.String(), l.Addrs()})
	return l, nil
}

// reachable is what listens in one encrypted form.
type reachable struct {
	form  string
	addrs []netip.AddrPort
}

// Encrypted returns the addresses of a form of DNS: dot, doh, doh3 or doq.
func (n *Node) Encrypted(form string) []netip.AddrPort {
	for _, r := range n.encrypted {
		if r.form == form {
			return r.addrs
		}
	}
	return nil
}

func encryptedLimits(e config.Encrypted) dnsserver.Limits {
	return dnsserver.Limits{
		Connections: e.Connections, PerClient: e.PerClient, Queries: e.Queries,
		Idle: time.Duration(e.Idle), InFlight: e.Pipeline,
	}
}

func leastTLS(c config.TLS) uint16 {
	if c.MinVersion == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

// tlsConfig returns what TLS is agreed on with: one for the life of a listener, so
// that session tickets outlive a change of certificates. Their keys are changed
// each day by package tls.
func (n *Node) tlsConfig(least uint16, protocol string) *tls.Config {
	t := &tls.Config{
		MinVersion: least, NextProtos: []string{protocol}, GetCertificate: n.certificates.Get,
		DynamicRecordSizingDisabled: true, // pipelined answers leave in one record
	}
	if protocol != "dot" && protocol != "doq" { // no zones are sent there
		return t
	}
	// Clients are asked for a certificate only while some rule wants one: what they
	// show is looked at when they ask for a zone.
	asking := t.Clone()
	asking.ClientAuth = tls.RequestClientCert
	t.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if len(n.current.Load().authorities) > 0 {
			return asking, nil
		}
		return nil, nil
	}
	return t
}

// loadCertificates reads what is to be shown. The error says what could not be
// used.
func (n *Node) loadCertificates(cfg *config.Config) error {
	var sources []tlscert.Source
	for _, c := range cfg.TLS.Certificates {
		sources = append(sources, tlscert.Source{Certificate: c.Certificate, Key: c.Key})
	}
	var selfErr error
	if cfg.TLS.SelfSigned {
		names, addrs := ownNames(cfg)
		var self tlscert.Source
		if self, selfErr = tlscert.SelfSigned(filepath.Join(cfg.Data, "tls"), names, addrs, time.Now()); selfErr == nil {
			sources = append(sources, self)
		}
	}
	return errors.Join(n.certificates.Set(sources), selfErr)
}

// checkCertificates reads the certificates as a start does, but makes none.
func checkCertificates(cfg *config.Config, report io.Writer) error {
	var sources []tlscert.Source
	for _, c := range cfg.TLS.Certificates {
		sources = append(sources, tlscert.Source{Certificate: c.Certificate, Key: c.Key})
	}
	var store tlscert.Store
	if err := store.Set(sources); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	for _, s := range store.Status() {
		fmt.Fprintf(report, "certificate %s: for %s, until %s\n", s.Certificate, strings.Join(s.Names, ", "), s.Until.UTC().Format(time.DateTime))
	}
	return nil
}

// ownNames returns what a self-signed certificate is made out to.
func ownNames(cfg *config.Config) ([]string, []netip.Addr) {
	names := []string{"localhost"}
	if host, err := os.Hostname(); err == nil && host != "localhost" {
		names = append(names, host)
	}
	addrs := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	for _, list := range [][]netip.AddrPort{cfg.Listen.DNS, cfg.Listen.DoT, cfg.Listen.DoH, cfg.Listen.DoH3, cfg.Listen.DoQ} {
		for _, a := range list {
			addrs = append(addrs, a.Addr().Unmap().WithZone(""))
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.DeleteFunc(slices.Compact(addrs), netip.Addr.IsUnspecified)
	return names, addrs
}

// followCertificates reads certificates again when reload says so, when their
// files have changed, or when the self-signed one is about to end; and reports how
// they are.
func (n *Node) followCertificates(cfg *config.Config, now time.Time, reload bool) {
	if !cfg.Listen.HasEncrypted() {
		return
	}
	ending := cfg.TLS.SelfSigned && slices.ContainsFunc(n.certificates.Status(), func(s tlscert.Status) bool {
		return s.Until.Sub(now) < tlscert.RenewBefore
	})
	var failed error
	if reload || ending || n.certificates.Changed() {
		failed = n.loadCertificates(cfg)
		n.log.Info("certificates read", "ok", failed == nil)
	}
	var about []string
	for _, s := range n.certificates.Status() {
		about = append(about, s.Certificate)
		n.problem(certificateRefused, s.Certificate, s.Problem)
		text := ""
		if left := s.Until.Sub(now); !s.Until.IsZero() && left < tlscert.RenewBefore {
			text = fmt.Sprintf("certificate %s ends at %s; put a new one in its place", s.Certificate, s.Until.UTC().Format(time.DateTime))
			if left < 0 {
				text = fmt.Sprintf("certificate %s has ended at %s: clients refuse it; put a new one in its place", s.Certificate, s.Until.UTC().Format(time.DateTime))
			}
		}
		n.problem(certificateEnding, s.Certificate, text)
	}
	if len(about) == 0 && failed != nil {
		about = append(about, "tls")
		n.problem(certificateRefused, "tls", failed.Error())
	}
	n.problems.keep(certificateRefused, about)
	n.problems.keep(certificateEnding, about)
}

// certificateList returns the certificates for status.
func (n *Node) certificateList() []api.Certificate {
	var all []api.Certificate
	for _, s := range n.certificates.Status() {
		all = append(all, api.Certificate{
			File: s.Certificate, Names: s.Names, Until: s.Until, Fingerprint: s.Fingerprint, Pin: s.Pin,
		})
	}
	return all
}

// listening returns the encrypted listeners as status shows them.
func (n *Node) listening() []string {
	var all []string
	for _, r := range n.encrypted {
		for _, a := range r.addrs {
			all = append(all, r.form+" "+a.String())
		}
	}
	return all
}
