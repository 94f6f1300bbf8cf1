package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go/http3"

	"pharos/internal/admin/problems"
	"pharos/internal/admin/telemetry"
	"pharos/internal/serve/dnsserver"
	"pharos/lab/tools"
)

// encryptedNode runs a node with every encrypted listener and a self-signed
// certificate.
func encryptedNode(t *testing.T, f folder, rest string) *Node {
	t.Helper()
	f.write("example.zone", exampleZone)
	n, _ := start(t, f.write("pharos.yaml", `data: data
store: {enabled: false}
listen: {dns: ["127.0.0.1:0"], dot: ["127.0.0.1:0"], doh: ["127.0.0.1:0"], doh3: ["127.0.0.1:0"], doq: ["127.0.0.1:0"], admin: "127.0.0.1:0"}
resolver: {allow: []}
zones: [{name: example.test, file: example.zone}]
`+rest))
	return n
}

// run runs a client of DNS and returns what it prints.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s\n%v", out, err)
	}
	return string(out)
}

func at(a netip.AddrPort) []string {
	return []string{"@" + a.Addr().String(), "-p", fmt.Sprint(a.Port())}
}

// TestDoTClients: what operators ask with gets answers over TLS, padded.
func TestDoTClients(t *testing.T) {
	tools.Need(t, "kdig", "dig")
	n := encryptedNode(t, newFolder(t), "tls: {selfSigned: true}\n")
	server := at(n.Encrypted("dot")[0])
	out := run(t, "kdig", append(server, "+tls", "+norec", "www.example.test", "A")...)
	for _, want := range []string{"TLS session (TLS1.3)", "192.0.2.1", "PADDING"} {
		if !strings.Contains(out, want) {
			t.Errorf("kdig: no %q in\n%s", want, out)
		}
	}
	out = run(t, "dig", append(server, "+tls", "+norec", "www.example.test", "A")...)
	if !strings.Contains(out, "192.0.2.1") || !strings.Contains(out, "(TLS)") {
		t.Errorf("dig:\n%s", out)
	}
	pin := n.certificates.Status()[0].Pin
	if out = run(t, "kdig", append(server, "+tls-pin="+pin, "+norec", "www.example.test", "A")...); !strings.Contains(out, "192.0.2.1") {
		t.Errorf("with the pin that status shows:\n%s", out)
	}
}

// TestDoHClients: HTTP/2 by GET and POST, and nothing older.
func TestDoHClients(t *testing.T) {
	tools.Need(t, "kdig", "dig", "curl")
	n := encryptedNode(t, newFolder(t), "tls: {selfSigned: true}\n")
	doh := n.Encrypted("doh")[0]
	for _, args := range [][]string{
		append(append([]string{"kdig"}, at(doh)...), "+https", "+norec", "www.example.test", "A"),
		append(append([]string{"kdig"}, at(doh)...), "+https-get", "+norec", "www.example.test", "A"),
		append(append([]string{"dig"}, at(doh)...), "+https", "+norec", "www.example.test", "A"),
		append(append([]string{"dig"}, at(doh)...), "+https-get", "+norec", "www.example.test", "A"),
	} {
		if out := run(t, args[0], args[1:]...); !strings.Contains(out, "192.0.2.1") {
			t.Errorf("%v:\n%s", args, out)
		}
	}
	url := "https://" + doh.String() + "/dns-query?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlBHRlc3QAAAEAAQ"
	out := run(t, "curl", "-sSki", "--http2", url)
	for _, want := range []string{"HTTP/2 200", "content-type: application/dns-message", "cache-control: private, max-age=3600", "alt-svc: h3="} {
		if !strings.Contains(out, want) {
			t.Errorf("curl: no %q in\n%q", want, out)
		}
	}
	if out := run(t, "curl", "-sSki", "--http1.1", url); strings.Contains(out, "200") {
		t.Errorf("HTTP/1.1 was served:\n%q", out)
	}
	// curl asks for the address of a name by DoH, and cannot reach it, as is right.
	out = run(t, "curl", "-v", "-k", "--doh-insecure", "--doh-url", "https://"+doh.String()+"/dns-query", "--connect-timeout", "1", "http://ns1.example.test:1/")
	if !strings.Contains(out, "127.0.0.1") {
		t.Errorf("curl --doh-url:\n%s", out)
	}
}

