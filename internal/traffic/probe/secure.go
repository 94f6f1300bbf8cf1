package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"time"

	"pharos/internal/clock"
	"pharos/internal/diskfile"
	"pharos/internal/traffic/health"
)

// handshaker makes the handshakes of one target.
type handshaker struct {
	// Constant.
	terms health.Encryption
	name  string // asked for (RFC 6066 §3) and proven

	// Guarded by mu, for a probe may outlive the setting of its target.
	mu    sync.Mutex
	roots *x509.CertPool // of terms.CA; nil: those of the system
	read  diskfile.Stamp // of the file that roots were read from
}

// serverName returns the name that a certificate of key has to be for.
func serverName(key health.Target) string {
	t := key.Check.Terms.Get()
	switch {
	case t.TLS.ServerName != "":
		return t.TLS.ServerName
	case t.Host != "":
		return t.Host
	}
	return key.Address.Addr().String()
}

// handshakeError is a handshake that failed.
type handshakeError struct {
	err         error
	certificate time.Time // of the certificate, if one was shown
	warning     string
}

func (e *handshakeError) Error() string { return "TLS: " + health.Printable(e.err.Error()) }
func (e *handshakeError) Unwrap() error { return e.err }

// handshake makes c an encrypted connection.
//
// The certificate is verified here and not by package tls, so that its end is known also
// when it is not good, or nobody cares.
func (h *handshaker) handshake(ctx context.Context, c *connection, protocols []string) error {
	roots, err := h.authorities()
	if err != nil {
		return &ourError{err}
	}
	failed := new(handshakeError)
	conn := tls.Client(c.Conn, &tls.Config{
		ServerName: h.name, NextProtos: protocols, InsecureSkipVerify: true, Time: clock.Now,
		VerifyConnection: func(s tls.ConnectionState) error {
			failed.certificate, failed.warning = h.look(s)
			if h.terms.NoVerify {
				return nil
			}
			options := x509.VerifyOptions{DNSName: h.name, Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: clock.Now()}
			for _, x := range s.PeerCertificates[1:] {
				options.Intermediates.AddCert(x)
			}
			_, err := s.PeerCertificates[0].Verify(options)
			return err
		},
	})
	if failed.err = conn.HandshakeContext(ctx); failed.err != nil {
		return failed
	}
	c.Conn, c.state = conn, conn.ConnectionState()
	return nil
}

// authorities returns the roots of trust, read again if their file has changed.
func (h *handshaker) authorities() (*x509.CertPool, error) {
	if h.terms.CA == "" || h.terms.NoVerify {
		return nil, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	stamp := diskfile.StampOf(h.terms.CA)
	if h.roots != nil && stamp == h.read {
		return h.roots, nil
	}
	text, err := os.ReadFile(h.terms.CA)
	if err != nil {
		return nil, fmt.Errorf("check.tls.ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("check.tls.ca: %s has no certificate in PEM form", h.terms.CA)
	}
	h.roots, h.read = roots, stamp
	return roots, nil
}

// look returns the end of the certificate shown, and what is to be said of it. The
// first of the chain that ends ends it for the clients.
func (h *handshaker) look(s tls.ConnectionState) (end time.Time, warning string) {
	for i, x := range s.PeerCertificates {
		if i == 0 || x.NotAfter.Before(end) {
			end = x.NotAfter
		}
	}
	switch left := end.Sub(clock.Now()); {
	case len(s.PeerCertificates) == 0:
	case left <= 0:
		warning = fmt.Sprintf("the certificate ended on %s", end.UTC().Format(time.DateTime))
	case left < h.terms.Warn:
		warning = fmt.Sprintf("the certificate ends on %s", end.UTC().Format(time.DateTime))
	}
	return end, warning
}

// noted returns o with what the handshake of c told.
func (h *handshaker) noted(c *connection, o outcome) outcome {
	if h != nil && c != nil && len(c.state.PeerCertificates) > 0 {
		o.certificate, o.warning = h.look(c.state)
	}
	return o
}
