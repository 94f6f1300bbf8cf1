package judges

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/rdata"
	"pharos/internal/node"
	"pharos/lab/peers"
	"pharos/lab/simnet"
	"pharos/lab/tools"
)

// all asks every question of every zone; without it a sample is asked.
const all = "PHAROS_JUDGES"

// judge is a validating resolver that is asked, at an address of its own.
type judge struct {
	name   string
	kind   peers.Kind
	at     netip.AddrPort
	config func(folder, hints, anchor string, at netip.AddrPort) string
}

var judgesOf = []judge{
	{"Unbound", peers.Unbound, netip.MustParseAddrPort("127.0.0.61:53"), unboundConfig},
	{"BIND", peers.Named, netip.MustParseAddrPort("127.0.0.62:53"), namedConfig},
	{"Knot Resolver", peers.Kresd, netip.MustParseAddrPort("127.0.0.63:53"), kresdConfig},
}

var oursAt = netip.MustParseAddrPort("127.0.0.60:53")

func unboundConfig(folder, hints, anchor string, at netip.AddrPort) string {
	return fmt.Sprintf(`server:
  interface: %s
  do-ip6: no
  username: ""
  chroot: ""
  directory: %q
  pidfile: ""
  use-syslog: no
  root-hints: %q
  trust-anchor-file: %q
  do-not-query-localhost: no
  access-control: 127.0.0.0/8 allow
  module-config: "validator iterator"
  ede: yes
  num-threads: 1
remote-control:
  control-enable: no
`, at.Addr(), folder, hints, anchor)
}

func namedConfig(folder, hints, anchor string, at netip.AddrPort) string {
	text, err := os.ReadFile(anchor)
	if err != nil {
		panic(err)
	}
	f := strings.Fields(string(text)) // . IN DS tag algorithm digest-type digest
	return fmt.Sprintf(`options {
  directory %q; pid-file none; session-keyfile none; lock-file none;
  listen-on port 53 { %s; }; listen-on-v6 { none; };
  recursion yes; allow-query { any; }; dnssec-validation yes; empty-zones-enable no; minimal-responses yes;
  managed-keys-directory %q; max-recursion-queries 200; max-cache-size 64M; servfail-ttl 0;
};
trust-anchors { "." static-ds %s %s %s "%s"; };
controls { };
zone "." { type hint; file %q; };
`, folder, at.Addr(), folder, f[3], f[4], f[5], strings.Join(f[6:], ""), hints)
}

func kresdConfig(folder, hints, anchor string, at netip.AddrPort) string {
	return fmt.Sprintf(`net.listen('%s', 53)
net.ipv6 = false
option('ALLOW_LOCAL', true)
for _, m in ipairs({'ta_update', 'ta_signal_query', 'priming', 'detect_time_skew'}) do modules.unload(m) end
modules.load('hints > iterate')
hints.root_file('%s')
trust_anchors.remove('.')
trust_anchors.add_file('%s', true)
cache.open(50*MB, 'lmdb://%s')
option('NO_0X20', true)
`, at.Addr(), hints, anchor, folder)
}

