package admission

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

func rules(t testing.TB, text string) []Rule {
	t.Helper()
	var out []Rule
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' }) {
		var action, prefix string
		if _, err := fmt.Sscan(line, &action, &prefix); err != nil {
			t.Fatal(err)
		}
		out = append(out, Rule{netip.MustParsePrefix(prefix), map[string]Action{"allow": Allow, "deny": Deny}[action]})
	}
	return out
}

func TestDecisions(t *testing.T) {
	tests := []struct{ list, addr, want string }{
		{"", "127.0.0.1", "deny"},
		{"allow 127.0.0.0/8, allow ::1/128", "127.255.255.255", "allow 127.0.0.0/8"},
		{"allow 127.0.0.0/8, allow ::1/128", "128.0.0.0", "deny"},
		{"allow 127.0.0.0/8, allow ::1/128", "::1", "allow ::1/128"},
		{"allow 127.0.0.0/8, allow ::1/128", "::2", "deny"},
		{"allow 127.0.0.0/8, allow ::1/128", "::", "deny"},
		// RFC 4291 §2.5.5.2: an IPv4-mapped address is the IPv4 address.
		{"allow 127.0.0.0/8", "::ffff:127.0.0.1", "allow 127.0.0.0/8"},
		{"allow ::ffff:10.0.0.0/104", "10.1.2.3", "allow 10.0.0.0/8"},
		{"allow ::/0", "10.1.2.3", "deny"},
		{"allow ::/0", "2001:db8::1", "allow ::/0"},
		// The longest prefix decides, in any order.
		{"allow 10.0.0.0/8, deny 10.9.0.0/16, allow 10.9.1.0/24", "10.9.1.7", "allow 10.9.1.0/24"},
		{"allow 10.9.1.0/24, deny 10.9.0.0/16, allow 10.0.0.0/8", "10.9.2.7", "deny 10.9.0.0/16"},
		{"allow 10.0.0.0/8, deny 10.9.0.0/16, allow 10.9.1.0/24", "10.10.0.0", "allow 10.0.0.0/8"},
		// Two prefixes that end at the same address, and at the last of all.
		{"allow 10.0.0.0/8, deny 10.255.0.0/16", "11.0.0.0", "deny"},
		{"deny 0.0.0.0/0, allow 255.255.255.255/32", "255.255.255.255", "allow 255.255.255.255/32"},
		{"allow 0.0.0.0/0, deny 255.0.0.0/8", "254.255.255.255", "allow 0.0.0.0/0"},
		{"allow ffff::/16", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "allow ffff::/16"},
		// The same prefix twice: deny wins, in any order.
		{"allow 10.0.0.0/8, deny 10.0.0.0/8", "10.0.0.1", "deny 10.0.0.0/8"},
		{"deny 10.0.0.0/8, allow 10.0.0.0/8", "10.0.0.1", "deny 10.0.0.0/8"},
		// A zone says on which link, not who.
		{"allow fe80::/10", "fe80::1%eth0", "allow fe80::/10"},
	}
	for _, tt := range tests {
		acl, err := Compile(rules(t, tt.list))
		if err != nil {
			t.Errorf("%s: %v", tt.list, err)
			continue
		}
		addr := netip.MustParseAddr(tt.addr)
		got := "deny"
		if r, ok := acl.Decide(addr); ok {
			got = r.Action.String() + " " + r.Prefix.String()
		}
		if got != tt.want {
			t.Errorf("%q for %s: got %q, want %q", tt.list, tt.addr, got, tt.want)
		}
		if got, want := acl.Allows(addr), strings.HasPrefix(tt.want, "allow"); got != want {
			t.Errorf("%q allows %s: got %v, want %v", tt.list, tt.addr, got, want)
		}
	}
}

func TestZeroACLDenies(t *testing.T) {
	var none *ACL
	for _, acl := range []*ACL{none, {}} {
		if acl.Allows(netip.MustParseAddr("127.0.0.1")) {
			t.Error("the zero ACL allows 127.0.0.1")
		}
	}
	all, err := AllowOnly([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")})
	if err != nil {
		t.Fatal(err)
	}
	if all.Allows(netip.Addr{}) {
		t.Error("the zero Addr is allowed")
	}
}

func TestRefusedPrefixes(t *testing.T) {
	for prefix, want := range map[netip.Prefix]string{
		{}:                                      "is no prefix",
		netip.MustParsePrefix("10.1.2.3/8"):     "write 10.0.0.0/8, or 10.1.2.3/32",
		netip.MustParsePrefix("2001:db8::1/32"): "write 2001:db8::/32, or 2001:db8::1/128",
	} {
		_, err := AllowOnly([]netip.Prefix{prefix})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got error %v, want one with %q", prefix, err, want)
		}
	}
}

// naive is the definition: of all prefixes that hold addr the longest, deny first.
func naive(list []Rule, addr netip.Addr) Action {
	addr = addr.Unmap()
	longest, action := -1, Deny
	for _, r := range list {
		if !r.Prefix.Contains(addr) {
			continue
		}
		if b := r.Prefix.Bits(); b > longest || b == longest && r.Action == Deny {
			longest, action = b, r.Action
		}
	}
	return action
}

// randomAddr returns an address near a few others, so that prefixes nest, and often
// at the edges of one.
func randomAddr(rnd *rand.Rand) netip.Addr {
	if rnd.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{10 * byte(rnd.IntN(3)), edge(rnd), edge(rnd), edge(rnd)})
	}
	a := [16]byte{0x20, byte(rnd.IntN(2))}
	for i := 6; i < 16; i += 3 {
		a[i] = edge(rnd)
	}
	return netip.AddrFrom16(a)
}

