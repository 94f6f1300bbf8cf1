package node

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"

	"pharos/internal/admin/config"
	"pharos/internal/proxy/tlscert"
)

// This file is what two servers show each other before a zone goes over TLS
// (RFC 9103), in both directions. Files are read when they are needed, which is
// rarely, so that new ones are in force at once; those of clients' authorities with
// the configuration.

// peerTLS returns how a server is reached over TLS.
func peerTLS(t config.PeerTLS) *tls.Config {
	c := tlscert.Peer(t).Config()
	c.MinVersion, c.NextProtos = tls.VersionTLS13, []string{"dot"} // RFC 9103 §7.1
	c.ClientSessionCache = tls.NewLRUClientSessionCache(4)         // for the next refresh
	return c
}

// compileAuthorities reads the authorities that rules name.
func compileAuthorities(zones []config.Zone) (map[string]*x509.CertPool, error) {
	all := map[string]*x509.CertPool{}
	for _, z := range zones {
		rules := slices.Clip(z.Transfer)
		for _, t := range z.Catalog.Templates {
			rules = append(rules, t.Transfer...)
		}
		for _, rule := range rules {
			file := rule.TLS.CA
			if file == "" || all[file] != nil {
				continue
			}
			pool, err := tlscert.ReadAuthorities(file)
			if err != nil {
				return nil, fmt.Errorf("zone %s: tls.ca of a rule for transfers: %w", z.Name, err)
			}
			all[file] = pool
		}
	}
	return all, nil
}

// proves reports whether a client has shown by TLS what a rule wants. state is nil
// if it has come without.
func (s *Snapshot) proves(rule config.TransferTLS, state *tls.ConnectionState) bool {
	switch {
	case rule == config.TransferTLS{}:
		return true
	case state == nil || state.Version < tls.VersionTLS13 || !slices.Contains([]string{"dot", "doq"}, state.NegotiatedProtocol): // RFC 9103 §7.1, RFC 9250 §4.1.1
		return false
	case rule.CA == "":
		return true
	case len(state.PeerCertificates) == 0 || s.authorities[rule.CA] == nil:
		return false
	}
	shown := state.PeerCertificates
	_, err := shown[0].Verify(x509.VerifyOptions{
		DNSName: rule.Name, Roots: s.authorities[rule.CA], Intermediates: tlscert.Intermediates(shown),
		// The same certificate often serves a name server in both directions.
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	})
	return err == nil
}
