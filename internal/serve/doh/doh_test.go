package doh

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/serve/dnsserver"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// stage is a server with DNS over HTTPS whose Handler gives an address with a TTL
// of 60, drops "drop", and defers "later".
type stage struct {
	*dnsserver.Server
	at       netip.AddrPort
	deferred chan *dnsserver.Deferred
	tls      *tls.Config
	client   *http.Client
}

func (s *stage) handle(r *dnsserver.Request) dnsserver.Verdict {
	switch r.Query.Name.Label() {
	case "drop":
		return dnsserver.Drop
	case "later":
		d := r.Defer()
		if d == nil {
			return dnsserver.Answered
		}
		s.deferred <- d
		return dnsserver.Later
	}
	r.Out.Add(dnswire.Answer, r.Query.Name, rdata.TypeA, rdata.ClassIN, 60, []byte{192, 0, 2, 1})
	return dnsserver.Answered
}

func start(t *testing.T, limits dnsserver.Limits) *stage {
	t.Helper()
	s := &stage{deferred: make(chan *dnsserver.Deferred, 10000)}
	log := slog.New(slog.DiscardHandler)
	var err error
	if s.Server, err = dnsserver.Listen(dnsserver.Config{Handler: s.handle, Log: log}); err != nil {
		t.Fatal(err)
	}
	e, carrier, err := s.open(limits, log)
	if err != nil {
		t.Fatal(err)
	}
	s.AddPart(carrier)
	s.at = e.Addrs()[0]
	s.tls = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	transport := &http.Transport{TLSClientConfig: s.tls.Clone(), ForceAttemptHTTP2: true}
	s.client = &http.Client{Transport: transport, Timeout: patience}
	served := make(chan struct{})
	go func() {
		s.Serve()
		close(served)
	}()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.Shutdown(ctx)
		<-served
	})
	return s
}

func (s *stage) open(limits dnsserver.Limits, log *slog.Logger) (*dnsserver.Entrance, *Carrier, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"ns.test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	config := dnsserver.EntranceConfig{
		Transport: dnsserver.DoH, Limits: limits, Addresses: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		TLS: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2"}},
	}
	var carrier *Carrier
	config.Carry = func(conn *tls.Conn, v *dnsserver.Visit) { carrier.Carry(conn, v) }
	e, err := s.Open(config)
	if err != nil {
		return nil, nil, err
	}
	carrier = NewCarrier(&Handler{Path: "/dns-query", AltSvc: `h3=":443"`}, log)
	return e, carrier, nil
}

func (s *stage) url(rest string) string { return "https://" + s.at.String() + rest }

func query(t *testing.T, name string) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, dns.TypeA)
	m.Id = 0
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func get(t *testing.T, name string) string {
	return "/dns-query?dns=" + base64.RawURLEncoding.EncodeToString(query(t, name))
}

// TestRequests: what is answered, and how the rest is refused.
func TestRequests(t *testing.T) {
	s := start(t, dnsserver.Limits{})
	good := query(t, "www.example.")
	response := append([]byte(nil), good...)
	response[2] |= 0x80
	for _, tt := range []struct {
		name, method, path, kind string
		content                  []byte
		want                     int
	}{
		{"GET", "GET", get(t, "www.example."), "", nil, 200},
		{"GET with other parameters", "GET", "/dns-query?ct&x=1&dns=" + base64.RawURLEncoding.EncodeToString(good), "", nil, 200},
		{"HEAD", "HEAD", get(t, "www.example."), "", nil, 200},
		{"POST", "POST", "/dns-query", mediaType, good, 200},
		{"POST, media type in capitals", "POST", "/dns-query", "Application/DNS-Message; x=1", good, 200},
		{"a malformed query is answered by DNS", "POST", "/dns-query", mediaType, good[:14], 200},
		{"GET without dns", "GET", "/dns-query", "", nil, 400},
		{"GET with an empty dns", "GET", "/dns-query?dns=", "", nil, 400},
		{"GET with padding", "GET", "/dns-query?dns=AAA=", "", nil, 400},
		{"GET with standard base64", "GET", "/dns-query?dns=AA%2F%2F", "", nil, 400},
		{"GET of a response", "GET", "/dns-query?dns=" + base64.RawURLEncoding.EncodeToString(response), "", nil, 400},
		{"GET of three octets", "GET", "/dns-query?dns=AAAA", "", nil, 400},
		{"POST of nothing", "POST", "/dns-query", mediaType, []byte{}, 400},
		{"POST of text", "POST", "/dns-query", "text/plain", good, 415},
		{"POST without a type", "POST", "/dns-query", "", good, 415},
		{"POST, too large", "POST", "/dns-query", mediaType, make([]byte, 65536), 413},
		{"POST, the largest", "POST", "/dns-query", mediaType, append(append([]byte(nil), good...), make([]byte, 65535-len(good))...), 200},
		{"PUT", "PUT", "/dns-query", mediaType, good, 405},
		{"another path", "GET", strings.Replace(get(t, "www.example."), "dns-query", "other", 1), "", nil, 404},
		{"a path below", "GET", "/dns-query/x", "", nil, 404},
	} {
		r, err := http.NewRequest(tt.method, s.url(tt.path), bytes.NewReader(tt.content))
		if err != nil {
			t.Fatal(err)
		}
		if tt.kind != "" {
			r.Header.Set("Content-Type", tt.kind)
		}
		resp, err := s.client.Do(r)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		content, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.want || err != nil || resp.ProtoMajor != 2 {
			t.Errorf("%s: got %s over %s (%q, %v), want %d", tt.name, resp.Status, resp.Proto, content, err, tt.want)
		}
		h := resp.Header
		if tt.want == 200 && (h.Get("Content-Type") != mediaType || !strings.HasPrefix(h.Get("Cache-Control"), "private, max-age=") || h.Get("Alt-Svc") == "") {
			t.Errorf("%s: fields %v", tt.name, h)
		}
		if tt.want != 200 && h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: fields %v", tt.name, h)
		}
	}
}

