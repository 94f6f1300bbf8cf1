package iterate

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// world is an internet of functions with a clock that only the test moves. It
// performs the machine's actions and checks its invariants after every step.
type world struct {
	t       *testing.T
	now     time.Time
	cache   *rrcache.Cache
	r       *Resolver
	servers map[string]responder // by address
	latency time.Duration
	took    time.Duration                 // Arrived.Took
	failing error                         // every exchange fails with it
	delay   func(to string) time.Duration // instead of latency, if set
	pending []happening
	sent    []Send
	asked   []string // "address name type", with "/tcp" or "/plain" behind
	answers map[uint64]Answer
	tokens  uint64
	limits  rrcache.Limits
	config  func(*Config) // changes that of the next restart, if set
}

// happening is an event in the future.
type happening struct {
	at       time.Time
	exchange uint64
	ev       Event
}

// responder is a server: it returns the replies to one query, in wire form.
type responder func(q *dnswire.Message, tcp bool) [][]byte

var worldBegin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const rootAddr = "192.0.2.1"

// newWorld has a root server at rootAddr with these records; the rest is for the test.
func newWorld(t *testing.T, root ...string) *world {
	t.Helper()
	w := &world{t: t, now: worldBegin, servers: map[string]responder{}, latency: 10 * time.Millisecond, answers: map[uint64]Answer{}}
	w.restart(Limits{})
	w.servers[rootAddr] = authority(".", append([]string{
		". 86400 SOA", ". 518400 NS a.root.", "a.root. 518400 A " + rootAddr}, root...)...)
	return w
}

// restart makes a new resolver with an empty cache.
func (w *world) restart(l Limits) {
	w.cache, w.sent = rrcache.New(w.now, w.limits), nil
	c := Config{
		Hints: rrs(". 518400 NS a.root.", "a.root. 518400 A "+rootAddr),
		Rand:  rand.New(rand.NewChaCha8([32]byte{7})), Cache: w.cache, Limits: l,
	}
	if w.config != nil {
		w.config(&c)
	}
	w.r = New(c)
}

// step feeds one event and performs the actions.
func (w *world) step(ev Event) {
	w.t.Helper()
	for _, a := range w.r.Step(w.now, ev, nil) {
		switch a := a.(type) {
		case Send:
			w.send(a)
		case Wait:
			w.pending = append(w.pending, happening{w.now.Add(a.Timeout), a.Exchange, Expired{a.Exchange}})
		case Close:
			w.drop(a.Exchange)
		case Reply:
			if _, twice := w.answers[a.Token]; twice {
				w.t.Errorf("token %d is answered twice", a.Token)
			}
			w.answers[a.Token] = a.Answer
		}
	}
	w.r.check()
}

func (w *world) send(s Send) {
	q, err := dnswire.ParseMessage(s.Msg)
	if err != nil {
		w.t.Fatalf("the machine sends a bad message: %v", err)
	}
	w.sent = append(w.sent, s)
	line := s.To.Addr().String() + " " + q.Question.Name.String() + " " + q.Question.Type.String()
	if s.TCP {
		line += "/tcp"
	}
	if !q.EDNS.Present {
		line += "/plain"
	}
	for _, h := range w.pending {
		_, told := q.EDNS.Find(dnswire.OptionSubnet) // for a network of its own: see TestRebirthDay
		if other := w.queryOf(h.exchange); other != nil && other.Question == q.Question && !(told && (s.TCP || w.isTCP(h.exchange))) {
			w.t.Errorf("two queries %v outstanding at a time", line)
		}
	}
	w.asked = append(w.asked, line)
	w.pending = append(w.pending, happening{w.now.Add(s.Timeout), s.Exchange, Expired{s.Exchange}})
	if w.failing != nil {
		w.pending[len(w.pending)-1] = happening{w.now, s.Exchange, Failed{s.Exchange, w.failing}}
		return
	}
	serve := w.servers[s.To.Addr().String()]
	if serve == nil {
		return
	}
	latency := w.latency
	if w.delay != nil {
		latency = w.delay(s.To.Addr().String())
	}
	for _, msg := range serve(q, s.TCP) {
		w.pending = append(w.pending, happening{w.now.Add(latency), s.Exchange, Arrived{Exchange: s.Exchange, Msg: msg, Took: w.took}})
	}
}

func (w *world) isTCP(exchange uint64) bool {
	return slices.ContainsFunc(w.sent, func(s Send) bool { return s.Exchange == exchange && s.TCP })
}

