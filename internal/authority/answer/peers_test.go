package answer

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnswire"
	"pharos/lab/peers"
	"pharos/lab/tools"
)

// peerZone is a signed zone as a file that peers serve.
type peerZone struct {
	origin, text, file string
	name               func() string // a random name of the zone
}

// peerServer is another server of the same zones on the loopback.
type peerServer struct {
	name    string
	program string
	config  func(dir string, port int, zones []peerZone) string
	args    []string
}

var peerServers = []peerServer{
	{"Knot", "knotd", knotConfig, []string{"-c"}},
	{"NSD", "nsd", nsdConfig, []string{"-d", "-c"}},
	{"BIND", "named", bindConfig, []string{"-f", "-n", "1", "-c"}},
}

func knotConfig(dir string, port int, zones []peerZone) string {
	var b strings.Builder
	fmt.Fprintf(&b, "server:\n    rundir: %q\n    listen: 127.0.0.1@%d\n    tcp-workers: 1\n    udp-workers: 1\n    tcp-reuseport: off\n    tcp-idle-timeout: 3600\n    tcp-io-timeout: 0\ndatabase:\n    storage: %q\n", dir, port, dir)
	b.WriteString("template:\n  - id: default\n    journal-content: none\n    zonefile-sync: -1\n    semantic-checks: off\nzone:\n")
	for _, z := range zones {
		fmt.Fprintf(&b, "  - domain: %q\n    file: %q\n", z.origin, z.file)
	}
	return b.String()
}

func nsdConfig(dir string, port int, zones []peerZone) string {
	var b strings.Builder
	fmt.Fprintf(&b, `server:
    server-count: 1
    ip-address: 127.0.0.1@%[2]d
    do-ip6: no
    username: ""
    zonesdir: %[1]q
    pidfile: "%[1]s/nsd.pid"
    zonelistfile: "%[1]s/zone.list"
    xfrdfile: "%[1]s/xfrd.state"
    xfrdir: %[1]q
    database: ""
    minimal-responses: yes
    rrl-ratelimit: 0
    tcp-query-count: 0
    tcp-timeout: 3600
remote-control:
    control-enable: no
`, dir, port)
	for _, z := range zones {
		fmt.Fprintf(&b, "zone:\n    name: %q\n    zonefile: %q\n", z.origin, z.file)
	}
	return b.String()
}

func bindConfig(dir string, port int, zones []peerZone) string {
	var b strings.Builder
	fmt.Fprintf(&b, `options {
    directory %[1]q;
    listen-on port %[2]d { 127.0.0.1; };
    listen-on-v6 { none; };
    pid-file "%[1]s/named.pid";
    session-keyfile none;
    recursion no;
    notify no;
    minimal-responses yes;
    dnssec-validation no;
    zero-no-soa-ttl no;
    tcp-initial-timeout 1200;
    tcp-idle-timeout 1200;
};
controls { };
`, dir, port)
	for _, z := range zones {
		fmt.Fprintf(&b, "zone %q { type primary; file %q; check-names ignore; check-integrity no; };\n", z.origin, z.file)
	}
	return b.String()
}

// peerPatience is how long a peer may take to start, and to answer.
const peerPatience = 30 * time.Second

// start starts the peer, which ends with the test, and returns a connection to it
// once it answers for the zones to wait for.
func (p peerServer) start(t *testing.T, zones, wait []peerZone) *dns.Conn {
	t.Helper()
	program, dir := tools.Path(t, p.program), t.TempDir()
	port := freePort(t)
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, []byte(p.config(dir, port, zones)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append(append([]string{}, p.args...), file)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
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
			t.Logf("%s wrote:\n%s", p.name, output.String())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), peerPatience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn := p.ready(port, wait); conn != nil {
			return conn
		}
		select {
		case <-ended:
			t.Fatalf("%s ended before it answered", p.name)
		case <-ctx.Done():
			t.Fatalf("%s does not answer", p.name)
		case <-tick.C:
		}
	}
}

// ready returns a connection if the peer has the zones.
func (p peerServer) ready(port int, zones []peerZone) *dns.Conn {
	conn, err := dns.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return nil
	}
	for _, z := range zones {
		m := new(dns.Msg).SetQuestion(z.origin, dns.TypeSOA)
		m.RecursionDesired = false
		if r, err := exchange(conn, m); err != nil || len(r.Answer) == 0 {
			conn.Close()
			return nil
		}
	}
	return conn
}

