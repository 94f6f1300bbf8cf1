package xfr

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/transfer"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/tsig"
	"pharos/internal/dns/zonefile"
)

const patience = 20 * time.Second

var (
	origin = dnsname.MustParse("example.")
	key    = &tsig.Key{Name: dnsname.MustParse("k."), Algorithm: tsig.HMACSHA256, Secret: []byte("secret of the two sides")}
	other  = &tsig.Key{Name: key.Name, Algorithm: key.Algorithm, Secret: []byte("secret of somebody else")}
)

func records(t testing.TB, text string) []rdata.Record {
	t.Helper()
	var all []rdata.Record
	for r, err := range zonefile.Read(strings.NewReader("$ORIGIN example.\n$TTL 60\n"+text), zonefile.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func parse(t testing.TB, serial uint32, lines ...string) *zone.Zone {
	t.Helper()
	text := fmt.Sprintf("@ SOA ns hostmaster %d 3600 600 86400 300\n@ NS ns\nns A 192.0.2.53\n%s\n", serial, strings.Join(lines, "\n"))
	z, problems := zone.Build(origin, slices.Values(records(t, text)))
	if z == nil {
		t.Fatal(problems)
	}
	return z
}

// primary is a server in the test that says what a test has it say.
type primary struct {
	t    *testing.T
	addr netip.AddrPort
	key  *tsig.Key

	mu       sync.Mutex // guards what follows
	zone     *zone.Zone
	before   *zone.Zone // IXFR from it is known
	notified []*dnswire.Message
	// lie changes what is said to a query over TCP. It writes to the connection
	// itself and reports true, or leaves it to the honest answer.
	lie func(conn net.Conn, q *dnswire.Query, s *tsig.Session) bool
	// asked are the types of the queries, in their order.
	asked []rdata.Type
}

// listen returns sockets of both kinds at one port. What is free for TCP others may have
// taken for UDP, so it tries some.
func listen(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	var last error
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		u, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			return l, u
		}
		l.Close()
		last = err
	}
	t.Fatal(last)
	return nil, nil
}

func newPrimary(t *testing.T, z *zone.Zone, k *tsig.Key) *primary {
	t.Helper()
	l, u := listen(t)
	p := &primary{t: t, addr: l.Addr().(*net.TCPAddr).AddrPort(), zone: z, key: k}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { defer conn.Close(); p.serve(conn) })
		}
	})
	served.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			q := new(dnswire.Query)
			if q.Parse(buf[:n]) == dnswire.Accept {
				p.answer(q, func(msg []byte) error { _, err := u.WriteTo(msg, from); return err }, nil)
			}
		}
	})
	t.Cleanup(func() { l.Close(); u.Close(); served.Wait() })
	return p
}

func send(conn net.Conn, msg []byte) error {
	_, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
	return err
}

func (p *primary) serve(conn net.Conn) {
	conn.SetDeadline(time.Now().Add(patience))
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return
	}
	msg := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, msg); err != nil {
		return
	}
	q := new(dnswire.Query)
	if q.Parse(msg) == dnswire.Accept {
		p.answer(q, func(msg []byte) error { return send(conn, msg) }, conn)
	}
	io.Copy(io.Discard, conn) // until the client is done
}

// answer says what an honest primary says, unless there is a lie.
func (p *primary) answer(q *dnswire.Query, send func([]byte) error, conn net.Conn) {
	p.mu.Lock()
	z, before, lie := p.zone, p.before, p.lie
	p.asked = append(p.asked, q.Type)
	if q.Opcode() == dnswire.OpcodeNotify {
		m, _ := dnswire.ParseMessage(q.Msg)
		p.notified = append(p.notified, m)
	}
	p.mu.Unlock()
	seal := func(msg []byte) []byte { return msg }
	var session *tsig.Session
	if q.TSIG != 0 && p.key != nil {
		session, _ = tsig.Verify(q.Msg, func(dnsname.Name) *tsig.Key { return p.key }, time.Now())
		seal = func(msg []byte) []byte { return session.Sign(bytes.Clone(msg), time.Now()) }
	}
	if conn != nil && lie != nil && lie(conn, q, session) {
		return
	}
	seq := transfer.Whole(z)
	switch {
	case q.Type == rdata.TypeSOA:
		seq = transfer.Current(z)
	case q.Type == rdata.TypeIXFR && before != nil:
		if d, ok := journal.Between(before, z, 1<<20); ok {
			seq = transfer.Differences(z, []*journal.Difference{d})
		}
	}
	for msg := range transfer.Messages(q, seq, 2000, nil) {
		if send(seal(msg)) != nil {
			return
		}
	}
}

