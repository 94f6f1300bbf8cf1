package dnsload

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
)

// TestQUIC: questions go over QUIC, a stream each, and every answer is looked at; a wrong
// one is told.
func TestQUIC(t *testing.T) {
	q := queries(t, 1)[0]
	certificates := httptest.NewTLSServer(nil)
	defer certificates.Close()
	listener, err := quic.ListenAddr("127.0.0.1:0", &tls.Config{Certificates: certificates.TLS.Certificates, NextProtos: []string{"doq"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() { // ends with the listener
		for {
			conn, err := listener.Accept(t.Context())
			if err != nil {
				return
			}
			go func() { // ends with the connection
				for {
					stream, err := conn.AcceptStream(t.Context())
					if err != nil {
						return
					}
					asked, _ := io.ReadAll(stream)
					m := new(dns.Msg)
					if len(asked) < 2 || m.Unpack(asked[2:]) != nil {
						return
					}
					wire, _ := right(m).Pack()
					stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...))
					stream.Close()
				}
			}()
		}
	}()
	secure := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"doq"}}
	for _, want := range []string{"192.0.2.1", "192.0.2.2"} {
		q.Answer = []string{"A " + want}
		l, err := NewQUIC(t.Context(), Config{Server: netip.MustParseAddrPort(listener.Addr().String()), Queries: []Query{q}, Flows: 2, Window: 3, Sample: 1, Timeout: 10 * time.Second}, secure)
		if err != nil {
			t.Fatal(err)
		}
		r, err := l.Run(t.Context(), 50*time.Millisecond)
		l.Close()
		isWrong := want != "192.0.2.1"
		if err != nil || r.Answered == 0 || r.Answered != r.Sent || (r.Wrong > 0) != isWrong || isWrong != strings.Contains(r.First, want) {
			t.Errorf("want %s: %+v, %v", want, r, err)
		}
	}
}
