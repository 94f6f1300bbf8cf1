package httpproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/internal/proxy/logline"
	"pharos/internal/proxy/served"
)

// Each request leaves one line of JSON, whatever the client sent.
func TestAccessLog(t *testing.T) {
	var lines bytes.Buffer
	g := startGateway(t, Config{AccessLog: &lines}, startOrigin(t, mirroringBack))
	g.ask("POST /a\"b?c=\\d HTTP/1.1\r\nHost: h:1\r\nUser-Agent: x\"\\\xc3\t\r\nContent-Length: 3\r\n\r\nabc" + get(byeField))
	g.ask("GET / HTTP/1.1\r\nHost: x\r\nBad Field: 1\r\n\r\n")
	g.ask("\x16\x03\x01")
	g.ask("GET /%2f HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := g.server.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	for d := json.NewDecoder(&lines); ; {
		var line map[string]any
		if err := d.Decode(&line); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("not JSON: %v", err)
		}
		if _, err := time.Parse(time.RFC3339Nano, line["time"].(string)); err != nil || line["client"] != "127.0.0.1" {
			t.Errorf("line %v: %v", line, err)
		}
		got = append(got, line)
	}
	if len(got) != 5 {
		t.Fatalf("%d lines, want 5: %v", len(got), got)
	}
	for key, want := range map[string]any{"method": "POST", "host": "h:1", "target": "/a\"b?c=\\d", "version": "1.1", "status": 200.0,
		"in": 3.0, "pool": "web", "member": "m0", "tries": 1.0, "agent": "x\"\\\u00c3"} {
		if got[0][key] != want {
			t.Errorf("%s: got %v, want %v", key, got[0][key], want)
		}
	}
	if id, _ := got[0]["id"].(string); len(id) != 36 || id[14] != '7' {
		t.Errorf("id %q is no UUID of version 7", id)
	}
	for _, line := range got[2:] {
		if line["status"] != 400.0 || line["reason"] == "" {
			t.Errorf("refused request: %v", line)
		}
	}
}

// stuckWriter does not return from Write before it is released.
type stuckWriter struct {
	entered, release chan struct{}
	once             sync.Once
}

func (w *stuckWriter) Write(b []byte) (int, error) {
	w.once.Do(func() { close(w.entered); <-w.release })
	return 0, errors.New("disk full")
}

// A log that cannot be written costs lines, not requests.
func TestAccessLogNeverBlocks(t *testing.T) {
	w := &stuckWriter{entered: make(chan struct{}), release: make(chan struct{})}
	g := startGateway(t, Config{AccessLog: w, Limits: Limits{AccessLogBuffer: 2000}}, startOrigin(t, answering(ok2)))
	ask := func() {
		if got := g.ask(strings.Repeat(get(""), 10)); strings.Count(got, "200 OK") != 10 {
			t.Fatalf("got %q", got)
		}
	}
	ask()
	<-w.entered
	for range 5 {
		ask()
	}
	if n := g.server.Counters().LogDropped; n == 0 {
		t.Error("no line was dropped, though the writer was stuck")
	}
	close(w.release)
}

func TestCounters(t *testing.T) {
	g := startGateway(t, Config{}, startOrigin(t, mirroringBack))
	g.ask(get("") + "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" + "GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n")
	if err := g.server.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	c := g.server.Counters()
	sum := uint64(0)
	for _, n := range c.Latency {
		sum += n
	}
	if c.Accepted != 1 || c.Active != 0 || c.InFlight != 0 || c.Responses[2] != 2 || c.Responses[4] != 1 || c.Refused != 1 || c.BytesIn != 5 || c.BytesOut == 0 ||
		c.OriginNew != 1 || c.OriginReused != 1 || sum != 3 || c.LatencySum <= 0 {
		t.Errorf("got %+v", c)
	}
	p := g.table.Pools()[0]
	if p.Requests[2].Load() != 2 || p.Name != "web" {
		t.Errorf("pool: %d", p.Requests[2].Load())
	}
	if o := g.server.Origins(); len(o) != 1 || o[0].Requests != 2 || o[0].Opened != 1 || o[0].Reused != 1 {
		t.Errorf("origins: %+v", o)
	}
	// The next table keeps the counters of pools that stay.
	next, errs := served.New(nil, g.table.AllPools(), nil, g.table)
	if len(errs) > 0 || next.Pools()[0] != p {
		t.Errorf("counters of a kept pool were lost")
	}
}

