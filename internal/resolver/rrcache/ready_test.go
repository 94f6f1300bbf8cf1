package rrcache

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// client asks for answers the way a listener's loop does.
type client struct {
	query dnswire.Query
	out   dnswire.Builder
	buf   []byte
}

func newClient(t testing.TB, owner string, qtype rdata.Type, edns bool) *client {
	t.Helper()
	c := &client{buf: make([]byte, 4096+dnswire.BufferSlack)}
	c.set(t, dnswire.AppendQuery(nil, dnswire.QuerySpec{ID: 0x1234, Name: name(owner), Type: qtype, Class: rdata.ClassIN, RD: true, EDNS: edns}))
	return c
}

func (c *client) set(t testing.TB, msg []byte) {
	t.Helper()
	if c.query.Parse(msg) != dnswire.Accept {
		t.Fatal("bad query")
	}
}

// ask returns the response; nil if none is ready.
func (c *client) ask(cache *Cache, now time.Time, limit int, rotation uint32) []byte {
	c.out.Reset(&c.query, c.buf, limit)
	if !cache.Answer(now, &c.query, &c.out, rotation) {
		return nil
	}
	return c.out.Finish()
}

func addressRecords(owner string, ttl rdata.TTL, addrs ...string) (out []rdata.Record) {
	for _, a := range addrs {
		out = append(out, rdata.Record{Name: name(owner), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: ttl, Data: netip.MustParseAddr(a).AsSlice()})
	}
	return out
}

func cname(owner string, ttl rdata.TTL, target string) rdata.Record {
	return rdata.Record{Name: name(owner), Type: rdata.TypeCNAME, Class: rdata.ClassIN, TTL: ttl, Data: name(target).AppendWire(nil)}
}

func mustParse(t testing.TB, msg []byte) *dnswire.Message {
	t.Helper()
	m, err := dnswire.ParseMessage(msg)
	if err != nil {
		t.Fatalf("%x: %v", msg, err)
	}
	return m
}

// The answer is the client's: its id, its spelling of the name, its RD; TTLs count
// down; OPT only if it sent one.
func TestAnswer(t *testing.T) {
	cache := New(begin, Limits{})
	records := append([]rdata.Record{cname("www.test.", 100, "web.example.")}, addressRecords("web.example.", 60, "192.0.2.1")...)
	cache.PutAnswer(begin, Ready{Name: name("www.test."), Type: rdata.TypeA, Class: rdata.ClassIN, Answer: records, TTL: rdata.MaxTTL})
	for _, edns := range []bool{false, true} {
		c := newClient(t, "www.test.", rdata.TypeA, edns)
		msg := slices.Clone(c.query.Msg)
		copy(msg[12:], "\x03wWw\x04TeSt")
		c.set(t, msg)
		got := c.ask(cache, begin.Add(7*time.Second), 1232, 0)
		if got == nil {
			t.Fatal("no answer")
		}
		m := mustParse(t, got)
		if m.ID != 0x1234 || !m.QR || !m.RD || !m.RA || m.AA || m.TC || m.Rcode != 0 || m.EDNS.Present != edns {
			t.Errorf("header %+v", m)
		}
		if !bytes.HasPrefix(got[12:], []byte("\x03wWw\x04TeSt\x00")) {
			t.Errorf("question is spelt %q", got[12:22])
		}
		if len(m.Answer) != 2 || m.Answer[0].TTL != 93 || m.Answer[1].TTL != 53 || !bytes.Equal(m.Answer[1].Data, []byte{192, 0, 2, 1}) {
			t.Errorf("answer %v", m.Answer)
		}
	}
	c := newClient(t, "www.test.", rdata.TypeA, false)
	if c.ask(cache, begin.Add(60*time.Second-1), 512, 0) == nil {
		t.Error("gone before the smallest TTL is over")
	}
	if c.ask(cache, begin.Add(60*time.Second), 512, 0) != nil {
		t.Error("still there when the smallest TTL is over")
	}
}