// TestAnswer: the content is the answer, and fresh as long as its records.
func TestAnswer(t *testing.T) {
	s := start(t, dnsserver.Limits{})
	resp, err := s.client.Get(s.url(get(t, "www.example.")))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, _ := io.ReadAll(resp.Body)
	var m dns.Msg
	if err := m.Unpack(content); err != nil || len(m.Answer) != 1 || m.Id != 0 {
		t.Errorf("answer %v, %v", m, err)
	}
	if got := resp.Header.Get("Cache-Control"); got != "private, max-age=60" {
		t.Errorf("Cache-Control: %s", got)
	}
}

// TestNoAnswer: a query that gets no answer has its stream reset, and others of the
// connection go on; deferred ones come when they are there, in any order.
func TestNoAnswer(t *testing.T) {
	s := start(t, dnsserver.Limits{})
	if resp, err := s.client.Get(s.url(get(t, "drop.example."))); err == nil {
		t.Errorf("dropped: got %v", resp.Status)
	}
	late := make(chan string)
	go func() {
		resp, err := s.client.Get(s.url(get(t, "later.example.")))
		if err != nil {
			late <- err.Error()
			return
		}
		resp.Body.Close()
		late <- resp.Status
	}()
	d := <-s.deferred
	resp, err := s.client.Get(s.url(get(t, "www.example.")))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	var out dnswire.Builder
	out.Reset(d.Query(), make([]byte, 2000), d.Limit())
	if err := d.Send(out.Finish()); err != nil {
		t.Error(err)
	}
	if got := <-late; got != "200 OK" {
		t.Errorf("deferred: %s", got)
	}
	if got := s.Connections(dnsserver.DoH); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
	if d.SendMore(nil) == nil {
		t.Error("an answer of several messages over HTTP")
	}
}

