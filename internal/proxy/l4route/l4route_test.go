package l4route

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// helloOf returns the ClientHello of package tls for a configuration: the oracle.
func helloOf(t testing.TB, c *tls.Config) []byte {
	t.Helper()
	client, server := net.Pipe()
	go func() { // ends when the pipe is closed
		tls.Client(client, c).Handshake()
		client.Close()
	}()
	server.SetDeadline(time.Now().Add(time.Minute))
	head := make([]byte, recordHead)
	if _, err := io.ReadFull(server, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(server, body); err != nil {
		t.Fatal(err)
	}
	server.Close()
	return append(head, body...)
}

// fragmented returns a record as many of at most size octets (RFC 8446 §5.1).
func fragmented(record []byte, size int) (out []byte) {
	body := record[recordHead:]
	for len(body) > 0 {
		n := min(size, len(body))
		out = append(append(out, record[0], record[1], record[2], byte(n>>8), byte(n)), body[:n]...)
		body = body[n:]
	}
	return out
}

var room = make([]byte, MaxHello+maxName)

func read(b []byte) (string, Verdict) {
	name, v := ServerName(b, room)
	return string(name), v
}

// TestServerName: the name is found in whatever records it comes, and not one octet before the
// hello is whole.
func TestServerName(t *testing.T) {
	for name, tt := range map[string]struct {
		config *tls.Config
		want   string
	}{
		"a name":          {&tls.Config{ServerName: "db.example.com"}, "db.example.com"},
		"in upper case":   {&tls.Config{ServerName: "DB.Example.COM"}, "db.example.com"},
		"no name":         {&tls.Config{InsecureSkipVerify: true}, ""},
		"an address":      {&tls.Config{ServerName: "192.0.2.1"}, ""},
		"TLS 1.2":         {&tls.Config{ServerName: "old.example.com", MaxVersion: tls.VersionTLS12}, "old.example.com"},
		"with ALPN":       {&tls.Config{ServerName: "db.example.com", NextProtos: []string{"postgresql"}}, "db.example.com"},
		"the longest":     {&tls.Config{ServerName: strings.Repeat("a.", 126) + "b"}, strings.Repeat("a.", 126) + "b"},
		"post-quantum":    {&tls.Config{ServerName: "pq.example.com", CurvePreferences: []tls.CurveID{tls.X25519MLKEM768}}, "pq.example.com"},
		"with underscore": {&tls.Config{ServerName: "_db.example.com"}, "_db.example.com"},
	} {
		hello := helloOf(t, tt.config)
		for _, size := range []int{1 << 14, 100, 3, 1} {
			b := fragmented(hello, size)
			if got, v := read(append(b, "more"...)); got != tt.want || v != Hello {
				t.Errorf("%s, in records of %d: got %q, %v; want %q", name, size, got, v, tt.want)
			}
			for i := range b {
				if got, v := read(b[:i]); v != Short {
					t.Fatalf("%s, in records of %d: after %d of %d octets: %q, %v", name, size, i, len(b), got, v)
				}
			}
		}
	}
}

// hello builds a ClientHello with extensions.
func hello(extensions ...[]byte) []byte {
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, 0, 0, 2, 0x13, 0x01, 1, 0)
	joined := bytes.Join(extensions, nil)
	body = append(append(body, byte(len(joined)>>8), byte(len(joined))), joined...)
	message := append([]byte{typeClientHello, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	return append([]byte{typeHandshake, 3, 1, byte(len(message) >> 8), byte(len(message))}, message...)
}

func extension(kind byte, data string) []byte {
	return append([]byte{0, kind, byte(len(data) >> 8), byte(len(data))}, data...)
}

func nameList(names ...string) string {
	list := ""
	for _, n := range names {
		list += string([]byte{typeHostName, byte(len(n) >> 8), byte(len(n))}) + n
	}
	return string([]byte{byte(len(list) >> 8), byte(len(list))}) + list
}

// TestHostile: RFC 6066 §3, RFC 8446 §4.2: what could be read as two names, or is none, leads
// nowhere; and what is not TLS is told from it by its first octets.
func TestHostile(t *testing.T) {
	good := hello(extension(typeServerName, nameList("a.test")))
	long := hello(extension(typeServerName, nameList("a.test")))
	long[6], long[7], long[8] = 1, 0, 0
	for name, tt := range map[string]struct {
		sent string
		want Verdict
		host string
	}{
		"good":                    {string(good), Hello, "a.test"},
		"with a final dot":        {string(hello(extension(0, nameList("a.test.")))), Hello, "a.test"},
		"another extension first": {string(hello(extension(43, "\x02\x03\x04"), extension(0, nameList("a.test")))), Hello, "a.test"},
		"the extension twice":     {string(hello(extension(0, nameList("a.test")), extension(0, nameList("b.test")))), Malformed, ""},
		"two names":               {string(hello(extension(0, nameList("a.test", "b.test")))), Malformed, ""},
		"no name in the list":     {string(hello(extension(0, "\x00\x00"))), Malformed, ""},
		"an empty name":           {string(hello(extension(0, nameList("")))), Malformed, ""},
		"a dot alone":             {string(hello(extension(0, nameList(".")))), Malformed, ""},
		"NUL in the name":         {string(hello(extension(0, nameList("a.test\x00.evil")))), Malformed, ""},
		"a name of 254":           {string(hello(extension(0, nameList(strings.Repeat("a", 254))))), Malformed, ""},
		"octets behind the list":  {string(hello(extension(0, nameList("a.test")+"x"))), Malformed, ""},
		"extension cut off":       {string(hello([]byte{0, 0, 0, 9, 1})), Malformed, ""},
		"another message":         {"\x16\x03\x01\x00\x04\x02\x00\x00\x00", Malformed, ""},
		"longer than allowed":     {string(long), Malformed, ""},
		"an empty record":         {"\x16\x03\x01\x00\x00", Malformed, ""},
		"a record too long":       {"\x16\x03\x01\x40\x01\x01", Malformed, ""},
		"an alert within":         {"\x16\x03\x01\x00\x01\x01" + "\x15\x03\x01\x00\x02\x02\x00", Malformed, ""},
		"HTTP":                    {"GET / HTTP/1.1\r\n", Foreign, ""},
		"SSH":                     {"S", Foreign, ""},
		"SSL 2":                   {"\x80\x2e\x01\x03\x01", Foreign, ""},
		"nothing":                 {"", Short, ""},
		"one octet":               {"\x16", Short, ""},
	} {
		if got, v := read([]byte(tt.sent)); got != tt.host || v != tt.want {
			t.Errorf("%s: got %q, %v; want %q, %v", name, got, v, tt.host, tt.want)
		}
	}
}

// TestFind: the first rule of which all holds.
func TestFind(t *testing.T) {
	office := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	table := NewTable([]Rule{
		{Names: []string{"db.test"}, Clients: office, Pool: 0},
		{Names: []string{"db.test", "*.db.test"}, Pool: 1},
		{Clients: office, Pool: 2},
	}, 3)
	for _, tt := range []struct {
		client, name string
		want         int
	}{
		{"192.0.2.7", "db.test", 0}, {"2001:db8::7", "db.test", 0}, {"198.51.100.1", "db.test", 1}, {"198.51.100.1", "a.b.db.test", 1},
		{"192.0.2.7", "a.db.test", 1}, {"198.51.100.1", "adb.test", 3}, {"198.51.100.1", ".db.test", 3}, {"192.0.2.7", "", 2}, {"198.51.100.1", "", 3},
	} {
		client := netip.MustParseAddr(tt.client)
		if got := table.Find(client, []byte(tt.name)); got != tt.want {
			t.Errorf("%s for %q: %d, want %d", client, tt.name, got, tt.want)
		}
		if got, steps := table.Trace(client, []byte(tt.name)); got != tt.want || !steps[len(steps)-1].Found {
			t.Errorf("%s for %q is explained as %d: %v", client, tt.name, got, steps)
		}
	}
	if got := NewTable(nil, Nowhere).Find(netip.Addr{}, nil); got != Nowhere || !table.NeedsName() || NewTable(nil, 0).NeedsName() {
		t.Errorf("without rules: %d", got)
	}
}

func TestNoAllocs(t *testing.T) {
	b := helloOf(t, &tls.Config{ServerName: "a.db.test"})
	table := NewTable([]Rule{{Names: []string{"x.test", "*.db.test"}, Pool: 1}}, 0)
	client := netip.MustParseAddr("192.0.2.7")
	if n := testing.AllocsPerRun(100, func() {
		if name, v := ServerName(b, room); v != Hello || table.Find(client, name) != 1 {
			t.Fatal(v)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzServerName: whatever comes, a verdict stays what it was when more comes, but for Short;
// and a hello is read alike in one record and in many.
func FuzzServerName(f *testing.F) {
	f.Add(hello(extension(typeServerName, nameList("a.test"))))
	f.Add(fragmented(hello(extension(typeServerName, nameList("a.test"))), 5))
	f.Add(helloOf(f, &tls.Config{ServerName: "db.example.com"}))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), MaxHello)]
		name, v := read(b)
		if v != Hello && name != "" || v == Hello && name != strings.ToLower(name) {
			t.Fatalf("%v with %q", v, name)
		}
		for i := range min(len(b), 300) {
			early, was := read(b[:i])
			if was != Short && (was != v || early != name) {
				t.Fatalf("after %d octets %v %q, after %d %v %q", i, was, early, len(b), v, name)
			}
		}
		if length := recordHead; v == Hello && len(b) > recordHead {
			if length += int(b[3])<<8 | int(b[4]); length <= len(b) {
				if again, v := read(append(fragmented(b[:length], 7), b[length:]...)); v == Hello && again != name {
					t.Fatalf("%q in pieces, %q whole", again, name)
				}
			}
		}
	})
}
