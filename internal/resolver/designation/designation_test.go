package designation

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// records are the SVCB records of Name with texts.
func records(t testing.TB, texts ...string) (all []rdata.Record) {
	t.Helper()
	for _, text := range texts {
		data, err := rdata.ParseText(rdata.TypeSVCB, dnsname.Root, text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		all = append(all, rdata.Record{Name: Name, Type: rdata.TypeSVCB, Class: rdata.ClassIN, TTL: 300, Data: data})
	}
	return all
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		text, want, left string // want: services as Over:Port path hints
	}{
		{"1 dns.example. alpn=dot", "DoT:853", ""},
		{"1 dns.example. alpn=doq port=8853 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1", "DoQ:8853 192.0.2.1 192.0.2.2 2001:db8::1", ""},
		{"1 dns.example. alpn=h2,h3 key7=/dns-query{?dns}", "DoH:443 /dns-query", ""},
		{"1 dns.example. alpn=h2,dot", "DoT:853", "dohpath"},
		{"1 dns.example. alpn=h2 key7=/q", "", "dohpath"},
		{"1 dns.example. alpn=h2 key7=/q{?other}", "", "dohpath"},
		{"1 dns.example. alpn=h2 key7=https://elsewhere.example/q{?dns}", "", "dohpath"},
		{"1 dns.example. alpn=h2 key7=/a{b}{?dns}", "", "dohpath"},
		{"1 dns.example. alpn=h3 key7=/q{?dns}", "", ""},
		{"1 dns.example. alpn=h2 key7=/" + strings.Repeat("x", 250) + "{?dns}", "DoH:443 /" + strings.Repeat("x", 250), ""},
		{"1 dns.example. alpn=h2 key7=/" + strings.Repeat("x", 256) + "{?dns}", "", "dohpath"},
		{"1 dns.example. port=853", "", "alpn"},
		{"1 dns.example. alpn=dot port=0", "", "port 0"},
		{"1 . alpn=dot", "", "names no resolver"},
		{"1 dns.example. mandatory=alpn,port alpn=dot port=9", "DoT:9", ""},
		{"1 dns.example. mandatory=key999 alpn=dot key999=x", "", "not understood"},
		{"1 dns.example. alpn=dot key999=x", "DoT:853", ""},
		{"1 dns.example. alpn=dot,dot,gopher", "DoT:853", ""},
	} {
		r := Read(Name, records(t, c.text))
		var got []string
		for _, s := range r.Services {
			text := fmt.Sprintf("%v:%d", s.Over, s.Port)
			if s.Path != "" {
				text += " " + s.Path
			}
			for _, h := range s.Hints {
				text += " " + h.String()
			}
			got = append(got, text)
		}
		if strings.Join(got, "; ") != c.want || c.left == "" != (r.Left == "") || !strings.Contains(r.Left, c.left) {
			t.Errorf("%s: got %q, left out: %q; want %q, left out: %q", c.text, got, r.Left, c.want, c.left)
		}
	}
}

// What is of another name or type is not looked at; order is by priority; the lowest TTL
// counts, within limits; aliases count only without services; of too much a part is read.
func TestReadMany(t *testing.T) {
	list := records(t, "2 b.example. alpn=dot", "1 a.example. alpn=dot", "0 alias.example.", "1 evil.example. alpn=dot")
	list[3].Name = dnsname.MustParse("_dns.elsewhere.example")
	list[1].TTL = 5
	list = append(list, rdata.Record{Name: Name, Type: rdata.TypeA, Data: []byte{1, 2, 3, 4}})
	r := Read(Name, list)
	if len(r.Services) != 2 || r.Services[0].Target.String() != "a.example." || !r.Alias.IsZero() || r.TTL != MinTTL {
		t.Errorf("got %+v", r)
	}
	if r := Read(Name, list[2:3]); r.Alias.String() != "alias.example." || r.TTL != 300*time.Second {
		t.Errorf("got %+v, want the alias", r)
	}
	var many []rdata.Record
	for i := range 100 {
		many = append(many, records(t, fmt.Sprintf("%d dns.example. alpn=dot port=%d", 100-i, 1000+i))...)
	}
	if r := Read(Name, many); len(r.Services) != maxServices || r.Left == "" {
		t.Errorf("got %d services, want %d and why", len(r.Services), maxServices)
	}
	broken := records(t, "1 dns.example. alpn=dot")
	broken[0].Data = broken[0].Data[:len(broken[0].Data)-1]
	if r := Read(Name, broken); len(r.Services) != 0 || r.Left != "a record is malformed" {
		t.Errorf("got %+v", r)
	}
}