// Type, class, DO and CD make different answers (RFC 4035 §4.7 for CD).
func TestAnswerKey(t *testing.T) {
	cache := New(begin, Limits{})
	cache.PutAnswer(begin, Ready{Name: name("a.test."), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 60})
	base := dnswire.QuerySpec{Name: name("a.test."), Type: rdata.TypeA, Class: rdata.ClassIN, EDNS: true}
	for i, change := range []func(*dnswire.QuerySpec){
		func(*dnswire.QuerySpec) {},
		func(s *dnswire.QuerySpec) { s.Type = rdata.TypeAAAA },
		func(s *dnswire.QuerySpec) { s.Class = rdata.ClassCH },
		func(s *dnswire.QuerySpec) { s.DO = true },
		func(s *dnswire.QuerySpec) { s.CD = true },
		func(s *dnswire.QuerySpec) { s.Name = name("b.test.") },
		func(s *dnswire.QuerySpec) { s.Name = name("test.") },
	} {
		spec := base
		change(&spec)
		c := newClient(t, "a.test.", rdata.TypeA, true)
		c.set(t, dnswire.AppendQuery(nil, spec))
		if got, want := c.ask(cache, begin, 1232, 0) != nil, i == 0; got != want {
			t.Errorf("%+v: found %v, want %v", spec, got, want)
		}
	}
}

// RFC 2181 §9: what does not fit is left out, and TC says so.
func TestAnswerTruncated(t *testing.T) {
	cache := New(begin, Limits{})
	var addrs []string
	for i := range 60 {
		addrs = append(addrs, fmt.Sprintf("192.0.2.%d", i))
	}
	cache.PutAnswer(begin, Ready{Name: name("a.test."), Type: rdata.TypeA, Class: rdata.ClassIN, Answer: addressRecords("a.test.", 60, addrs...), TTL: 60})
	for _, edns := range []bool{false, true} {
		c := newClient(t, "a.test.", rdata.TypeA, edns)
		got := c.ask(cache, begin, 512, 1)
		if m := mustParse(t, got); !m.TC || len(m.Answer) != 0 || len(got) > 512 {
			t.Errorf("TC %v, %d records, %d octets", m.TC, len(m.Answer), len(got))
		}
		if m := mustParse(t, c.ask(cache, begin, 1232, 1)); m.TC || len(m.Answer) != 60 {
			t.Errorf("TC %v, %d records", m.TC, len(m.Answer))
		}
	}
}

// The order of addresses turns with rotation; nothing is lost, and what stands
// before and after stays.
func TestAnswerTurns(t *testing.T) {
	cache := New(begin, Limits{})
	addrs := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}
	answer := append([]rdata.Record{cname("www.test.", 100, "web.example.")}, addressRecords("web.example.", 60, addrs...)...)
	cache.PutAnswer(begin, Ready{Name: name("www.test."), Type: rdata.TypeA, Class: rdata.ClassIN, Answer: answer,
		Authority: []rdata.Record{soa("example.", 90, 9)}, TTL: rdata.MaxTTL})
	c := newClient(t, "www.test.", rdata.TypeA, true)
	for rotation := range uint32(7) {
		m := mustParse(t, c.ask(cache, begin.Add(5*time.Second), 1232, rotation))
		if len(m.Answer) != 4 || m.Answer[0].Type != rdata.TypeCNAME || m.Answer[0].TTL != 95 || len(m.Authority) != 1 || m.Authority[0].TTL != 85 {
			t.Fatalf("got %v %v", m.Answer, m.Authority)
		}
		for i, r := range m.Answer[1:] {
			want := netip.MustParseAddr(addrs[(i+int(rotation))%3]).AsSlice()
			if r.TTL != 55 || r.Name != name("web.example.") || !bytes.Equal(r.Data, want) {
				t.Errorf("rotation %d, place %d: %v", rotation, i, r)
			}
		}
	}
}

// A failure comes with its extended error (RFC 8914).
func TestAnswerFailure(t *testing.T) {
	cache := New(begin, Limits{})
	cache.PutAnswer(begin, Ready{Name: name("a.test."), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 5, Rcode: dnswire.RcodeServFail,
		Failure: &dnswire.ExtendedError{Code: dnswire.EDENoReachableAuthority, Text: "nobody there"}})
	m := mustParse(t, newClient(t, "a.test.", rdata.TypeA, true).ask(cache, begin, 1232, 0))
	if m.Rcode != dnswire.RcodeServFail || len(m.EDE) != 1 || m.EDE[0].Code != dnswire.EDENoReachableAuthority || m.EDE[0].Text != "nobody there" {
		t.Errorf("got %v %v", m.Rcode, m.EDE)
	}
}