func (p *primary) set(z, before *zone.Zone) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.zone, p.before = z, before
}

// secondary is a Secondaries with one zone, and what it published.
type secondary struct {
	*Secondaries
	folder    string
	published chan struct{}
	trouble   chan struct{}
}

func newSecondary(t *testing.T, folder string, limits Limits) *secondary {
	s := &secondary{folder: folder, published: make(chan struct{}, 1000), trouble: make(chan struct{}, 1000)}
	s.Secondaries = New(Config{
		Folder: folder, Turns: NewTurns(2, 2), Limits: limits, Log: slog.New(slog.DiscardHandler),
		Publish: func(dnsname.Name) { s.published <- struct{}{} },
		Trouble: func(dnsname.Name) { s.trouble <- struct{}{} },
	})
	t.Cleanup(s.Close)
	return s
}

func (s *secondary) follow(p *primary) {
	s.Set([]Zone{{Name: origin, Primaries: []Peer{{Address: p.addr, Key: p.key}}}})
}

func (s *secondary) waitFor(t *testing.T, c chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		st, _ := s.State(origin)
		t.Fatalf("nothing happened; state %+v", st)
	}
}

func text(z *zone.Zone) string {
	if z == nil {
		return ""
	}
	var b strings.Builder
	for r := range z.Records() {
		b.WriteString(r.String() + "\n")
	}
	return b.String()
}

// TestFollow: AXFR, then NOTIFY and IXFR, then a start from the copy; signed and
// unsigned.
func TestFollow(t *testing.T) {
	for _, k := range []*tsig.Key{nil, key} {
		one, two := parse(t, 1, "a A 192.0.2.1"), parse(t, 2, "b A 192.0.2.2")
		p := newPrimary(t, one, k)
		s := newSecondary(t, t.TempDir(), Limits{})
		if s.Version(origin) != nil {
			t.Error("a version out of nothing")
		}
		s.follow(p)
		s.waitFor(t, s.published)
		if got := s.Version(origin); text(got) != text(one) {
			t.Fatalf("got\n%s", text(got))
		}
		s.waitFor(t, s.trouble)
		s.Notified(origin, 1, true) // known: nothing happens
		p.set(two, one)
		s.Notified(origin, 2, true)
		s.waitFor(t, s.published)
		if got := s.Version(origin); text(got) != text(two) {
			t.Fatalf("got\n%s", text(got))
		}
		st, ok := s.State(origin)
		if !ok || st.Serial != 2 || st.Last.Form != transfer.Incremental || st.Problem != "" || st.Last.From != p.addr {
			t.Errorf("state %+v", st)
		}
		s.Close()
		again := newSecondary(t, s.folder, Limits{})
		if got := again.Version(origin); text(got) != text(two) {
			t.Errorf("the copy is\n%s", text(got))
		}
		again.follow(p)
		again.waitFor(t, again.trouble)
		if c := again.Counts(); c != (Counts{UpToDate: 1}) {
			t.Errorf("counts %+v", c)
		}
	}
}

