package node

import (
	"context"
	"crypto/tls"
	"net/netip"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"pharos/internal/serve/dnsserver"
)

// TestHandshakesAreLimited: a network that begins one handshake after the other is
// cut off before TLS, over each transport; connections that there are go on.
func TestHandshakesAreLimited(t *testing.T) {
	f := newFolder(t)
	n := encryptedNode(t, f, "tls: {selfSigned: true}\ndns: {encrypted: {handshakesPerNetwork: 5}}\n")
	shake := func(form string, at netip.AddrPort) error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		c := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{map[string]string{"dot": "dot", "doh": "h2", "doq": "doq"}[form]}}
		if form == "doq" {
			conn, err := quic.DialAddr(ctx, at.String(), c, nil)
			if err == nil {
				conn.CloseWithError(0, "")
			}
			return err
		}
		conn, err := (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", at.String())
		if err == nil {
			conn.Close()
		}
		return err
	}
	for _, test := range []struct {
		form      string
		transport dnsserver.Transport
	}{{"dot", dnsserver.DoT}, {"doh", dnsserver.DoH}, {"doq", dnsserver.DoQ}} {
		at := n.Encrypted(test.form)[0]
		var err error
		for range 200 { // of which some come late enough on a busy machine
			if err = shake(test.form, at); err != nil {
				break
			}
		}
		counts := n.dns.Counts(test.transport)
		if err == nil || counts.Of(dnsserver.HandshakesRefused) == 0 {
			t.Errorf("%s: error %v, %d refused; want the limit to be met", test.form, err, counts.Of(dnsserver.HandshakesRefused))
		}
	}
}
