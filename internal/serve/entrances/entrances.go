// Package entrances opens every way in to the DNS listeners, in the forms that an
// operator has asked for, and joins them to one Handler:
//
//	Do53, DoT  dnsserver                    -> Handler
//	DoH, DoH3  dnsserver, doq -> doh -> a Visit -> Handler
//	DoQ        doq            ->        a Visit -> Handler
//
// It owns what the forms agree on by TLS, and nothing of what is said in them. Which
// certificates are shown is the caller's.
//
// Entry points: Listen; Listeners.Encrypted.
//
// Concurrency: as package dnsserver.
//
// Sources: RFC 7858 (DoT), RFC 8484 (DoH), RFC 9250 (DoQ), RFC 9103 §7.1.
package entrances

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"pharos/internal/serve/dnsserver"
	"pharos/internal/serve/doh"
	"pharos/internal/serve/doq"
)

// Config is which ways in there are.
type Config struct {
	DNS dnsserver.Config // over UDP and TCP, and what all have in common

	DoT, DoH, DoH3, DoQ []netip.AddrPort
	Limits              dnsserver.Limits // of each encrypted form
	Path                string           // of DoH
	TLS                 TLS
	// Handshake reports whether a TLS handshake may begin with a client, whose address
	// is proven or may be forged; nil: always.
	Handshake func(client netip.Addr, proven bool) bool
}

// TLS is what clients are shown.
type TLS struct {
	Least       uint16 // version, over TCP
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// AsksClients reports whether clients of DoT and DoQ are asked for a certificate
	// now: what they show is looked at when they ask for a zone.
	AsksClients func() bool
}

// Listeners are all of them, on one Server.
type Listeners struct {
	*dnsserver.Server
	config    Config
	encrypted []Reachable
}

// Reachable is what listens in one encrypted form.
type Reachable struct {
	Form  string
	Addrs []netip.AddrPort
}

// Listen binds every address. Nothing is answered before Serve. After an error some
// may be bound: Shutdown frees them.
func Listen(c Config) (*Listeners, error) {
	l := &Listeners{config: c}
	var err error
	if l.Server, err = dnsserver.Listen(c.DNS); err != nil {
		return nil, fmt.Errorf("listen.dns: %w", err)
	}
	return l, errors.Join(l.listenTLS(), l.listenHTTPS(), l.listenQUIC())
}

// listenTLS adds DNS over TLS.
func (l *Listeners) listenTLS() error {
	if len(l.config.DoT) == 0 {
		return nil
	}
	e, err := l.Open(dnsserver.EntranceConfig{
		Transport: dnsserver.DoT, Addresses: l.config.DoT, Limits: l.config.Limits, TLS: l.tls(l.config.TLS.Least, "dot"),
		Handshake: l.config.Handshake,
	})
	if err != nil {
		return fmt.Errorf("listen.dot: %w", err)
	}
	l.encrypted = append(l.encrypted, Reachable{"dot", e.Addrs()})
	return nil
}

// listenHTTPS adds DNS over HTTPS, on HTTP/3 and on HTTP/2, which tells clients of
// the former.
func (l *Listeners) listenHTTPS() error {
	c := &l.config
	h := &doh.Handler{Path: c.Path}
	if len(c.DoH3) > 0 {
		h3 := &http3.Server{
			Handler: h, MaxHeaderBytes: doh.MaxFields, IdleTimeout: c.Limits.Idle, Logger: slog.New(slog.DiscardHandler),
			ConnContext: func(ctx context.Context, c *quic.Conn) context.Context { return doh.WithVisit(ctx, doq.VisitOf(c)) },
		}
		over, err := l.listenOverQUIC(doq.Config{
			Transport: dnsserver.DoH3, Addresses: c.DoH3, TLS: l.tls(tls.VersionTLS13, http3.NextProtoH3),
			Carry: func(c *quic.Conn) { h3.ServeQUICConn(c) }, Drain: func() { h3.Shutdown(context.Background()) },
		})
		if err != nil {
			return fmt.Errorf("listen.doh3: %w", err)
		}
		h.AltSvc = fmt.Sprintf(`h3=":%d"; ma=86400`, over.Addrs()[0].Port())
	}
	if len(c.DoH) == 0 {
		return nil
	}
	carrier := doh.NewCarrier(h, c.DNS.Log)
	e, err := l.Open(dnsserver.EntranceConfig{
		Transport: dnsserver.DoH, Addresses: c.DoH, Limits: c.Limits, TLS: l.tls(c.TLS.Least, "h2"), Carry: carrier.Carry,
		Handshake: c.Handshake,
	})
	if err != nil {
		return fmt.Errorf("listen.doh: %w", err)
	}
	l.AddPart(carrier)
	l.encrypted = append(l.encrypted, Reachable{"doh", e.Addrs()})
	return nil
}

// listenQUIC adds DNS over QUIC.
func (l *Listeners) listenQUIC() error {
	if len(l.config.DoQ) == 0 {
		return nil
	}
	_, err := l.listenOverQUIC(doq.Config{Transport: dnsserver.DoQ, Addresses: l.config.DoQ, TLS: l.tls(tls.VersionTLS13, "doq")})
	if err != nil {
		return fmt.Errorf("listen.doq: %w", err)
	}
	return nil
}

// listenOverQUIC adds one of the forms that QUIC carries.
func (l *Listeners) listenOverQUIC(c doq.Config) (*doq.Listener, error) {
	var err error
	if c.Entrance, err = l.Open(dnsserver.EntranceConfig{Transport: c.Transport, Limits: l.config.Limits, Handshake: l.config.Handshake}); err != nil {
		return nil, err
	}
	c.Log = l.config.DNS.Log
	over, err := doq.Listen(c)
	if err != nil {
		return nil, err
	}
	l.AddPart(over)
	l.encrypted = append(l.encrypted, Reachable{c.Transport.String(), over.Addrs()})
	return over, nil
}

// Encrypted returns what listens in the encrypted forms: dot, doh, doh3 and doq.
func (l *Listeners) Encrypted() []Reachable {
	if l == nil {
		return nil
	}
	return l.encrypted
}

// tls returns what is agreed on by TLS: one for the life of a listener, so that session
// tickets outlive a change of certificates. Their keys are changed each day by package
// tls.
func (l *Listeners) tls(least uint16, protocol string) *tls.Config {
	t := &tls.Config{
		MinVersion: least, NextProtos: []string{protocol}, GetCertificate: l.config.TLS.Certificate,
		DynamicRecordSizingDisabled: true, // pipelined answers leave in one record
	}
	if protocol != "dot" && protocol != "doq" { // no zones are sent there
		return t
	}
	asking := t.Clone()
	asking.ClientAuth = tls.RequestClientCert
	t.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if l.config.TLS.AsksClients() {
			return asking, nil
		}
		return nil, nil
	}
	return t
}
