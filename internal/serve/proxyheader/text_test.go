package proxyheader

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
)

// TestText: "The PROXY protocol" §2.1, and that what follows is left alone.
func TestText(t *testing.T) {
	const rest = "GET / HTTP/1.1\r\n"
	for line, want := range map[string]Header{
		"PROXY TCP4 192.0.2.7 198.51.100.1 5300 53\r\n":   four,
		"PROXY TCP6 2001:db8::7 2001:db8::53 5300 53\r\n": six,
		"PROXY UNKNOWN\r\n":                             {},
		"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n": {},
		string(sample):                                  four,
	} {
		r := strings.NewReader(line + rest)
		got, err := ReadAny(r)
		if err != nil || got != want {
			t.Errorf("%q: got %v, %v", line, got, err)
		}
		if left, _ := io.ReadAll(r); string(left) != rest {
			t.Errorf("%q: left %q", line, left)
		}
	}
	for _, h := range []Header{four, six} {
		if got, err := ReadAny(bytes.NewReader(AppendText(nil, h))); err != nil || got != h {
			t.Errorf("there and back: got %v, %v, want %v", got, err, h)
		}
	}
	if got := string(AppendText(nil, Header{Client: four.Client, Local: six.Local})); got != "PROXY UNKNOWN\r\n" {
		t.Errorf("two families: got %q", got)
	}
}

// TestTextRefused: whoever may send the line says all of it, in the one way there is.
func TestTextRefused(t *testing.T) {
	for line, want := range map[string]error{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n":                                          ErrNone,
		"proxy TCP4 192.0.2.7 198.51.100.1 5300 53\r\n":                              ErrNone,
		"PROXY TCP4 192.0.2.7 198.51.100.1 5300\r\n":                                 ErrMalformed,
		"PROXY TCP4 192.0.2.7 198.51.100.1 5300 53 7\r\n":                            ErrMalformed,
		"PROXY TCP4  192.0.2.7 198.51.100.1 5300 53\r\n":                             ErrMalformed,
		"PROXY TCP4 2001:db8::7 198.51.100.1 5300 53\r\n":                            ErrMalformed,
		"PROXY TCP6 192.0.2.7 198.51.100.1 5300 53\r\n":                              ErrMalformed,
		"PROXY TCP6 fe80::1%eth0 2001:db8::53 5300 53\r\n":                           ErrMalformed,
		"PROXY TCP4 192.0.2.7 198.51.100.1 65536 53\r\n":                             ErrMalformed,
		"PROXY TCP4 192.0.2.7 198.51.100.1 053 53\r\n":                               ErrMalformed,
		"PROXY TCP4 192.0.2.7 198.51.100.1 +53 53\r\n":                               ErrMalformed,
		"PROXY UDP4 192.0.2.7 198.51.100.1 5300 53\r\n":                              ErrMalformed,
		"PROXY UNKNOWNS\r\n":                                                         ErrMalformed,
		"PROXY TCP4 192.0.2.7 198.51.100.1 5300 53\n" + strings.Repeat("x", maxText): ErrMalformed,
		"PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n":                            ErrMalformed,
	} {
		if _, err := ReadAny(strings.NewReader(line)); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", line, err, want)
		}
	}
	line := AppendText(nil, six)
	for i := range line {
		if _, err := ReadAny(bytes.NewReader(line[:i])); err == nil {
			t.Errorf("%d octets: no error", i)
		}
	}
}

// FuzzReadAny: what is read is what would be written, whatever stood there; and of a
// line no octet behind its end is taken.
func FuzzReadAny(f *testing.F) {
	f.Add(AppendText(nil, four))
	f.Add(AppendText(nil, six))
	f.Add(append(sample, "rest"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		h, err := ReadAny(r)
		if err != nil || !strings.HasPrefix(string(b), textStart) {
			return
		}
		if at := bytes.Index(b, []byte("\r\n")); len(b)-r.Len() != at+2 {
			t.Errorf("%q: %d octets were read", b, len(b)-r.Len())
		}
		if h.Client == (netip.AddrPort{}) {
			return
		}
		if again, err := ReadAny(bytes.NewReader(AppendText(nil, h))); h.Client.Addr().Is4() == h.Local.Addr().Is4() && (err != nil || again != h) {
			t.Errorf("%q: %v, again %v, %v", b, h, again, err)
		}
	})
}
