package node

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/lab/tools"
)

// ednsSecret is the cookie secret of the servers in these tests.
const ednsSecret = "e5e973e5a6b2a43f48e7dc849e37bfcf"

// ednsCase is a line of ISC's EDNS compliance list, or what belongs there: a query
// for SOA, changed.
type ednsCase struct {
	name   string
	tcp    bool
	change func(m *dns.Msg)
	raw    func(wire []byte) []byte // nil: as packed
}

func withEDNS(change func(o *dns.OPT)) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.SetEdns0(4096, false)
		change(m.IsEdns0())
	}
}

func option(code uint16, data ...byte) func(*dns.Msg) {
	return withEDNS(func(o *dns.OPT) { o.Option = append(o.Option, &dns.EDNS0_LOCAL{Code: code, Data: data}) })
}

// without takes the question out of a packed query.
func withoutQuestion(wire []byte) []byte {
	at := 12
	for wire[at] != 0 {
		at += 1 + int(wire[at])
	}
	wire[5] = 0
	return append(wire[:12:12], wire[at+5:]...)
}

var clientCookie = []byte{1, 2, 3, 4, 5, 6, 7, 8}

var ednsCases = []ednsCase{
	{name: "dig +noedns", change: func(*dns.Msg) {}},
	{name: "dig +edns=0", change: withEDNS(func(*dns.OPT) {})},
	{name: "dig +edns=0 +bufsize=512", change: withEDNS(func(o *dns.OPT) { o.SetUDPSize(512) })},
	{name: "dig +edns=0 +bufsize=0", change: withEDNS(func(o *dns.OPT) { o.SetUDPSize(0) })},
	{name: "dig +edns=0 +dnssec", change: withEDNS(func(o *dns.OPT) { o.SetDo() })},
	{name: "dig +edns=0 +bufsize=512 +dnssec", change: withEDNS(func(o *dns.OPT) { o.SetUDPSize(512); o.SetDo() })},
	{name: "dig +edns=0 +ednsopt=100", change: option(100)},
	{name: "dig +edns=0 +ednsflags=0x80", change: withEDNS(func(o *dns.OPT) { o.Hdr.Ttl |= 0x80 })},
	{name: "dig +edns=0 +ednsflags=0x4000", change: withEDNS(func(o *dns.OPT) { o.Hdr.Ttl |= 0x4000 })},
	{name: "dig +edns=1", change: withEDNS(func(o *dns.OPT) { o.SetVersion(1) })},
	{name: "dig +edns=1 +ednsopt=100", change: func(m *dns.Msg) { option(100)(m); m.IsEdns0().SetVersion(1) }},
	{name: "dig +edns=1 +ednsflags=0x80", change: withEDNS(func(o *dns.OPT) { o.SetVersion(1); o.Hdr.Ttl |= 0x80 })},
	{name: "dig +edns=1 +dnssec", change: withEDNS(func(o *dns.OPT) { o.SetVersion(1); o.SetDo() })},
	{name: "dig +edns=1 +cookie", change: func(m *dns.Msg) { option(10, clientCookie...)(m); m.IsEdns0().SetVersion(1) }},
	{name: "dig +cookie", change: option(10, clientCookie...)},
	{name: "dig +cookie +tcp", tcp: true, change: option(10, clientCookie...)},
	{name: "dig +cookie, 7 octets", change: option(10, clientCookie[:7]...)},
	{name: "dig +cookie, 12 octets", change: option(10, make([]byte, 12)...)},
	{name: "dig +cookie, 41 octets", change: option(10, make([]byte, 41)...)},
	{name: "dig +cookie, a server cookie of nobody", change: option(10, make([]byte, 24)...)},
	{name: "dig +nsid", change: option(3)},
	{name: "dig +subnet=192.0.2.0/24", change: option(8, 0, 1, 24, 0, 192, 0, 2)},
	{name: "dig +expire", change: option(9)},
	{name: "dig +keepalive", change: option(11)},
	{name: "dig +keepalive +tcp", tcp: true, change: option(11)},
	{name: "dig +padding", change: option(12, 0, 0, 0)},
	{name: "dig +edns=0 +tcp", tcp: true, change: withEDNS(func(*dns.OPT) {})},
	{name: "dig +noedns +tcp", tcp: true, change: func(*dns.Msg) {}},
	{name: "dig +opcode=15", change: func(m *dns.Msg) { m.Opcode = 15 }},
	{name: "dig +opcode=15 +header-only", change: func(m *dns.Msg) { m.Opcode = 15 }, raw: withoutQuestion},
	{name: "dig +header-only", change: func(*dns.Msg) {}, raw: withoutQuestion},
	{name: "dig +header-only +edns=0", change: withEDNS(func(*dns.OPT) {}), raw: withoutQuestion},
	{name: "dig +header-only +cookie", change: option(10, clientCookie...), raw: withoutQuestion},
	{name: "dig +header-only +cookie +edns=1", change: func(m *dns.Msg) { option(10, clientCookie...)(m); m.IsEdns0().SetVersion(1) }, raw: withoutQuestion},
	{name: "dig +zflag", change: func(m *dns.Msg) { m.Zero = true }},
	{name: "dig +adflag", change: func(m *dns.Msg) { m.AuthenticatedData = true }},
	{name: "dig +cdflag", change: func(m *dns.Msg) { m.CheckingDisabled = true }},
	{name: "dig +recurse", change: func(m *dns.Msg) { m.RecursionDesired = true }},
	{name: "dig +aaflag", change: func(m *dns.Msg) { m.Authoritative = true }},
	{name: "dig +tcflag", change: func(m *dns.Msg) { m.Truncated = true }},
	{name: "dig +adflag +dnssec", change: func(m *dns.Msg) { m.AuthenticatedData = true; m.SetEdns0(4096, true) }},
	{name: "dig +edns=255", change: withEDNS(func(o *dns.OPT) { o.SetVersion(255) })},
	{name: "dig +edns=1 +tcp", tcp: true, change: withEDNS(func(o *dns.OPT) { o.SetVersion(1) })},
	{name: "dig +edns=0 +dnssec +tcp", tcp: true, change: withEDNS(func(o *dns.OPT) { o.SetDo() })},
	{name: "dig +edns=0 +ednsflags=0x7fff", change: withEDNS(func(o *dns.OPT) { o.Hdr.Ttl |= 0x7FFF })},
	{name: "dig +edns=0 +ednsopt=65535", change: option(65535, 1, 2, 3)},
	{name: "dig +nsid +expire +cookie +ednsopt=100", change: func(m *dns.Msg) {
		option(3)(m)
		for code, data := range map[uint16][]byte{9: nil, 10: clientCookie, 100: {1}} {
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: code, Data: data})
		}
	}},
	{name: "dig +edns=1 +opcode=15", change: func(m *dns.Msg) { m.Opcode = 15; m.SetEdns0(4096, false); m.IsEdns0().SetVersion(1) }},
	{name: "dig +opcode=1 (IQUERY)", change: func(m *dns.Msg) { m.Opcode = 1 }},
	{name: "dig +opcode=2 (STATUS)", change: func(m *dns.Msg) { m.Opcode = 2 }},
	{name: "dig +opcode=3", change: func(m *dns.Msg) { m.Opcode = 3; m.SetEdns0(4096, false) }},
	{name: "dig +opcode=6 (DSO)", tcp: true, change: func(m *dns.Msg) { m.Opcode = 6 }},
	{name: "dig +opcode=15 +tcp", tcp: true, change: func(m *dns.Msg) { m.Opcode = 15 }},
	{name: "two OPT records", change: func(m *dns.Msg) { m.SetEdns0(4096, false); m.Extra = append(m.Extra, m.Extra[0]) }},
	{name: "OPT in the answer section", change: func(m *dns.Msg) { m.SetEdns0(4096, false); m.Answer, m.Extra = m.Extra, nil }},
	{name: "an unknown type", change: func(m *dns.Msg) { m.Question[0].Qtype = 1000; m.SetEdns0(4096, false) }},
	{name: "an option longer than OPT", change: option(100, 1, 2, 3), raw: func(wire []byte) []byte { wire[len(wire)-4] = 9; return wire }},
}

