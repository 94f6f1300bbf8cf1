package settings

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"

	"pharos/internal/admin/config"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/proxy/doorway"
	"pharos/internal/proxy/httpproxy"
	"pharos/internal/proxy/quicdoor"
	"pharos/internal/proxy/tlscert"
	"pharos/internal/serve/ratelimit"
)

// Entrances are the ways in to the gateway: of listen.http, of listen.https, and of the latter
// over QUIC, which is nil if there is none.
type Entrances struct {
	Plain, Secure, QUIC *doorway.Door
	proxies             func(netip.Addr) bool
	shakes              *ratelimit.Handshakes
	http3               config.GatewayHTTP3
}

// Doors returns the ways in to the gateway.
func Doors(cfg *config.Config, certificates *tlscert.Store, started time.Time) *Entrances {
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
	e := &Entrances{Plain: doorway.New(c), proxies: c.Proxies, http3: cfg.Gateway.HTTP3}
	t := cfg.Gateway.TLS
	e.shakes = ratelimit.NewHandshakes(t.Handshakes, t.HandshakesPerNetwork, started)
	c.Handshake = func(client netip.Addr) bool { return e.shakes.Allow(clock.Now(), client, true) }
	c.TLS = &doorway.TLS{
		Least: LeastTLS(cfg.TLS), Certificate: certificates.Get, Covers: certificates.Covers, Authorities: certificates.Authorities,
		Protocols: []string{"h2", "http/1.1"},
	}
	for _, r := range t.Clients {
		c.TLS.Clients = append(c.TLS.Clients, doorway.ClientRule{Hosts: r.Hosts, Required: r.Mode == "require", CA: r.CA})
	}
	e.Secure = doorway.New(c)
	if cfg.Gateway.HTTP3.Enabled {
		over := *c.TLS
		over.Least, over.Protocols = tls.VersionTLS13, []string{"h3"} // RFC 9001 §4.2, RFC 9114 §3.1
		e.QUIC = doorway.New(doorway.Config{TLS: &over})
	}
	return e
}

// UDP returns what a socket of QUIC at an address needs. What comes from a proxy that is to say for
// whom cannot say it there, and is not let in.
func (e *Entrances) UDP(cfg *config.Config, at netip.AddrPort, key [32]byte) quicdoor.Config {
	h, t := cfg.Gateway.HTTP3, cfg.Gateway.Timeouts
	return quicdoor.Config{
		Address: at, TLS: e.QUIC.Terms(), ResetKey: key, Counts: e.QUIC.Counts(), Refuses: e.proxies,
		Handshake: func(client netip.Addr, proven bool) bool { return e.shakes.Allow(clock.Now(), client, proven) },
		Streams:   h.Streams, StreamWindow: int(h.StreamWindow), Window: int(h.Window), PerClient: h.PerClient,
		// A request may wait so long for its origin server; idle connections end before.
		Silence: max(time.Duration(t.Idle), time.Duration(t.Response)) + 5*time.Second,
	}
}

// Identify says what was agreed on with a connection of QUIC.
func (e *Entrances) Identify(conn *quic.Conn) *httpproxy.Identity {
	state := conn.ConnectionState().TLS
	return identityOf(e.QUIC.Agreed(&state))
}

// AltSvc returns what clients of a port over TLS are told of HTTP/3 (RFC 7838 §3); empty: nothing.
func (e *Entrances) AltSvc(port uint16) string {
	switch g := e.http3; {
	case g.AltSvc == "clear":
		return "clear"
	case g.AltSvc == "announce" && g.Enabled:
		return fmt.Sprintf(`h3=":%d"; ma=%d`, port, int(time.Duration(g.AltSvcMaxAge).Seconds()))
	}
	return ""
}

// GatewayService returns the data of an HTTPS record that leads to listen.https, but for the
// hints (RFC 9460 §7); nil if that is nowhere. HTTP/1.1 is in it by being the default.
func GatewayService(cfg *config.Config) []byte {
	if len(cfg.Listen.HTTPS) == 0 {
		return nil
	}
	text := "1 . alpn=h2"
	if cfg.Gateway.HTTP3.Enabled {
		text = "1 . alpn=h2,h3"
	}
	if port := cfg.Listen.HTTPS[0].Port(); port != 443 && port != 0 {
		text += fmt.Sprintf(" port=%d", port)
	}
	data, err := rdata.ParseText(rdata.TypeHTTPS, dnsname.Root, text)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return data
}

// Of returns the door of a form of listener, http or https, at a port, also as the gateway
// takes it.
func (e *Entrances) Of(form string, port uint16) (*doorway.Door, *httpproxy.Door) {
	d, altSvc := e.Plain, ""
	if form == "https" {
		d, altSvc = e.Secure, e.AltSvc(port)
	}
	return d, &httpproxy.Door{
		IsOpen: d.IsOpen, IsTLS: d.IsTLS(), AltSvc: altSvc,
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
		Subject: id.Subject, Certificate: id.Certificate, Names: id.Names, Print: id.Print, Misdirected: id.Misdirected,
	}
}