func exchange(conn *dns.Conn, m *dns.Msg) (*dns.Msg, error) {
	if err := conn.SetDeadline(time.Now().Add(peerPatience)); err != nil {
		return nil, err
	}
	if err := conn.WriteMsg(m); err != nil {
		return nil, err
	}
	return conn.ReadMsg()
}

func freePort(t *testing.T) int {
	t.Helper()
	addr, err := peers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return int(addr.Port())
}

// settle returns why two responses that differ are both right, or why the peer's is
// wrong; "" if nothing says so. Ours must be proved.
func settle(v *verifier, ours, theirs *dns.Msg) string {
	q := ours.Question[0]
	if _, err := v.verify(ours, q.Qtype); err != nil {
		if ours.Rcode == dns.RcodeNameError && theirs.Rcode == dns.RcodeNameError && isBesideHiddenName(ours) {
			// Settled by RFC 5155 §7.1: an empty non-terminal that is there because of a
			// delegation without DS needs no NSEC3 record under opt-out. If the wildcard at the
			// name above it is in the chain, nothing proves that a name below is not there: BIND
			// and we add what denies its closest encloser, NSD another part, Knot nothing.
			return "RFC 5155 §7.1: an empty non-terminal that the chain does not have, beside a wildcard that it has"
		}
		return ""
	}
	_, err := v.verify(theirs, q.Qtype)
	plain := showSecure(withoutDNSSEC(ours, q.Qtype)) == showSecure(withoutDNSSEC(theirs, q.Qtype))
	switch {
	case plain && err != nil:
		// Settled by RFC 4035 §3.1.3.4: a response made from a wildcard, or denied beside
		// one, proves that nothing nearer exists (RFC 5155 §7.2.5 likewise). Where the
		// wildcard is an empty non-terminal, all three leave a part of it out at times.
		return "RFC 4035 §3.1.3.4: a proof is missing there: the wildcard is an empty non-terminal"
	case plain:
		// Settled by RFC 5155 §7.2.1: under opt-out, several NSEC3 records may prove the
		// same, and NSD and we choose differently; both responses are proved. So it is with
		// names that begin with * (RFC 4592 §2.1.1).
		return "RFC 5155 §7.2.1: both responses are proved, by other records"
	case theirs.Rcode == dns.RcodeNameError && !theirs.Authoritative && len(theirs.Answer)+len(theirs.Ns) == 0:
		// Settled by RFC 5155 §7.2.2: a denial has an SOA record and the proof of the closest
		// provable encloser. Knot answers NXDOMAIN with nothing when an empty non-terminal
		// above the name has no NSEC3 because of opt-out.
		return "RFC 5155 §7.2.2: the denial there is empty"
	case q.Qtype == dns.TypeNSEC && !ours.Authoritative && theirs.Authoritative:
		return "RFC 4035 §3.1.4.1: NSEC at a zone cut"
	case q.Qtype == dns.TypeNSEC && len(ours.Answer) > 0 && ours.Answer[0].Header().Rrtype == dns.TypeCNAME && len(theirs.Answer) == 0:
		return "RFC 1034 §4.3.2: an alias is followed, for NSEC too"
	}
	return ""
}

// isBesideHiddenName reports whether the NSEC3 records of a denial match the wildcard at
// the closest encloser that they show: the true one is a name that they do not have.
func isBesideHiddenName(m *dns.Msg) bool {
	var chain []*dns.NSEC3
	for _, rr := range m.Ns {
		if n, ok := rr.(*dns.NSEC3); ok {
			chain = append(chain, n)
		}
	}
	matches := func(name string) bool {
		return slices.ContainsFunc(chain, func(n *dns.NSEC3) bool { return n.Match(name) })
	}
	name := strings.ToLower(m.Question[0].Name)
	for at, end := 0, false; !end; at, end = dns.NextLabel(name, at) {
		if at > 0 && matches(name[at:]) {
			return matches("*." + name[at:])
		}
	}
	return false
}