// TestDoQClients: DNS over QUIC.
func TestDoQClients(t *testing.T) {
	tools.Need(t, "kdig")
	n := encryptedNode(t, newFolder(t), "tls: {selfSigned: true}\n")
	out := run(t, "kdig", append(at(n.Encrypted("doq")[0]), "+quic", "+norec", "www.example.test", "A")...)
	if !strings.Contains(out, "192.0.2.1") || !strings.Contains(out, "QUIC session") {
		t.Errorf("kdig:\n%s", out)
	}
}

// TestDoH3: the same on HTTP/3, with the same errors.
func TestDoH3(t *testing.T) {
	n := encryptedNode(t, newFolder(t), "tls: {selfSigned: true}\n")
	transport := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.Close()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	url := "https://" + n.Encrypted("doh3")[0].String() + "/dns-query"
	for _, tt := range []struct {
		query string
		want  int
	}{{"?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlBHRlc3QAAAEAAQ", 200}, {"?dns=x", 400}, {"", 400}, {"/x", 404}} {
		resp, err := client.Get(url + tt.query)
		if err != nil {
			t.Errorf("%s: %v", tt.query, err)
			continue
		}
		content, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.want || resp.ProtoMajor != 3 {
			t.Errorf("%s: got %s over %s, want %d", tt.query, resp.Status, resp.Proto, tt.want)
		}
		var m dns.Msg
		if err := m.Unpack(content); tt.want == 200 && (err != nil || len(m.Answer) != 1 || resp.Header.Get("Cache-Control") != "private, max-age=3600") {
			t.Errorf("%v, %v, %v", m, err, resp.Header)
		}
	}
	resp, err := client.Post(url, "text/plain", strings.NewReader("x"))
	if err != nil || resp.StatusCode != 415 {
		t.Errorf("POST of text: %v %v", resp, err)
	}
	if c := n.dns.Counts(dnsserver.DoH3); c.Of(dnsserver.Answers) != 1 || n.dns.Connections(dnsserver.DoH3) != 1 {
		t.Errorf("%d answers, %d connections", c.Of(dnsserver.Answers), n.dns.Connections(dnsserver.DoH3))
	}
}

// TestProxiedClients: a transfer is for the client that a trusted proxy names. kdig
// plays the proxy, over UDP and TCP; with TLS it would send the header within.
func TestProxiedClients(t *testing.T) {
	tools.Need(t, "kdig")
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	n, _ := start(t, f.write("pharos.yaml", `data: data
store: {enabled: false}
listen: {dns: ["127.0.0.1:0"], admin: "127.0.0.1:0"}
resolver: {allow: []}
dns: {proxy: {trusted: [127.0.0.0/8]}}
zones: [{name: example.test, file: example.zone, transfer: [{network: 192.0.2.7/32}]}]
`))
	for _, tt := range []struct {
		server netip.AddrPort
		args   []string
	}{{n.DNS()[0], []string{"+notcp"}}, {n.DNS()[0], []string{"+tcp"}}} {
		ask := func(args ...string) string {
			return run(t, "kdig", append(append(append(at(tt.server), "+retry=0", "+timeout=2", "+norec"), tt.args...), args...)...)
		}
		if out := ask("+proxy=192.0.2.7#5300-198.51.100.1#53", "www.example.test", "A"); !strings.Contains(out, "192.0.2.1") {
			t.Errorf("%v:\n%s", tt.args, out)
		}
		if tt.args[0] == "+notcp" {
			continue
		}
		if out := ask("+proxy=192.0.2.7#5300-198.51.100.1#53", "example.test", "AXFR"); !strings.Contains(out, "hostmaster.example.test") {
			t.Errorf("%v: AXFR by the client that may:\n%s", tt.args, out)
		}
		if out := ask("+proxy=192.0.2.8#5300-198.51.100.1#53", "example.test", "AXFR"); strings.Contains(out, "hostmaster.example.test") {
			t.Errorf("%v: AXFR by another client:\n%s", tt.args, out)
		}
		if out := ask("www.example.test", "A"); strings.Contains(out, "192.0.2.1") {
			t.Errorf("%v: without a header:\n%s", tt.args, out)
		}
	}
}