// TestFallback: whatever is wrong with IXFR, AXFR brings the new version.
func TestFallback(t *testing.T) {
	one, two := parse(t, 1, "a A 192.0.2.1"), parse(t, 2, "b A 192.0.2.2")
	for name, lie := range map[string]func(q *dnswire.Query) []rdata.Record{
		"NOTIMP":            func(*dnswire.Query) []rdata.Record { return nil },
		"the new SOA alone": func(*dnswire.Query) []rdata.Record { return slices.Collect(transfer.Current(two)) },
		"deletes what is not there": func(*dnswire.Query) []rdata.Record {
			all := []rdata.Record{transfer.SOA(two), transfer.SOA(one)}
			all = append(all, records(t, "lost A 192.0.2.1\n")...)
			return append(all, transfer.SOA(two), transfer.SOA(two))
		},
	} {
		p := newPrimary(t, one, nil)
		s := newSecondary(t, t.TempDir(), Limits{})
		s.follow(p)
		s.waitFor(t, s.published)
		p.set(two, nil)
		p.mu.Lock()
		p.lie = func(conn net.Conn, q *dnswire.Query, _ *tsig.Session) bool {
			if q.Type != rdata.TypeIXFR {
				return false
			}
			m := &dnswire.Message{ID: q.ID(), QR: true, AA: true, Answer: lie(q)}
			if m.Answer == nil {
				m.Rcode = dnswire.RcodeNotImp
			}
			send(conn, m.Append(nil))
			return true
		}
		p.mu.Unlock()
		s.Refresh(origin, false)
		s.waitFor(t, s.published)
		if got := s.Version(origin); text(got) != text(two) {
			t.Errorf("%s: got\n%s", name, text(got))
		}
	}
}