// serve answers from the tree on real sockets until the test ends.
func serve(t *testing.T, tree *Tree) {
	t.Helper()
	for _, at := range Servers {
		var mu sync.Mutex // the servers of a simulated network belong to one goroutine
		udp, tcp := tree.Server(at)
		locked := func(serve simnet.Server) dns.HandlerFunc {
			return func(w dns.ResponseWriter, m *dns.Msg) {
				query, err := m.Pack()
				if err != nil {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				for _, reply := range serve(time.Now(), query, netip.AddrPort{}) {
					w.Write(reply)
				}
			}
		}
		addr := netip.AddrPortFrom(at, 53).String()
		pc, err := net.ListenPacket("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*dns.Server{{PacketConn: pc, Handler: locked(udp)}, {Listener: l, Handler: locked(tcp)}} {
			go s.ActivateAndServe() // ended by Shutdown
			t.Cleanup(func() { s.Shutdown() })
		}
	}
}

// verdict is what a resolver said, as far as it is compared.
func verdict(server netip.AddrPort, q Question) string {
	m := new(dns.Msg).SetQuestion(q.Name.String(), uint16(q.Type)).SetEdns0(4096, true)
	for try := range 3 {
		c := &dns.Client{Net: "tcp", Timeout: 10 * time.Second}
		r, _, err := c.Exchange(m, server.String())
		if err != nil {
			if try == 2 {
				return err.Error()
			}
			continue
		}
		if r.Rcode == dns.RcodeServerFailure {
			return "SERVFAIL"
		}
		var answer []string
		for _, rr := range r.Answer {
			if rr.Header().Rrtype != dns.TypeRRSIG {
				answer = append(answer, strings.ToLower(rr.Header().Name+" "+dns.TypeToString[rr.Header().Rrtype]+" "+strings.Join(strings.Fields(rr.String())[4:], " ")))
			}
		}
		slices.Sort(answer)
		ad := "no AD"
		if r.AuthenticatedData {
			ad = "AD"
		}
		return fmt.Sprintf("%s, %s, %d records %08x", dns.RcodeToString[r.Rcode], ad, len(answer), hash(answer))
	}
	return ""
}

func hash(lines []string) (h uint32) {
	for _, c := range strings.Join(lines, "\n") {
		h = h*16777619 ^ uint32(c)
	}
	return h
}

// TestJudges: Unbound, BIND and Knot Resolver, each with the tree's anchor, come to the
// same answers as we do, but for what is listed with its reason; delv and drill, who
// validate for themselves, agree with our AD.
func TestJudges(t *testing.T) {
	if !peers.Installed("unbound", "named", "kresd", "delv", "drill", "ip") {
		if os.Getenv("PHAROS_REQUIRE_PEERS") != "" {
			t.Fatal("unbound, named, kresd, delv, drill or ip is not installed")
		}
		t.Skip("unbound, named, kresd, delv, drill or ip is not installed")
	}
	if !tools.InOwnNetwork(t, "addr add 127.0.0.62/32 dev lo") { // BIND listens on what an interface has
		return
	}
	tree := grow(t, time.Now())
	serve(t, tree)
	folder := t.TempDir()
	hints, anchor := filepath.Join(folder, "hints"), filepath.Join(folder, "anchor")
	var text strings.Builder
	for _, r := range tree.Hints() {
		fmt.Fprintf(&text, "%v 3600000 IN %v %s\n", r.Name, r.Type, rdata.AppendText(nil, r.Type, r.Data))
	}
	write(t, hints, text.String())
	anchorText := ". IN DS " + string(rdata.AppendText(nil, rdata.TypeDS, tree.Anchor.Data))
	write(t, anchor, anchorText+"\n")
	startNode(t, folder)
	for _, j := range judgesOf {
		own := filepath.Join(folder, string(j.kind))
		if err := os.Mkdir(own, 0o777); err != nil {
			t.Fatal(err)
		}
		s, err := peers.StartWith(t.Context(), j.kind, j.at, own, j.config(own, hints, anchor, j.at))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			s.Stop()
			if t.Failed() {
				t.Logf("the end of the log of %s:\n%s", j.name, s.Log()[max(0, len(s.Log())-2000):])
			}
		}()
		awaitJudge(t, j, s)
	}
	questions := sample(tree.Questions, os.Getenv(all) != "")
	compare(t, questions)
	delvAgrees(t, folder, anchorText, questions)
	drillAgrees(t, anchor, questions)
}

// sample keeps every zone's turn at one question, or everything.
func sample(questions []Question, everything bool) (out []Question) {
	if everything {
		return questions
	}
	for i, q := range questions {
		if i%13 == 0 || strings.HasPrefix(q.Label, "extra") {
			out = append(out, q)
		}
	}
	return out
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func startNode(t *testing.T, folder string) {
	t.Helper()
	config := filepath.Join(folder, "pharos.yaml")
	write(t, config, fmt.Sprintf(`data: data
listen: {dns: ["%s"], admin: "127.0.0.60:8053"}
store: {enabled: false}
resolver: {allow: ["127.0.0.0/8"], rootHints: hints, specialNames: false, trust: {file: anchor}}
`, oursAt))
	n, err := node.New(node.Options{Config: config, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx, nil) }() // ended by cancel
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func awaitJudge(t *testing.T, j judge, s *peers.Server) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		conn, err := net.DialTimeout("tcp", j.at.String(), time.Second)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) || s.Ended() {
			t.Fatalf("%s does not come up: %v\n%s", j.name, err, s.Log())
		}
		<-time.After(50 * time.Millisecond)
	}
}