// TestEDNSCompliance sends the list to BIND and to a node, which answer alike.
func TestEDNSCompliance(t *testing.T) {
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	n, _ := start(t, f.config(`zones: [{name: example.com, file: example.zone}]
dns: {nsid: interop, cookieSecret: `+ednsSecret+`, tcpIdle: 30s}`))
	bind := startBIND(t, filepath.Join(f.path, "example.zone"))
	for i, c := range ednsCases {
		m := new(dns.Msg).SetQuestion("example.com.", dns.TypeSOA)
		m.Id, m.RecursionDesired = uint16(i+1), false
		c.change(m)
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(c.name, err)
		}
		if c.raw != nil {
			wire = c.raw(wire)
		}
		got, want := shape(t, roundTrip(t, n.DNS()[0], c.tcp, wire)), shape(t, roundTrip(t, bind, c.tcp, wire))
		if got != want && ednsDivergences[c.name] == "" {
			t.Errorf("%s:\nwe   %s\nBIND %s", c.name, got, want)
		} else if got == want && ednsDivergences[c.name] != "" {
			t.Errorf("%s: no longer answered in another way than BIND does", c.name)
		}
	}
}

// ednsDivergences are the cases in which we answer in another way, and why.
var ednsDivergences = map[string]string{
	"dig +subnet=192.0.2.0/24":  "RFC 7871 §7.2.1: only a server whose answers depend on the network says so; BIND says that they do not",
	"OPT in the answer section": "the question of what is no query is not echoed",
}

// roundTrip sends a message and returns the response.
func roundTrip(t *testing.T, server netip.AddrPort, tcp bool, wire []byte) []byte {
	t.Helper()
	network := "udp"
	if tcp {
		network, wire = "tcp", append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)
	}
	conn, err := net.Dial(network, server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write(wire); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 65537)
	size, err := conn.Read(buf)
	if err != nil {
		t.Fatalf("%x: %v", wire, err)
	}
	if tcp {
		return buf[2:size]
	}
	return buf[:size]
}

