package iterate

import (
	"testing"

	"pharos/internal/dns/dnswire"
)

// FuzzReplies lets servers answer with anything: the fuzzer's octets decide, reply
// by reply, which parts of an honest answer are changed. Nothing may panic, the
// invariants hold after every step (world.step), and every question is answered.
func FuzzReplies(f *testing.F) {
	for _, seed := range []string{"", "\x00\x01\x02", "\x07\x80\xff\x20\x03\x81\x01", "\x05\x40\x0c\x05\x41\x05\x01\x05\x30",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "\x03\x02\x00\x03\x02\x00\x03\x02\x00\x03\x06\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		w := example(t, "alias.example.com. 60 CNAME www.example.net.", "old.example.com. 60 DNAME example.net.")
		next := func() byte {
			if len(octets) == 0 {
				return 0
			}
			b := octets[0]
			octets = octets[1:]
			return b
		}
		for addr, honest := range w.servers {
			w.servers[addr] = func(q *dnswire.Message, tcp bool) [][]byte {
				replies := honest(q, tcp)
				for i := range replies {
					replies[i] = spoil(replies[i], next)
				}
				return replies
			}
		}
		names := []string{"www.example.com.", "alias.example.com.", "x.old.example.com.", "nx.example.net."}
		for _, name := range names {
			w.ask(name, "A")
		}
		w.run()
		if len(w.answers) != len(names) {
			t.Fatalf("%d answers of %d", len(w.answers), len(names))
		}
	})
}

// spoil changes a message as next says: octets replaced, the message cut or sent
// as it is, but most often with its header and question kept whole, so that it
// comes through the first checks.
func spoil(msg []byte, next func() byte) []byte {
	for range int(next() % 8) {
		at, to := int(next())|int(next()&1)<<8, next()
		switch {
		case at < len(msg) && at >= 2:
			msg[at] = to
		case at < 2:
			msg = msg[:int(to)%(len(msg)+1)]
		default:
			msg = append(msg, to)
		}
	}
	return msg
}

// FuzzClassify feeds whole messages of the fuzzer's making to the classification.
func FuzzClassify(f *testing.F) {
	m := dnswire.Message{QR: true, HasQuestion: true, Answer: rrs("www.example.com. 60 CNAME a.example.com.", "a.example.com. 60 A 192.0.2.1"),
		Authority: rrs("example.com. 60 NS ns.example.com.", "example.com. 60 SOA"), Additional: rrs("ns.example.com. 60 A 192.0.2.1")}
	m.Question = dnswire.Question{Name: m.Answer[0].Name, Type: 1, Class: 1}
	f.Add(m.Append(nil))
	limits := Limits{}.withDefaults()
	f.Fuzz(func(t *testing.T, msg []byte) {
		m, err := dnswire.ParseMessage(msg)
		if err != nil || !m.HasQuestion {
			return
		}
		q := question{name: m.Question.Name, t: m.Question.Type}
		for zone := q.name; !zone.IsZero(); zone = zone.Parent() {
			rep := classify(m, q, zone, &limits)
			for _, set := range rep.parts {
				if !set.Name.IsSubdomainOf(zone) || len(set.Data) == 0 {
					t.Fatalf("zone %v may not speak of %v", zone, set.Name)
				}
			}
			if rep.verdict == referral && (rep.zone == zone || !rep.zone.IsSubdomainOf(zone) || !q.name.IsSubdomainOf(rep.zone)) {
				t.Fatalf("referral of %v for %v to %v", zone, q.name, rep.zone)
			}
			if rep.hasSOA && !rep.target.IsSubdomainOf(rep.soa.Name) {
				t.Fatalf("SOA of %v for %v", rep.soa.Name, rep.target)
			}
			if rep.final && !rep.target.IsSubdomainOf(zone) {
				t.Fatalf("zone %v is final about %v", zone, rep.target)
			}
		}
	})
}
