package simnet

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
)

func ns(zone dnsname.Name, server string) rdata.Record {
	return rdata.Record{Name: zone, Type: rdata.TypeNS, Class: rdata.ClassIN, TTL: 3600, Data: dnsname.MustParse(server).AppendWire(nil)}
}

func a(name, addr string) rdata.Record {
	return rdata.Record{Name: dnsname.MustParse(name), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 3600, Data: netip.MustParseAddr(addr).AsSlice()}
}

func cname(name dnsname.Name, to string) rdata.Record {
	return rdata.Record{Name: name, Type: rdata.TypeCNAME, Class: rdata.ClassIN, TTL: 3600, Data: dnsname.MustParse(to).AppendWire(nil)}
}

// author answers a query with a message of the attacker's; it sees how many it
// has answered.
type author func(count int, q dnswire.Question, m *dnswire.Message)

func (f author) server() Server {
	count := 0
	return func(_ time.Time, query []byte, _ netip.AddrPort) [][]byte {
		q, err := dnswire.ParseMessage(query)
		if err != nil {
			return nil
		}
		count++
		m := &dnswire.Message{ID: q.ID, QR: true, AA: true, HasQuestion: true, Question: q.Question}
		f(count, q.Question, m)
		return [][]byte{m.Append(nil)}
	}
}

// Every attack is a domain evil.com. on a server of the attacker's; whatever it
// says, one question costs a bounded number of packets, and comes to an end.
func TestWorkIsBoundedWhateverAServerSays(t *testing.T) {
	evil := dnsname.MustParse("evil.com.")
	for _, attack := range []struct {
		name  string
		most  int // packets
		rcode dnswire.Rcode
		say   author
	}{
		{"a new alias every time", 30, dnswire.RcodeServFail, func(n int, q dnswire.Question, m *dnswire.Message) {
			m.Answer = []rdata.Record{cname(q.Name, fmt.Sprintf("c%d.evil.com.", n))}
		}},
		{"an alias to itself", 10, dnswire.RcodeServFail, func(n int, q dnswire.Question, m *dnswire.Message) {
			m.Answer = []rdata.Record{cname(q.Name, q.Name.String())}
		}},
		{"a longer delegation every time", 100, dnswire.RcodeServFail, func(n int, q dnswire.Question, m *dnswire.Message) {
			// The zone is one label deeper with every query, down to the name asked for.
			cut := q.Name.Ancestor(min(2+n, q.Name.Labels()))
			m.AA, m.Authority, m.Additional = false, []rdata.Record{ns(cut, "ns.evil.com.")}, []rdata.Record{a("ns.evil.com.", "203.0.113.66")}
		}},
		{"forty servers without address in a delegation (NXNSAttack)", 20, dnswire.RcodeServFail, func(n int, q dnswire.Question, m *dnswire.Message) {
			m.AA = false
			for i := range 40 {
				m.Authority = append(m.Authority, ns(q.Name, fmt.Sprintf("n%d-%d.d%d.com.", n, i, i)))
			}
		}},
		{"servers that need servers that need servers", 100, dnswire.RcodeServFail, func(n int, q dnswire.Question, m *dnswire.Message) {
			m.AA = false
			for i := range 3 {
				m.Authority = append(m.Authority, ns(q.Name, fmt.Sprintf("s%d.x%d.evil.com.", i, n)))
			}
		}},
		{"truncated over both transports", 20, dnswire.RcodeServFail, func(n int, q dnswire.Question, m *dnswire.Message) {
			m.TC = true
		}},
		{"a wrong id every time", 20, dnswire.RcodeServFail, func(n int, q dnswire.Question, m *dnswire.Message) { m.ID++ }},
		{"another question every time", 20, dnswire.RcodeServFail, func(n int, q dnswire.Question, m *dnswire.Message) {
			m.Question.Type++
		}},
		{"a referral back to the root", 20, dnswire.RcodeServFail, func(n int, q dnswire.Question, m *dnswire.Message) {
			m.AA, m.Authority, m.Additional = false, []rdata.Record{ns(dnsname.Root, "ns1.root.")}, []rdata.Record{a("ns1.root.", "203.0.113.66")}
		}},
		{"SERVFAIL", 20, dnswire.RcodeServFail, func(n int, q dnswire.Question, m *dnswire.Message) { m.Rcode = dnswire.RcodeServFail }},
	} {
		for _, seed := range []uint64{1, 2, 3} {
			n := New(Config{Seed: seed, Default: Path{Latency: 5 * time.Millisecond}})
			smallInternet(t, n)
			bait(t, n, evil)
			server := attack.say.server()
			n.Serve(netip.MustParseAddrPort("203.0.113.66:53"), server, server)
			h, core := resolverOn(n, seed, iterate.Limits{})
			var got []iterate.Answer
			h.Ask(iterate.Ask{Name: dnsname.MustParse("a.b.c.d.e.f.g.h.evil.com."), Type: rdata.TypeA}, func(a iterate.Answer) { got = append(got, a) })
			atRest(t, n, h, core)
			if len(got) != 1 {
				t.Fatalf("%s: %d answers", attack.name, len(got))
			}
			if sent := h.Stats().UDP + h.Stats().TCP; sent > attack.most || got[0].Rcode != attack.rcode || got[0].Elapsed > 10*time.Second {
				t.Errorf("%s, seed %d: %v after %v and %d packets, want %v and at most %d", attack.name, seed, got[0].Rcode, got[0].Elapsed, sent, attack.rcode, attack.most)
			}
			if seed == 1 {
				t.Logf("%s: %d packets, %v", attack.name, h.Stats().UDP+h.Stats().TCP, got[0].Errors)
			}
		}
	}
}