// TestOnlyHTTP2 (RFC 8484 §5.2, RFC 9110 §15.6.6): a client that offers something older, or nothing, is told so if it
// speaks HTTP/1, whatever it sends, and hears nothing if it does not.
func TestOnlyHTTP2(t *testing.T) {
	s := start(t, dnsserver.Limits{})
	post := "POST /dns-query HTTP/1.1\r\nHost: x\r\nContent-Type: " + mediaType + "\r\nContent-Length: 60000\r\n\r\n" + strings.Repeat("x", 60000)
	count := uint64(0)
	for _, tt := range []struct {
		name, sent string
		answered   bool
	}{
		{"GET", "GET " + get(t, "www.example.") + " HTTP/1.1\r\nHost: x\r\n\r\n", true},
		{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", true},
		{"POST", post, true},
		{"preface without ALPN", http2.ClientPreface, false},
		{"no HTTP", "\x00\x10hello\r\n\r\n", false},
		{"endless head", "GET / HTTP/1.1\r\n" + strings.Repeat("a: b\r\n", MaxFields), false},
	} {
		for _, offers := range [][]string{{"http/1.1"}, nil} {
			conn, err := tls.Dial("tcp", s.at.String(), &tls.Config{InsecureSkipVerify: true, NextProtos: offers})
			if err != nil {
				t.Fatal(err)
			}
			conn.SetDeadline(time.Now().Add(patience))
			_, err = io.WriteString(conn, tt.sent)
			if err != nil && tt.answered {
				t.Errorf("%s, offer %q: %v", tt.name, offers, err)
			}
			got, _ := io.ReadAll(conn)
			conn.Close()
			if count++; !tt.answered {
				if len(got) > 0 {
					t.Errorf("%s, offer %q: got %q, want nothing", tt.name, offers, got)
				}
				continue
			}
			resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(got)), nil)
			if err != nil {
				t.Errorf("%s, offer %q: got %q, %v", tt.name, offers, got, err)
				continue
			}
			text, err := io.ReadAll(resp.Body)
			if resp.StatusCode != http.StatusHTTPVersionNotSupported || !resp.Close || err != nil || !strings.Contains(string(text), "HTTP/2") {
				t.Errorf("%s, offer %q: %s, %q, %v", tt.name, offers, resp.Status, text, err)
			}
		}
	}
	if c := s.Counts(dnsserver.DoH); c.Of(dnsserver.HandshakesFailed) != count {
		t.Errorf("%d failed handshakes, want %d", c.Of(dnsserver.HandshakesFailed), count)
	}
	s.isServed(t)
}

// attack is a connection of frames.
type attack struct {
	t    *testing.T
	conn *tls.Conn
	*http2.Framer
	block bytes.Buffer
	hpack *hpack.Encoder
}

func (s *stage) attack(t *testing.T) *attack {
	t.Helper()
	conn, err := tls.Dial("tcp", s.at.String(), s.tls)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, http2.ClientPreface)
	a := &attack{t: t, conn: conn, Framer: http2.NewFramer(conn, conn)}
	a.hpack = hpack.NewEncoder(&a.block)
	if err := a.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return a
}

// head returns the fields of a GET.
func (a *attack) head(path string) []byte {
	a.block.Reset()
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "x"}, {":path", path}} {
		a.hpack.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return a.block.Bytes()
}

// end reads until the connection ends and returns the code of GOAWAY.
func (a *attack) end() http2.ErrCode {
	a.t.Helper()
	code := http2.ErrCodeNo
	for {
		f, err := a.ReadFrame()
		if err != nil {
			return code
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			code = g.ErrCode
		}
	}
}

// isServed reports whether somebody else gets an answer.
func (s *stage) isServed(t *testing.T) {
	t.Helper()
	resp, err := s.client.Get(s.url(get(t, "www.example.")))
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("another client: %v %v", resp, err)
	}
	resp.Body.Close()
}

// TestRapidReset (CVE-2023-44487): who opens streams and resets them at once cannot
// have more work in hand than twice the streams. If it is faster than we are, it is
// cut off.
func TestRapidReset(t *testing.T) {
	s := start(t, dnsserver.Limits{InFlight: 10})
	a := s.attack(t)
	path := get(t, "later.example.")
	ended := make(chan http2.ErrCode)
	go func() { ended <- a.end() }() // ends with the connection
	for id := uint32(1); id < 10000; id += 2 {
		if a.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: a.head(path), EndStream: true, EndHeaders: true}) != nil ||
			a.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
			break
		}
	}
	a.WritePing(false, [8]byte{})
	a.conn.CloseWrite()
	if code := <-ended; code != http2.ErrCodeNo && code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("ended with %v", code)
	}
	if got := s.Outstanding(); got > 20 {
		t.Errorf("%d queries are worked on for one client, want at most 20", got)
	}
	s.isServed(t)
}

// TestContinuationFlood (CVE-2023-45288): fields without end.
func TestContinuationFlood(t *testing.T) {
	s := start(t, dnsserver.Limits{})
	a := s.attack(t)
	if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.head("/dns-query"), EndStream: true}); err != nil {
		t.Fatal(err)
	}
	go func() { // ends when the server cuts it off
		a.block.Reset()
		a.hpack.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("x", 8000), Sensitive: true})
		for range 100000 {
			if a.WriteContinuation(1, false, a.block.Bytes()) != nil {
				return
			}
		}
	}()
	a.end()
	s.isServed(t)
}

