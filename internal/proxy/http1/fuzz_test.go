package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// FuzzParser holds the parser to two properties, for any octets at all.
//
// Split invariance: fed as a whole, octet by octet, or in two pieces, a message
// gives the same events in the same words.
//
// Agreement: a request that is accepted is read by net/http as the same request,
// with the same method, target, host, length and content, and ends at the same
// octet. net/http may refuse what we accept: it does not take the empty line
// before a request, nor paths and hosts that package url does not like. That is
// harmless, for what is forwarded is written anew in its normal form. It must
// never read something else. CONNECT, whose target net/http rewrites, is left
// out: the gateway refuses it.
func FuzzParser(f *testing.F) {
	for _, c := range requests {
		f.Add([]byte(c.in), uint16(7))
	}
	for _, c := range refused {
		f.Add([]byte(c.in), uint16(20))
	}
	for _, c := range chunkRefused {
		f.Add([]byte(h+"Transfer-Encoding: chunked\r\n\r\n"+c), uint16(60))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		if len(in) > 4096 {
			return // the limits have their own tests; here they only cost time
		}
		for _, response := range []bool{false, true} {
			checkSplits(t, in, int(cut), response)
		}
		checkAgreement(t, in)
	})
}

func checkSplits(t *testing.T, in []byte, cut int, response bool) {
	want := ""
	at := min(cut, len(in))
	for i, feeds := range [][][]byte{whole(string(in)), bytewise(string(in)), {in[:at], in[at:]}} {
		var p Parser
		p.ResetRequest(Limits{})
		if response {
			p.ResetResponse(Limits{}, cut%2 == 1)
		}
		got := dialogue(&p, feeds, true)
		// What is left behind the message depends on how much was fed.
		if j := strings.LastIndex(got, "end, "); j >= 0 {
			got = got[:j] + "end"
		}
		if i == 0 {
			want = got
		} else if got != want {
			t.Fatalf("split %d:\ngot  %s\nwant %s", i, got, want)
		}
	}
}

// accept reads one request; ok is false when it is refused or not complete.
func accept(p *Parser, in []byte) (content []byte, used int, ok bool) {
	p.ResetRequest(Limits{})
	for {
		n, ev, v := p.Feed(in[used:])
		used += n
		switch {
		case v != nil || ev == NeedMore && !p.Done():
			return nil, 0, false
		case ev == Content:
			content = append(content, p.Content...)
		case ev == End:
			return content, used, true
		}
	}
}

func checkAgreement(t *testing.T, in []byte) {
	var p Parser
	content, used, ok := accept(&p, in)
	if !ok || p.MethodID() == MethodConnect || bytes.HasPrefix(in, []byte("\r\n")) {
		return
	}
	rest := bytes.NewReader(in)
	r := bufio.NewReader(rest)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	if req.Method != string(p.Method()) || req.RequestURI != string(p.Target()) {
		t.Errorf("net/http reads %q %q, we %q %q", req.Method, req.RequestURI, p.Method(), p.Target())
	}
	if !strings.EqualFold(req.Host, string(p.Host())) {
		t.Errorf("net/http reads host %q, we %q", req.Host, p.Host())
	}
	if p.Framing() != Chunked && req.ContentLength != max(p.ContentLength(), 0) {
		t.Errorf("net/http reads length %d, we %d", req.ContentLength, p.ContentLength())
	}
	if (p.Framing() == Chunked) != (len(req.TransferEncoding) > 0) {
		t.Errorf("net/http reads codings %q, we %v", req.TransferEncoding, p.Framing())
	}
	got, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	if !bytes.Equal(got, content) {
		t.Errorf("net/http reads content %q, we %q", got, content)
	}
	if at := len(in) - rest.Len() - r.Buffered(); at != used {
		t.Errorf("net/http ends the request at %d, we at %d", at, used)
	}
}

func TestFieldSlots(t *testing.T) {
	for id := FieldOther + 1; id < fieldIDs; id++ {
		name := fieldNames[id]
		if name == "" {
			t.Fatalf("field %d has no name", id)
		}
		for _, spelling := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
			if got := LookupField([]byte(spelling)); got != id {
				t.Errorf("%s: got id %d, want %d: two names share a slot", spelling, got, id)
			}
		}
	}
	for _, other := range []string{"x", "hosts", "connectio", "content-lengt", "content-length2", "transfer_encoding"} {
		if got := LookupField([]byte(other)); got != FieldOther {
			t.Errorf("%s: got %v", other, got)
		}
	}
}

func TestKeepUnderscores(t *testing.T) {
	var p Parser
	p.ResetRequest(Limits{KeepUnderscores: true})
	p.Feed([]byte(h + "X_A: 1\r\nX_Forwarded_For: 2\r\nx-forwarded_proto: 3\r\nAuthorization_: 4\r\n\r\n"))
	var names []string
	for _, f := range p.Fields() {
		names = append(names, string(p.Name(f)))
	}
	if got := strings.Join(names, " "); got != "Host X_A Authorization_" || p.Dropped() != 2 {
		t.Errorf("got %s, %d dropped", got, p.Dropped())
	}
}

// badValueOctet, eight octets at a time, against a loop over all.
func TestBadValueOctet(t *testing.T) {
	for at := range 20 {
		for c := range 256 {
			v := bytes.Repeat([]byte{'a'}, 20)
			v[at] = byte(c)
			want := -1
			if c < 0x20 && c != '\t' || c == 0x7f {
				want = at
			}
			if got := badValueOctet(v); got != want {
				t.Errorf("octet %#x at %d: got %d, want %d", c, at, got, want)
			}
		}
	}
}

