package dnsload

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestHTTPS: questions go over HTTP/2 and every answer is looked at; a wrong one is told.
func TestHTTPS(t *testing.T) {
	m := new(dns.Msg).SetQuestion("www.example.", dns.TypeA)
	m.Id = 0
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	q := NewQuery(wire)
	q.Answer = []string{"A 192.0.2.1"}
	address := "192.0.2.1"
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked := new(dns.Msg)
		if r.URL.Path != "/dns-query" || asked.Unpack(body) != nil {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		answer := new(dns.Msg).SetReply(asked)
		rr, _ := dns.NewRR("www.example. 60 IN A " + address)
		answer.Answer = []dns.RR{rr}
		wire, _ := answer.Pack()
		w.Header().Set("Content-Type", "application/dns-message")
		w.Write(wire)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	cfg := Config{Server: netip.MustParseAddrPort(s.Listener.Addr().String()), Queries: []Query{q}, Flows: 2, Window: 3, Sample: 1, Timeout: 10 * time.Second}
	secure := &tls.Config{InsecureSkipVerify: true}
	for want, at := range map[string]string{"": "192.0.2.1", "192.0.2.2": "192.0.2.2"} {
		address = at
		h, err := NewHTTPS(t.Context(), cfg, secure, "/dns-query")
		if err != nil {
			t.Fatal(err)
		}
		r, err := h.Run(t.Context(), 50*time.Millisecond)
		h.Close()
		if err != nil || r.Answered == 0 || r.Answered != r.Sent || (r.Wrong > 0) != (want != "") || !strings.Contains(r.First, want) {
			t.Errorf("address %s: %+v, %v", at, r, err)
		}
	}
	if _, err := NewHTTPS(t.Context(), cfg, secure, "/elsewhere"); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("another path: %v", err)
	}
}
