package iterate

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// tailor answers for the network that it is told of, with a scope; without one for
// all. Its answer's address says for which network it is.
func tailor(scope int) responder {
	return func(q *dnswire.Message, _ bool) [][]byte {
		m := replyTo(q)
		address := netip.MustParseAddr("203.0.113.1")
		if option, ok := q.EDNS.Find(dnswire.OptionSubnet); ok {
			subnet, good := dnswire.ParseSubnet(option)
			if !good {
				m.Rcode = dnswire.RcodeFormErr
				return wire(m)
			}
			if subnet.IsSet() && scope > 0 {
				address = subnet.Prefix.Addr()
			}
			reply := append([]byte(nil), option...)
			reply[3] = byte(scope)
			m.EDNS = dnswire.EDNS{Present: true, UDPSize: 1232, Options: dnswire.AppendOption(nil, dnswire.OptionSubnet, reply)}
		}
		m.Answer = []rdata.Record{addressRecord(q.Question.Name, address, 300)}
		return wire(m)
	}
}

// tailored is the world of example, in which networks are told to servers of
// example.com.
func tailored(t *testing.T, serve responder) *world {
	w := example(t)
	w.config = func(c *Config) {
		c.Subnets = Subnets{Zones: []dnsname.Name{dnsname.MustParse("example.com.")}, Bits4: 24, Bits6: 56}
	}
	w.restart(Limits{})
	w.servers["192.0.2.3"] = serve
	return w
}

// resolveNear asks for the address of a name on behalf of a client.
func (w *world) resolveNear(name, near string) Answer {
	w.tokens++
	a := Ask{Token: w.tokens, Name: dnsname.MustParse(name), Type: rdata.TypeA}
	if near != "" {
		a.Near = netip.MustParseAddr(near)
	}
	w.step(a)
	w.run()
	return w.answers[w.tokens]
}

func addressIn(a Answer) string {
	if len(a.Answer) == 0 {
		return a.Rcode.String()
	}
	addr, _ := netip.AddrFromSlice(a.Answer[len(a.Answer)-1].Data)
	return addr.String()
}

// told returns the networks that servers were told of since the last call.
func (w *world) told() (all []string) {
	for _, s := range w.sent {
		m, err := dnswire.ParseMessage(s.Msg)
		if err != nil {
			w.t.Fatal(err)
		}
		if option, ok := m.EDNS.Find(dnswire.OptionSubnet); ok {
			subnet, _ := dnswire.ParseSubnet(option)
			all = append(all, m.Question.Name.String()+" "+subnet.Prefix.String())
		}
	}
	w.sent = nil
	return all
}

// RFC 7871 §7.3.1: an answer is given to clients of its network only, and kept for
// these; no more of an address is told than is configured, and of private ones nothing.
func TestSubnets(t *testing.T) {
	w := tailored(t, tailor(24))
	for _, step := range []struct{ near, want, told string }{
		{"198.51.100.7", "198.51.100.0", "[www.example.com. 198.51.100.0/24]"},
		{"198.51.100.99", "198.51.100.0", "[]"},
		{"192.0.2.77", "192.0.2.0", "[www.example.com. 192.0.2.0/24]"},
		{"", "203.0.113.1", "[www.example.com. 0.0.0.0/0]"},
		{"10.1.2.3", "203.0.113.1", "[]"}, // nobody's, too
		{"198.51.100.7", "198.51.100.0", "[]"},
		{"::ffff:192.0.2.1", "192.0.2.0", "[]"},
	} {
		w.sent = nil
		if got := addressIn(w.resolveNear("www.example.com.", step.near)); got != step.want {
			t.Errorf("client %q: got %s, want %s", step.near, got, step.want)
		}
		if got := fmt.Sprint(w.told()); got != step.told {
			t.Errorf("client %q: told %s, want %s", step.near, got, step.told)
		}
	}
	if a := w.resolveNear("www.example.com.", "198.51.100.7"); a.Scope != 24 {
		t.Errorf("scope %d, want 24", a.Scope)
	}
	if w.cache.Get(w.now, dnsname.MustParse("www.example.com."), rdata.TypeA) != nil {
		t.Error("an answer for one network is in the cache for all")
	}
	w.pass(100 * time.Second)
	if a := w.resolveNear("www.example.com.", "192.0.2.1"); a.Answer[0].TTL != 200 {
		t.Errorf("TTL %d after 100 s, want 200", a.Answer[0].TTL)
	}
	w.cache.Flush(rrcache.Selection{Name: dnsname.MustParse("www.example.com.")})
	w.sent = nil
	if w.resolveNear("www.example.com.", "192.0.2.1"); len(w.told()) != 1 {
		t.Error("an answer is given after the cache was told to forget it")
	}
	w.pass(301 * time.Second)
	w.sent = nil
	if w.resolveNear("www.example.com.", "192.0.2.1"); len(w.told()) != 1 {
		t.Error("an answer is given after its time")
	}
}

