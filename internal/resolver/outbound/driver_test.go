package outbound

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/seats"
)

// fake is a name server on a loopback address, over UDP and TCP.
type fake struct {
	udp *net.UDPConn
	tcp net.Listener

	mu     sync.Mutex
	answer func(q *dnswire.Message, tcp bool) *dnswire.Message // nil: silence
	from   []netip.AddrPort                                    // of UDP queries
}

func (f *fake) set(answer func(q *dnswire.Message, tcp bool) *dnswire.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// listenAll returns servers on these addresses, all with one port that is free.
func listenAll(t testing.TB, addrs ...string) (port uint16, servers map[string]*fake) {
	t.Helper()
	for range 20 {
		servers = map[string]*fake{}
		ok := true
		for _, addr := range addrs {
			f := &fake{}
			local := netip.AddrPortFrom(netip.MustParseAddr(addr), port)
			var err error
			if f.udp, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(local)); err == nil {
				port = f.udp.LocalAddr().(*net.UDPAddr).AddrPort().Port()
				f.tcp, err = net.Listen("tcp4", netip.AddrPortFrom(local.Addr(), port).String())
			}
			if ok = err == nil; !ok {
				break
			}
			servers[addr] = f
			t.Cleanup(func() { f.udp.Close(); f.tcp.Close() })
		}
		if ok {
			for _, f := range servers {
				go f.serveUDP()
				go f.serveTCP()
			}
			return port, servers
		}
		port = 0
	}
	t.Fatal("no port is free on all of ", addrs)
	return 0, nil
}

func (f *fake) reply(msg []byte, tcp bool, from netip.AddrPort) []byte {
	q, err := dnswire.ParseMessage(msg)
	if err != nil {
		return nil
	}
	f.mu.Lock()
	if !tcp {
		f.from = append(f.from, from)
	}
	answer := f.answer
	f.mu.Unlock()
	m := answer(q, tcp)
	if m == nil {
		return nil
	}
	m.ID, m.QR, m.HasQuestion, m.Question = q.ID, true, true, q.Question
	return m.Append(nil)
}

func (f *fake) serveUDP() {
	buf := make([]byte, 4096)
	for {
		n, from, err := f.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if msg := f.reply(buf[:n], false, from); msg != nil {
			f.udp.WriteToUDPAddrPort(msg, from)
		}
	}
}

func (f *fake) serveTCP() {
	for {
		conn, err := f.tcp.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			var length [2]byte
			if _, err := io.ReadFull(conn, length[:]); err != nil {
				return
			}
			msg := make([]byte, binary.BigEndian.Uint16(length[:]))
			if _, err := io.ReadFull(conn, msg); err != nil {
				return
			}
			if msg = f.reply(msg, true, netip.AddrPort{}); msg != nil {
				conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
				io.Copy(io.Discard, conn) // until the resolver closes
			}
		}()
	}
}

func record(owner string, t rdata.Type, data []byte) rdata.Record {
	return rdata.Record{Name: dnsname.MustParse(owner), Type: t, Class: rdata.ClassIN, TTL: 300, Data: data}
}

func a(owner, addr string) rdata.Record {
	return record(owner, rdata.TypeA, netip.MustParseAddr(addr).AsSlice())
}

func ns(owner, target string) rdata.Record {
	return record(owner, rdata.TypeNS, dnsname.MustParse(target).AppendWire(nil))
}

// Addresses of the little internet.
const (
	rootAt  = "127.0.0.71"
	testAt  = "127.0.0.72"
	otherAt = "127.0.0.73"
	deadAt  = "127.0.0.74" // nobody listens
)

// internet has a root that refers test. to two servers, of which one is dead, and
// other. to a silent one.
func internet(t *testing.T, cfg Config) (*Driver, map[string]*fake) {
	t.Helper()
	return internetBy(t, cfg, newDatagrams)
}