// askAll returns what everybody says to each question: ours first, then the judges'.
func askAll(questions []Question) [][]string {
	answers := make([][]string, len(questions))
	turns := make(chan int)
	var work sync.WaitGroup
	for range 12 { // a judge that waits for what does not come keeps few of them
		work.Go(func() { // ends with turns
			for i := range turns {
				answers[i] = append(answers[i], verdict(oursAt, questions[i]))
				for _, j := range judgesOf {
					answers[i] = append(answers[i], verdict(j.at, questions[i]))
				}
			}
		})
	}
	for i := range questions {
		turns <- i
	}
	close(turns)
	work.Wait()
	return answers
}

// compare asks everybody and tells where somebody differs without a reason.
func compare(t *testing.T, questions []Question) {
	t.Helper()
	agreed, failed, known := 0, 0, map[string]int{}
	answers := askAll(questions)
	for i, q := range questions {
		ours := answers[i][0]
		want := map[State]string{Secure: ", AD,", Insecure: ", no AD,", Bogus: "SERVFAIL"}[q.State]
		if !strings.Contains(ours, want) {
			t.Errorf("%v %v (%s): Pharos says %q, want %s", q.Name, q.Type, q.Label, ours, q.State)
		}
		for k, j := range judgesOf {
			theirs := answers[i][k+1]
			if theirs == ours {
				agreed++
				continue
			}
			if reason := settled(j.name, q, ours, theirs); reason != "" {
				known[j.name+": "+reason]++
				continue
			}
			if failed++; failed < 150 {
				t.Errorf("%v %v (%s): Pharos %q, %s %q", q.Name, q.Type, q.Label, ours, j.name, theirs)
			}
		}
	}
	t.Logf("%d questions: the judges agreed %d times", len(questions), agreed)
	for _, reason := range slices.Sorted(maps.Keys(known)) {
		t.Logf("%4d times %s", known[reason], reason)
	}
	if agreed < len(questions)*len(judgesOf)*3/4 {
		t.Errorf("they agreed only %d times of %d", agreed, len(questions)*len(judgesOf))
	}
}

// difference is one that was settled by the RFCs, or is a matter of policy.
type difference struct {
	judge  string // empty: any
	zone   string // in the zone's name
	label  string // in the label; empty: any
	ours   string // what ours begins with
	reason string
}