// isNamed, eight octets at a time, against every token that is one octet off.
func TestNames(t *testing.T) {
	for id := FieldOther + 1; id < fieldIDs; id++ {
		for at := range fieldNames[id] {
			name := []byte(fieldNames[id])
			for c := range 256 {
				if name[at] = byte(c); isToken(byte(c)) && isNamed(name, id) != equalLower(name, fieldNames[id]) {
					t.Errorf("%s named %q: got %v", fieldNames[id], name, isNamed(name, id))
				}
			}
		}
		if isNamed([]byte(fieldNames[id]+"s"), id) || isNamed([]byte(fieldNames[id][1:]), id) {
			t.Errorf("%s has names of other lengths", fieldNames[id])
		}
	}
}

// lettersOf, eight octets at a time: every octet in every place.
func TestLettersOf(t *testing.T) {
	for at := range 24 {
		for c := range 256 {
			line := bytes.Repeat([]byte{'a'}, 24)
			line[at] = byte(c)
			want := at
			if lower(byte(c)) >= 'a' && lower(byte(c)) <= 'z' || c == '-' {
				want = 24
			}
			if got := lettersOf(line); got != want {
				t.Errorf("octet %#x at %d: got %d, want %d", c, at, got, want)
			}
		}
	}
}

// TestLines: lines that are copied at once are those that are copied one by one, whichever
// are left out and however they were written.
func TestLines(t *testing.T) {
	forms := []string{"A: b\r\n", "C:d\r\n", "E:  f\r\n", "G: h \r\n", "I: \r\n", "J:\r\n", "K:\tl\r\n", "M: n o\r\n", "N: q\r\n"}
	head := []byte(h + strings.Join(forms, "") + "\r\n")
	for chosen := range 1 << (1 + len(forms)) {
		var p Parser
		p.ResetRequest(Limits{})
		if _, ev, v := p.Feed(head); ev != HeadDone || v != nil {
			t.Fatal(ev, v)
		}
		got, want := []byte("x"), []byte("x")
		lines := p.Lines()
		for i, f := range p.Fields() {
			if chosen>>i&1 == 1 {
				got, want = lines.Add(got, f), AppendField(want, p.Name(f), p.Value(f))
			}
		}
		if got = lines.Flush(got); !bytes.Equal(got, want) {
			t.Fatalf("fields %b:\n got %q\nwant %q", chosen, got, want)
		}
	}
}

func TestUpgradeAndForwardable(t *testing.T) {
	for _, c := range []struct{ fields, upgrade, forwarded string }{
		{"Connection: Upgrade\r\nUpgrade: websocket\r\n", "websocket", "Host"},
		{"Connection: keep-alive, upgrade\r\nUpgrade: a/1\r\nA: b\r\n", "a/1", "Host A"},
		{"Upgrade: websocket\r\n", "", "Host"},
		{"Connection: Upgrade\r\nUpgrade: h2c\r\n", "", "Host"},
		{"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", "", "Host"},
		{"Connection: Upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n", "", "Host"},
		{"Connection: a, b\r\nConnection: C\r\nA: 1\r\nc: 2\r\nd: 3\r\nCookie: 4\r\n", "", "Host d Cookie"},
		{"Connection: cookie, host\r\nCookie: 4\r\nTE: x\r\nKeep-Alive: 5\r\n", "", "Host Cookie"},
	} {
		var p Parser
		accept(&p, []byte("GET / HTTP/1.1\r\nHost: x\r\n"+c.fields+"\r\n"))
		var names []string
		for _, f := range p.Fields() {
			if p.Forwardable(f) {
				names = append(names, string(p.Name(f)))
			}
		}
		if got := strings.Join(names, " "); got != c.forwarded || string(p.Upgrade()) != c.upgrade {
			t.Errorf("%q: forwarded %q, upgrade %q; want %q, %q", c.fields, got, p.Upgrade(), c.forwarded, c.upgrade)
		}
	}
}

var typical = []byte("GET /path/to/something?with=query HTTP/1.1\r\nHost: www.example.com\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: text/html,application/xhtml+xml\r\n" +
	"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive, X-A\r\nX-A: b\r\nCookie: session=abcdef0123456789\r\n\r\n")

var chunkedRequest = []byte(h + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n")

func TestNoAllocs(t *testing.T) {
	var p Parser
	out := make([]byte, 0, 4096)
	for _, in := range [][]byte{typical, chunkedRequest, []byte("G\x01\r\n\r\n")} {
		if n := testing.AllocsPerRun(100, func() {
			p.ResetRequest(Limits{})
			for used := 0; ; {
				n, ev, v := p.Feed(in[used:])
				used += n
				if v != nil || ev == End {
					break
				}
			}
			lines := p.Lines()
			for _, f := range p.Fields() {
				if p.Forwardable(f) {
					out = AppendField(out[:0], p.Name(f), p.Value(f))
					out = lines.Add(out, f)
				}
			}
			out = lines.Flush(out)
			p.Upgrade()
		}); n != 0 {
			t.Errorf("%.20q: %v allocations, want 0", in, n)
		}
	}
}

func BenchmarkRequestHead(b *testing.B) {
	var p Parser
	b.SetBytes(int64(len(typical)))
	for b.Loop() {
		p.ResetRequest(Limits{})
		if _, ev, v := p.Feed(typical); ev != HeadDone {
			b.Fatal(ev, v)
		}
	}
}

func TestAppendChunk(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 255, 4096, 70000} {
		data := bytes.Repeat([]byte{'x'}, n)
		want := ""
		if n > 0 {
			want = strconv.FormatInt(int64(n), 16) + "\r\n" + string(data) + "\r\n"
		}
		got := AppendChunk(nil, data)
		if string(got) != want || len(got) > n+ChunkOverhead {
			t.Errorf("%d: got %.20q...", n, got)
		}
	}
}
