package iterate

import (
	"bytes"
	"strings"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// minimising is the world of example with a resolver that minimises.
func minimising(t *testing.T, lines ...string) *world {
	w := example(t, lines...)
	w.config = func(c *Config) { c.Minimise = true }
	w.restart(Limits{})
	return w
}

// RFC 9156 §2: each server sees one label more than its zone has, with a type that
// gives nothing away; the last one sees the question.
func TestMinimise(t *testing.T) {
	w := minimising(t, "a.b.c.example.com. 300 TXT deep")
	w.want(w.resolve("a.b.c.example.com.", "TXT"), "NOERROR | a.b.c.example.com. 300 TXT deep")
	w.wantAsked("192.0.2.1 . NS", "192.0.2.1 com. A", "192.0.2.2 example.com. A",
		"192.0.2.3 c.example.com. A", "192.0.2.3 b.c.example.com. A", "192.0.2.3 a.b.c.example.com. TXT")

	// What is known to exist is not asked for again.
	w.want(w.resolve("a.b.c.example.com.", "MX"), "NOERROR |  | example.com. 300 SOA SOA")
	w.wantAsked("192.0.2.3 a.b.c.example.com. MX")
	// One label below the zone there is nothing to hide.
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
	w.wantAsked("192.0.2.3 www.example.com. A")
	// An alias, or addresses, at a name above say nothing of the name.
	w = minimising(t, "alias.example.com. 300 CNAME www.example.net.", "x.alias.example.com. 300 TXT below", "x.www.example.com. 300 TXT below")
	w.want(w.resolve("x.alias.example.com.", "TXT"), "NOERROR | x.alias.example.com. 300 TXT below")
	w.want(w.resolve("x.www.example.com.", "TXT"), "NOERROR | x.www.example.com. 300 TXT below")
}

// RFC 9156 §3: servers that answer less than the whole name badly are shown the
// whole, and it is this answer that counts.
func TestMinimiseRelaxed(t *testing.T) {
	whole := dnsname.MustParse("a.b.c.example.com.")
	for name, bad := range map[string]func(m *dnswire.Message) bool{
		"no such name at an empty non-terminal": func(m *dnswire.Message) bool { m.Rcode = dnswire.RcodeNXDomain; return true },
		"refused":                               func(m *dnswire.Message) bool { m.Rcode = dnswire.RcodeRefused; return true },
		"server failure":                        func(m *dnswire.Message) bool { m.Rcode = dnswire.RcodeServFail; return true },
		"an answer without authority":           func(m *dnswire.Message) bool { m.AA = false; return true },
		"silence":                               func(*dnswire.Message) bool { return false },
	} {
		t.Run(name, func(t *testing.T) {
			w := minimising(t)
			good := authority("example.com.", "example.com. 3600 SOA", "a.b.c.example.com. 300 TXT deep")
			w.servers["192.0.2.3"] = func(q *dnswire.Message, tcp bool) [][]byte {
				if q.Question.Name == whole {
					return good(q, tcp)
				}
				m := replyTo(q)
				if !bad(m) {
					return nil
				}
				return wire(m)
			}
			w.want(w.resolve("a.b.c.example.com.", "TXT"), "NOERROR | a.b.c.example.com. 300 TXT deep")
			if n := w.count("192.0.2.3 "); n > 3 {
				t.Errorf("it took %d queries: %q", n, w.asked)
			}
			if e := w.cache.Get(w.now, whole.Parent().Parent(), rdata.TypeA); e != nil {
				t.Errorf("what a bad server said of a part is kept: %+v", e)
			}
		})
	}
}

// RFC 6672 §2.4: nothing is below a DNAME, so the whole name is shown at once.
func TestMinimiseDNAME(t *testing.T) {
	w := minimising(t, "d.example.com. 300 DNAME example.net.")
	w.servers["192.0.2.5"] = authority("example.net.", "example.net. 3600 SOA", "x.y.z.example.net. 60 A 203.0.113.7")
	w.want(w.resolve("x.y.z.d.example.com.", "A"),
		"NOERROR | d.example.com. 300 DNAME example.net.; x.y.z.d.example.com. 300 CNAME x.y.z.example.net.; x.y.z.example.net. 60 A 203.0.113.7")
}

// RFC 9156 §2.3: a name of many labels costs at most 10 queries more.
func TestMinimiseMost(t *testing.T) {
	long := strings.Repeat("1.", 100) + "example.com."
	w := minimising(t, long+" 300 A 203.0.113.9")
	w.want(w.resolve(long, "A"), "NOERROR | "+long+" 300 A 203.0.113.9")
	if n := w.count("192.0.2.3 "); n > minimiseMost+1 {
		t.Errorf("%d queries for one name: %q", n, w.asked)
	}
}

// keepsCase makes a server repeat the name as it was asked for.
func (w *world) keepsCase(serve responder) responder {
	return func(q *dnswire.Message, tcp bool) [][]byte {
		asked := w.sent[len(w.sent)-1].Msg[dnswire.HeaderLen:][:q.Question.Name.Len()]
		replies := serve(q, tcp)
		for _, msg := range replies {
			copy(msg[dnswire.HeaderLen:], asked)
		}
		return replies
	}
}

// A reply has to repeat the case of the name, which forgers do not see. It goes no
// further: not to clients, and not into the cache.
func TestMixCase(t *testing.T) {
	w := example(t, "alias.example.com. 300 CNAME target.alias.example.com.", "target.alias.example.com. 300 A 203.0.113.8")
	w.config = func(c *Config) { c.MixCase = true }
	w.restart(Limits{})
	for addr, serve := range w.servers {
		w.servers[addr] = w.keepsCase(serve)
	}
	a := w.resolve("alias.example.com.", "A")
	w.want(a, "NOERROR | alias.example.com. 300 CNAME target.alias.example.com.; target.alias.example.com. 300 A 203.0.113.8")
	if !bytes.Equal(a.Answer[0].Data, dnsname.MustParse("target.alias.example.com.").AppendWire(nil)) {
		t.Errorf("the alias's target carries the mixed case: %q", a.Answer[0].Data)
	}
	mixed := false
	for _, s := range w.sent {
		mixed = mixed || !bytes.Equal(s.Msg, bytes.ToLower(s.Msg)) && bytes.Contains(bytes.ToLower(s.Msg), []byte("alias"))
		if s.TCP {
			t.Error("asked over TCP without need")
		}
	}
	if !mixed {
		t.Error("the name was never written in mixed case")
	}
}

// A forger who guesses the id, but not the case, only makes us ask over TCP.
func TestMixCaseForged(t *testing.T) {
	w := example(t)
	w.config = func(c *Config) { c.MixCase = true }
	w.restart(Limits{})
	good := w.servers["192.0.2.3"]
	w.servers["192.0.2.3"] = func(q *dnswire.Message, tcp bool) [][]byte {
		if tcp {
			return good(q, tcp)
		}
		forged := replyTo(q) // in lower case
		forged.Answer = rrs("www.example.com. 86400 A 192.0.2.66")
		return wire(forged)
	}
	for _, addr := range []string{rootAddr, "192.0.2.2"} {
		w.servers[addr] = w.keepsCase(w.servers[addr])
	}
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
	if w.count("192.0.2.3 www.example.com. A/tcp") != 1 {
		t.Errorf("asked %q, want one query over TCP", w.asked)
	}
}

// A server that does not keep the case costs one query over TCP, not one each.
func TestMixCaseLowered(t *testing.T) {
	w := example(t, "mail.example.com. 300 A 203.0.113.5")
	w.config = func(c *Config) { c.MixCase = true }
	w.restart(Limits{})
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
	w.want(w.resolve("mail.example.com.", "A"), "NOERROR | mail.example.com. 300 A 203.0.113.5")
	if n := w.count("192.0.2.3 www.example.com. A/tcp"); n != 1 {
		t.Errorf("%d queries over TCP, want 1: %q", n, w.asked)
	}
	if n := w.count("mail.example.com. A/tcp"); n != 0 {
		t.Errorf("the case was mixed again for a server that does not keep it: %q", w.asked)
	}
}
