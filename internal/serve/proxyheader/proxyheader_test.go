package proxyheader

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"testing"
)

var (
	four = Header{netip.MustParseAddrPort("192.0.2.7:5300"), netip.MustParseAddrPort("198.51.100.1:53")}
	six  = Header{netip.MustParseAddrPort("[2001:db8::7]:5300"), netip.MustParseAddrPort("[2001:db8::53]:53")}
)

// sample is the header for TCP over IPv4 as the specification spells it out.
var sample = []byte("\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A\x21\x11\x00\x0C\xC0\x00\x02\x07\xC6\x33\x64\x01\x14\xB4\x00\x35")

func TestHeaders(t *testing.T) {
	if got := Append(nil, four, true); !bytes.Equal(got, sample) {
		t.Errorf("got %x, want %x", got, sample)
	}
	withTLVs := append([]byte(nil), Append(nil, four, false)...)
	withTLVs[15] += 7
	withTLVs = append(withTLVs, 0x04, 0, 4, 1, 2, 3, 4)
	mapped := Append(nil, Header{netip.MustParseAddrPort("[::ffff:192.0.2.7]:5300"), netip.MustParseAddrPort("[::ffff:198.51.100.1]:53")}, true)
	for _, tt := range []struct {
		name string
		wire []byte
		want Header
	}{
		{"stream, IPv4", sample, four},
		{"datagram, IPv4", Append(nil, four, false), four},
		{"stream, IPv6", Append(nil, six, true), six},
		{"datagram, IPv6", Append(nil, six, false), six},
		{"IPv4 as IPv6", mapped, four},
		{"TLVs", withTLVs, four},
		{"LOCAL", Append(nil, Header{}, true), Header{}},
	} {
		rest := []byte("what follows")
		h, n, err := Parse(append(append([]byte(nil), tt.wire...), rest...))
		if err != nil || h != tt.want || n != len(tt.wire) {
			t.Errorf("%s: Parse: %v, %d octets, %v", tt.name, h, n, err)
		}
		r := bytes.NewReader(append(append([]byte(nil), tt.wire...), rest...))
		h, err = Read(r)
		if err != nil || h != tt.want {
			t.Errorf("%s: Read: %v, %v", tt.name, h, err)
		}
		if left, _ := io.ReadAll(r); !bytes.Equal(left, rest) {
			t.Errorf("%s: Read left %q", tt.name, left)
		}
	}
}

func TestRefused(t *testing.T) {
	change := func(at int, to byte) []byte {
		b := append([]byte(nil), sample...)
		b[at] = to
		return b
	}
	for _, tt := range []struct {
		name string
		wire []byte
		want error
	}{
		{"a DNS query", []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01"), ErrNone},
		{"version 1", []byte("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), ErrNone},
		{"another version", change(12, 0x31), ErrMalformed},
		{"another command", change(12, 0x22), ErrMalformed},
		{"no family", change(13, 0x00), ErrMalformed},
		{"UNIX socket", change(13, 0x31), ErrMalformed},
		{"too short for its family", change(13, 0x21), ErrMalformed},
		{"too long", change(14, 0xFF), ErrTooLong},
	} {
		if _, _, err := Parse(tt.wire); !errors.Is(err, tt.want) {
			t.Errorf("%s: Parse: %v, want %v", tt.name, err, tt.want)
		}
		if _, err := Read(bytes.NewReader(append(tt.wire, make([]byte, 100)...))); !errors.Is(err, tt.want) {
			t.Errorf("%s: Read: %v, want %v", tt.name, err, tt.want)
		}
	}
	for i := range sample {
		if _, _, err := Parse(sample[:i]); err == nil {
			t.Errorf("Parse of %d octets: no error", i)
		}
		if _, err := Read(bytes.NewReader(sample[:i])); err == nil {
			t.Errorf("Read of %d octets: no error", i)
		}
	}
}

func TestNoAllocs(t *testing.T) {
	datagram := Append(nil, six, false)
	if n := testing.AllocsPerRun(100, func() { Parse(datagram) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParse holds Parse and Read against each other.
func FuzzParse(f *testing.F) {
	for _, h := range []Header{four, six, {}} {
		f.Add(Append(nil, h, true))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := Parse(b)
		fromStream, streamErr := Read(bytes.NewReader(b))
		if (err == nil) != (streamErr == nil) || h != fromStream || n > len(b) {
			t.Errorf("%x: %v, %d, %v; from a stream %v, %v", b, h, n, err, fromStream, streamErr)
		}
	})
}