// queryOf returns the query of an open exchange whose end is pending.
func (w *world) queryOf(exchange uint64) *dnswire.Message {
	for _, s := range w.sent {
		if s.Exchange == exchange {
			q, _ := dnswire.ParseMessage(s.Msg)
			return q
		}
	}
	return nil
}

// ask puts a question and returns its token.
func (w *world) ask(name, t string) uint64 {
	w.t.Helper()
	w.tokens++
	qtype, _ := rdata.ParseType(t)
	w.step(Ask{Token: w.tokens, Name: dnsname.MustParse(name), Type: qtype, Trace: w.tokens%2 == 1})
	return w.tokens
}

// run lets time pass until everything is answered.
func (w *world) run() {
	w.t.Helper()
	for steps := 0; len(w.pending) > 0; steps++ {
		if steps > 10000 {
			w.t.Fatal("no end in sight")
		}
		w.runOne()
	}
	if q, x := w.r.Outstanding(); q != 0 || x != 0 || len(w.r.lookups) != 0 {
		w.t.Errorf("%d questions, %d exchanges, %d lookups left over", q, x, len(w.r.lookups))
	}
}

// runOne lets the next event happen.
func (w *world) runOne() {
	first := 0
	for i, h := range w.pending {
		if h.at.Before(w.pending[first].at) {
			first = i
		}
	}
	h := w.pending[first]
	w.pending = slices.Delete(w.pending, first, first+1)
	if _, over := h.ev.(Expired); over {
		w.drop(h.exchange)
	}
	w.now = h.at
	w.step(h.ev)
}

// drop forgets what is pending for an exchange.
func (w *world) drop(exchange uint64) {
	w.pending = slices.DeleteFunc(w.pending, func(h happening) bool { return h.exchange == exchange })
}

// resolve asks, runs, and returns the answer.
func (w *world) resolve(name, t string) Answer {
	w.t.Helper()
	token := w.ask(name, t)
	w.run()
	a, ok := w.answers[token]
	if !ok {
		w.t.Fatalf("%s %s: no answer", name, t)
	}
	return a
}

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

