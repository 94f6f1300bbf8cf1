package rdata

import (
	"encoding/hex"
	"strings"
	"testing"

	"pharos/internal/dns/dnsname"
)

// TestServiceBindingVectors runs the test vectors of RFC 9460 Appendix D.
func TestServiceBindingVectors(t *testing.T) {
	tests := []struct{ figure, text, want string }{
		{"D.1 figure 2: AliasMode", "0 foo.example.com.", "0000" + "03666f6f076578616d706c6503636f6d00"},
		{"D.2 figure 3: TargetName is .", "1 .", "0001" + "00"},
		{"D.2 figure 4: a port", "16 foo.example.com. port=53", "0010" + "03666f6f076578616d706c6503636f6d00" + "0003" + "0002" + "0035"},
		{"D.2 figure 5: a generic key and unquoted value", "1 foo.example.com. key667=hello", "0001" + "03666f6f076578616d706c6503636f6d00" + "029b" + "0005" + "68656c6c6f"},
		{"D.2 figure 6: a generic key and quoted value with an escape", `1 foo.example.com. key667="hello\210qoo"`, "0001" + "03666f6f076578616d706c6503636f6d00" + "029b" + "0009" + "68656c6c6fd2716f6f"},
		{"D.2 figure 7: two quoted IPv6 hints", `1 foo.example.com. ipv6hint="2001:db8::1,2001:db8::53:1"`, "0001" + "03666f6f076578616d706c6503636f6d00" + "0006" + "0020" + "20010db8000000000000000000000001" + "20010db8000000000000000000530001"},
		{"D.2 figure 8: an IPv6 hint with an embedded IPv4 address", `1 example.com. ipv6hint="2001:db8:122:344::192.0.2.33"`, "0001" + "076578616d706c6503636f6d00" + "0006" + "0010" + "20010db8012203440000" + "0000c0000221"},
		{"D.2 figure 9: SvcParamKey ordering is arbitrary in presentation format but sorted in wire format", "16 foo.example.org. alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1",
			"0010" + "03666f6f076578616d706c65036f726700" + "0000" + "0004" + "0001" + "0004" + "0001" + "0009" + "026832" + "0568332d3139" + "0004" + "0004" + "c0000201"},
		{"D.2 figure 10: an alpn value with an escaped comma and an escaped backslash", `16 foo.example.org. alpn="f\\\\oo\\,bar,h2"`, "0010" + "03666f6f076578616d706c65036f726700" + "0001" + "000c" + "08665c6f6f2c626172" + "026832"},
		{"D.2 figure 10: the same without quotes", `16 foo.example.org. alpn=f\\\092oo\092,bar,h2`, "0010" + "03666f6f076578616d706c65036f726700" + "0001" + "000c" + "08665c6f6f2c626172" + "026832"},
	}
	for _, rrtype := range []Type{TypeSVCB, TypeHTTPS} {
		for _, test := range tests {
			got, err := ParseText(rrtype, dnsname.Root, test.text)
			if err != nil || hex.EncodeToString(got) != test.want {
				t.Errorf("%s: ParseText(%v, %q) = %x, %v; want %s", test.figure, rrtype, test.text, got, err, test.want)
				continue
			}
			written := string(AppendText(nil, rrtype, got))
			if strings.HasPrefix(written, `\#`) {
				t.Errorf("%s: written as %s", test.figure, written)
			}
			checkReads(t, rrtype, written, got)
		}
	}
}

// TestServiceBindingFailures runs the failure cases of RFC 9460 Appendix D.3.
func TestServiceBindingFailures(t *testing.T) {
	for _, test := range []struct{ figure, text string }{
		{"figure 11: multiple instances of the same SvcParamKey", "1 foo.example.com. key123=abc key123=def"},
		{"figure 12: missing SvcParamValues that must be non-empty", "1 foo.example.com. mandatory"},
		{"figure 12", "1 foo.example.com. alpn"},
		{"figure 12", "1 foo.example.com. port"},
		{"figure 12", "1 foo.example.com. ipv4hint"},
		{"figure 12", "1 foo.example.com. ipv6hint"},
		{"figure 13: the no-default-alpn SvcParamKey value must be empty", "1 foo.example.com. no-default-alpn=abc"},
		{"figure 14: a mandatory SvcParam is missing", "1 foo.example.com. mandatory=key123"},
		{"figure 15: the mandatory SvcParamKey must not be in the mandatory list", "1 foo.example.com. mandatory=mandatory"},
		{"figure 16: multiple instances of the same SvcParamKey in the mandatory list", "1 foo.example.com. mandatory=key123,key123 key123=abc"},
		{"§2.1: a key is a-z, 0-9 and -", "1 foo.example.com. nosuchkey=x"},
		{"§2.1: port is 16 bits", "1 foo.example.com. port=65536"},
	} {
		if got, err := ParseText(TypeSVCB, dnsname.Root, test.text); err == nil {
			t.Errorf("RFC 9460 D.3 %s: %q was read as %x", test.figure, test.text, got)
		}
	}
}
