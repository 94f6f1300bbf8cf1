package dnsserver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"pharos/internal/dns/dnswire"
)

// put makes message i of b as if recvmmsg had received it.
func put(b *batch, i int, from netip.AddrPort, msg []byte) {
	b.in[i].len = uint32(copy(b.buf[i][:], msg))
	name := &b.names[i]
	if from.Addr().Is4() {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		*v4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: from.Addr().As4()}
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&v4.Port))[:], from.Port())
		b.in[i].hdr.Namelen = unix.SizeofSockaddrInet4
		return
	}
	*name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: from.Addr().As16()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&name.Port))[:], from.Port())
	b.in[i].hdr.Namelen = unix.SizeofSockaddrInet6
}

// out returns answer j of b.
func out(b *batch, j int) []byte {
	iov := b.out[j].hdr.Iov
	return unsafe.Slice(iov.Base, iov.Len)
}

// TestBatch: what is to be answered is, in order, each to its own client; the rest
// leaves no gap.
func TestBatch(t *testing.T) {
	s := listen(t, Config{})
	t.Cleanup(s.closeSockets)
	b := s.workers[0].batch
	response := query(t, 2, "www.example.", 0)
	response[2] |= 0x80
	put(b, 0, netip.MustParseAddrPort("192.0.2.1:1001"), query(t, 0, "a.example.", 0))
	put(b, 1, netip.MustParseAddrPort("192.0.2.1:0"), query(t, 1, "www.example.", 0))
	put(b, 2, netip.MustParseAddrPort("192.0.2.1:1002"), response)
	put(b, 3, netip.MustParseAddrPort("[2001:db8::3]:1003"), query(t, 3, "b.example.", 1232))
	put(b, 4, netip.MustParseAddrPort("192.0.2.1:1004"), query(t, 4, "drop.example.", 0))
	put(b, 5, netip.MustParseAddrPort("192.0.2.1:1005"), nil)
	put(b, 6, netip.MustParseAddrPort("192.0.2.1:1006"), query(t, 6, "c.example.", 0)[:20])
	put(b, 7, netip.MustParseAddrPort("192.0.2.1:1007"), query(t, 7, "d.example.", 0))
	b.in[7].len = 65000 // as the kernel says of a message it had to cut
	put(b, 8, netip.MustParseAddrPort("192.0.2.1:1008"), query(t, 8, "e.example.", 0))
	b.in[9].hdr.Namelen = 0 // as after shutdown(2)

	n := b.process(10)
	want := []struct {
		slot  int
		rcode int
	}{{0, 0}, {3, 0}, {6, dns.RcodeFormatError}, {7, dns.RcodeFormatError}, {8, 0}}
	if n != len(want) {
		t.Fatalf("got %d answers, want %d", n, len(want))
	}
	for j, w := range want {
		var m dns.Msg
		if err := m.Unpack(out(b, j)); err != nil {
			t.Fatal(err)
		}
		if int(m.Id) != w.slot || m.Rcode != w.rcode {
			t.Errorf("answer %d: got id %d, %v; want id %d, rcode %d", j, m.Id, m.Rcode, w.slot, w.rcode)
		}
		if b.out[j].hdr.Name != b.in[w.slot].hdr.Name || b.out[j].hdr.Namelen != b.in[w.slot].hdr.Namelen {
			t.Errorf("answer %d does not go to the client of query %d", j, w.slot)
		}
		if &out(b, j)[0] != &b.buf[w.slot][0] {
			t.Errorf("answer %d was not made in place", j)
		}
	}
	counts := b.responder.counts
	for c, want := range map[Counter]uint64{Queries: 9, Ignored: 3, Dropped: 1, Malformed: 2} {
		if got := counts.Of(c); got != want {
			t.Errorf("%v: got %d, want %d", c, got, want)
		}
	}
}