// TestTransferOverQUIC: a rule that wants TLS is content with QUIC too.
func TestTransferOverQUIC(t *testing.T) {
	f := newFolder(t)
	f.write("peer.zone", peerZone(1))
	n, _ := start(t, f.write("pharos.yaml", `data: data
store: {enabled: false}
listen: {dns: ["127.0.0.1:0"], doq: ["127.0.0.1:0"], admin: "127.0.0.1:0"}
resolver: {allow: []}
tls: {selfSigned: true}
zones: [{name: peer.test, file: peer.zone, transfer: [{network: 127.0.0.0/8, tls: {required: true}}]}]
`))
	tools.Need(t, "kdig")
	if out := run(t, "kdig", append(at(n.Encrypted("doq")[0]), "+quic", "AXFR", "peer.test")...); !strings.Contains(out, "only1.peer.test.") || !strings.Contains(out, "host1499.peer.test.") {
		t.Errorf("%.1000s", out)
	}
	if _, err := allRecords(n.DNS()[0], nil); err == nil {
		t.Error("the zone went over TCP, against the rule")
	}
}

// TestCertificateReload: a new certificate is shown to new connections, those that
// are open stay, and a file that cannot be used changes nothing but the problems.
func TestCertificateReload(t *testing.T) {
	f := newFolder(t)
	crt, key := makeCertificate(t, f, "one", "ns.example.test")
	n := encryptedNode(t, f, "tls: {certificates: [{certificate: one.crt, key: one.key}]}\n")
	server := n.Encrypted("dot")[0].String()
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"dot"}}
	open, err := tls.Dial("tcp", server, config)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	ask := func(when string) {
		t.Helper()
		c := &dns.Conn{Conn: open}
		if err := c.WriteMsg(new(dns.Msg).SetQuestion("www.example.test.", dns.TypeA)); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if m, err := c.ReadMsg(); err != nil || len(m.Answer) != 1 {
			t.Fatalf("%s: %v %v", when, m, err)
		}
	}
	shown := func() string {
		c, err := tls.Dial("tcp", server, config)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].DNSNames[0]
	}
	ask("before")
	newCrt, newKey := makeCertificate(t, f, "two", "new.example.test")
	moveFile(t, newCrt, crt)
	moveFile(t, newKey, key)
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	if got := shown(); got != "new.example.test" {
		t.Errorf("after reload: %s is shown", got)
	}
	ask("after the certificate changed")

	f.write("one.crt", "not a certificate")
	eventually(t, func() string { // the watcher sees it by itself
		for _, p := range n.problems.All() {
			if p.Code == string(problems.CertificateRefused) && strings.Contains(p.Text, "is shown on") {
				return ""
			}
		}
		return fmt.Sprint(n.problems.All())
	})
	if got := shown(); got != "new.example.test" {
		t.Errorf("with a bad file: %s is shown", got)
	}
	ask("with a bad file")
}