// TestLyingPrimaries: whatever a primary sends, the version there is goes on being
// served and stays on disk, and the reason is shown.
func TestLyingPrimaries(t *testing.T) {
	good := parse(t, 5, "a A 192.0.2.1")
	next := slices.Collect(transfer.Whole(parse(t, 6, "b A 192.0.2.2")))
	soa := func(serial uint32) rdata.Record { return transfer.SOA(parse(t, serial)) }
	message := func(q *dnswire.Query, records ...rdata.Record) []byte {
		return (&dnswire.Message{ID: q.ID(), QR: true, AA: true, HasQuestion: true, Answer: records,
			Question: dnswire.Question{Name: q.Name.Clone(), Type: q.Type, Class: q.Class}}).Append(nil)
	}
	for _, tt := range []struct {
		name   string
		limits Limits
		lie    func(conn net.Conn, q *dnswire.Query, s *tsig.Session)
		want   string
	}{
		{"truncated transfer", Limits{}, func(c net.Conn, q *dnswire.Query, s *tsig.Session) {
			send(c, s.Sign(message(q, next[:3]...), time.Now()))
			c.Close()
		}, "the connection ended"},
		{"message cut within", Limits{}, func(c net.Conn, q *dnswire.Query, s *tsig.Session) {
			msg := s.Sign(message(q, next...), time.Now())
			c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg[:len(msg)/2]...))
			c.Close()
		}, "ended within a message"},
		{"endless transfer", Limits{Records: 5000}, func(c net.Conn, q *dnswire.Query, s *tsig.Session) {
			err := send(c, s.Sign(message(q, soa(6)), time.Now()))
			for i := 0; err == nil; i++ {
				err = send(c, s.Sign(message(q, records(t, fmt.Sprintf("n%d A 192.0.2.1\n", i))...), time.Now()))
			}
		}, "more than 5000 records"},
		{"endless octets", Limits{Octets: 1 << 20}, func(c net.Conn, q *dnswire.Query, s *tsig.Session) {
			big := rdata.Record{Name: origin, Type: 65280, Class: rdata.ClassIN, Data: make([]byte, 50000)}
			err := send(c, s.Sign(message(q, soa(6)), time.Now()))
			for err == nil {
				err = send(c, s.Sign(message(q, big), time.Now()))
			}
		}, "more than 1048576 octets"},
		{"slow drip", Limits{Time: 50 * time.Millisecond}, func(c net.Conn, q *dnswire.Query, s *tsig.Session) {
			send(c, s.Sign(message(q, soa(6)), time.Now()))
		}, "not at its end after 50ms"},
		{"out of zone", Limits{}, func(c net.Conn, q *dnswire.Query, s *tsig.Session) {
			bad := records(t, "victim.test. A 192.0.2.66\n")
			send(c, s.Sign(message(q, append([]rdata.Record{soa(6)}, append(bad, soa(6))...)...), time.Now()))
		}, "outside of the zone"},
		{"SOA mid-stream", Limits{}, func(c net.Conn, q *dnswire.Query, s *tsig.Session) {
			send(c, s.Sign(message(q, append(append([]rdata.Record{next[0]}, next[1:len(next)-1]...), soa(7), soa(6))...), time.Now()))
		}, "SOA record with serial"},
		{"no NS record", Limits{}, func(c net.Conn, q *dnswire.Query, s *tsig.Session) {
			send(c, s.Sign(message(q, soa(6), records(t, "a A 192.0.2.1\n")[0], soa(6)), time.Now()))
		}, "cannot be served"},
		{"serial that goes backwards", Limits{}, func(c net.Conn, q *dnswire.Query, s *tsig.Session) {
			send(c, s.Sign(message(q, slices.Collect(transfer.Whole(parse(t, 4, "b A 192.0.2.2")))...), time.Now()))
		}, "serials must go forward"},
		{"wrong id", Limits{}, func(c net.Conn, q *dnswire.Query, s *tsig.Session) {
			msg := message(q, next...)
			msg[0]++
			send(c, s.Sign(msg, time.Now()))
		}, "no answer to the request"},
		{"unsigned", Limits{}, func(c net.Conn, q *dnswire.Query, _ *tsig.Session) {
			send(c, message(q, next...))
		}, "not signed"},
		{"signed with another secret", Limits{}, func(c net.Conn, q *dnswire.Query, _ *tsig.Session) {
			_, wrong := tsig.Open(bytes.Clone(q.Msg[:q.QuestionEnd]), other, time.Now())
			send(c, wrong.Sign(message(q, next...), time.Now()))
		}, "BADSIG"},
		{"replay of an answer to another request", Limits{}, func(c net.Conn, q *dnswire.Query, _ *tsig.Session) {
			_, old := tsig.Open(bytes.Clone(q.Msg[:q.QuestionEnd]), key, time.Now().Add(-time.Minute))
			send(c, old.Sign(message(q, next...), time.Now()))
		}, "BADSIG"},
		{"a message of the stream twice", Limits{}, func(c net.Conn, q *dnswire.Query, s *tsig.Session) {
			first := s.Sign(message(q, next[:3]...), time.Now())
			send(c, first)
			send(c, first)
		}, "BADSIG"},
		{"unsigned end of a signed stream", Limits{}, func(c net.Conn, q *dnswire.Query, s *tsig.Session) {
			send(c, s.Sign(message(q, next[:3]...), time.Now()))
			send(c, message(q, next[3:]...))
		}, "not signed"},
		{"its clock is wrong", Limits{}, func(c net.Conn, q *dnswire.Query, s *tsig.Session) {
			send(c, s.Sign(message(q, next...), time.Now().Add(-time.Hour)))
		}, "BADTIME"},
		{"oversized record", Limits{}, func(c net.Conn, q *dnswire.Query, s *tsig.Session) {
			bad := rdata.Record{Name: origin, Type: rdata.TypeA, Class: rdata.ClassIN, Data: make([]byte, 60000)}
			send(c, s.Sign(message(q, soa(6), bad, soa(6)), time.Now()))
		}, "example. A"},
		{"oversized SVCB", Limits{}, func(c net.Conn, q *dnswire.Query, s *tsig.Session) {
			bad := rdata.Record{Name: origin, Type: rdata.TypeSVCB, Class: rdata.ClassIN, Data: append([]byte{0, 1, 0, 0, 1, 0xFF, 0xFF}, make([]byte, 50000)...)}
			send(c, s.Sign(message(q, soa(6), bad, soa(6)), time.Now()))
		}, "example. SVCB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPrimary(t, good, key)
			s := newSecondary(t, t.TempDir(), tt.limits)
			s.follow(p)
			s.waitFor(t, s.published)
			s.waitFor(t, s.trouble)
			copied, err := os.ReadFile(copyPath(s.folder, origin))
			if err != nil {
				t.Fatal(err)
			}
			p.mu.Lock()
			p.zone = parse(t, 6)
			p.lie = func(conn net.Conn, q *dnswire.Query, s *tsig.Session) bool { tt.lie(conn, q, s); return true }
			p.mu.Unlock()
			s.Refresh(origin, false)
			s.waitFor(t, s.trouble)
			st, _ := s.State(origin)
			if !strings.Contains(st.Problem, tt.want) || !st.Present || st.Failures != 1 {
				t.Errorf("problem %q, want %q; present %v, failures %d", st.Problem, tt.want, st.Present, st.Failures)
			}
			if got := s.Version(origin); text(got) != text(good) {
				t.Errorf("what is served has changed:\n%s", text(got))
			}
			if now, err := os.ReadFile(copyPath(s.folder, origin)); err != nil || !bytes.Equal(now, copied) {
				t.Errorf("the copy has changed: %v", err)
			}
		})
	}
}

