package settings

import (
	"net"
	"net/netip"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/clock"
	"pharos/internal/proxy/doorway"
	"pharos/internal/proxy/httpproxy"
	"pharos/internal/proxy/tlscert"
	"pharos/internal/serve/ratelimit"
)

// Doors returns the ways in to the gateway: of listen.http and of listen.https.
func Doors(cfg *config.Config, certificates *tlscert.Store, started time.Time) (plain, secure *doorway.Door) {
	var c doorway.Config
	if trusted := cfg.Gateway.ProxyProtocol; len(trusted) > 0 {
		c.Proxies = func(a netip.Addr) bool {
			for _, network := range trusted {
				if network.Contains(a) {
					return true
				}
			}
			return false
		}
	}
	plain = doorway.New(c)
	t := cfg.Gateway.TLS
	shakes := ratelimit.NewHandshakes(t.Handshakes, t.HandshakesPerNetwork, started)
	c.Handshake = func(client netip.Addr) bool { return shakes.Allow(clock.Now(), client, true) }
	c.TLS = &doorway.TLS{
		Least: LeastTLS(cfg.TLS), Certificate: certificates.Get, Covers: certificates.Covers, Authorities: certificates.Authorities,
		Protocols: []string{"h2", "http/1.1"},
	}
	for _, r := range t.Clients {
		c.TLS.Clients = append(c.TLS.Clients, doorway.ClientRule{Hosts: r.Hosts, Required: r.Mode == "require", CA: r.CA})
	}
	return plain, doorway.New(c)
}

// Behind returns d as the gateway takes it.
func Behind(d *doorway.Door) *httpproxy.Door {
	return &httpproxy.Door{
		IsOpen: d.IsOpen, IsTLS: d.IsTLS(),
		Admit: func(conn net.Conn, from netip.Addr, overdue func() bool) (httpproxy.Arrival, error) {
			a, err := d.Admit(conn, from, overdue)
			return httpproxy.Arrival{Conn: a.Conn, Client: a.Client, Proxied: a.Proxied, TLS: identityOf(a.TLS)}, err
		},
	}
}

func identityOf(id *doorway.Identity) *httpproxy.Identity {
	if id == nil {
		return nil
	}
	return &httpproxy.Identity{
		Protocol: id.Protocol, ServerName: id.ServerName, Version: id.Version, Cipher: id.Cipher,
		Subject: id.Subject, Certificate: id.Certificate, Misdirected: id.Misdirected,
	}
}