// shape returns what is compared of a response: header, counts, OPT; of a server
// cookie that it verifies with the secret that both servers have is shown below.
func shape(t *testing.T, wire []byte) string {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		t.Fatalf("%x: %v", wire, err)
	}
	opt := "none"
	if o := m.IsEdns0(); o != nil {
		opt = fmt.Sprintf("version %d size %d flags %#x", o.Version(), o.UDPSize(), o.Hdr.Ttl&0xFFFF)
		slices.SortFunc(o.Option, func(a, b dns.EDNS0) int { return cmp.Compare(a.Option(), b.Option()) })
		for _, option := range o.Option {
			switch option := option.(type) {
			case *dns.EDNS0_COOKIE:
				opt += fmt.Sprintf(" cookie %s+%d", option.Cookie[:16], len(option.Cookie)/2-8)
			case *dns.EDNS0_EDE:
			default:
				opt += fmt.Sprintf(" option %d %s", option.Option(), option)
			}
		}
	}
	return fmt.Sprintf("%s opcode %d flags %#x questions %d answers %d; OPT %s", dns.RcodeToString[m.Rcode], m.Opcode,
		binary.BigEndian.Uint16(wire[2:])&0x87F0, len(m.Question), len(m.Answer), opt)
}

// TestCookieInterop: RFC 9018: each server accepts the other's cookies. BIND says so
// by giving a good one back as it was.
func TestCookieInterop(t *testing.T) {
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	n, _ := start(t, f.config(`zones: [{name: example.com, file: example.zone}]
dns: {cookieSecret: `+ednsSecret+`}`))
	bind := startBIND(t, filepath.Join(f.path, "example.zone"))
	for _, way := range []struct {
		name  string
		giver netip.AddrPort
		taker netip.AddrPort
	}{{"BIND's cookie at ours", bind, n.DNS()[0]}, {"our cookie at BIND", n.DNS()[0], bind}} {
		given := cookieFrom(t, way.giver, clientCookie)
		if len(given) != 24 || !bytes.Equal(given[:8], clientCookie) {
			t.Fatalf("%s: cookie %x", way.name, given)
		}
		if back := cookieFrom(t, way.taker, given); !bytes.Equal(back[8:12], given[8:12]) || !bytes.Equal(back[16:], given[16:]) && back[15] == given[15] {
			t.Errorf("%s: gave %x, got %x", way.name, given, back)
		}
	}
}

// cookieFrom asks with a cookie and returns the one in the answer.
func cookieFrom(t *testing.T, server netip.AddrPort, cookie []byte) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion("example.com.", dns.TypeSOA)
	option(10, cookie...)(m)
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	r := new(dns.Msg)
	if err := r.Unpack(roundTrip(t, server, false, wire)); err != nil {
		t.Fatal(err)
	}
	for _, o := range r.IsEdns0().Option {
		if c, ok := o.(*dns.EDNS0_COOKIE); ok {
			b, err := hex.DecodeString(c.Cookie)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	t.Fatalf("no cookie in %v", r)
	return nil
}

// startBIND starts named with the zone example.com until the test ends.
func startBIND(t *testing.T, zoneFile string) netip.AddrPort {
	t.Helper()
	program := tools.Path(t, "named")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "named.conf")
	text := fmt.Sprintf(`options {
    directory %q; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; }; pid-file none; session-keyfile none;
    recursion no; notify no; minimal-responses yes; dnssec-validation no; server-id "interop";
    answer-cookie yes; cookie-algorithm siphash24; cookie-secret %q; tcp-keepalive-timeout 300; tcp-advertised-timeout 300;
};
controls { };
zone "example.com" { type primary; file %q; };
`, dir, server.Port(), ednsSecret, zoneFile)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-f", "-n", "1", "-c", config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // ends with the process
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		if t.Failed() {
			t.Logf("named wrote:\n%s", output.String())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	eventually(t, func() string {
		m := new(dns.Msg).SetQuestion("example.com.", dns.TypeSOA)
		r, _, err := new(dns.Client).ExchangeContext(ctx, m, server.String())
		if err != nil || len(r.Answer) == 0 {
			return fmt.Sprintf("named does not answer: %v", err)
		}
		return ""
	})
	return server
}

// TestANY: RFC 8482 §4.1: over UDP one RRset, over TCP all.
func TestANY(t *testing.T) {
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	n, _ := start(t, f.config(`zones: [{name: example.com, file: example.zone}]`))
	for network, want := range map[string]int{"udp": 1, "tcp": 2} {
		m := new(dns.Msg).SetQuestion("example.com.", dns.TypeANY)
		r, _, err := (&dns.Client{Net: network}).Exchange(m, n.DNS()[0].String())
		if err != nil || len(r.Answer) != want {
			t.Errorf("%s: %v %v, want %d records", network, err, r, want)
		}
	}
}