// TestAccessLogForms: lines are as the form has them, for requests of every kind, and no
// request makes more than one line, nor forges a column, whatever its octets.
func TestAccessLogForms(t *testing.T) {
	format, err := logline.Parse(logline.Form{Kind: "template", Template: `{client.port} {client.believed} {local} {scheme} {host} {path}{query} ` +
		`{protocol} {status} {in} {out} {seconds} {queue} {route} {pool} {member} {address} {tries} {id} {time.unix} [{time.common}] "{reason}" "{field.User-Agent}" {response.X-Origin} {cookie.user} "{referer}"`})
	if err != nil {
		t.Fatal(err)
	}
	var lines bytes.Buffer
	origin := startOrigin(t, answering("HTTP/1.1 201 Created\r\nX-Origin: o 1\r\nContent-Length: 2\r\n\r\nok"))
	g := startGateway(t, Config{AccessLog: &lines, AccessLogFormat: format, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, origin)
	g.ask("GET /a%41?b HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.9\r\nX-Request-Id: mine\r\nUser-Agent: x\" 200 \xff\r\nCookie: a=b; user=u 7\r\nReferer: r\r\nConnection: close\r\n\r\n")
	g.ask("GET /%2f HTTP/1.0\r\n\r\n")
	g.awaitCounters(func(c Counters) bool { return c.Active == 0 }) // the line is written when the rest of the request was read
	g.ask("\x16\x03\x01\n\n")
	if err := g.server.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	const port, number, stamp, local = `\d+`, `\d+\.\d{6}`, `\d+\.\d{3} \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\]`, `127\.0\.0\.1:\d+`
	for i, want := range []string{
		port + ` 192\.0\.2\.9 ` + local + ` http h /aA\?b HTTP/1\.1 201 0 2 ` + number + ` - - web m0 ` + origin + ` 1 mine ` + stamp + ` "-" "x\\" 200 \\xff" o\\x201 u\\x207 "r"`,
		port + ` 127\.0\.0\.1 ` + local + ` http - -- HTTP/1\.0 400 0 0 ` + number + ` - - - - - - - ` + stamp + ` "[^"]+" "-" - - "-"`,
		port + ` 127\.0\.0\.1 ` + local + ` http - -- - 400 0 0 ` + number + ` - - - - - - - ` + stamp + ` "[^"]+" "-" - - "-"`,
	} {
		line, err := lines.ReadString('\n')
		if !regexp.MustCompile(`^` + want + `\n$`).MatchString(line) {
			t.Errorf("line %d: %v\n got %s\nwant %s", i, err, line, want)
		}
	}
	if lines.Len() > 0 {
		t.Errorf("there are more lines: %q", lines.String())
	}
}

// TestAccessLogSampled: of requests that went well one in so many leaves a line, of those
// that failed each.
func TestAccessLogSampled(t *testing.T) {
	var lines bytes.Buffer
	g := startGateway(t, Config{AccessLog: &lines, AccessLogEvery: 1 << 30}, startOrigin(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
	failing := startGateway(t, Config{AccessLog: &lines, AccessLogEvery: 1 << 30}, startOrigin(t, answering("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")))
	for _, g := range []*gateway{g, failing} {
		g.ask(strings.Repeat(get(""), 20))
		if err := g.server.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(lines.String(), "\n"); got != 20 || strings.Count(lines.String(), `"status":500`) != 20 {
		t.Errorf("%d lines, want the 20 that failed:\n%s", got, lines.String())
	}
}

// TestAccessLogOfCertificates: what is known of the client's certificate, escaped as all that
// others have written.
func TestAccessLogOfCertificates(t *testing.T) {
	for _, c := range []struct {
		form            logline.Form
		shown, notShown string
	}{
		{logline.Form{Kind: "template", Template: "{clientCert.verify} {clientCert.subject} {clientCert.names} {clientCert.sha256}"},
			`verified CN=a\x20b,O=\"c\" a.test,192.0.2.1 abcd`, `none - - -`},
		{logline.Form{Kind: "json", Fields: []string{"clientCert.verify", "clientCert.subject", "clientCert.names", "clientCert.sha256"}},
			`{"clientCert.verify":"verified","clientCert.subject":"CN=a b,O=\"c\"","clientCert.names":"a.test,192.0.2.1","clientCert.sha256":"abcd"}`, `{"clientCert.verify":"none"}`},
	} {
		format, err := logline.Parse(c.form)
		if err != nil {
			t.Fatal(err)
		}
		for _, shows := range []bool{true, false} {
			var lines bytes.Buffer
			g, ca := startSecured(t, Config{AccessLog: &lines, AccessLogFormat: format}, func(a *Arrival) {
				if shows {
					a.TLS.Subject, a.TLS.Certificate, a.TLS.Names, a.TLS.Print = `CN=a b,O="c"`, ":YQ==:", "a.test,192.0.2.1", "abcd"
				}
			}, startOrigin(t, answering(ok2)))
			conn := dialTLS(t, g.address, ca)
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: www.test\r\nConnection: close\r\n\r\n")
			io.ReadAll(conn)
			if err := g.server.Shutdown(context.Background()); err != nil {
				t.Fatal(err)
			}
			want := c.notShown
			if shows {
				want = c.shown
			}
			if got := strings.TrimSpace(lines.String()); got != want {
				t.Errorf("%s, shown %t:\n got %s\nwant %s", c.form.Kind, shows, got, want)
			}
		}
	}
}