func internetBy(t *testing.T, cfg Config, carry func(*seats.Table[*exchange], func() int) datagrams) (*Driver, map[string]*fake) {
	t.Helper()
	port, servers := listenAll(t, rootAt, testAt, otherAt)
	servers[rootAt].set(func(q *dnswire.Message, _ bool) *dnswire.Message {
		switch {
		case q.Question.Type == rdata.TypeNS:
			return &dnswire.Message{AA: true, Answer: []rdata.Record{ns(".", "a.root.")}, Additional: []rdata.Record{a("a.root.", rootAt)}}
		case q.Question.Name.IsSubdomainOf(dnsname.MustParse("test.")):
			return &dnswire.Message{Authority: []rdata.Record{ns("test.", "ns1.test."), ns("test.", "ns2.test.")},
				Additional: []rdata.Record{a("ns1.test.", deadAt), a("ns2.test.", testAt)}}
		}
		return &dnswire.Message{Authority: []rdata.Record{ns("other.", "ns.other.")}, Additional: []rdata.Record{a("ns.other.", otherAt)}}
	})
	servers[testAt].set(func(q *dnswire.Message, tcp bool) *dnswire.Message {
		if q.Question.Name.Label() == "big" && !tcp {
			return &dnswire.Message{AA: true, TC: true}
		}
		r := a("www.test.", "192.0.2.1")
		r.Name = q.Question.Name
		return &dnswire.Message{AA: true, Answer: []rdata.Record{r}}
	})
	servers[otherAt].set(func(*dnswire.Message, bool) *dnswire.Message { return nil })
	cfg.Hints = []rdata.Record{ns(".", "a.root."), a("a.root.", rootAt)}
	cfg.Port = port
	d := start(cfg, carry)
	t.Cleanup(d.Close)
	return d, servers
}

func resolve(t *testing.T, d *Driver, name string) iterate.Answer {
	t.Helper()
	got, err := d.Resolve(t.Context(), dnsname.MustParse(name), rdata.TypeA, Options{Trace: true})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// The whole way over real sockets: priming, referral, a dead server, the answer.
func TestResolve(t *testing.T) {
	d, _ := internet(t, Config{})
	for i := range 5 {
		got := resolve(t, d, fmt.Sprintf("w%d.test.", i))
		if got.Rcode != dnswire.RcodeNoError || len(got.Answer) != 1 || got.Cached {
			t.Errorf("got %+v", got)
		}
	}
	if got := resolve(t, d, "w1.test."); !got.Cached || len(got.Answer) != 1 {
		t.Errorf("got %+v, want it from the cache", got)
	}
	if got, ok := d.FromCache(time.Now(), dnsname.MustParse("w1.test."), rdata.TypeA); !ok || len(got.Answer) != 1 {
		t.Errorf("FromCache: %v %v", got, ok)
	}
	c, questions, _ := d.Counters()
	if c.Questions != 6 || c.Sent < 7 || questions != 0 {
		t.Errorf("counters %+v, %d questions", c, questions)
	}
}

// RFC 7766 §5: TC leads to TCP.
func TestOverTCP(t *testing.T) {
	d, _ := internet(t, Config{})
	if got := resolve(t, d, "big.test."); len(got.Answer) != 1 {
		t.Errorf("got %+v", got)
	}
	if c, _, _ := d.Counters(); c.SentTCP != 1 {
		t.Errorf("%d queries over TCP, want 1", c.SentTCP)
	}
}

// RFC 5452 §9.2: each query leaves from a port that can not be foretold, out of
// nearly all there are.
func TestPortsAreRandom(t *testing.T) {
	d, servers := internet(t, Config{})
	for i := range 200 {
		resolve(t, d, fmt.Sprintf("n%d.test.", i))
	}
	f := servers[testAt]
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, low := map[uint16]bool{}, 0
	for _, from := range f.from {
		seen[from.Port()] = true
		if from.Port() < 1024 {
			t.Errorf("privileged port %d", from.Port())
		}
		if from.Port() < 32768 {
			low++
		}
	}
	// 200 draws out of 64,512: one repetition is likely enough, ten are not; half of
	// them are below the ephemeral range.
	if len(f.from) < 200 || len(seen) < len(f.from)-10 || low < 50 || low > 150 {
		t.Errorf("%d ports in %d queries, %d below 32768", len(seen), len(f.from), low)
	}
}

// RFC 5452 §9.1: only the address and port that were asked can answer, and only
// the port that asked hears it. A forger who knows even the id and the port, but
// sends from elsewhere, is not heard.
func TestOnlyTheAskedServerIsHeard(t *testing.T) {
	d, servers := internet(t, Config{})
	forger, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 75)})
	if err != nil {
		t.Fatal(err)
	}
	defer forger.Close()
	f := servers[testAt]
	f.set(func(q *dnswire.Message, _ bool) *dnswire.Message {
		forged := &dnswire.Message{ID: q.ID, QR: true, AA: true, HasQuestion: true, Question: q.Question,
			Answer: []rdata.Record{a("victim.test.", "203.0.113.66")}}
		f.mu.Lock()
		to := f.from[len(f.from)-1]
		f.mu.Unlock()
		forger.WriteToUDPAddrPort(forged.Append(nil), to)
		return &dnswire.Message{AA: true, Answer: []rdata.Record{a("victim.test.", "192.0.2.1")}}
	})
	got := resolve(t, d, "victim.test.")
	if len(got.Answer) != 1 || got.Answer[0].Data[0] != 192 {
		t.Errorf("got %v", got.Answer)
	}
	if c, _, _ := d.Counters(); c.Ignored != 0 {
		t.Errorf("the forged packet came as far as the machine")
	}
}