// TestPeersDNSSEC asks Knot, NSD and BIND and us the same questions with DO=1 about
// zones signed in every way, and compares the responses section by section.
func TestPeersDNSSEC(t *testing.T) {
	for _, p := range peerServers {
		tools.Need(t, p.program)
	}
	rnd := rand.New(rand.NewPCG(11, 12))
	dir := t.TempDir()
	var zones []peerZone
	for i := range 2 * len(signings) {
		origin := fmt.Sprintf("z%d.test.", i)
		plain, name := randomSignable(rnd, origin)
		z := peerZone{origin: origin, text: newSigner(t, signings[i%len(signings)], origin).sign(t, plain), name: name}
		z.file = filepath.Join(dir, origin+"zone")
		if err := os.WriteFile(z.file, []byte(z.text), 0o644); err != nil {
			t.Fatal(err)
		}
		zones = append(zones, z)
	}
	for _, p := range peerServers {
		conn := p.start(t, zones, zones)
		t.Run(p.name, func(t *testing.T) { comparePeer(t, p.name, conn, zones) })
		conn.Close()
	}
}

func comparePeer(t *testing.T, peer string, conn *dns.Conn, zones []peerZone) {
	rnd := rand.New(rand.NewPCG(13, 14))
	types := []uint16{dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeNS, dns.TypeDS, dns.TypeMX, dns.TypeCNAME, dns.TypeTXT, dns.TypeSOA, dns.TypeDNSKEY, dns.TypeNSEC, dns.TypeNSEC3PARAM}
	equal, settled, failed := 0, map[string]int{}, 0
	for _, z := range zones {
		ours, v := buildZone(t, z.origin, z.text), newVerifier(z.origin, records(t, z.text))
		for range 300 {
			qname, qtype := z.name(), types[rnd.IntN(len(types))]
			if rnd.IntN(3) == 0 {
				qname = "x" + qname
			}
			if !dns.IsSubDomain(z.origin, qname) {
				continue
			}
			m := new(dns.Msg).SetQuestion(qname, qtype)
			m.RecursionDesired = false
			m.SetEdns0(4096, true)
			theirs, err := exchange(conn, m)
			if err != nil {
				t.Fatal(err)
			}
			mine := askSecure(t, ours, qname, qtype, dnswire.MaxMessage)
			got, want := showSecure(mine), showSecure(theirs)
			if got == want {
				equal++
			} else if reason := settle(v, mine, theirs); reason != "" {
				settled[reason]++
			} else if failed++; failed <= 10 {
				t.Errorf("%s %s, - only here, + only there:\n%s", qname, dns.TypeToString[qtype], diffLines(got, want))
			}
		}
	}
	t.Logf("%d equal, %d different, settled: %v", equal, failed, settled)
}

// diffLines returns the lines that only one of two texts has.
func diffLines(ours, theirs string) string {
	a, b := strings.Split(ours, "\n"), strings.Split(theirs, "\n")
	var lines []string
	for _, line := range a {
		if !slices.Contains(b, line) {
			lines = append(lines, "- "+line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			lines = append(lines, "+ "+line)
		}
	}
	return strings.Join(lines, "\n")
}

// showSecure is show without OPT and in lower case, each record once.
func showSecure(m *dns.Msg) string {
	m = m.Copy()
	for i, rr := range m.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			m.Extra = append(m.Extra[:i:i], m.Extra[i+1:]...)
			break
		}
	}
	lines := strings.Split(strings.ToLower(show(m)), "\n")
	slices.Sort(lines[1:]) // as BIND may send a denial twice, in different case
	return strings.Join(slices.Compact(lines), "\n")
}

// TestPeersRoot asks the same of the signed root zone of 2020.
func TestPeersRoot(t *testing.T) {
	for _, p := range peerServers {
		tools.Need(t, p.program)
	}
	zr, err := gzip.NewReader(openShared(t, "data/root-2020-10-19-signed.zone.gz"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	z := peerZone{origin: ".", text: string(text), file: filepath.Join(t.TempDir(), "root.zone")}
	if err := os.WriteFile(z.file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	var owners []string
	for _, rr := range records(t, z.text) {
		owners = append(owners, rr.Header().Name)
	}
	rnd := rand.New(rand.NewPCG(17, 18))
	z.name = func() string {
		switch name := owners[rnd.IntN(len(owners))]; rnd.IntN(3) {
		case 0:
			return name
		case 1:
			return dns.Fqdn(strings.TrimSuffix("www.example."+name, ".")) // below it
		default:
			return dns.Fqdn(string(rune('a'+rnd.IntN(26))) + strings.TrimPrefix(name, "."))
		}
	}
	for _, p := range peerServers {
		conn := p.start(t, []peerZone{z}, []peerZone{z})
		t.Run(p.name, func(t *testing.T) { comparePeer(t, p.name, conn, []peerZone{z, z, z}) })
		conn.Close()
	}
}
