package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"pharos/internal/admin/api"
)

// member starts a server of a kind that checks can be made of. "https" and "grpcs" write
// their certificate, which ends in ten days, to NAME.pem, in lower case.
func member(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: member KIND NAME")
	}
	start, known := map[string]func(*testscript.TestScript, string) net.Addr{
		"http": httpMember, "https": httpsMember, "grpc": grpcMember, "grpcs": grpcMemberTLS, "udp": udpMember, "agent": agentMember,
	}[args[0]]
	if !known {
		ts.Fatalf("no member of kind %s", args[0])
	}
	ts.Setenv(args[1], start(ts, args[1]).String())
}

// page is what http and https members answer.
var page = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/health":
		fmt.Fprintf(w, `{"status": "pass", "by": %q}`, r.Proto)
	case "/moved":
		http.Redirect(w, r, "/health", http.StatusFound)
	case "/endless": // until the client has had enough
		for piece := []byte(strings.Repeat("x", 1<<16)); ; {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	case "/silent":
		<-r.Context().Done()
	default:
		w.WriteHeader(http.StatusNotFound)
	}
})

func httpMember(ts *testscript.TestScript, _ string) net.Addr {
	s := httptest.NewUnstartedServer(page)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	ts.Defer(s.Close)
	return s.Listener.Addr()
}

// certificateOf makes a certificate that ends in ten days, and writes it to a file.
func certificateOf(ts *testscript.TestScript, name string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"www.example.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(10 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(strings.ToLower(name)+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func httpsMember(ts *testscript.TestScript, name string) net.Addr {
	s := httptest.NewUnstartedServer(page)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificateOf(ts, name)}}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	ts.Defer(s.Close)
	return s.Listener.Addr()
}

func listen(ts *testscript.TestScript) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	return l
}

func grpcMember(ts *testscript.TestScript, _ string) net.Addr { return serveGRPC(ts, grpc.NewServer()) }

func grpcMemberTLS(ts *testscript.TestScript, name string) net.Addr {
	cert := certificateOf(ts, name)
	return serveGRPC(ts, grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&cert))))
}

func serveGRPC(ts *testscript.TestScript, s *grpc.Server) net.Addr {
	l, states := listen(ts), grpchealth.NewServer()
	grpc_health_v1.RegisterHealthServer(s, states)
	states.SetServingStatus("shop.Cart", grpc_health_v1.HealthCheckResponse_SERVING)
	go s.Serve(l) // ended by Stop
	ts.Defer(s.Stop)
	return l.Addr()
}

func udpMember(ts *testscript.TestScript, _ string) net.Addr {
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { u.Close() })
	go func() { // ends when u is closed
		buf := make([]byte, 100)
		for {
			_, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			u.WriteTo([]byte("PONG 1"), from)
		}
	}()
	return u.LocalAddr()
}

// agents are what the agents of a script say, by its folder and their names.
var agents sync.Map

func agentMember(ts *testscript.TestScript, name string) net.Addr {
	l := listen(ts)
	key := ts.MkAbs(name)
	agents.Store(key, "up 100%")
	ts.Defer(func() { l.Close(); agents.Delete(key) })
	go func() { // ends when l is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if said, ok := agents.Load(key); ok {
				fmt.Fprintln(c, said)
			}
			c.Close()
		}
	}()
	return l.Addr()
}

func say(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: say NAME TEXT")
	}
	agents.Store(ts.MkAbs(args[0]), args[1])
}

// waitMember waits until a member is in a state and, if that is asked for, shown with a
// text.
func waitMember(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: waitmember POOL/MEMBER STATE [TEXT]")
	}
	deadline, tick := time.After(2*time.Minute), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	last := "no such member"
	for {
		for _, p := range poolsOf(ts) {
			for _, m := range p.Members {
				if p.Name+"/"+m.Name != args[0] {
					continue
				}
				text, err := json.Marshal(m)
				ts.Check(err)
				if last = string(text); m.State == args[1] && (len(args) == 2 || strings.Contains(last, args[2])) {
					return
				}
			}
		}
		select {
		case <-deadline:
			ts.Fatalf("%s is not %v: %s", args[0], args[1:], last)
		case <-tick.C:
		}
	}
}

func poolsOf(ts *testscript.TestScript) (pools []api.Pool) {
	resp, err := http.Get("http://" + ts.Getenv("PHAROS_ADMIN") + "/api/pools")
	ts.Check(err)
	defer resp.Body.Close()
	ts.Check(json.NewDecoder(resp.Body).Decode(&pools))
	return pools
}

// serve serves a file by HTTP; NAME becomes its address.
func serve(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: serve NAME FILE")
	}
	file := ts.MkAbs(args[1])
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) }))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.Listener.Addr().String())
}

// splitPort sets a variable to the port of an address.
func splitPort(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: splitport NAME ADDRESS")
	}
	_, port, err := net.SplitHostPort(args[1])
	ts.Check(err)
	ts.Setenv(args[0], port)
}