// Questions are bounded; who gives up waiting does not disturb; Close answers
// whoever is left and leaves nothing running.
func TestBoundsAndClose(t *testing.T) {
	d, servers := internet(t, Config{Clients: 3})
	heard := make(chan struct{}, 100)
	servers[otherAt].set(func(*dnswire.Message, bool) *dnswire.Message {
		heard <- struct{}{}
		return nil
	})
	answers := make(chan iterate.Answer, 3)
	for i := range 2 {
		if !d.Ask(dnsname.MustParse(fmt.Sprintf("w%d.other.", i)), rdata.TypeA, Options{}, func(a iterate.Answer) { answers <- a }) {
			t.Fatal("refused below the limit")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for range 3 {
			<-heard // all three are on their way
		}
		cancel()
	}()
	if _, err := d.Resolve(ctx, dnsname.MustParse("w2.other."), rdata.TypeA, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	if _, err := d.Resolve(t.Context(), dnsname.MustParse("w3.other."), rdata.TypeA, Options{}); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v, want ErrRefused at the limit", err)
	}
	d.Close()
	for range 2 {
		if got := <-answers; got.Rcode != dnswire.RcodeServFail || got.Errors[0].Code != dnswire.EDENotReady {
			t.Errorf("got %+v", got)
		}
	}
	if _, questions, sockets := d.Counters(); questions != 0 || sockets != 0 {
		t.Errorf("%d questions and %d sockets are left", questions, sockets)
	}
	if d.Ask(dnsname.Root, rdata.TypeNS, Options{}, func(iterate.Answer) {}) {
		t.Error("a closed Driver takes questions")
	}
}

// At the limit of sockets an exchange fails at once, and nothing hangs; with room
// again there are answers again.
func TestSocketLimit(t *testing.T) {
	d, _ := internet(t, Config{Limits: iterate.Limits{Time: 2 * time.Second}})
	d.inLoop(func() { d.exchanges = 0 })
	var all sync.WaitGroup
	for i := range 20 {
		all.Add(1)
		d.Ask(dnsname.MustParse(fmt.Sprintf("n%d.test.", i)), rdata.TypeA, Options{}, func(iterate.Answer) { all.Done() })
	}
	all.Wait()
	if c, _, sockets := d.Counters(); c.NetworkFails == 0 || sockets != 0 {
		t.Errorf("%d exchanges met the limit, %d sockets are open", c.NetworkFails, sockets)
	}
	d.inLoop(func() { d.exchanges = 10 })
	if got := resolve(t, d, "www.test."); len(got.Answer) != 1 {
		t.Errorf("got %+v", got)
	}
}

// Servers at IPv6 addresses are asked like others.
func TestIPv6(t *testing.T) {
	server, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Skipf("this machine has no IPv6 loopback: %v", err)
	}
	f := &fake{udp: server}
	defer server.Close()
	f.set(func(q *dnswire.Message, _ bool) *dnswire.Message {
		if q.Question.Type == rdata.TypeNS {
			return &dnswire.Message{AA: true, Answer: []rdata.Record{ns(".", "a.root.")}}
		}
		return &dnswire.Message{AA: true, Answer: []rdata.Record{a("www.test.", "192.0.2.1")}}
	})
	go f.serveUDP()
	d := New(Config{
		Hints: []rdata.Record{ns(".", "a.root."), record("a.root.", rdata.TypeAAAA, net.IPv6loopback)},
		Port:  server.LocalAddr().(*net.UDPAddr).AddrPort().Port(),
	})
	defer d.Close()
	if got := resolve(t, d, "www.test."); len(got.Answer) != 1 {
		t.Errorf("got %+v", got)
	}
}

