package stubconf

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pharos/internal/admin/config"
)

func TestParse(t *testing.T) {
	got := Parse([]byte("# written by somebody\nsearch old.example\nnameserver 192.0.2.1 # the first\n;nameserver 192.0.2.9\nnameserver nonsense\nnameserver [192.0.2.8]:5353\nnameserver [192.0.2.8]:0\n" +
		"nameserver 2001:db8::1\nnameserver 192.0.2.1\nnameserver\nsearch corp.example lan\noptions ndots:5 timeout:1\noptions edns0\nsortlist 10.0.0.0\n"))
	if fmt.Sprint(got) != "{[192.0.2.1:53 192.0.2.8:5353 [2001:db8::1]:53] [corp.example lan] [ndots:5 timeout:1 edns0]}" {
		t.Errorf("got %v", got)
	}
	if got := Parse([]byte(strings.Repeat("nameserver 192.0.2.1\n", 3) + strings.Repeat("x", 1<<17))); len(got.Servers) != 1 {
		t.Errorf("a line without end: %v", got)
	}
}

func TestParseUpstream(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1":                          "{192.0.2.1:53   }",
		"192.0.2.1:5353":                     "{192.0.2.1:5353   }",
		"2001:db8::1":                        "{[2001:db8::1]:53   }",
		"tls://192.0.2.1#dns.example":        "{192.0.2.1:853 dot dns.example }",
		"tls://[2001:db8::1]:8853#a.example": "{[2001:db8::1]:8853 dot a.example }",
		"quic://192.0.2.1#dns.example":       "{192.0.2.1:853 doq dns.example }",
		"https://192.0.2.1#dns.example":      "{192.0.2.1:443 doh dns.example /dns-query}",
		"https://192.0.2.1/q#dns.example":    "{192.0.2.1:443 doh dns.example /q}",
	} {
		if got, err := ParseUpstream(text); fmt.Sprint(got) != want || err != nil {
			t.Errorf("%s: got %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "dns.example", "tls://192.0.2.1", "tls://dns.example#dns.example", "http://192.0.2.1#x", "tls://192.0.2.1/path#x", "https://192.0.2.1/p?q#x", "tls://192.0.2.1#a..b"} {
		if got, err := ParseUpstream(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
}

func base() Settings {
	return Settings{
		Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.55:53")}, Admin: netip.MustParseAddrPort("127.0.0.1:8053"),
		Data: "/var/lib/stub", CacheSize: "16MiB", File: "/etc/resolv.conf", Hosts: "/etc/hosts",
		Resolv: Parse([]byte("nameserver 127.0.0.55\nnameserver 192.0.2.1\nsearch corp.example\n")),
	}
}

// The text is a configuration that a node takes, and says what was asked for.
func TestConfig(t *testing.T) {
	s := base()
	split, err := ParseSplit("corp.example=10.0.0.53,10.0.0.54:5353")
	if err != nil {
		t.Fatal(err)
	}
	s.Splits = append(s.Splits, split)
	for _, encrypted := range []bool{false, true} {
		if encrypted {
			u, err := ParseUpstream("https://192.0.2.5#dns.example")
			if err != nil {
				t.Fatal(err)
			}
			s.Upstreams = []Upstream{u}
		}
		text, err := s.Config()
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse("stub.yaml", []byte(text))
		if err != nil {
			t.Fatalf("%v in:\n%s", err, text)
		}
		r := c.Resolver
		if len(r.Routes) != 2 || r.Routes[0].Zone.String() != "corp.example." || len(r.Routes[0].Servers) != 2 || r.Routes[1].Zone.String() != "." || r.Validate {
			t.Errorf("%+v", r.Routes)
		}
		if encrypted && (len(r.Routes[1].Servers) > 0 || r.Routes[1].Encrypted[0].TLS.Name != "dns.example") {
			t.Errorf("%+v", r.Routes[1])
		}
		if !encrypted && (len(r.Routes[1].Servers) != 1 || r.Routes[1].Servers[0] != netip.MustParseAddrPort("192.0.2.1:53") || !strings.Contains(text, "127.0.0.55 of /etc/resolv.conf is this stub itself")) {
			t.Errorf("%+v in\n%s", r.Routes[1], text)
		}
		if len(r.LocalData.Hosts) != 1 || r.LocalData.Hosts[0] != "/etc/hosts" {
			t.Errorf("%+v", r.LocalData)
		}
	}
}

// What would lead back to the stub is refused, in each of its disguises.
func TestLoops(t *testing.T) {
	for _, test := range []struct{ listen, resolv, upstream, split string }{
		{"127.0.0.55:53", "127.0.0.55", "", ""},
		{"127.0.0.1:53", "0.0.0.0", "", ""},
		{"0.0.0.0:53", "127.0.0.1", "", ""},
		{"127.0.0.1:53", "::ffff:127.0.0.1", "", ""},
		{"127.0.0.1:5353", "192.0.2.1", "127.0.0.1:5353", ""},
		{"127.0.0.1:53", "192.0.2.1", "", "corp.example=127.0.0.1"},
	} {
		s := base()
		s.Listen = []netip.AddrPort{netip.MustParseAddrPort(test.listen)}
		s.Resolv = Parse([]byte("nameserver " + test.resolv + "\n"))
		if test.upstream != "" {
			u, err := ParseUpstream(test.upstream)
			if err != nil {
				t.Fatal(err)
			}
			s.Upstreams = []Upstream{u}
		}
		if test.split != "" {
			split, err := ParseSplit(test.split)
			if err != nil {
				t.Fatal(err)
			}
			s.Splits = []Split{split}
		}
		if text, err := s.Config(); !errors.Is(err, ErrLoop) {
			t.Errorf("%+v: %v\n%s", test, err, text)
		}
	}
}

// Others write resolv.conf: nothing in it gets out of its place.
func FuzzConfig(f *testing.F) {
	f.Add([]byte("nameserver 192.0.2.1\nsearch corp.example\noptions ndots:5\n"))
	f.Add([]byte("nameserver fe80::1%eth0\nsearch x\x85y: {}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := base()
		s.Resolv = Parse(text)
		made, err := s.Config()
		if err != nil {
			return
		}
		if c, err := config.Parse("stub.yaml", []byte(made)); err != nil || len(c.Resolver.Routes) != 1 || len(c.Listen.DNS) != 1 {
			t.Errorf("%q made\n%s: %v", text, made, err)
		}
	})
}