// TestCertificateEnds: an operator hears of the end of a certificate 14 days before.
func TestCertificateEnds(t *testing.T) {
	f := newFolder(t)
	makeCertificate(t, f, "one", "ns.example.test")
	n := encryptedNode(t, f, "tls: {certificates: [{certificate: one.crt, key: one.key}]}\n")
	until := n.certificates.Status()[0].Until
	for _, tt := range []struct {
		now  time.Time
		want string
	}{{until.Add(-15 * 24 * time.Hour), ""}, {until.Add(-13 * 24 * time.Hour), "put a new one"}, {until.Add(time.Hour), "clients refuse it"}} {
		n.mu.Lock()
		n.followCertificates(n.current.Load().Config, tt.now, false)
		n.mu.Unlock()
		got := ""
		for _, p := range n.problems.All() {
			if p.Code == string(problems.CertificateEnding) {
				got = p.Text
			}
		}
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("at %v: problem %q, want %q", tt.now, got, tt.want)
		}
	}
}

func moveFile(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// makeCertificate makes a self-signed certificate for a name, of 100 days.
func makeCertificate(t *testing.T, f folder, file, name string) (crt, key string) {
	t.Helper()
	tools.Need(t, "openssl")
	crt, key = filepath.Join(f.path, file+".crt"), filepath.Join(f.path, file+".key")
	if out := run(t, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "100",
		"-subj", "/CN="+name, "-addext", "subjectAltName=DNS:"+name, "-keyout", key, "-out", crt); !exists(crt) {
		t.Fatal(out)
	}
	return crt, key
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestTicketsOutliveCertificates: a client comes back with its ticket after the
// certificates were read again.
func TestTicketsOutliveCertificates(t *testing.T) {
	f := newFolder(t)
	crt, key := makeCertificate(t, f, "one", "ns.example.test")
	n := encryptedNode(t, f, "tls: {certificates: [{certificate: one.crt, key: one.key}]}\n")
	config := &tls.Config{InsecureSkipVerify: true, ServerName: "ns.example.test", NextProtos: []string{"dot"}, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	visit := func() bool {
		c, err := tls.Dial("tcp", n.Encrypted("dot")[0].String(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		d := &dns.Conn{Conn: c}
		d.WriteMsg(new(dns.Msg).SetQuestion("www.example.test.", dns.TypeA))
		if _, err := d.ReadMsg(); err != nil { // the ticket comes before it
			t.Fatal(err)
		}
		return c.ConnectionState().DidResume
	}
	if visit() {
		t.Error("the first connection was resumed")
	}
	newCrt, newKey := makeCertificate(t, f, "two", "ns.example.test")
	moveFile(t, newKey, key)
	moveFile(t, newCrt, crt)
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	if !visit() {
		t.Error("the ticket was not taken")
	}
}

// TestTransportMetrics: each transport has counters of its own.
func TestTransportMetrics(t *testing.T) {
	tools.Need(t, "kdig")
	n := encryptedNode(t, newFolder(t), "tls: {selfSigned: true}\n")
	for form, flag := range map[string]string{"dot": "+tls", "doh": "+https", "doq": "+quic"} {
		run(t, "kdig", append(at(n.Encrypted(form)[0]), flag, "+norec", "www.example.test", "A")...)
	}
	eventually(t, func() string { // an answer is counted when it is on its way
		got := map[string]float64{}
		n.samples(func(s telemetry.Sample) {
			labels := strings.Join(s.Labels, " ")
			if s.Name == "dns_connections" || s.Name == "dns_events_total" && strings.HasSuffix(labels, "event answers") {
				got[s.Name+" "+labels] = s.Value
			}
		})
		for key, want := range map[string]float64{
			"dns_events_total transport dot event answers": 1, "dns_events_total transport doh event answers": 1,
			"dns_events_total transport doq event answers": 1, "dns_events_total transport doh3 event answers": 0,
			"dns_events_total transport tcp event answers": 0, "dns_connections transport doh3": 0,
		} {
			if value, ok := got[key]; !ok || value != want {
				return fmt.Sprintf("%s: %v, want %v (of %v)", key, value, want, got)
			}
		}
		return ""
	})
}

// TestStopWithOpenConnections: clients that stay do not hold up the end.
func TestStopWithOpenConnections(t *testing.T) {
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	n, stop := start(t, f.write("pharos.yaml", `data: data
store: {enabled: false}
listen: {dns: ["127.0.0.1:0"], dot: ["127.0.0.1:0"], doh: ["127.0.0.1:0"], doh3: ["127.0.0.1:0"], doq: ["127.0.0.1:0"], admin: "127.0.0.1:0"}
resolver: {allow: []}
tls: {selfSigned: true}
zones: [{name: example.test, file: example.zone}]
`))
	insecure := &tls.Config{InsecureSkipVerify: true}
	h3, h2 := &http3.Transport{TLSClientConfig: insecure.Clone()}, &http.Transport{TLSClientConfig: insecure.Clone(), ForceAttemptHTTP2: true}
	defer h3.Close()
	defer h2.CloseIdleConnections()
	for form, transport := range map[string]http.RoundTripper{"doh": h2, "doh3": h3} {
		resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get("https://" + n.Encrypted(form)[0].String() + "/dns-query?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlBHRlc3QAAAEAAQ")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	dot, err := tls.Dial("tcp", n.Encrypted("dot")[0].String(), insecure)
	if err != nil {
		t.Fatal(err)
	}
	defer dot.Close()
	began := time.Now()
	stop() // fails the test if it had to cut somebody off
	if took := time.Since(began); took > stopTimeout-time.Second {
		t.Errorf("took %v", took)
	}
}

// TestBehindHAProxy: a real proxy, before TCP, TLS and HTTPS. The client that may ask is
// one that only the header tells of.
func TestBehindHAProxy(t *testing.T) {
	tools.Need(t, "haproxy", "kdig")
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	dnsAt, dotAt, dohAt := freePort(t), freePort(t), freePort(t)
	overTCP, overTLS, overHTTPS := freePort(t), freePort(t), freePort(t)
	start(t, f.write("pharos.yaml", fmt.Sprintf(`data: data
store: {enabled: false}
listen: {dns: ["%s"], dot: ["%s"], doh: ["%s"], admin: "127.0.0.1:0"}
resolver: {allow: []}
tls: {selfSigned: true}
dns: {proxy: {trusted: [127.0.0.1/32]}}
zones: [{name: example.test, file: example.zone, query: [{network: 127.0.0.9/32}]}]
`, dnsAt, dotAt, dohAt)))
	config := f.write("haproxy.cfg", fmt.Sprintf(`defaults
  mode tcp
  timeout connect 5s
  timeout client 5s
  timeout server 5s
listen tcp
  bind %s
  server pharos %s send-proxy-v2
listen tls
  bind %s
  server pharos %s send-proxy-v2
listen https
  bind %s
  server pharos %s send-proxy-v2
`, overTCP, dnsAt, overTLS, dotAt, overHTTPS, dohAt))
	path, err := exec.LookPath("haproxy")
	if err != nil {
		path = "/usr/sbin/haproxy"
	}
	ctx, cancel := context.WithCancel(context.Background())
	proxy := exec.CommandContext(ctx, path, "-db", "-f", config)
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		proxy.Wait()
	})
	for server, flag := range map[netip.AddrPort]string{overTCP: "+tcp", overTLS: "+tls", overHTTPS: "+https"} {
		ask := func(from string) string {
			return run(t, "kdig", append(at(server), "-b", from, flag, "+retry=0", "+norec", "www.example.test", "A")...)
		}
		eventually(t, func() string { // once the proxy listens
			if out := ask("127.0.0.9"); !strings.Contains(out, "192.0.2.1") {
				return out
			}
			return ""
		})
		if out := ask("127.0.0.8"); strings.Contains(out, "192.0.2.1") || !strings.Contains(out, "REFUSED") {
			t.Errorf("%s: another client:\n%s", flag, out)
		}
	}
}