// TestOlderPrimary: a serial that is behind ours is no confirmation; only force
// takes it.
func TestOlderPrimary(t *testing.T) {
	five, four := parse(t, 5), parse(t, 4, "b A 192.0.2.2")
	p := newPrimary(t, five, nil)
	s := newSecondary(t, t.TempDir(), Limits{})
	s.follow(p)
	s.waitFor(t, s.published)
	s.waitFor(t, s.trouble)
	p.set(four, nil)
	s.Refresh(origin, false)
	s.waitFor(t, s.trouble)
	if st, _ := s.State(origin); !strings.Contains(st.Problem, "--force") || st.Serial != 5 {
		t.Errorf("state %+v", st)
	}
	s.Refresh(origin, true)
	s.waitFor(t, s.published)
	if got := s.Version(origin); text(got) != text(four) {
		t.Errorf("got\n%s", text(got))
	}
}

// TestNextPrimary: one primary that is down, one that refuses, and a good one.
func TestNextPrimary(t *testing.T) {
	down := newPrimary(t, parse(t, 9), nil)
	down.mu.Lock()
	down.lie = func(c net.Conn, _ *dnswire.Query, _ *tsig.Session) bool { c.Close(); return true }
	down.mu.Unlock()
	good := newPrimary(t, parse(t, 1), nil)
	s := newSecondary(t, t.TempDir(), Limits{})
	s.Set([]Zone{{Name: origin, Primaries: []Peer{{Address: down.addr}, {Address: good.addr}}}})
	s.waitFor(t, s.published)
	if st, _ := s.State(origin); st.Last.From != good.addr || st.Serial != 1 {
		t.Errorf("state %+v", st)
	}
}