// differences are those of Unbound 1.17, BIND 9.18, Knot Resolver 5.6, delv 9.18 and drill
// 1.8.
var differences = []difference{
	// Settled by RFC 9276 §3.2: how many NSEC3 iterations are worked with is left to who validates, as is whether more make a denial insecure or the whole zone. Ours are 50, and it is the denial. Unbound, BIND and delv take up to 150, drill any number; Knot Resolver takes the whole zone
	{"Unbound", "-iter", "", "", "takes up to 150 NSEC3 iterations; RFC 9276 section 3.2 leaves the limit to who validates, ours is 50"},
	{"BIND", "-iter", "", "", "takes up to 150 NSEC3 iterations; RFC 9276 section 3.2 leaves the limit to who validates, ours is 50"},
	{"delv", "-iter", "", "insecure", "takes up to 150 NSEC3 iterations, as BIND"},
	{"drill", "-iter", "", "insecure", "has no limit for NSEC3 iterations; RFC 9276 section 3.2 leaves it to who validates"},
	{"Knot Resolver", "-iter", "", "NO", "takes a whole zone for insecure for its NSEC3 iterations, not only what they deny; RFC 9276 section 3.2 allows both"},

	// Settled by RFC 4035 §5.4: the authority section of a denial has to verify, its SOA record too. BIND passes one on without AD whose SOA record does not, drill does not look
	{"BIND", "soa-spoilt-", "", "SERVFAIL", "passes a denial on whose SOA record does not verify, without AD; RFC 4035 section 5.4 wants the authority section to verify"},
	{"drill", "soa-spoilt-", "", "bogus", "does not look at the SOA record of a denial; RFC 4035 section 5.4 wants the authority section to verify"},

	// Settled by RFC 4509 §3: where there is a DS record with SHA-256, those with SHA-1 must be ignored. Unbound and drill accept a right one beside a wrong one of SHA-256
	{"Unbound", "ds-sha256-wrong-sha1-right-", "", "SERVFAIL", "accepts the SHA-1 digest beside one of SHA-256; RFC 4509 section 3: it must be ignored"},
	{"drill", "ds-sha256-wrong-sha1-right-", "", "bogus", "accepts the SHA-1 digest beside one of SHA-256; RFC 4509 section 3: it must be ignored"},

	// Settled by RFC 5011 §2.1: a revoked key must not be used. Unbound and drill let a DS record lead to one
	{"Unbound", "key-revoked-", "", "SERVFAIL", "lets a DS record lead to a revoked key; RFC 5011 section 2.1: it must not be used"},
	{"drill", "key-revoked-", "", "bogus", "lets a DS record lead to a revoked key; RFC 5011 section 2.1: it must not be used"},

	// Settled by RFC 4034 §2.1.1: a key without the flag ZONE must not verify an RRSIG record. BIND and drill use it
	{"BIND", "key-no-zone-flag-", "", "SERVFAIL", "uses a key without the flag ZONE; RFC 4034 section 2.1.1: it must not verify an RRSIG"},
	{"drill", "key-no-zone-flag-", "", "bogus", "uses a key without the flag ZONE; RFC 4034 section 2.1.1: it must not verify an RRSIG"},

	// Settled by RFC 4035 §5.2: a zone's keys count if the DS record's key has signed them, and the signature is good and of now. drill believes them for the DS record alone
	{"drill", "keys-spoilt-", "", "bogus", "believes keys that a DS record leads to, though their signature does not fit; RFC 4035 section 5.2"},
	{"drill", "keys-expired-", "", "bogus", "believes keys that a DS record leads to, though their signature has expired; RFC 4035 section 5.2"},

	// Settled by RFC 4592 §2.2.2: a name with nothing but names below it exists. Knot Resolver does not find an unsigned delegation below two of them
	{"Knot Resolver", "plain.deeper.down.family-", "", "NO", "does not find the unsigned delegation below two empty non-terminals"},
	{"Knot Resolver", "plain.deeper.down.family-", "", "NX", "does not find the unsigned delegation below two empty non-terminals"},

	// Settled by RFC 6840 §5.4: any valid signature makes an RRset valid, so we go on to the next, within a budget. BIND and delv give up after one that does not fit (CVE-2023-50387)
	{"BIND", "www-two-signatures-", "", "NOERROR, AD", "gives up after one signature that does not fit (CVE-2023-50387); RFC 6840 section 5.4 wants any valid one accepted, so we go on to the next, within a budget"},
	{"delv", "www-two-signatures-", "", "secure", "gives up after one signature that does not fit, as BIND"},

	// Settled by RFC 5155 §9.2: a denial that leans on a record that opted out is not authentic. delv takes one at the end of an alias for validated, drill any; BIND, of delv's making, sets no AD
	{"delv", "crossing", "d-optout", "insecure", "takes a denial at the end of an alias, whose record opted out, for validated; RFC 5155 section 9.2: it is not, and BIND sets no AD"},
	{"drill", "optout", "", "insecure", "does not know that opting out makes a denial insecure (RFC 5155 section 9.2)"},

	// Settled by RFC 5155 §8.7: a wildcard has no records of a type only if no record of the denial says that it has. BIND and Knot Resolver take the denial for insecure, as one of its records opted out
	{"BIND", "denial-also-txt-optout", "wildcard nodata", "SERVFAIL", "takes a denial for insecure as one of its records opted out, though another says that the type is there; RFC 5155 section 8.7"},
	{"Knot Resolver", "denial-also-txt-optout", "wildcard nodata", "SERVFAIL", "takes a denial for insecure as one of its records opted out, though another says that the type is there; RFC 5155 section 8.7"},

	// Settled by RFC 4035 §3.2.3: AD says that all RRsets of this answer are authentic. BIND leaves it out now and then where it has asked for a DS record for itself at the same time, and fails for what it has asked on the way; drill looks at the first alias only
	{"BIND", "ds-absent-", "ds", "NOERROR, AD", "now and then answers without AD that there is no DS record, if it has looked that up for itself at the same time; it is proven"},
	{"BIND", "denial-unsigned-", "dname", "NOERROR, AD", "fails with what QNAME minimisation asked on the way; the answer itself is proven"},
	{"drill", "crossing", "extra c-", "", "looks at the first alias only, not where it leads (RFC 4035 section 3.2.3)"},

	// Settled by RFC 4035 §5.3.4: an answer made of a wildcard needs a proof that the name itself is not there. drill chases the answer alone
	{"drill", "", "wildcard", "bogus", "does not ask for the proof that an answer made of a wildcard needs; RFC 4035 section 5.3.4"},

	// Settled by RFC 6672 §5.3.1: a CNAME record made of a DNAME record has no signature of its own. drill misses it
	{"drill", "", "dname", "secure", "does not know that a CNAME record is made of a DNAME record (RFC 6672 section 5.3.1)"},
	{"drill", "crossing", "extra www.d-", "secure", "does not know that a CNAME record is made of a DNAME record (RFC 6672 section 5.3.1)"},
}

