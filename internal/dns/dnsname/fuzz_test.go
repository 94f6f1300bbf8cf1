package dnsname

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzParse: no text crashes the reader; what it accepts is a name in lower case
// within the limits, and its text reads back as the same name.
func FuzzParse(f *testing.F) {
	for _, text := range []string{".", "www.Example.com.", `a\.b\000\255.c`, `\\\"\@`, "a..b", `a\25`, strings.Repeat("a.", 128), strings.Repeat("a", 64)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := Parse(text)
		if err != nil {
			if !n.IsZero() {
				t.Errorf("Parse(%q) = %v with the error %v", text, n, err)
			}
			return
		}
		checkName(t, n)
		if origin := MustParse("example."); !strings.HasSuffix(text, ".") && text != "@" {
			in, err := ParseIn(text, origin)
			if err == nil && !in.IsSubdomainOf(origin) {
				t.Errorf("ParseIn(%q) = %v is not below the origin", text, in)
			}
		}
	})
}

// FuzzFromWire: no octets crash the decoder; what it accepts is a name, and its
// wire form reads back as the same name.
func FuzzFromWire(f *testing.F) {
	for _, wire := range []string{"\x00", "\x03www\x07Example\x03com\x00", "\x01a\xC0\x00", "\x3f", "\x40", "", strings.Repeat("\x01a", 127) + "\x00"} {
		f.Add([]byte(wire))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		n, length, err := FromWire(wire)
		if err != nil {
			return
		}
		lower := bytes.Clone(wire[:length])
		Lower(lower)
		if n.Wire() != string(lower) {
			t.Errorf("FromWire(%x) = %q, %d octets", wire, n.Wire(), length)
		}
		checkName(t, n)
	})
}

func checkName(t *testing.T, n Name) {
	t.Helper()
	if n.Len() > MaxLen || n.Len() < 1 || n.Labels() > MaxLabels {
		t.Errorf("%q is beyond the limits", n.Wire())
	}
	for a := n; !a.IsZero(); a = a.Parent() {
		if len(a.Label()) > MaxLabelLen || !n.IsSubdomainOf(a) {
			t.Errorf("%q has a bad label or ancestor %q", n.Wire(), a.Wire())
		}
		for _, c := range []byte(a.Label()) {
			if 'A' <= c && c <= 'Z' {
				t.Errorf("%q is not in lower case", n.Wire())
			}
		}
	}
	if back, err := Parse(n.String()); err != nil || back != n {
		t.Errorf("%q is written %s, which reads as %v, %v", n.Wire(), n, back, err)
	}
	if back, length, err := FromWire([]byte(n.Wire())); err != nil || back != n || length != n.Len() {
		t.Errorf("%q reads back from the wire as %v, %d, %v", n.Wire(), back, length, err)
	}
}