// TestDamagedCopy: every single changed octet and every cut of a copy is found,
// and the zone is transferred anew.
func TestDamagedCopy(t *testing.T) {
	folder := t.TempDir()
	z := parse(t, 1, "a A 192.0.2.1")
	if err := saveCopy(folder, z, time.Now(), nil, new(changeLog)); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(copyPath(folder, origin))
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		for _, damaged := range [][]byte{whole[:i], append(append(bytes.Clone(whole[:i]), whole[i]^0x40), whole[i+1:]...)} {
			if _, err := readCopy(bytes.NewReader(damaged), origin, int64(len(damaged)), nil, make([]byte, copyHeader)); err == nil {
				t.Fatalf("damage at octet %d is not seen", i)
			}
		}
	}
	if _, err := readCopy(bytes.NewReader(append(whole, 0)), origin, int64(len(whole)+1), nil, make([]byte, copyHeader)); err == nil {
		t.Error("an octet too many is not seen")
	}
	if err := os.WriteFile(copyPath(folder, origin), whole[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPrimary(t, z, nil)
	s := newSecondary(t, folder, Limits{})
	if s.Version(origin) != nil {
		t.Error("a damaged copy is served")
	}
	if st, _ := s.State(origin); !strings.Contains(st.Problem, "damaged") {
		t.Errorf("problem %q", st.Problem)
	}
	s.follow(p)
	s.waitFor(t, s.published)
	if got := s.Version(origin); text(got) != text(z) {
		t.Errorf("got\n%s", text(got))
	}
}

// TestExpiredCopy: RFC 1034 §4.3.5: what has expired while the node was away is
// not served.
func TestExpiredCopy(t *testing.T) {
	for _, tt := range []struct {
		age  time.Duration
		want bool
	}{{86399 * time.Second, true}, {86401 * time.Second, false}} {
		folder := t.TempDir()
		if err := saveCopy(folder, parse(t, 1), time.Now().Add(-tt.age), nil, new(changeLog)); err != nil {
			t.Fatal(err)
		}
		if got := newSecondary(t, folder, Limits{}).Version(origin) != nil; got != tt.want {
			t.Errorf("age %v: served %v, want %v", tt.age, got, tt.want)
		}
	}
}

// TestZoneTooLarge: a zone that comes whole may have only so many records; the first that
// is too many ends the transfer.
func TestZoneTooLarge(t *testing.T) {
	p := newPrimary(t, parse(t, 1, "a A 192.0.2.1", "b A 192.0.2.1"), nil) // with SOA, NS and its address five
	for records, want := range map[int]string{5: "", 4: "a zone of more than 4 records; raise zones[].gate.maxRecords"} {
		s := newSecondary(t, t.TempDir(), Limits{})
		s.Set([]Zone{{Name: origin, Primaries: []Peer{{Address: p.addr}}, Records: records}})
		s.waitFor(t, s.trouble)
		st, _ := s.State(origin)
		if st.Present != (want == "") || !strings.Contains(st.Problem, want) {
			t.Errorf("limit %d: %+v", records, st)
		}
	}
}

// TestTurns: a primary that says nothing takes its share of the turns and no more, so
// that zones of another one come in meanwhile; what waits is counted.
func TestTurns(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip(err)
	}
	defer silent.Close()
	good := newPrimary(t, parse(t, 1, "a A 192.0.2.1"), nil)
	s := newSecondary(t, t.TempDir(), Limits{})
	s.config.Turns = NewTurns(3, 2)
	zones := []Zone{}
	for i := range 6 {
		zones = append(zones, Zone{Name: dnsname.MustParse(fmt.Sprintf("silent%d.test.", i)), Primaries: []Peer{{Address: silent.Addr().(*net.TCPAddr).AddrPort()}}})
	}
	s.Set(zones)
	for deadline := time.Now().Add(patience); ; {
		taken, waiting := s.config.Turns.Counts()
		if taken == 2 && waiting == 4 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d turns taken, %d wait; want 2 and 4", taken, waiting)
		}
		runtime.Gosched()
	}
	s.Set(append(zones, Zone{Name: origin, Primaries: []Peer{{Address: good.addr}}}))
	s.waitFor(t, s.published)
	if st, _ := s.State(origin); !st.Present {
		t.Errorf("%+v", st)
	}
	s.Close()
	if taken, waiting := s.config.Turns.Counts(); taken != 0 || waiting != 0 || len(s.config.Turns.servers) != 0 {
		t.Errorf("left over: %d, %d, %v", taken, waiting, s.config.Turns.servers)
	}
}

// TestDiskFull: a version that cannot be kept is not published.
func TestDiskFull(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "zones")
	if err := os.WriteFile(folder, nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	s := newSecondary(t, folder, Limits{})
	s.follow(newPrimary(t, parse(t, 1), nil))
	s.waitFor(t, s.trouble)
	if st, _ := s.State(origin); st.Present || !strings.Contains(st.Problem, "cannot be kept") {
		t.Errorf("state %+v", st)
	}
}