// count returns how many queries had this in their line of w.asked.
func (w *world) count(part string) int {
	n := 0
	for _, line := range w.asked {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

// want compares an answer with "RCODE | answer records | authority records", the
// records parted by "; ", with TTLs.
func (w *world) want(a Answer, want string) {
	w.t.Helper()
	if got := render(a); got != want {
		w.t.Errorf("got  %s\nwant %s\nasked:\n  %s", got, want, strings.Join(w.asked, "\n  "))
		for _, s := range a.Trace {
			w.t.Logf("%+v", s)
		}
	}
}

func render(a Answer) string {
	parts := []string{a.Rcode.String()}
	for _, section := range [][]rdata.Record{a.Answer, a.Authority} {
		var lines []string
		for _, r := range section {
			lines = append(lines, r.Name.String()+" "+strconv.Itoa(int(r.TTL))+" "+r.Type.String()+" "+shown(r))
		}
		slices.Sort(lines)
		parts = append(parts, strings.Join(lines, "; "))
	}
	return strings.TrimRight(strings.Join(parts, " | "), "| ")
}

func shown(r rdata.Record) string {
	switch r.Type {
	case rdata.TypeA, rdata.TypeAAAA:
		addr, _ := netip.AddrFromSlice(r.Data)
		return addr.String()
	case rdata.TypeSOA:
		return "SOA"
	case rdata.TypeTXT:
		return string(r.Data[1:])
	}
	n, _ := rdata.NameAt(r.Data, 0)
	return n.String()
}

// rr reads "owner TTL TYPE data"; a SOA needs no data (MINIMUM is 300).
func rr(line string) rdata.Record {
	f := strings.Fields(line)
	ttl, err := strconv.Atoi(f[1])
	if err != nil {
		panic(line)
	}
	t, ok := rdata.ParseType(f[2])
	if !ok {
		panic(line)
	}
	r := rdata.Record{Name: dnsname.MustParse(f[0]), Type: t, Class: rdata.ClassIN, TTL: rdata.TTL(ttl)}
	switch t {
	case rdata.TypeA, rdata.TypeAAAA:
		r.Data = netip.MustParseAddr(f[3]).AsSlice()
	case rdata.TypeSOA:
		r.Data = append(append(r.Name.AppendWire(nil), 0), 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 44)
	case rdata.TypeTXT:
		r.Data = append([]byte{byte(len(f[3]))}, f[3]...)
	default:
		r.Data = dnsname.MustParse(f[3]).AppendWire(nil)
	}
	return r
}

func rrs(lines ...string) []rdata.Record {
	var out []rdata.Record
	for _, line := range lines {
		out = append(out, rr(line))
	}
	return out
}

// replyTo begins a reply: AA and the question.
func replyTo(q *dnswire.Message) *dnswire.Message {
	return &dnswire.Message{ID: q.ID, QR: true, AA: true, HasQuestion: true, Question: q.Question,
		EDNS: dnswire.EDNS{Present: q.EDNS.Present, UDPSize: 1232}}
}

func wire(m *dnswire.Message) [][]byte { return [][]byte{m.Append(nil)} }

// always is a server that makes the same of every question.
func always(change func(q, m *dnswire.Message)) responder {
	return func(q *dnswire.Message, _ bool) [][]byte {
		m := replyTo(q)
		change(q, m)
		return wire(m)
	}
}

// sections is a server that sends these records to every question.
func sections(aa bool, answer, authority, additional []rdata.Record) responder {
	return always(func(_, m *dnswire.Message) {
		m.AA, m.Answer, m.Authority, m.Additional = aa, answer, authority, additional
	})
}

// authority is an honest server of one zone (RFC 1034 §4.3.2, without wildcards):
// referrals with glue, CNAME and DNAME within the zone, negative answers.
func authority(origin string, lines ...string) responder {
	return serveZone(dnsname.MustParse(origin), rrs(lines...))
}

func serveZone(zone dnsname.Name, all []rdata.Record) responder {
	at := func(n dnsname.Name, t rdata.Type) (out []rdata.Record) {
		for _, r := range all {
			if r.Name == n && r.Type == t {
				out = append(out, r)
			}
		}
		return out
	}
	return always(func(q, m *dnswire.Message) {
		name, t := q.Question.Name, q.Question.Type
		if !name.IsSubdomainOf(zone) {
			m.AA, m.Rcode = false, dnswire.RcodeRefused
			return
		}
		for range 20 {
			for n := name; n != zone && name.IsSubdomainOf(zone); n = n.Parent() {
				if ns := at(n, rdata.TypeNS); len(ns) > 0 && len(m.Answer) == 0 && !(t == rdata.TypeDS && n == name) {
					m.AA, m.Authority = false, ns
					for _, r := range ns {
						target, _ := rdata.NameAt(r.Data, 0)
						m.Additional = append(m.Additional, append(at(target, rdata.TypeA), at(target, rdata.TypeAAAA)...)...)
					}
					return
				}
			}
			if found := at(name, t); len(found) > 0 {
				m.Answer = append(m.Answer, found...)
				if zone.IsRoot() && t == rdata.TypeNS {
					m.Additional = at(dnsname.MustParse("a.root."), rdata.TypeA)
				}
				return
			}
			next := dnsname.Name{}
			if c := at(name, rdata.TypeCNAME); len(c) > 0 {
				m.Answer = append(m.Answer, c...)
				next, _ = rdata.NameAt(c[0].Data, 0)
			}
			for n := name.Parent(); next.IsZero() && n.IsSubdomainOf(zone); n = n.Parent() {
				if d := at(n, rdata.TypeDNAME); len(d) > 0 {
					to, _ := rdata.NameAt(d[0].Data, 0)
					var err error
					if next, err = name.ReplaceSuffix(n, to); err != nil {
						m.Rcode, m.Answer = dnswire.RcodeYXDomain, append(m.Answer, d[0])
						return
					}
					m.Answer = append(m.Answer, d[0], rdata.Record{Name: name, Type: rdata.TypeCNAME,
						Class: rdata.ClassIN, TTL: d[0].TTL, Data: next.AppendWire(nil)})
				}
			}
			if next.IsZero() || !next.IsSubdomainOf(zone) {
				break
			}
			name = next
		}
		if len(m.Answer) > 0 && !name.IsSubdomainOf(zone) {
			return
		}
		if tail := m.Answer; len(tail) > 0 && tail[len(tail)-1].Name == name {
			return
		}
		m.Authority = at(zone, rdata.TypeSOA)
		exists := func(r rdata.Record) bool { return r.Name.IsSubdomainOf(name) }
		if !slices.ContainsFunc(all, exists) {
			m.Rcode = dnswire.RcodeNXDomain
		}
	})
}