// Many at a time: answers come to whom they belong.
func TestManyAtOnce(t *testing.T) {
	d, _ := internet(t, Config{})
	askMany(t, d, 300)
}

// askMany asks at once, each name three times, and looks at the answers.
func askMany(t *testing.T, d *Driver, many int) {
	t.Helper()
	var all sync.WaitGroup
	for i := range many {
		want := dnsname.MustParse(fmt.Sprintf("n%d.test.", i/3))
		all.Add(1)
		d.Ask(want, rdata.TypeA, Options{}, func(a iterate.Answer) {
			defer all.Done()
			if len(a.Answer) != 1 || a.Answer[0].Name != want {
				t.Errorf("%v: got %v %v", want, a.Rcode, a.Answer)
			}
		})
	}
	all.Wait()
}

// A family that this machine has no way to is told from a server that is down.
func TestExplain(t *testing.T) {
	wrapped := func(e error) error { return &net.OpError{Op: "dial", Net: "udp6", Err: e} }
	for err, want := range map[error]bool{
		wrapped(syscall.ENETUNREACH): true, wrapped(syscall.EADDRNOTAVAIL): true, wrapped(syscall.EAFNOSUPPORT): true,
		wrapped(syscall.ECONNREFUSED): false, wrapped(syscall.EHOSTUNREACH): false, io.EOF: false,
	} {
		if got := errors.Is(explain(err), iterate.ErrNoRoute); got != want {
			t.Errorf("%v: no route %v, want %v", err, got, want)
		}
	}
}

// BenchmarkResolve is uncached questions, 64 at a time, over real sockets, with
// the fake server in the same process.
func BenchmarkResolve(b *testing.B) {
	port, servers := listenAll(b, rootAt)
	servers[rootAt].set(func(q *dnswire.Message, _ bool) *dnswire.Message {
		if q.Question.Type == rdata.TypeNS {
			return &dnswire.Message{AA: true, Answer: []rdata.Record{ns(".", "a.root.")}, Additional: []rdata.Record{a("a.root.", rootAt)}}
		}
		r := a("www.test.", "192.0.2.1")
		r.Name = q.Question.Name
		return &dnswire.Message{AA: true, Answer: []rdata.Record{r}}
	})
	d := New(Config{Hints: []rdata.Record{ns(".", "a.root."), a("a.root.", rootAt)}, Port: port, Limits: iterate.Limits{ZoneRate: 1 << 30}})
	defer d.Close()
	slots := make(chan struct{}, 64)
	for i := 0; b.Loop(); i++ {
		slots <- struct{}{}
		d.Ask(dnsname.MustParse(fmt.Sprintf("n%d.test.", i)), rdata.TypeA, Options{}, func(got iterate.Answer) {
			if len(got.Answer) != 1 {
				b.Errorf("got %+v", got)
			}
			<-slots
		})
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
}
