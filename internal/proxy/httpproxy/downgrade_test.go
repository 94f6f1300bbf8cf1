package httpproxy

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"pharos/lab/testca"
)

// TestRequestFramingOverTLS: the same octets mean the same over TLS.
func TestRequestFramingOverTLS(t *testing.T) {
	rec := new(recorder)
	g, ca := startSecured(t, Config{HTTP2: OnlyHTTP1}, nil, startOrigin(t, rec.serve))
	tickets := &tls.Config{ServerName: "www.test", RootCAs: ca.Pool(), ClientSessionCache: tls.NewLRUClientSessionCache(1), CurvePreferences: []tls.CurveID{tls.X25519}} // which is quick
	rejected, clean := 0, 0
	publishedFramings(t, func(name string, raw []byte) {
		conn := tls.Client(dial(t, g.address), tickets)
		defer conn.Close()
		if _, err := conn.Write(raw); err != nil {
			t.Fatal(err)
		}
		conn.CloseWrite()
		answer, _ := io.ReadAll(conn)
		got, faults := rec.take()
		if fault := judge(raw, string(answer), got, faults); fault != "" {
			t.Errorf("%s: %s\nsent %q\nanswer %q", name, fault, raw, answer)
		}
		if len(got) == 0 {
			rejected++
		} else {
			clean++
		}
	})
	t.Logf("request framing over TLS: %d rejected, %d forwarded clean", rejected, clean)
	if rejected == 0 || clean == 0 {
		t.Error("the cases prove nothing")
	}
}

// request2 is a request of HTTP/2, whatever is in it.
type request2 struct {
	name    string
	fields  []string // "name", "value", ...; pseudo-fields too
	content string
}

// plainly is a request that has fields, and those of an honest one that they do not replace.
func plainly(name, content string, fields ...string) request2 {
	all := []string{}
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/a"}, {":authority", "h"}} {
		value := f[1]
		for i := 0; i < len(fields); i += 2 {
			if fields[i] == f[0] {
				value = fields[i+1]
			}
		}
		all = append(all, f[0], value)
	}
	for i := 0; i < len(fields); i += 2 {
		if !strings.HasPrefix(fields[i], ":") || !strings.Contains(":method :scheme :path :authority", fields[i]) {
			all = append(all, fields[i], fields[i+1])
		}
	}
	return request2{name, all, content}
}

// smuggled is what every downgrade attack wants to be a request.
const smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"

