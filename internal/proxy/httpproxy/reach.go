package httpproxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"

	"pharos/internal/traffic/health"
)

// isUntouched reports whether err says that the origin server has not looked at the request.
func isUntouched(err error) bool {
	var u interface{ Untouched() (leaving bool) }
	return errors.As(err, &u)
}

// untouched says what becomes of a request that nobody has looked at: it is sent anew, whatever
// it asks for, if all of it is still here (RFC 9113 §8.7).
func (c *client) untouched(x *exchange, err error) refusal {
	var u interface{ Untouched() (leaving bool) }
	errors.As(err, &u)
	anew := !x.started && x.upload == nil
	return refusal{
		status: 503, kind: "destination_unavailable", text: "the origin server has not taken the request", retry: anew, stale: anew && u.Untouched(),
	}
}

// ends are those of the client's connection, as far as they are known.
func (c *client) ends() (client, local netip.AddrPort) {
	client = netip.AddrPortFrom(c.peer, c.peerPort)
	local, _ = netip.ParseAddrPort(c.local)
	return client, netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
}

// tlsFailed says what a failed handshake with an origin server means. Nothing was sent, so
// that any request may go to another member.
func tlsFailed(err error) refusal {
	r := refusal{status: 502, kind: "tls_certificate_error", retry: true, fault: health.Unreached}
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var alert tls.AlertError
	var op *net.OpError
	var network net.Error
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		r.text = "the certificate of the origin server has expired, or is not valid yet"
	case errors.As(err, &name):
		r.text = "the certificate of the origin server is made out to another name"
	case errors.As(err, &unknown), errors.As(err, &invalid):
		r.text = "the certificate of the origin server is signed by nobody who is believed"
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, context.DeadlineExceeded):
		r.status, r.kind, r.text = 504, "connection_timeout", "no TLS with the origin server in time"
	case errors.As(err, &alert), errors.As(err, &op) && op.Op == "remote error":
		r.kind, r.text = "tls_alert_received", "the origin server refused the TLS handshake"
	default:
		r.kind, r.text = "tls_protocol_error", "no TLS with the origin server"
	}
	return r
}