// TestNotifier: a server that answers late is told again until it does; a newer
// notice takes the place of the older.
func TestNotifier(t *testing.T) {
	p := newPrimary(t, parse(t, 1), key)
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	trouble := make(chan struct{}, 100)
	n := NewNotifier(slog.New(slog.DiscardHandler), func(dnsname.Name) { trouble <- struct{}{} })
	defer n.Close()
	quiet := silent.LocalAddr().(*net.UDPAddr).AddrPort()
	n.Announce(transfer.SOA(parse(t, 1)), []Peer{{Address: p.addr, Key: key}, {Address: quiet}})
	<-trouble
	n.Announce(transfer.SOA(parse(t, 2)), []Peer{{Address: p.addr, Key: key}, {Address: quiet}})
	<-trouble
	p.mu.Lock()
	told := p.notified
	p.mu.Unlock()
	if len(told) != 2 || told[1].Opcode != dnswire.OpcodeNotify || !told[1].AA || transfer.SerialOf(told[1].Answer[0]) != 2 {
		t.Errorf("the server was told %v", told)
	}
	for _, notice := range n.Notices(origin) {
		if notice.Serial != 2 || notice.Done != (notice.To == p.addr) || notice.Error != "" && notice.Done {
			t.Errorf("notice %+v", notice)
		}
	}
	n.Forget(origin)
	if left := n.Notices(origin); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

// TestForgedAnswers: RFC 5452 §3: datagrams with another id, and those that are
// not signed as they must be, are passed over until the right one comes.
func TestForgedAnswers(t *testing.T) {
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		n, from, err := u.ReadFrom(buf)
		if err != nil {
			return
		}
		q := new(dnswire.Query)
		q.Parse(buf[:n])
		session, _ := tsig.Verify(q.Msg, func(dnsname.Name) *tsig.Key { return key }, time.Now())
		say := func(serial uint32) []byte {
			for msg := range transfer.Messages(q, transfer.Current(parse(t, serial)), 512, nil) {
				return bytes.Clone(msg)
			}
			return nil
		}
		wrongID := say(66)
		wrongID[0]++
		u.WriteTo(wrongID, from)
		u.WriteTo(say(67), from) // unsigned
		u.WriteTo([]byte("junk"), from)
		u.WriteTo(session.Sign(say(7), time.Now()), from)
	}()
	serial, err := Serial(context.Background(), Peer{Address: u.LocalAddr().(*net.UDPAddr).AddrPort(), Key: key}, origin)
	if err != nil || serial != 7 {
		t.Errorf("serial %d, %v", serial, err)
	}
	<-done
}

// FuzzReadCopy: no file makes the reader panic or use memory beyond the file.
func FuzzReadCopy(f *testing.F) {
	folder := f.TempDir()
	if err := saveCopy(folder, parse(f, 1, "a A 192.0.2.1"), time.Now(), nil, new(changeLog)); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(copyPath(folder, origin))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, in []byte) {
		z, err := readCopy(bytes.NewReader(in), origin, int64(len(in)), nil, make([]byte, copyHeader))
		if (z == nil) == (err == nil) {
			t.Fatalf("zone %v, error %v", z, err)
		}
	})
}

// TestExpireIn: RFC 7314 §3.2: the option of a response; in a query it is empty.
func TestExpireIn(t *testing.T) {
	for _, tt := range []struct {
		options []byte
		want    time.Duration
	}{
		{nil, -1}, {[]byte{0, 9, 0, 0}, -1}, {[]byte{0, 9, 0, 4, 0, 0, 1, 0}, 256 * time.Second},
		{[]byte{0, 3, 0, 1, 'x', 0, 9, 0, 4, 0, 0, 0, 7}, 7 * time.Second}, {[]byte{0, 9, 0, 3, 0, 0, 1}, -1},
	} {
		if got := expireIn(&dnswire.Message{EDNS: dnswire.EDNS{Present: true, Options: tt.options}}); got != tt.want {
			t.Errorf("%x: %v, want %v", tt.options, got, tt.want)
		}
	}
	z := parse(t, 1)
	expire := soaOf(z).Expire
	for left, want := range map[time.Duration]time.Duration{-1: 0, expire: 0, expire - time.Hour: time.Hour, expire + time.Hour: 0} {
		if got := ageOf(Result{Zone: z, Expires: left}); got != want {
			t.Errorf("%v left: age %v, want %v", left, got, want)
		}
	}
}