// TestLargeFields: more than MaxFields are not read.
func TestLargeFields(t *testing.T) {
	s := start(t, dnsserver.Limits{})
	a := s.attack(t)
	a.head("/dns-query")
	for a.block.Len() < 15000 { // some 17,000 when they are decoded
		a.hpack.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("x", 1000), Sensitive: true})
	}
	if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	for {
		f, err := a.ReadFrame()
		if err != nil {
			t.Fatalf("no response: %v", err)
		}
		if h, ok := f.(*http2.HeadersFrame); ok {
			fields, err := hpack.NewDecoder(4096, nil).DecodeFull(h.HeaderBlockFragment())
			if err != nil || len(fields) == 0 || fields[0].Value != "431" {
				t.Errorf("got %v, %v, want 431", fields, err)
			}
			break
		}
	}
	s.isServed(t)
}

// TestSlowContent: content that does not come to its end has its stream reset.
func TestSlowContent(t *testing.T) {
	t.Parallel()                                           // most of it is waiting
	s := start(t, dnsserver.Limits{Read: 3 * time.Second}) // so long an honest request may take on a busy machine
	r, w := io.Pipe()
	defer w.Close()
	req, err := http.NewRequest("POST", s.url("/dns-query"), r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	go w.Write([]byte{0}) // and no more
	if resp, err := s.client.Do(req); err == nil {
		t.Errorf("got %v", resp.Status)
	}
	s.isServed(t)
}

// TestSlowReader: a client that takes no content has its stream reset, whether the answer
// was there at once or later; and one that waits for long for a late answer has it.
func TestSlowReader(t *testing.T) {
	t.Parallel() // most of it is waiting
	// So long a busy machine may take to send a request, and to write an answer.
	s := start(t, dnsserver.Limits{Read: 2 * time.Second, Write: 2 * time.Second})
	a := s.attack(t)
	if err := a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"www.example.", "later.example."} {
		id := uint32(2*i + 1)
		if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: a.head(get(t, name)), EndStream: true, EndHeaders: true}); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			s.sendLate(t, 0)
		}
		for isReset := false; !isReset; {
			f, err := a.ReadFrame()
			if err != nil {
				t.Fatalf("%s: no reset: %v", name, err)
			}
			r, ok := f.(*http2.RSTStreamFrame)
			isReset = ok && r.StreamID == id
		}
	}
	late := make(chan string)
	go func() {
		resp, err := s.client.Get(s.url(get(t, "later.example.")))
		if err != nil {
			late <- err.Error()
			return
		}
		resp.Body.Close()
		late <- resp.Status
	}()
	s.sendLate(t, 5*time.Second) // more than Read and Write together
	if got := <-late; got != "200 OK" {
		t.Errorf("an answer that takes long: %s", got)
	}
	s.isServed(t)
}

// sendLate answers what is deferred, after a while.
func (s *stage) sendLate(t *testing.T, after time.Duration) {
	t.Helper()
	d := <-s.deferred
	<-time.After(after)
	var out dnswire.Builder
	out.Reset(d.Query(), make([]byte, 2000), d.Limit())
	if err := d.Send(out.Finish()); err != nil {
		t.Error(err)
	}
}

// TestQueriesPerConnection: after so many the client is told to open another.
func TestQueriesPerConnection(t *testing.T) {
	s := start(t, dnsserver.Limits{Queries: 2})
	for range 7 {
		s.isServed(t)
	}
	if c := s.Counts(dnsserver.DoH); c.Of(dnsserver.Connections) < 2 || c.Of(dnsserver.Answers) != 7 {
		t.Errorf("%d connections, %d answers", c.Of(dnsserver.Connections), c.Of(dnsserver.Answers))
	}
}

// TestIdle: a connection without queries is closed.
func TestIdle(t *testing.T) {
	t.Parallel()                                           // most of it is waiting
	s := start(t, dnsserver.Limits{Idle: 3 * time.Second}) // so long a client may take to begin on a busy machine
	s.attack(t).end()
	s.isServed(t)
}

// FuzzQueryOfURI: whatever stands in the URI.
func FuzzQueryOfURI(f *testing.F) {
	for _, raw := range []string{"dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlBHRlc3QAAAEAAQ", "a&dns=AA=&x", "dns=", "%dns=A"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		query, why := queryOfURI(nil, []byte(raw))
		if (query == nil) == (why == nil) {
			t.Errorf("%q: %x, %v", raw, query, why)
		}
		if why != nil && why.status != http.StatusBadRequest || len(query) > len(raw)*3/4 {
			t.Errorf("%q: %d octets, %v", raw, len(query), why)
		}
	})
}
