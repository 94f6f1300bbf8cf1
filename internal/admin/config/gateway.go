package config

import "fmt"

// GatewayTLS is about the gateway over TLS.
type GatewayTLS struct {
	// Clients are the hosts whose clients are asked for a certificate (mutual TLS). The
	// first entry for a host counts; of hosts without one nobody is asked. Whom a
	// certificate is made out to is passed on in the field X-Client-Subject, and the
	// certificate in Client-Cert (RFC 9440); a client cannot set these itself.
	Clients []ClientCertificates `json:"clients,omitzero" max:"100"`
	// Handshakes is how many TLS handshakes may begin in a second; more are cut off before.
	// 0: any number.
	Handshakes int `json:"handshakes" default:"4000" min:"0" max:"1000000" example:"1000"`
	// HandshakesPerNetwork is how many of them an IPv4 /24 or an IPv6 /56 may begin.
	HandshakesPerNetwork int `json:"handshakesPerNetwork" default:"500" min:"0" max:"1000000" example:"50"`
}

// ClientCertificates is what clients show for hosts.
type ClientCertificates struct {
	// Hosts are the hosts; "*.example.com" is every name below one. All, if there are none.
	Hosts []string `json:"hosts,omitzero" format:"host" max:"1000" example:"[admin.example.com]"`
	// Mode is require, then nobody gets in without a certificate, or request, then those who
	// have none do as well.
	Mode string `json:"mode" enum:"request,require" default:"require" example:"request"`
	// CA is a PEM file with the authorities that have signed the certificates. It is read
	// again when it changes.
	CA string `json:"ca" required:"true" format:"file" example:"tls/clients.crt"`
}

// HasGateway reports whether there is an address to take requests at.
func (l *Listen) HasGateway() bool { return len(l.HTTP)+len(l.HTTPS) > 0 }

// HasTLS reports whether there is a listener that needs a certificate.
func (l *Listen) HasTLS() bool { return l.HasEncrypted() || len(l.HTTPS) > 0 }

// paths returns the names of files of g.
func (g *Gateway) paths() []*string {
	paths := []*string{&g.AccessLog, &g.AffinitySecret}
	for i := range g.TLS.Clients {
		paths = append(paths, &g.TLS.Clients[i].CA)
	}
	return paths
}

// checkGateway checks that what is said about the gateway's listeners is about some.
func (c *Config) checkGateway(to *checker) {
	if len(c.Routes) > 0 && !c.Listen.HasGateway() {
		to.fail("routes", "there are routes but no address to take requests at", `add listen: {http: ["0.0.0.0:80"]}`)
	}
	if len(c.Gateway.TLS.Clients) > 0 && len(c.Listen.HTTPS) == 0 {
		to.fail("gateway.tls.clients", "no client comes over TLS", `add listen: {https: ["0.0.0.0:443"]}, or remove it`)
	}
	if c.Gateway.HTTP3.Enabled && len(c.Listen.HTTPS) == 0 {
		to.fail("gateway.http3.enabled", "there is no address to take HTTP/3 at", `add listen: {https: ["0.0.0.0:443"]}, or remove it`)
	}
	c.checkPrefixes(to, "gateway.proxyProtocol", c.Gateway.ProxyProtocol)
	taken := map[string]int{}
	for i, rule := range c.Gateway.TLS.Clients {
		for k, h := range rule.Hosts {
			if j, again := taken[h]; again {
				to.fail(fmt.Sprintf("gateway.tls.clients[%d].hosts[%d]", i, k), fmt.Sprintf("%s is already in gateway.tls.clients[%d], which comes first", h, j), "remove one of them")
			} else {
				taken[h] = i
			}
		}
	}
}
