package settings

import (
	"crypto/tls"
	"net/netip"
	"path/filepath"
	"runtime"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/proxy/httpproxy"
	"pharos/internal/proxy/tlscert"
	"pharos/internal/serve/ratelimit"
)

// RateLimits returns how much is too much.
func RateLimits(cfg config.DNS) ratelimit.Config {
	r := cfg.RateLimits
	c := ratelimit.Config{Slip: r.Slip, IPv4Prefix: r.IPv4Prefix, IPv6Prefix: r.IPv6Prefix, PerSecond: [ratelimit.Classes]int{
		ratelimit.Answer: r.Answer, ratelimit.Empty: r.Empty, ratelimit.NXDomain: r.NXDomain, ratelimit.Failure: r.Failure,
	}}
	for class, limit := range c.PerSecond {
		if limit == 0 {
			c.PerSecond[class] = cfg.RateLimit
		}
	}
	return c
}

// Gateway returns what bounds requests.
func Gateway(g config.Gateway) httpproxy.Limits {
	var l httpproxy.Limits
	t := g.Timeouts
	l.RequestHead, l.Stall, l.Idle = time.Duration(t.Header), time.Duration(t.Content), time.Duration(t.Idle)
	l.Connect, l.Response = time.Duration(t.Connect), time.Duration(t.Response)
	l.OriginIdle, l.Tunnel = time.Duration(t.OriginIdle), time.Duration(t.Tunnel)
	l.MaxConnections, l.MaxContent = g.Limits.Connections, int64(g.Limits.Content)
	if l.PerClient = g.Limits.PerClient; l.PerClient == 0 {
		l.PerClient = -1 // no limit
	}
	l.IdlePerOrigin, l.Tries = g.Limits.OriginIdle, g.Limits.Retries+1
	l.Inspect = int(g.Limits.Inspect)
	l.RetryBudget = g.Limits.RetryBudget
	l.HTTP.Fields = int(g.Limits.Fields)
	h := g.HTTP2
	l.HTTP2.Streams, l.HTTP2.Resets, l.HTTP2.Silence = h.Streams, h.Resets, time.Duration(h.Ping)
	l.HTTP2.StreamWindow, l.HTTP2.Window = int(h.StreamWindow), int(h.Window)
	l.HTTP3Resets = g.HTTP3.Resets
	return l
}

// ClearVersions returns which versions of HTTP connections without TLS may speak.
func ClearVersions(g config.Gateway) httpproxy.Versions {
	switch g.HTTP2.Clear {
	case "off":
		return httpproxy.OnlyHTTP1
	case "only":
		return httpproxy.OnlyHTTP2
	}
	return httpproxy.Both
}

// LeastTLS returns the least version of TLS that is spoken.
func LeastTLS(c config.TLS) uint16 {
	if c.MinVersion == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

// Certificates returns what is to be shown.
func Certificates(cfg *config.Config) tlscert.Wanted {
	var w tlscert.Wanted
	for _, c := range cfg.TLS.Certificates {
		w.Sources = append(w.Sources, tlscert.Source{Certificate: c.Certificate, Key: c.Key})
	}
	if cfg.TLS.SelfSigned {
		w.SelfSigned = filepath.Join(cfg.Data, "tls")
	}
	for _, list := range [][]netip.AddrPort{cfg.Listen.DNS, cfg.Listen.DoT, cfg.Listen.DoH, cfg.Listen.DoH3, cfg.Listen.DoQ, cfg.Listen.HTTPS} {
		for _, a := range list {
			w.Addrs = append(w.Addrs, a.Addr())
		}
	}
	for _, s := range cfg.Streams {
		if s.TLS.ClientCA != "" {
			w.Authorities = append(w.Authorities, s.TLS.ClientCA)
		}
		for _, a := range s.Listen {
			if s.TLS.Terminate {
				w.Addrs = append(w.Addrs, a.Addr())
			}
		}
	}
	for _, c := range cfg.Gateway.TLS.Clients {
		w.Authorities = append(w.Authorities, c.CA)
	}
	return w
}

// UDPWorkers returns the number of loops for each UDP address.
func UDPWorkers(c config.DNS) int {
	if c.UDPWorkers > 0 {
		return c.UDPWorkers
	}
	return runtime.NumCPU()
}