// Who may lead where, and where a certificate for the address is not needed.
func TestCandidates(t *testing.T) {
	for _, c := range []struct {
		server, alpn, addr string
		used, local        bool
	}{
		{"192.0.2.1", "dot", "192.0.2.1", true, false},
		{"192.0.2.1", "dot", "198.51.100.1", true, false},
		{"192.0.2.1", "dot", "10.0.0.1", false, false},
		{"192.0.2.1", "dot", "127.0.0.1", false, false},
		{"192.0.2.1", "dot", "169.254.169.254", false, false},
		{"192.0.2.1", "dot", "0.0.0.0", false, false},
		{"192.0.2.1", "dot", "224.0.0.1", false, false},
		{"192.0.2.1", "dot", "255.255.255.255", false, false},
		{"2001:db8::1", "dot", "::1", false, false},
		{"2001:db8::1", "dot", "::ffff:127.0.0.1", false, false},
		{"10.0.0.1", "dot", "10.0.0.1", true, true},
		{"10.0.0.1", "doq", "10.0.0.1", true, true},
		{"::ffff:10.0.0.1", "doq", "10.0.0.1", true, true},
		{"10.0.0.1", "h2 key7=/q{?dns}", "10.0.0.1", true, false},
		{"10.0.0.1", "dot", "10.0.0.2", true, false},
		{"10.0.0.1", "dot", "127.0.0.1", false, false},
		{"10.0.0.1", "dot", "198.51.100.1", true, false},
		{"127.0.0.1", "dot", "127.0.0.1", true, true},
		{"fe80::1%eth0", "dot", "fe80::1", true, true},
	} {
		addr := netip.MustParseAddr(c.addr)
		r := Read(Name, records(t, "1 dns.example. alpn="+c.alpn))
		all, left := Candidates(netip.MustParseAddr(c.server), r.Services, func(dnsname.Name) []netip.Addr { return []netip.Addr{addr} })
		if len(all) == 1 != c.used || c.used == (left != "") || c.used && all[0].Local != c.local {
			t.Errorf("%+v: got %+v, left out: %q", c, all, left)
		}
	}
	var many []netip.Addr
	for i := range 50 {
		many = append(many, netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}))
	}
	r := Read(Name, records(t, "1 a.example. alpn=dot,doq", "1 b.example. alpn=dot port=9"))
	all, _ := Candidates(netip.MustParseAddr("192.0.2.1"), r.Services, func(dnsname.Name) []netip.Addr { return many })
	if len(all) != maxCandidates {
		t.Errorf("got %d candidates, want %d", len(all), maxCandidates)
	}
}

func FuzzRead(f *testing.F) {
	for _, r := range records(f, "1 dns.example. alpn=h2,dot port=9 ipv4hint=192.0.2.1 key7=/q{?dns}", "0 alias.example.") {
		f.Add(r.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := Read(Name, []rdata.Record{{Name: Name, Type: rdata.TypeSVCB, Data: data}})
		for _, s := range r.Services {
			if s.Port == 0 || s.Priority == 0 || s.Target.IsZero() || len(s.Hints) > maxHints || strings.ContainsAny(s.Path, "{}?# \x00") {
				t.Errorf("got %+v", s)
			}
		}
		if !slices.IsSortedFunc(r.Services, func(a, b Designation) int { return int(a.Priority) - int(b.Priority) }) || r.TTL < MinTTL || r.TTL > MaxTTL {
			t.Errorf("got %+v", r)
		}
	})
}