// What can not be kept is refused: TTL 0, meta types, messages over 4096 octets.
func TestAnswerRefused(t *testing.T) {
	cache := New(begin, Limits{})
	var big []rdata.Record
	for i := range 300 {
		big = append(big, addressRecords("a.test.", 60, fmt.Sprintf("10.0.%d.%d", i/250, i%250))...)
	}
	for i, r := range []Ready{
		{Name: name("a.test."), Type: rdata.TypeA, Class: rdata.ClassIN},
		{Name: name("a.test."), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 60, Answer: addressRecords("a.test.", 0, "192.0.2.1")},
		{Name: name("a.test."), Type: rdata.TypeANY, Class: rdata.ClassIN, TTL: 60},
		{Name: name("a.test."), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 60, Answer: big},
	} {
		if cache.PutAnswer(begin, r) || cache.Stats().Answers != 0 {
			t.Errorf("case %d is kept", i)
		}
	}
}

// Whatever records an answer is made of, it says the same ready as it did before:
// the reader of whole messages is the oracle.
func TestReadySaysTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 7))
	owners := []string{"a.test.", "b.a.test.", "other.example.", "test.", "."}
	oneRecord := func() rdata.Record {
		owner, other := name(owners[random.IntN(len(owners))]), name(owners[random.IntN(len(owners))])
		r := rdata.Record{Name: owner, Class: rdata.ClassIN, TTL: rdata.TTL(50 + random.IntN(1000))}
		switch random.IntN(6) {
		case 0, 1:
			r.Type, r.Data = rdata.TypeA, []byte{192, 0, 2, byte(random.IntN(256))}
		case 2:
			r.Type, r.Data = rdata.TypeAAAA, append(make([]byte, 15), byte(random.IntN(256)))
		case 3:
			r.Type, r.Data = rdata.TypeMX, other.AppendWire([]byte{0, 10})
		case 4:
			r.Type, r.Data = rdata.TypeTXT, append([]byte{3}, "abc"...)
		case 5:
			r.Type, r.Data = rdata.TypeSRV, other.AppendWire([]byte{0, 1, 0, 2, 0, 53})
		}
		return r
	}
	for range 2000 {
		ready := Ready{Name: name("a.test."), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: rdata.MaxTTL}
		sections := []*[]rdata.Record{&ready.Answer, &ready.Authority, &ready.Additional}
		for _, section := range sections {
			for range random.IntN(6) {
				*section = append(*section, oneRecord())
			}
		}
		cache := New(begin, Limits{AnswerOctets: 64 << 10})
		if !cache.PutAnswer(begin, ready) {
			t.Fatal("not kept")
		}
		age := random.IntN(50)
		m := mustParse(t, newClient(t, "a.test.", rdata.TypeA, true).ask(cache, begin.Add(time.Duration(age)*time.Second), 4096, random.Uint32()))
		for i, got := range [][]rdata.Record{m.Answer, m.Authority, m.Additional} {
			if got, want := lines(got, 0), lines(*sections[i], age); !slices.Equal(got, want) {
				t.Fatalf("section %d:\ngot  %q\nwant %q", i, got, want)
			}
		}
	}
}

// lines are records with their TTLs lessened by age, sorted.
func lines(records []rdata.Record, age int) []string {
	var out []string
	for _, r := range records {
		out = append(out, fmt.Sprintf("%v %d %v %x", r.Name, int(r.TTL)-age, r.Type, r.Data))
	}
	slices.Sort(out)
	return out
}