// §7.3.1: scope 0 is for all; a shorter scope is for more clients, a longer one than
// was told means what was told.
func TestScopes(t *testing.T) {
	for _, test := range []struct {
		scope  int
		second string // answered from what the first brought
		third  string // not answered from it
	}{
		{0, "192.0.2.1", ""}, {16, "198.51.7.7", "198.52.1.1"}, {24, "198.51.100.200", "198.51.101.1"}, {32, "198.51.100.200", "198.51.101.1"},
	} {
		w := tailored(t, tailor(test.scope))
		w.resolveNear("www.example.com.", "198.51.100.1")
		w.sent = nil
		if w.resolveNear("www.example.com.", test.second); len(w.told()) != 0 {
			t.Errorf("scope %d: asked again for %s", test.scope, test.second)
		}
		if test.third == "" {
			continue
		}
		if w.resolveNear("www.example.com.", test.third); len(w.told()) != 1 {
			t.Errorf("scope %d: not asked for %s", test.scope, test.third)
		}
	}
}

// Nobody else is told: not the servers of other zones, nor encrypted ones, nor for
// types that do not depend on it.
func TestOthersAreNotTold(t *testing.T) {
	w := tailored(t, tailor(24))
	w.resolveNear("www.example.net.", "198.51.100.1")
	w.resolveNear("www.example.com.", "198.51.100.1")
	if got := fmt.Sprint(w.told()); got != "[www.example.com. 198.51.100.0/24]" {
		t.Errorf("told %s; want no server above or beside the zone's own", got)
	}
	for _, told := range []bool{false, true} {
		w := example(t)
		w.config = func(c *Config) {
			c.Routes = []Route{encrypted(DoT, "192.0.2.53")}
			c.Subnets = Subnets{Zones: []dnsname.Name{dnsname.Root}, Bits4: 24, Encrypted: told}
		}
		w.restart(Limits{})
		w.servers["192.0.2.53"] = recursor("www.example.com. 300 A 203.0.113.1")
		w.resolveNear("www.example.com.", "198.51.100.1")
		if got := len(w.told()) > 0; got != told {
			t.Errorf("an encrypted server is told: %v, want %v", got, told)
		}
	}
}

// A reply for another network than was asked for is none (§7.3); a server that
// cannot bear the option is asked without.
func TestBadScopes(t *testing.T) {
	for what, change := range map[string]func(option []byte) []byte{
		"another network": func(o []byte) []byte { o[4]++; return o },
		"another length":  func(o []byte) []byte { o[2] = 16; return o[:6] },
		"another family":  func(o []byte) []byte { o[1] = 2; return o },
		"nothing":         func(o []byte) []byte { return nil },
	} {
		w := tailored(t, func(q *dnswire.Message, tcp bool) [][]byte {
			m, err := dnswire.ParseMessage(tailor(24)(q, tcp)[0])
			if err != nil {
				panic(err)
			}
			option, _ := m.EDNS.Find(dnswire.OptionSubnet)
			m.EDNS.Options = dnswire.AppendOption(nil, dnswire.OptionSubnet, change(append([]byte(nil), option...)))
			return wire(m)
		})
		if a := w.resolveNear("www.example.com.", "198.51.100.1"); a.Rcode != dnswire.RcodeServFail {
			t.Errorf("%s: got %v", what, addressIn(a))
		}
	}
	w := tailored(t, func(q *dnswire.Message, tcp bool) [][]byte {
		if _, told := q.EDNS.Find(dnswire.OptionSubnet); told {
			m := replyTo(q)
			m.Rcode, m.EDNS = dnswire.RcodeFormErr, dnswire.EDNS{Present: true, UDPSize: 1232}
			return wire(m)
		}
		return tailor(0)(q, tcp)
	})
	if got := addressIn(w.resolveNear("www.example.com.", "198.51.100.1")); got != "203.0.113.1" {
		t.Errorf("a server without the option: got %s", got)
	}
}

// RebirthDay (CVE-2025-5994): questions for one name on behalf of many networks are
// not under way over UDP side by side, as each would be one more chance to forge a
// reply; all but one go over TCP.
func TestRebirthDay(t *testing.T) {
	w := tailored(t, tailor(24))
	w.resolveNear("warm.example.com.", "198.51.100.1") // the way is known
	w.sent, w.latency = nil, time.Second
	for i := range 20 {
		w.tokens++
		w.step(Ask{Token: w.tokens, Name: dnsname.MustParse("www.example.com."), Type: rdata.TypeA, Near: netip.AddrFrom4([4]byte{198, 51, byte(i), 1})})
	}
	udp := 0
	for _, s := range w.sent {
		if !s.TCP {
			udp++
		}
	}
	if udp != 1 || len(w.sent) != 20 {
		t.Errorf("%d of %d queries over UDP, want 1 of 20", udp, len(w.sent))
	}
	w.run()
	if len(w.r.subnets.asking) != 0 {
		t.Errorf("still counted: %v", w.r.subnets.asking)
	}
}

// The memory is bounded.
func TestScopedLimit(t *testing.T) {
	w := tailored(t, tailor(24))
	w.r.divideMemory(1 << 20)
	for i := range 1000 {
		q := question{name: dnsname.MustParse(fmt.Sprintf("n%d.example.com.", i)), t: rdata.TypeA}
		w.r.now = w.now
		w.r.keepScoped(q, result{final: true, near: netip.MustParsePrefix("198.51.100.0/24"), records: []rdata.Record{addressRecord(q.name, netip.MustParseAddr("203.0.113.1"), 300)}})
		if n := w.r.subnets.known.len(); w.r.subnets.bits[24] != n {
			t.Fatalf("%d answers, counted as %d", n, w.r.subnets.bits[24])
		}
	}
	w.r.check()
	if n := w.r.subnets.known.len(); n < 50 || n == 1000 {
		t.Errorf("%d answers of 1000 are kept, want some", n)
	}
}