// downgrades are attacks on gateways that write requests of HTTP/2 in HTTP/1.1. The words
// are those of Kettle, "HTTP/2: The Sequel is Always Worse" (2021).
func downgrades() (list []request2) {
	list = append(list,
		plainly("H2.CL 0", smuggled, "content-length", "0"),
		plainly("H2.CL too small", "x"+smuggled, "content-length", "1"),
		plainly("H2.CL too large", smuggled, "content-length", "1000"),
		plainly("H2.CL twice", smuggled, "content-length", "0", "content-length", fmt.Sprint(len(smuggled))),
		plainly("H2.CL with a sign", smuggled, "content-length", fmt.Sprintf("+%d", len(smuggled))),
		plainly("H2.CL of no content", "", "content-length", "5"),
		plainly("H2.TE", "0\r\n\r\n"+smuggled, "transfer-encoding", "chunked"),
		plainly("H2.TE identity", smuggled, "transfer-encoding", "identity"),
		plainly("H2.TE by an underscore", "0\r\n\r\n"+smuggled, "transfer_encoding", "chunked"),
		plainly("H2.TE in upper case", "0\r\n\r\n"+smuggled, "Transfer-Encoding", "chunked"),
		plainly("H2.TE behind white space", "0\r\n\r\n"+smuggled, " transfer-encoding", "chunked"),
		plainly("H2.TE before white space", "0\r\n\r\n"+smuggled, "transfer-encoding ", "chunked"),
		plainly("H2.TE by a tab", "0\r\n\r\n"+smuggled, "transfer-encoding\t", "chunked"),
		plainly("TE", smuggled, "te", "chunked"),
		plainly("connection", smuggled, "connection", "content-length"),
		plainly("upgrade", smuggled, "upgrade", "websocket"),
		plainly("an empty name", smuggled, "", "a"),
		plainly("a name that begins a pseudo-field", smuggled, ":x", "a"),
		plainly("CONNECT with a path", smuggled, ":method", "CONNECT"),
	)
	for _, end := range []string{"\r\n", "\n", "\r", "\x00", "\r\n\r\n", "\r\n "} {
		injected := end + "transfer-encoding: chunked" + end + "x: y"
		split := end + end + smuggled
		quoted := fmt.Sprintf("%q", end)
		for _, evil := range []string{injected, split} {
			list = append(list,
				plainly(quoted+" in a value", "0\r\n\r\n"+smuggled, "foo", "bar"+evil),
				plainly(quoted+" in a name", "0\r\n\r\n"+smuggled, "foo: bar"+evil, "baz"),
				plainly(quoted+" in a cookie", "0\r\n\r\n"+smuggled, "cookie", "a=b"+evil),
				plainly(quoted+" in :method", "0\r\n\r\n"+smuggled, ":method", "GET / HTTP/1.1"+evil+"\r\nX: x"),
				plainly(quoted+" in :path", "0\r\n\r\n"+smuggled, ":path", "/ HTTP/1.1\r\nhost: h"+evil),
				plainly(quoted+" in :authority", "0\r\n\r\n"+smuggled, ":authority", "h"+evil),
				plainly(quoted+" in :scheme", "0\r\n\r\n"+smuggled, ":scheme", "http://h/"+evil),
				plainly(quoted+" in host", "0\r\n\r\n"+smuggled, ":authority", "", "host", "h"+evil),
			)
		}
		list = append(list, plainly(quoted+" at the end of a value", smuggled, "foo", "bar"+end))
	}
	for _, c := range " \t\v\f\x7f\x80\xff#?" {
		list = append(list,
			plainly(fmt.Sprintf("%q in :method", c), smuggled, ":method", "GE"+string(c)+"T"),
			plainly(fmt.Sprintf("%q in :path", c), smuggled, ":path", "/a"+string(c)+"b"),
			plainly(fmt.Sprintf("%q in :authority", c), smuggled, ":authority", "h"+string(c)+"i"),
		)
	}
	for name, fields := range map[string][]string{
		"no path": {":path", ""}, "a path without a slash": {":path", "a"}, "an absolute path": {":path", "http://i/a"}, "*": {":path", "*"},
		"another scheme": {":scheme", "ftp"}, "no method": {":method", ""}, "two authorities": {":authority", "h", "host", "i"}, "user information": {":authority", "u@h"},
		"a pseudo-field twice": {":path", "/a", ":status", "200"}, "a pseudo-field behind others": {"a", "b", ":protocol", "x"},
	} {
		list = append(list, plainly(name, smuggled, fields...))
	}
	return list
}

// asHTTP2 is one of the published cases, in HTTP/2: each line is a field, whatever is in it, and
// what is behind the head is content, octet for octet.
func asHTTP2(name string, raw []byte) request2 {
	head, content, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	method, rest, _ := strings.Cut(lines[0], " ")
	at := max(strings.LastIndexByte(rest, ' '), 0)
	fields := []string{":method", method, ":scheme", "http", ":path", rest[:at], ":authority", ""}
	for _, line := range lines[1:] {
		field, value, _ := strings.Cut(line, ":")
		field, value = strings.ToLower(field), strings.TrimPrefix(value, " ")
		if field == "host" && fields[7] == "" {
			fields[7] = value
			continue
		}
		fields = append(fields, field, value)
	}
	return request2{name, fields, string(content)}
}

// withoutFraming is q without the fields of HTTP/1.1 that end it in HTTP/2 at once, so that the
// rest of it has its turn.
func (q request2) withoutFraming() (bare request2, changed bool) {
	bare = request2{name: q.name + ", without framing", content: q.content}
	for i := 0; i < len(q.fields); i += 2 {
		switch name, value := q.fields[i], q.fields[i+1]; {
		case name == "connection", name == "transfer-encoding", name == "content-length":
			changed = true
		case name == ":path" && !strings.HasPrefix(value, "/"):
			bare.fields = append(bare.fields, name, "/"+value)
		default:
			bare.fields = append(bare.fields, name, value)
		}
	}
	return bare, changed
}

func (q request2) field(name string) string {
	for i := 0; i < len(q.fields); i += 2 {
		if q.fields[i] == name {
			return q.fields[i+1]
		}
	}
	return ""
}

// carries reports whether an origin server may see that content: all of it, or as much as was
// declared, when the rest came after the request was passed on.
func (q request2) carries(content string) bool {
	n, err := strconv.Atoi(q.field("content-length"))
	return content == q.content || err == nil && n >= 0 && n < len(q.content) && content == q.content[:n]
}

// downgrader sends requests of HTTP/2 and looks at what of them an origin server of HTTP/1.1
// sees, which is strict.
type downgrader struct {
	t               *testing.T
	connect         func() net.Conn
	rec             *recorder
	conn            *conn2
	last            uint32
	rejected, clean int
}