func settled(judge string, q Question, ours, _ string) string {
	for _, d := range differences {
		if (d.judge == "" || d.judge == judge) && strings.Contains(q.Zone.Name.String(), d.zone) && strings.Contains(q.Label, d.label) && strings.HasPrefix(ours, d.ours) {
			return d.reason
		}
	}
	return ""
}

// drillAgrees has drill chase the signatures of what we hand out down to the anchor, and
// compares with our AD. It says yes or no: what is insecure or bogus is no to it.
func drillAgrees(t *testing.T, anchor string, questions []Question) {
	t.Helper()
	agreed, known := 0, map[string]int{}
	for i, q := range questions {
		if i%7 != 3 {
			continue
		}
		out, _ := exec.CommandContext(t.Context(), "drill", "-4", "-t", "-S", "-k", anchor, "@"+oursAt.Addr().String(), q.Name.String(), q.Type.String()).CombinedOutput()
		secure := strings.Contains(string(out), ";; Chase successful")
		reason := settled("drill", q, string(q.State), "")
		switch {
		case secure == (q.State == Secure):
			agreed++
		case reason != "":
			known[reason]++
		default:
			t.Errorf("%v %v (%s): drill finds it secure: %v, Pharos says %s\n%s", q.Name, q.Type, q.Label, secure, q.State, out)
		}
	}
	t.Logf("drill agreed %d times", agreed)
	for _, reason := range slices.Sorted(maps.Keys(known)) {
		t.Logf("%4d times drill: %s", known[reason], reason)
	}
	if agreed == 0 {
		t.Error("drill never agreed")
	}
}

// delvAgrees has delv validate what we hand out with CD=1, and compares with our AD.
func delvAgrees(t *testing.T, folder, anchor string, questions []Question) {
	t.Helper()
	f := strings.Fields(anchor)
	file := filepath.Join(folder, "delv.key")
	write(t, file, fmt.Sprintf("trust-anchors { . static-ds %s %s %s \"%s\"; };\n", f[3], f[4], f[5], strings.Join(f[6:], "")))
	agreed := 0
	for i, q := range questions {
		if i%7 != 0 {
			continue
		}
		out, _ := exec.CommandContext(t.Context(), "delv", "-4", "@"+oursAt.Addr().String(), "-a", file, "+root=.", q.Name.String(), q.Type.String()).CombinedOutput()
		got := Bogus
		switch text := string(out); {
		case strings.Contains(text, "; unsigned answer"), strings.Contains(text, "; negative response, unsigned answer"):
			got = Insecure // also where only a part of an alias chain is signed
		case strings.Contains(text, "; fully validated"), strings.Contains(text, "; negative response, fully validated"):
			got = Secure
		}
		ours := Insecure
		switch v := verdict(oursAt, q); {
		case v == "SERVFAIL":
			ours = Bogus
		case strings.Contains(v, ", AD,"):
			ours = Secure
		}
		switch {
		case got == ours:
			agreed++
		case settled("delv", q, string(ours), "") == "":
			t.Errorf("%v %v (%s): delv finds it %s, Pharos %s\n%s", q.Name, q.Type, q.Label, got, ours, out)
		}
	}
	t.Logf("delv agreed %d times", agreed)
}
