package tlscert

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"time"

	"pharos/internal/clock"
)

// Peer says how to know a server that we connect to by its certificate. With Name
// and Pin, both must hold. Files are read at each handshake, so that new ones are
// in force at once.
type Peer struct {
	Name string // in its certificate, which CA must have signed
	CA   string // PEM file with authorities; empty: those of the system
	Pin  string // SHA-256 of its public key, in base64; without Name nothing else matters
	// Certificate and Key are PEM files of what is shown to the server, if that asks.
	Certificate, Key string
}

// Config returns how the server is reached. What is agreed on besides, and from
// which version of TLS on, is for the caller to add.
func (p Peer) Config() *tls.Config {
	c := &tls.Config{
		ServerName:         p.Name,
		InsecureSkipVerify: true, // VerifyConnection does it, with files as they are then, and for resumed sessions, too
		VerifyConnection:   func(state tls.ConnectionState) error { return p.verify(state.PeerCertificates, clock.Now()) },
	}
	if p.Certificate != "" {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(p.Certificate, p.Key)
			if err != nil {
				return nil, fmt.Errorf("certificate to show to the server: %w", err)
			}
			return &pair, nil
		}
	}
	return c
}

// verify returns nil if a server is the one that is meant.
func (p Peer) verify(shown []*x509.Certificate, now time.Time) error {
	if len(shown) == 0 {
		return errors.New("the server shows no certificate")
	}
	leaf := shown[0]
	if p.Pin != "" {
		sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
		if got := base64.StdEncoding.EncodeToString(sum[:]); got != p.Pin {
			return fmt.Errorf("the server's public key has the pin %s, and %s is configured", got, p.Pin)
		}
		if p.Name == "" {
			return nil
		}
	}
	o := x509.VerifyOptions{DNSName: p.Name, CurrentTime: now, Intermediates: Intermediates(shown)}
	if p.CA != "" {
		var err error
		if o.Roots, err = ReadAuthorities(p.CA); err != nil {
			return err
		}
	}
	_, err := leaf.Verify(o)
	return err
}

// Intermediates returns what was shown beside the certificate itself.
func Intermediates(shown []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range shown[1:] {
		pool.AddCert(c)
	}
	return pool
}

// ReadAuthorities reads a PEM file with certificates of authorities.
func ReadAuthorities(file string) (*x509.CertPool, error) {
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