func (d *downgrader) open() {
	if d.conn != nil {
		d.conn.conn.Close()
	}
	d.conn = &conn2{t: d.t, conn: d.connect()}
	d.conn.begin()
	d.last = 1
}

// ask sends a request and returns its status, or how it ended.
func (d *downgrader) ask(q request2) string {
	if d.conn == nil {
		d.open()
	}
	id := d.last
	d.last += 2
	d.conn.block.Reset()
	for i := 0; i < len(q.fields); i += 2 {
		f := hpack.HeaderField{Name: q.fields[i], Value: q.fields[i+1]}
		if f.Name == ":scheme" && f.Value == "http" {
			f.Value = d.conn.scheme()
		}
		if f.Name != ":authority" || f.Value != "" {
			d.conn.enc.WriteField(f)
		}
	}
	block, first := d.conn.block.Bytes(), min(d.conn.block.Len(), 16384)
	d.conn.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:first], EndStream: q.content == "", EndHeaders: first == len(block)})
	for at := first; at < len(block); at += first {
		d.conn.WriteContinuation(id, at+first >= len(block), block[at:min(at+first, len(block))])
	}
	if q.content != "" {
		d.conn.WriteData(id, true, []byte(q.content))
	}
	for {
		got := d.conn.next()
		switch {
		case got == "closed":
			d.conn = nil
			return got
		case strings.HasPrefix(got, fmt.Sprintf("%d status 1", id)):
		case strings.HasPrefix(got, fmt.Sprintf("%d status ", id)), strings.HasPrefix(got, fmt.Sprintf("%d reset ", id)):
			return got[strings.IndexByte(got, ' ')+1:]
		}
	}
}

// try asks, and then asks for something else that the origin server sees behind all that it has
// seen of it.
func (d *downgrader) try(q request2) {
	d.t.Helper()
	status := d.ask(q)
	probe := plainly("", "", ":method", "GET", ":path", "/probe")
	for tries := 0; d.ask(probe) != "status 200"; tries++ {
		if tries == 3 {
			d.t.Fatalf("%s: nothing is answered any more", q.name)
		}
	}
	got, faults := d.rec.take()
	if len(faults) > 0 || len(got) == 0 || got[len(got)-1].target != "/probe" {
		d.t.Errorf("%s: the origin server cannot read what was forwarded: %v %+v\nof %q %q", q.name, faults, got, q.fields, q.content)
		return
	}
	switch got = got[:len(got)-1]; {
	case len(got) == 0 && status != "status 200":
		d.rejected++
	case len(got) == 1 && got[0].method == q.field(":method") && q.carries(got[0].content) && !strings.Contains(got[0].target, "smuggled"):
		d.clean++
	default:
		d.t.Errorf("%s: %s, and the origin server saw %+v\nof %q %q", q.name, status, got, q.fields, q.content)
	}
}

// TestDowngradedFraming: what comes by HTTP/2 and is written in HTTP/1.1 is the request that
// came, or none; over TLS as in the clear.
func TestDowngradedFraming(t *testing.T) {
	for _, over := range []string{"in the clear", "over TLS"} {
		t.Run(over, func(t *testing.T) {
			d := downgrader{t: t, rec: new(recorder)}
			origin := startOrigin(t, d.rec.serve)
			var ca *testca.Authority
			g := (*gateway)(nil)
			if over == "over TLS" {
				g, ca = startSecured(t, Config{}, func(a *Arrival) { a.TLS.Protocol = "h2" }, origin)
				d.connect = func() net.Conn { return dialTLS(t, g.address, ca) }
			} else {
				g = startGateway(t, Config{}, origin)
				d.connect = g.dial
			}
			for _, q := range downgrades() {
				d.try(q)
			}
			t.Logf("%d rejected, %d forwarded clean", d.rejected, d.clean)
			if d.rejected < 100 || d.clean == 0 {
				t.Error("the requests prove nothing")
			}
		})
	}
	t.Run("published cases", func(t *testing.T) {
		d := downgrader{t: t, rec: new(recorder)}
		g := startGateway(t, Config{}, startOrigin(t, d.rec.serve))
		d.connect = g.dial
		publishedFramings(t, func(name string, raw []byte) {
			q := asHTTP2(name, raw)
			d.try(q)
			if bare, changed := q.withoutFraming(); changed {
				d.try(bare)
			}
		})
		t.Logf("%d rejected, %d forwarded clean", d.rejected, d.clean)
		if d.rejected == 0 || d.clean == 0 {
			t.Error("the cases prove nothing")
		}
	})
}