// TestNoAllocs: the work for a batch, everything but the two system calls.
func TestNoAllocs(t *testing.T) {
	s := listen(t, Config{Addresses: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:0"), loopback6}})
	t.Cleanup(s.closeSockets)
	for _, w := range s.workers {
		b, msg := w.batch, query(t, 1, "www.example.", 1232)
		bad := query(t, 1, "www.example.", 0)[:25]
		from := netip.AddrPortFrom(w.sock.local.Addr(), 4000)
		work := func() {
			for i := range batchSize {
				put(b, i, from, msg)
				if i%8 == 0 {
					put(b, i, from, bad)
				}
				setPktinfo(b, i)
			}
			b.responder.req.Now = time.Now()
			ready := b.process(batchSize)
			b.sent(0, ready)
			b.rearm(batchSize)
			w.shared.flush(&b.responder.counts)
		}
		if n := testing.AllocsPerRun(100, work); n != 0 {
			t.Errorf("%v: a batch allocates %v times", w.sock.local, n)
		}
		counts := s.Counts(UDP)
		if got := counts.Of(Answers); got == 0 || got%batchSize != 0 {
			t.Errorf("answers: got %d, want a multiple of %d", got, batchSize)
		}
	}
}

// setPktinfo writes the control message of a query to 127.0.0.1.
func setPktinfo(b *batch, i int) {
	if !b.sock.wildcard {
		return
	}
	cmsg := (*unix.Cmsghdr)(unsafe.Pointer(&b.control[i].data[0]))
	cmsg.Level, cmsg.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	cmsg.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&b.control[i].data[unix.CmsgLen(0)]))
	*info = unix.Inet4Pktinfo{Ifindex: 1, Spec_dst: [4]byte{127, 0, 0, 1}}
	b.in[i].hdr.SetControllen(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
}

// TestBurst: queries that wait in the socket are answered in batches, all of them.
func TestBurst(t *testing.T) {
	s := listen(t, Config{})
	c := dial(t, "udp", s.Addrs()[0])
	const count = 3*batchSize + 5
	for id := range uint16(count) {
		c.send(query(t, id, "www.example.", 0))
	}
	s.serve(t)
	for want := range uint16(count) {
		if got := c.next().Id; got != want {
			t.Fatalf("got the answer to %d, want %d", got, want)
		}
	}
	s.want(t, UDP, Queries, count)
	s.want(t, UDP, Answers, count)
}

// TestUnsendable: an answer the kernel refuses is left out; those behind it go.
func TestUnsendable(t *testing.T) {
	s := listen(t, Config{})
	t.Cleanup(s.closeSockets)
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback4))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	good := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	bad := netip.MustParseAddrPort("255.255.255.255:9") // EACCES without SO_BROADCAST

	w := s.workers[0]
	b := w.batch
	for i, to := range []netip.AddrPort{bad, good, bad, bad, good, bad} {
		put(b, i, to, query(t, uint16(i), "www.example.", 0))
	}
	w.send(b.process(6))
	w.shared.flush(&b.responder.counts)
	conn.SetReadDeadline(time.Now().Add(patience))
	for _, want := range []byte{1, 4} {
		buf := make([]byte, 1500)
		if _, err := conn.Read(buf); err != nil || buf[1] != want {
			t.Errorf("got answer %d, error %v; want answer %d", buf[1], err, want)
		}
	}
	s.want(t, UDP, Answers, 2)
	s.want(t, UDP, SendErrors, 4)
}

// TestSmallMTU: RFC 9715 §3.1: to an answer that is too long for the interface, and must
// not be fragmented, the client is told to ask over TCP. The others go. It runs itself in
// a network of its own.
func TestSmallMTU(t *testing.T) {
	if !inOwnNetwork(t, "link set lo up", "link set lo mtu 600") {
		return
	}
	s := start(t, Config{})
	c := dial(t, "udp", s.Addrs()[0])
	c.send(query(t, 1, "big.example.", 1232), query(t, 2, "www.example.", 1232), query(t, 3, "later.example.", 1232))
	d := <-s.deferred
	long := answerTo(d)
	if err := d.Send(append(long, make([]byte, 700)...)); err != nil {
		t.Error(err)
	}
	for range 3 {
		m := c.next()
		if wantTC := m.Id != 2; m.Truncated != wantTC || wantTC && len(m.Answer) > 0 || m.IsEdns0() == nil || len(m.Question) != 1 || !m.Response {
			t.Errorf("got %v, want TC %v", m, wantTC)
		}
	}
	s.want(t, UDP, SendErrors, 0)
	s.want(t, UDP, Truncated, 2)
}

