package entrances

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pharos/internal/proxy/tlscert"
	"pharos/internal/serve/dnsserver"
)

// configOf has a listener on the loopback in every form.
func configOf(t *testing.T, asksClients bool) Config {
	t.Helper()
	source, err := tlscert.SelfSigned(t.TempDir(), []string{"localhost"}, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	store := new(tlscert.Store)
	if err := store.Set([]tlscert.Source{source}); err != nil {
		t.Fatal(err)
	}
	any := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	limits := dnsserver.Limits{Connections: 10, PerClient: 10, Queries: 10, Idle: time.Minute, InFlight: 10}
	return Config{
		DNS: dnsserver.Config{Addresses: any, UDPWorkers: 1, TCP: limits, Log: slog.New(slog.DiscardHandler),
			Handler: func(*dnsserver.Request) dnsserver.Verdict { return dnsserver.Answered }},
		DoT: any, DoH: any, DoH3: any, DoQ: any, Limits: limits, Path: "/dns-query",
		TLS: TLS{Least: tls.VersionTLS12, Certificate: store.Get, AsksClients: func() bool { return asksClients }},
	}
}

func listen(t *testing.T, c Config) *Listeners {
	t.Helper()
	l, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { l.Serve(); close(done) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		l.Shutdown(ctx)
		<-done
	})
	return l
}

// TestForms: there is a listener in each form that is asked for. RFC 9103 §7.1, RFC
// 7858, RFC 8484: each agrees on its own protocol, and only those that carry zones ask
// for the certificate of a client, and only while that is of use.
func TestForms(t *testing.T) {
	for _, asks := range []bool{false, true} {
		l := listen(t, configOf(t, asks))
		forms := map[string]netip.AddrPort{}
		for _, r := range l.Encrypted() {
			forms[r.Form] = r.Addrs[0]
		}
		if len(forms) != 4 || !forms["doq"].IsValid() || !forms["doh3"].IsValid() {
			t.Fatalf("forms %v", forms)
		}
		for form, protocol := range map[string]string{"dot": "dot", "doh": "h2"} {
			asked := false
			c, err := tls.Dial("tcp", forms[form].String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol},
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					asked = true
					return new(tls.Certificate), nil
				}})
			if err != nil {
				t.Fatal(form, err)
			}
			if got := c.ConnectionState().NegotiatedProtocol; got != protocol {
				t.Errorf("%s: agreed on %q", form, got)
			}
			if want := asks && form == "dot"; asked != want {
				t.Errorf("%s: a certificate was asked for: %v, want %v", form, asked, want)
			}
			c.Close()
		}
	}
}

// TestTaken: the error for an address that is taken says of which form it is.
func TestTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	at := []netip.AddrPort{netip.MustParseAddrPort(taken.Addr().String())}
	for form, set := range map[string]func(*Config){
		"listen.dns": func(c *Config) { c.DNS.Addresses = at }, "listen.dot": func(c *Config) { c.DoT = at }, "listen.doh": func(c *Config) { c.DoH = at },
	} {
		c := configOf(t, false)
		set(&c)
		l, err := Listen(c)
		if l != nil {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if err := l.Shutdown(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if err == nil || !strings.Contains(fmt.Sprint(err), form+": ") {
			t.Errorf("%s: %v", form, err)
		}
	}
}