// bait delegates a domain to the attacker, in place of the servers of com.
func bait(t *testing.T, n *Network, domain dnsname.Name) {
	for _, addr := range tldServers {
		at := netip.AddrPortFrom(netip.MustParseAddr(addr), 53)
		usual := n.sockets[at].Deliver
		n.Bind(at, Socket{Deliver: func(now time.Time, d Datagram) {
			q, err := dnswire.ParseMessage(d.Payload)
			if err != nil || !q.Question.Name.IsSubdomainOf(domain) {
				usual(now, d)
				return
			}
			m := &dnswire.Message{ID: q.ID, QR: true, HasQuestion: true, Question: q.Question,
				Authority: []rdata.Record{ns(domain, "ns."+domain.String())}, Additional: []rdata.Record{a("ns."+domain.String(), "203.0.113.66")}}
			n.Send(Datagram{From: d.To, To: d.From, Payload: m.Append(nil)})
		}})
	}
}

// RFC 5452 §9.1 and §9.2: replies from elsewhere, or with a wrong id, are no
// replies. A flood of them from the right address does not keep the true reply
// from being heard, nor does one of them get in.
func TestForgedReplies(t *testing.T) {
	n := New(Config{Seed: 1, Default: Path{Latency: 20 * time.Millisecond}})
	smallInternet(t, n)
	h, core := resolverOn(n, 1, iterate.Limits{})
	real := ownServers[0]
	forged := 0
	for _, addr := range ownServers {
		at := netip.AddrPortFrom(netip.MustParseAddr(addr), 53)
		usual := n.sockets[at].Deliver
		n.Bind(at, Socket{Deliver: func(now time.Time, d Datagram) {
			q, err := dnswire.ParseMessage(d.Payload)
			if err != nil {
				t.Fatal(err)
			}
			m := &dnswire.Message{ID: q.ID, QR: true, AA: true, HasQuestion: true, Question: q.Question,
				Answer: []rdata.Record{a(q.Question.Name.String(), "203.0.113.66")}}
			msg := m.Append(nil)
			elsewhere := netip.AddrPortFrom(at.Addr(), 5353)
			n.Send(Datagram{From: elsewhere, To: d.From, Payload: msg})
			guess := append([]byte(nil), msg...)
			binary.BigEndian.PutUint16(guess, q.ID+1)
			n.Send(Datagram{From: at, To: d.From, Payload: guess})
			forged += 2
			usual(now, d)
		}})
	}
	var got iterate.Answer
	h.Ask(iterate.Ask{Name: dnsname.MustParse("www.d4.com."), Type: rdata.TypeA}, func(a iterate.Answer) { got = a })
	atRest(t, n, h, core)
	if len(got.Answer) != 1 || string(got.Answer[0].Data) != "\xcb\x00\x71\x04" {
		t.Errorf("with %d forged replies beside those of %s: %v %v", forged, real, got.Rcode, got.Answer)
	}
	if forged == 0 || h.Stats().Strays == 0 {
		t.Errorf("%d replies were forged and %d came from elsewhere: nothing was tested", forged, h.Stats().Strays)
	}
}

// mangle makes a server whose replies are damaged at random: octets changed, the
// end cut off or drawn out, whole messages doubled.
func mangle(s Server, chance *rand.Rand) Server {
	return func(now time.Time, query []byte, from netip.AddrPort) [][]byte {
		replies := s(now, query, from)
		for i, reply := range replies {
			msg := append([]byte(nil), reply...)
			for range chance.IntN(4) {
				msg[chance.IntN(len(msg))] = byte(chance.IntN(256))
			}
			switch chance.IntN(8) {
			case 0:
				msg = msg[:chance.IntN(len(msg)+1)]
			case 1:
				msg = append(msg, msg[chance.IntN(len(msg)):]...)
			}
			replies[i] = msg
		}
		return replies
	}
}

// Whatever damage replies come with, every question is answered in time and with
// bounded work, and nothing is left over.
func TestMangledReplies(t *testing.T) {
	for seed := range uint64(10) {
		n := New(Config{Seed: seed, Default: Path{Latency: time.Millisecond}})
		smallInternet(t, n)
		chance := rand.New(rand.NewPCG(seed, 5))
		for _, level := range [][]string{rootServers, tldServers, ownServers, hostServers} {
			for _, addr := range level {
				at := netip.AddrPortFrom(netip.MustParseAddr(addr), 53)
				mangled := mangle(n.streams[at], chance)
				n.Serve(at, mangled, mangled)
			}
		}
		h, core := resolverOn(n, seed, iterate.Limits{})
		answers := 0
		for i := range domains {
			n.After(time.Duration(i)*50*time.Millisecond, func() {
				h.Ask(iterate.Ask{Name: dnsname.MustParse(fmt.Sprintf("alias.d%d.com.", i)), Type: rdata.TypeA}, func(a iterate.Answer) {
					answers++
					if a.Sent > 100 || a.Elapsed > 10*time.Second {
						t.Errorf("seed %d, domain %d: %d packets, %v", seed, i, a.Sent, a.Elapsed)
					}
				})
			})
		}
		atRest(t, n, h, core)
		if answers != domains {
			t.Errorf("seed %d: %d of %d questions were answered", seed, answers, domains)
		}
	}
}