// inOwnNetwork runs the test once more in a network namespace, and reports whether it is
// there already, with the network set up by commands of ip(8).
func inOwnNetwork(t *testing.T, commands ...string) bool {
	t.Helper()
	const inside = "PHAROS_TEST_NETWORK"
	if os.Getenv(inside) == "" {
		self := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		self.Env = append(os.Environ(), inside+"=1")
		self.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if out, err := self.CombinedOutput(); errors.Is(err, syscall.EPERM) {
			t.Skip("making a network namespace takes root")
		} else if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return false
	}
	for _, command := range commands {
		if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(command)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", command, err, out)
		}
	}
	return true
}

// TestWildcard: an answer leaves from the address its query came to, whatever
// address the machine would choose; clients take it from no other.
func TestWildcard(t *testing.T) {
	s := start(t, Config{UDPWorkers: 2, Addresses: []netip.AddrPort{
		netip.MustParseAddrPort("0.0.0.0:0"), netip.MustParseAddrPort("[::]:0"),
	}})
	v4, v6 := s.Addrs()[0].Port(), s.Addrs()[1].Port()
	for _, to := range []netip.AddrPort{
		netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), v4),
		netip.AddrPortFrom(netip.MustParseAddr("127.0.0.7"), v4),
		netip.AddrPortFrom(netip.MustParseAddr("127.9.8.7"), v4),
		netip.AddrPortFrom(netip.MustParseAddr("::1"), v6),
	} {
		for _, network := range []string{"udp", "tcp"} {
			c := dial(t, network, to) // connected: hears only this address
			c.send(query(t, 1, "later.example.", 0), query(t, 2, "www.example.", 0))
			if m := c.next(); m.Id != 2 {
				t.Errorf("%s %v: got %v", network, to, m)
			}
			d := <-s.deferred
			if d.Local() != to {
				t.Errorf("%s: local address: got %v, want %v", network, d.Local(), to)
			}
			if err := d.Send(answerTo(d)); err != nil {
				t.Error(err)
			}
			if m := c.next(); m.Id != 1 {
				t.Errorf("%s %v: got %v", network, to, m)
			}
		}
	}
	// [::] is for IPv6 alone: the same port is free for IPv4, or someone else's.
	if conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4zero, Port: int(v6)}); err == nil {
		conn.Close()
	} else if v4 != v6 {
		t.Errorf("port %d of IPv4: %v", v6, err)
	}
}