// Against a naive map, within a bound that is too small for all: what is found is
// right, the octets are counted right, and stay in the limit.
func TestAnswersAgainstNaiveMap(t *testing.T) {
	const limit = 128 << 10
	cache := New(begin, Limits{AnswerOctets: limit})
	oracle := map[int]string{}
	random := rand.New(rand.NewPCG(3, 4))
	hits := 0
	for range 20000 {
		i := random.IntN(1500)
		owner := fmt.Sprintf("n%d.test.", i)
		if random.IntN(3) == 0 {
			oracle[i] = fmt.Sprintf("10.%d.%d.%d", i>>8, i&255, random.IntN(256))
			if !cache.PutAnswer(begin, Ready{Name: name(owner), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 60,
				Answer: addressRecords(owner, 60, oracle[i])}) {
				t.Fatal("not kept")
			}
			continue
		}
		if got := newClient(t, owner, rdata.TypeA, false).ask(cache, begin, 512, 0); got != nil {
			hits++
			if m := mustParse(t, got); !bytes.Equal(m.Answer[0].Data, netip.MustParseAddr(oracle[i]).AsSlice()) {
				t.Fatalf("%s: got %v, want %s", owner, m.Answer[0], oracle[i])
			}
		}
	}
	st, octets, count := cache.Stats(), 0, 0
	for i := range cache.ready.sets {
		for w := range cache.ready.sets[i].entries {
			if e := cache.ready.sets[i].entries[w].Load(); e != nil {
				octets += e.octets()
				count++
			}
		}
	}
	if st.AnswerOctets != octets || st.Answers != count || octets > limit || hits < 1000 {
		t.Errorf("%+v; counted %d octets, %d entries; %d hits", st, octets, count, hits)
	}
}

// Readers and writers at a time: under the race detector, and never a wrong answer.
func TestAnswersConcurrently(t *testing.T) {
	cache := New(begin, Limits{AnswerOctets: 16 << 10})
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 5))
			for range 3000 {
				i := random.IntN(100)
				owner, addr := fmt.Sprintf("n%d.test.", i), fmt.Sprintf("10.0.0.%d", i)
				if worker%2 == 0 {
					cache.PutAnswer(begin, Ready{Name: name(owner), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 60, Answer: addressRecords(owner, 60, addr)})
				} else if got := newClient(t, owner, rdata.TypeA, false).ask(cache, begin, 512, 0); got != nil {
					if got[len(got)-1] != byte(i) {
						t.Errorf("%s: got %v", owner, got[len(got)-4:])
					}
				}
			}
		})
	}
	all.Wait()
}

func TestNoAllocs(t *testing.T) {
	cache, c := warm(t)
	hit := func() { c.ask(cache, begin.Add(3*time.Second), 1232, 1) }
	if got := testing.AllocsPerRun(100, hit); got != 0 {
		t.Errorf("a hit allocates %v times", got)
	}
	c = newClient(t, "nothing.test.", rdata.TypeA, true)
	if got := testing.AllocsPerRun(100, hit); got != 0 {
		t.Errorf("a miss allocates %v times", got)
	}
}

func warm(t testing.TB) (*Cache, *client) {
	cache := New(begin, Limits{})
	for i := range 10000 {
		owner := fmt.Sprintf("host%d.example.com.", i)
		cache.PutAnswer(begin, Ready{Name: name(owner), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 300,
			Answer: addressRecords(owner, 300, "192.0.2.1", "192.0.2.2", "192.0.2.3")})
	}
	return cache, newClient(t, "host77.example.com.", rdata.TypeA, true)
}

// BenchmarkAnswer is a hit alone; BenchmarkQuery with parsing, Reset and Finish,
// over many names.
func BenchmarkAnswer(b *testing.B) {
	cache, c := warm(b)
	now := begin.Add(3 * time.Second)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.out.Reset(&c.query, c.buf, 1232)
		if !cache.Answer(now, &c.query, &c.out, uint32(i)) {
			b.Fatal("missed")
		}
	}
}

func BenchmarkQuery(b *testing.B) {
	cache, c := warm(b)
	var queries [][]byte
	for i := range 8192 {
		queries = append(queries, dnswire.AppendQuery(nil, dnswire.QuerySpec{ID: uint16(i), RD: true, EDNS: true,
			Name: name(fmt.Sprintf("host%d.example.com.", i*7%10000)), Type: rdata.TypeA, Class: rdata.ClassIN}))
	}
	now := begin.Add(3 * time.Second)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.query.Parse(queries[i%len(queries)])
		if c.ask(cache, now, 1232, uint32(i)) == nil {
			b.Fatal("missed")
		}
	}
}

func BenchmarkPutAnswer(b *testing.B) {
	cache := New(begin, Limits{})
	r := Ready{Name: name("www.example.com."), Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 300, Answer: addressRecords("www.example.com.", 300, "192.0.2.1")}
	b.ReportAllocs()
	for b.Loop() {
		cache.PutAnswer(begin, r)
	}
}
