package node

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"

	"pharos/internal/admin/accesslog"
	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/admin/metrics"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/settings"
	"pharos/internal/admin/telemetry"
	"pharos/internal/diskfile"
	"pharos/internal/proxy/doorway"
	"pharos/internal/proxy/httpproxy"
	"pharos/internal/proxy/quicdoor"
	"pharos/internal/proxy/served"
)

// This file joins the listeners of the gateway to it: each is behind a door, which reads
// the header of a proxy and agrees on TLS.

// gatewayEntry is one listener of the gateway.
type gatewayEntry struct {
	form string // http, https or http3
	listening
	door  *doorway.Door
	serve func() error
}

type listening interface {
	Addr() net.Addr
	Close() error
}

// buildGateway makes the gateway and binds its addresses.
func (n *Node) buildGateway(cfg *config.Config, stdout io.Writer) error {
	if !cfg.Listen.HasGateway() {
		return nil
	}
	access, err := accesslog.Open(&cfg.Gateway, stdout)
	if err != nil {
		return err
	}
	n.logs.access = access.File
	var tracing *httpproxy.Tracing
	if tracing, n.logs.traces, err = settings.Tracing(cfg.Gateway.Tracing, cfg.DNS.NSID, api.Version(), n.log); err != nil {
		return err
	}
	coding, err := settings.Compression(cfg.Gateway.Compression)
	if err != nil {
		return err
	}
	doors := settings.Doors(cfg, &n.certificates, n.started)
	besides, err := n.bindHTTP3(cfg, doors)
	if err != nil {
		return err
	}
	if err := errors.Join(n.bindGateway("http", cfg.Listen.HTTP, doors, nil), n.bindGateway("https", cfg.Listen.HTTPS, doors, besides)); err != nil {
		return err
	}
	n.gateway = httpproxy.New(httpproxy.Config{
		Table:  func() *served.Table { return n.current.Load().gateway },
		Report: n.prober.Report, Log: n.log,
		AccessLog: access.To, AccessLogFormat: access.Format, AccessLogEvery: access.Every, Tracing: tracing, Compression: coding, Past: settings.Past(cfg.Gateway.Past),
		RoundTrip: n.observeTrip, Breaker: func(pool, text string) { n.problem(problems.BreakerOpen, pool, text) },
		Limits: settings.Gateway(cfg.Gateway), Trusted: cfg.Gateway.TrustedProxies, HTTP2: settings.ClearVersions(cfg.Gateway),
	})
	return nil
}

func (n *Node) bindGateway(form string, addrs []netip.AddrPort, doors *settings.Entrances, besides func(netip.AddrPort) error) error {
	for _, addr := range addrs {
		l, err := doorway.Listen(addr)
		for tries := 0; err == nil && besides != nil; tries++ {
			at := l.Addr().(*net.TCPAddr).AddrPort()
			if err = besides(at); err == nil {
				break
			}
			l.Close()
			if addr.Port() == 0 && tries < sameTries {
				l, err = doorway.Listen(addr)
			}
		}
		if err != nil {
			return fmt.Errorf("listen.%s: %w", form, err)
		}
		door, behind := doors.Of(form, l.Addr().(*net.TCPAddr).AddrPort().Port())
		n.gatewayOn = append(n.gatewayOn, gatewayEntry{form, l, door, func() error { return n.gateway.ServeBehind(behind, l) }})
	}
	return nil
}

// sameTries is how often a port is tried that the system has chosen for TCP, and that another
// program may have for UDP.
const sameTries = 20

// bindHTTP3 returns what has an address listen for HTTP/3 as well; nil: nothing.
func (n *Node) bindHTTP3(cfg *config.Config, doors *settings.Entrances) (func(netip.AddrPort) error, error) {
	if doors.QUIC == nil {
		return nil, nil
	}
	key, err := diskfile.ReadSecret("", filepath.Join(cfg.Data, "quic.secret"))
	if err != nil {
		return nil, fmt.Errorf("gateway.http3: %w", err)
	}
	return func(at netip.AddrPort) error {
		l, err := quicdoor.Listen(doors.UDP(cfg, at, [32]byte(key)))
		if err != nil {
			return err
		}
		n.gatewayOn = append(n.gatewayOn, gatewayEntry{"http3", closing{l}, doors.QUIC, func() error { return n.gateway.ServeQUIC(l, doors.AltSvc(at.Port()), doors.Identify) }})
		return nil
	}, nil
}

// closing is a listener of QUIC that was not served yet.
type closing struct{ *quicdoor.Listener }

func (c closing) Close() error {
	c.Release()
	return nil
}

func (n *Node) serveGateway(e gatewayEntry) {
	if err := e.serve(); !errors.Is(err, httpproxy.ErrClosed) {
		n.log.Error("gateway listener failed", "address", e.Addr().String(), "error", err)
	}
}

// sampleDoors gives how connections fared at the doors, of which there is one for each form.
func (n *Node) sampleDoors(emit func(telemetry.Sample)) {
	seen := map[string]bool{}
	for _, e := range n.gatewayOn {
		if !seen[e.form] {
			seen[e.form] = true
			metrics.Door(e.form, e.door.Counts(), emit)
		}
	}
}

// HTTP returns the addresses of the gateway in the clear.
func (n *Node) HTTP() []string { return n.gatewayAt("http") }

// HTTPS returns its addresses over TLS.
func (n *Node) HTTPS() []string { return n.gatewayAt("https") }

// HTTP3 returns its addresses over QUIC.
func (n *Node) HTTP3() []string { return n.gatewayAt("http3") }

func (n *Node) gatewayAt(form string) (all []string) {
	for _, e := range n.gatewayOn {
		if e.form == form {
			all = append(all, e.Addr().String())
		}
	}
	return all
}