// TestWildcardIPv6 is TestWildcard with several IPv6 addresses, one of them of a
// link, for which it runs itself in a network of its own.
func TestWildcardIPv6(t *testing.T) {
	if !inOwnNetwork(t, "link set lo up", // nodad: no time in which the address cannot be sent from
		"addr add fd00::5/128 dev lo nodad", "addr add fd00::6/128 dev lo nodad", "addr add fe80::77/64 dev lo nodad") {
		return
	}
	s := start(t, Config{Addresses: []netip.AddrPort{netip.MustParseAddrPort("[::]:0")}})
	for _, host := range []string{"fd00::5", "fd00::6", "::1", "fe80::77%lo"} {
		addr := netip.MustParseAddr(host)
		waitUntil(t, "a route to "+host, func() bool { // a young network drops its first packets
			conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(addr, s.Addrs()[0].Port()).String(), 50*time.Millisecond)
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
		for _, network := range []string{"tcp", "udp"} {
			c := dial(t, network, netip.AddrPortFrom(addr, s.Addrs()[0].Port()))
			c.send(query(t, 1, "later.example.", 0), query(t, 2, "www.example.", 0))
			if m := c.next(); m.Id != 2 {
				t.Errorf("%s %s: got %v", network, host, m)
			}
			d := <-s.deferred
			if got, want := d.Local().Addr(), addr.WithZone(""); got != want {
				t.Errorf("%s %s: local address %v", network, host, got)
			}
			if err := d.Send(answerTo(d)); err != nil {
				t.Errorf("%s %s: %v", network, host, err)
			}
			c.next()
		}
	}
}

// FuzzBatch: whatever comes, what is answered is answered within the rules.
func FuzzBatch(f *testing.F) {
	s := listen(f, Config{})
	f.Cleanup(s.closeSockets)
	b := s.workers[0].batch
	mutations(query(f, 0, "big.example.", 1232), func(msg []byte) { f.Add(bytes.Clone(msg)) })
	from := netip.MustParseAddrPort("192.0.2.1:1001")
	f.Fuzz(func(t *testing.T, msg []byte) {
		msg = msg[:min(len(msg), slotSize)]
		put(b, 0, from, msg)
		for j := range b.process(1) {
			checkAnswer(t, msg, out(b, j), dnswire.MaxUDP)
		}
		for len(s.deferred) > 0 {
			(<-s.deferred).Drop()
		}
	})
}

// BenchmarkBatch is the work per query, everything but the two system calls.
func BenchmarkBatch(b *testing.B) {
	s := listen(b, Config{})
	b.Cleanup(s.closeSockets)
	w, msg := s.workers[0], query(b, 1, "www.example.", 1232)
	from := netip.MustParseAddrPort("192.0.2.1:1001")
	b.ReportAllocs()
	for done := 0; done < b.N; done += batchSize {
		for i := range batchSize {
			put(w.batch, i, from, msg)
		}
		w.batch.responder.req.Now = time.Now()
		w.batch.sent(0, w.batch.process(batchSize))
		w.batch.rearm(batchSize)
		w.shared.flush(&w.batch.responder.counts)
	}
}

// TestInterop: clients that others wrote, over both transports and families.
func TestInterop(t *testing.T) {
	s := start(t, Config{Addresses: []netip.AddrPort{loopback4, loopback6}, UDPWorkers: 2})
	for _, addr := range s.Addrs() {
		at := []string{"@" + addr.Addr().String(), "-p", netip.AddrPortFrom(addr.Addr(), addr.Port()).String()[strings.LastIndex(addr.String(), ":")+1:]}
		for _, tt := range []struct {
			program string
			args    []string
			want    string
		}{
			{"dig", []string{"+short", "www.example.", "A"}, "192.0.2.1\n"},
			{"dig", []string{"+short", "+tcp", "+keepopen", "a.example.", "A", "b.example.", "A"}, "192.0.2.1\n192.0.2.1\n"},
			{"kdig", []string{"+short", "www.example.", "A"}, "192.0.2.1\n"},
			{"kdig", []string{"+short", "+tcp", "+keepopen", "a.example.", "A", "b.example.", "A", "c.example.", "A"}, strings.Repeat("192.0.2.1\n", 3)},
			{"drill", []string{"-Q", "www.example.", "A"}, "192.0.2.1\n"},
		} {
			if _, err := exec.LookPath(tt.program); err != nil {
				missingPeer(t, tt.program)
				continue
			}
			args := append(append([]string{}, at...), tt.args...)
			got, err := exec.CommandContext(t.Context(), tt.program, args...).CombinedOutput()
			if err != nil || !strings.HasSuffix(string(got), tt.want) || strings.Count(string(got), "192.0.2.1") != strings.Count(tt.want, "192.0.2.1") {
				t.Errorf("%s %q: %v: got %q, want %q", tt.program, args, err, got, tt.want)
			}
		}
		// What does not fit over UDP, dig asks for again over TCP.
		if _, err := exec.LookPath("dig"); err == nil {
			got, err := exec.CommandContext(t.Context(), "dig", append(at, "+short", "big.example.", "TXT")...).CombinedOutput()
			if err != nil || strings.Count(string(got), strings.Repeat("x", 99)) != 500 {
				t.Errorf("dig of a large answer: %v: got %d octets", err, len(got))
			}
		}
	}
}

// TestExpect: what was received at once is shown before any of it is answered, each
// from its question on, whatever it is.
func TestExpect(t *testing.T) {
	var shown []string
	answered := 0
	s := listen(t, Config{
		Expect: func(questions [][]byte) {
			for _, q := range questions {
				shown = append(shown, string(q))
			}
			if answered > 0 {
				t.Error("a query was answered before the batch was shown")
			}
		},
		Handler: func(r *Request) Verdict { answered++; return Answered },
	})
	t.Cleanup(s.closeSockets)
	b := s.workers[0].batch
	messages := [][]byte{query(t, 1, "a.example.", 0), nil, {1, 2, 3}, make([]byte, dnswire.HeaderLen), query(t, 2, "b.example.", 1232)}
	for i, m := range messages {
		put(b, i, netip.MustParseAddrPort("192.0.2.1:1001"), m)
	}
	if b.process(len(messages)); answered != 2 {
		t.Errorf("%d queries answered, want 2", answered)
	}
	for i, m := range messages {
		if want := string(m[min(len(m), dnswire.HeaderLen):]); shown[i] != want {
			t.Errorf("message %d: shown %q, want %q", i, shown[i], want)
		}
	}
}