func edge(rnd *rand.Rand) byte { return [...]byte{0, 1, 127, 128, 254, 255}[rnd.IntN(6)] }

func randomRules(rnd *rand.Rand, n int) []Rule {
	list := make([]Rule, n)
	for i := range list {
		addr := randomAddr(rnd)
		prefix, err := addr.Prefix(rnd.IntN(addr.BitLen() + 1))
		if err != nil {
			panic(err)
		}
		list[i] = Rule{prefix, Action(rnd.IntN(2))}
	}
	return list
}

func TestAgainstNaive(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 400 {
		list := randomRules(rnd, rnd.IntN(60))
		acl, err := Compile(list)
		if err != nil {
			t.Fatal(err)
		}
		var probes []netip.Addr
		for _, r := range list { // the edges of every prefix, and just outside
			first, last := r.Prefix.Addr(), last(r.Prefix)
			probes = append(probes, first, last, first.Prev(), last.Next())
		}
		for range 100 {
			probes = append(probes, randomAddr(rnd))
		}
		for _, addr := range probes {
			if !addr.IsValid() {
				continue
			}
			if got, want := acl.Allows(addr), naive(list, addr) == Allow; got != want {
				t.Fatalf("round %d: %v allowed: got %v, want %v; list %v", round, addr, got, want, list)
			}
		}
	}
}

func TestNoAllocs(t *testing.T) {
	acl, err := Compile(randomRules(rand.New(rand.NewPCG(3, 4)), 1000))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"10.1.127.255", "::ffff:10.1.127.255", "2001::7f"} {
		addr := netip.MustParseAddr(text)
		if n := testing.AllocsPerRun(100, func() { acl.Allows(addr) }); n != 0 {
			t.Errorf("Allows(%v) allocates %v times", addr, n)
		}
	}
}

// BenchmarkAllows looks up random addresses in a list of 1,000 prefixes.
func BenchmarkAllows(b *testing.B) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for _, family := range []string{"IPv4", "IPv6"} {
		b.Run(family, func(b *testing.B) {
			var list []Rule
			var addrs [1024]netip.Addr
			random := func() netip.Addr {
				var a [16]byte
				for i := range a {
					a[i] = byte(rnd.Uint32())
				}
				if family == "IPv4" {
					return netip.AddrFrom4([4]byte(a[:4]))
				}
				return netip.AddrFrom16(a)
			}
			for range 1000 {
				p, err := random().Prefix(8 + rnd.IntN(17))
				if err != nil {
					b.Fatal(err)
				}
				list = append(list, Rule{p, Allow})
			}
			for i := range addrs {
				addrs[i] = random()
			}
			acl, err := Compile(list)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				acl.Allows(addrs[i%len(addrs)])
			}
		})
	}
}

// TestReach: every address that shares so many bits is decided by the same rule, and
// with one bit less some is not.
func TestReach(t *testing.T) {
	acl, err := Compile([]Rule{
		{netip.MustParsePrefix("10.0.0.0/8"), Allow}, {netip.MustParsePrefix("10.9.0.0/16"), Deny},
		{netip.MustParsePrefix("192.0.2.1/32"), Allow}, {netip.MustParsePrefix("2001:db8::/32"), Allow},
	})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]int{
		"10.9.1.1": 16, "10.8.1.1": 16, "10.128.0.1": 9, "11.0.0.1": 8, "128.0.0.1": 2, "192.0.2.1": 32, "192.0.2.0": 32, "192.0.2.2": 31, "192.0.3.1": 24,
		"2001:db8:1::": 32, "2001:db9::": 32, "3000::": 4, "::1": 3, "::ffff:10.9.1.1": 16,
	} {
		if got := acl.Reach(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %d bits, want %d", addr, got, want)
		}
	}
	if got := (*ACL)(nil).Reach(netip.MustParseAddr("10.0.0.1")); got != 0 {
		t.Errorf("no list: %d bits", got)
	}
}
