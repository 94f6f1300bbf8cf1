package node

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"pharos/internal/admin/config"
)

// This file is what two servers show each other before a zone goes over TLS
// (RFC 9103), in both directions. Files are read when they are needed, which is
// rarely, so that new ones are in force at once; those of clients' authorities with
// the configuration.

// peerTLS returns how a server is reached over TLS.
func peerTLS(t config.PeerTLS) *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"dot"}, ServerName: t.Name, // RFC 9103 §7.1
		InsecureSkipVerify: true, // VerifyConnection does it, with files as they are then
		VerifyConnection:   func(state tls.ConnectionState) error { return verifyPeer(t, state.PeerCertificates, time.Now()) },
	}
	if t.Certificate != "" {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
			if err != nil {
				return nil, fmt.Errorf("certificate to show to the primary: %w", err)
			}
			return &pair, nil
		}
	}
	return c
}

// verifyPeer returns nil if a server is the one that is meant.
func verifyPeer(t config.PeerTLS, shown []*x509.Certificate, now time.Time) error {
	if len(shown) == 0 {
		return errors.New("the server shows no certificate")
	}
	leaf := shown[0]
	if t.Pin != "" {
		sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
		if got := base64.StdEncoding.EncodeToString(sum[:]); got != t.Pin {
			return fmt.Errorf("the server's public key has the pin %s, and %s is configured", got, t.Pin)
		}
		if t.Name == "" {
			return nil
		}
	}
	o := x509.VerifyOptions{DNSName: t.Name, CurrentTime: now, Intermediates: intermediates(shown)}
	if t.CA != "" {
		var err error
		if o.Roots, err = readAuthorities(t.CA); err != nil {
			return err
		}
	}
	_, err := leaf.Verify(o)
	return err
}

// intermediates returns what was shown beside the certificate itself.
func intermediates(shown []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range shown[1:] {
		pool.AddCert(c)
	}
	return pool
}

func readAuthorities(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: there is no certificate in it; want one or more in PEM", file)
	}
	return pool, nil
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
			pool, err := readAuthorities(file)
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
		DNSName: rule.Name, Roots: s.authorities[rule.CA], Intermediates: intermediates(shown),
		// The same certificate often serves a name server in both directions.
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	})
	return err == nil
}
