package node

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"pharos/internal/admin/accesslog"
	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/admin/settings"
	"pharos/internal/proxy/doorway"
	"pharos/internal/proxy/httpproxy"
)

// This file joins the listeners of the gateway to it: each is behind a door, which reads
// the header of a proxy and agrees on TLS.

// gatewayEntry is one listener of the gateway.
type gatewayEntry struct {
	net.Listener
	form string // http or https
	door *doorway.Door
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
	plain, secure := settings.Doors(cfg, &n.certificates, n.started)
	if err := errors.Join(n.bindGateway("http", cfg.Listen.HTTP, plain), n.bindGateway("https", cfg.Listen.HTTPS, secure)); err != nil {
		return err
	}
	n.gateway = httpproxy.New(httpproxy.Config{
		Table:  func() *httpproxy.Table { return n.current.Load().gateway },
		Report: n.prober.Report, Log: n.log,
		AccessLog: access.To, AccessLogFormat: access.Format, AccessLogEvery: access.Every, Tracing: tracing, Compression: coding, Past: settings.Past(cfg.Gateway.Past),
		RoundTrip: n.observeTrip,
		Limits:    settings.Gateway(cfg.Gateway), Trusted: cfg.Gateway.TrustedProxies, HTTP2: settings.ClearVersions(cfg.Gateway),
	})
	return nil
}

func (n *Node) bindGateway(form string, addrs []netip.AddrPort, door *doorway.Door) error {
	for _, addr := range addrs {
		l, err := httpproxy.Listen(addr)
		if err != nil {
			return fmt.Errorf("listen.%s: %w", form, err)
		}
		n.gatewayOn = append(n.gatewayOn, gatewayEntry{l, form, door})
	}
	return nil
}

func (n *Node) serveGateway(e gatewayEntry) {
	if err := n.gateway.ServeBehind(settings.Behind(e.door), e.Listener); !errors.Is(err, httpproxy.ErrClosed) {
		n.log.Error("gateway listener failed", "address", e.Addr().String(), "error", err)
	}
}

// HTTP returns the addresses of the gateway in the clear.
func (n *Node) HTTP() []string { return n.gatewayAt("http") }

// HTTPS returns its addresses over TLS.
func (n *Node) HTTPS() []string { return n.gatewayAt("https") }

func (n *Node) gatewayAt(form string) (all []string) {
	for _, e := range n.gatewayOn {
		if e.form == form {
			all = append(all, e.Addr().String())
		}
	}
	return all
}
