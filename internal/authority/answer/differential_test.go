package answer

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/lab/tools"
)

// Sizes of the differential run: what fits into CI, and what PHAROS_DIFFERENTIAL=N
// asks for, which is the number of questions that each peer is asked. A run that found
// something is repeated with the seed that it names, in PHAROS_SEED.
const (
	differentialZones     = 45 // of which two thirds are signed
	differentialQuestions = 10_000
	differentialBatch     = 256 // questions on the way to a peer at a time
)

// differentialSize returns the number of zones and of questions to each peer, and
// the seed.
func differentialSize(t *testing.T) (zones, questions int, seed uint64) {
	text := os.Getenv("PHAROS_DIFFERENTIAL")
	if text == "" {
		return differentialZones, differentialQuestions, 1
	}
	questions, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("PHAROS_DIFFERENTIAL=%s: %v", text, err)
	}
	seed = uint64(time.Now().UnixNano())
	if text := os.Getenv("PHAROS_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("PHAROS_SEED=%s: %v", text, err)
		}
	}
	return 330, questions, seed
}

// wildZone returns the text of a random zone in which everything falls upon
// everything: names below cuts and DNAMEs, delegations with glue, without and with
// that of siblings, chains of aliases, wildcards at every depth, many types.
func wildZone(rnd *rand.Rand, origin string) (text string, name func() string) {
	labels := []string{"a", "B", "*", "ns", "c", "long-label-of-a-name-server", "zz", "a\\001b"}
	name = func() string {
		n := origin
		for range rnd.IntN(5) {
			n = labels[rnd.IntN(len(labels))] + "." + n
		}
		return n
	}
	target := func() string {
		if rnd.IntN(8) == 0 {
			return "elsewhere.provider.net."
		}
		return name()
	}
	var b strings.Builder
	// BIND wants an address for the server of the zone itself.
	fmt.Fprintf(&b, "%[1]s 60 IN SOA ns.%[1]s h.provider.net. 1 2 3 4 30\n%[1]s 60 IN NS ns.%[1]s\nns.%[1]s 60 IN A 192.0.2.1\n", origin)
	alone := map[string]bool{} // has CNAME or DNAME
	data := map[string]bool{strings.ToLower(origin): true, "ns." + strings.ToLower(origin): true}
	types := []string{"A", "A", "AAAA", "NS", "NS", "DS", "MX", "SRV", "CNAME", "CNAME", "DNAME", "TXT", "HTTPS", "PTR", "CAA", "NAPTR", "TYPE65280"}
	for range rnd.IntN(45) {
		owner, t := name(), types[rnd.IntN(len(types))]
		key := strings.ToLower(owner)
		isAlone := t == "CNAME" || t == "DNAME"
		if alone[key] || isAlone && data[key] {
			continue
		}
		if t == "NS" && strings.HasPrefix(owner, "*") && rnd.IntN(20) > 0 {
			continue // BIND loads no zone with it
		}
		alone[key], data[key] = isAlone, true
		for range 1 + rnd.IntN(3) {
			fmt.Fprintf(&b, "%s 60 IN %s %s\n", owner, t, wildData(rnd, t, target))
			if isAlone {
				break
			}
		}
	}
	return b.String(), name
}

func wildData(rnd *rand.Rand, t string, target func() string) string {
	switch t {
	case "A":
		return fmt.Sprintf("192.0.2.%d", rnd.IntN(256))
	case "AAAA":
		return fmt.Sprintf("2001:db8::%x", rnd.IntN(256))
	case "DS":
		return fmt.Sprintf("%d 13 2 %064x", rnd.IntN(65536), rnd.Uint64())
	case "MX":
		return fmt.Sprint(rnd.IntN(3), " ", target())
	case "SRV":
		return fmt.Sprint("1 1 ", rnd.IntN(3), " ", target())
	case "TXT":
		return `"` + strings.Repeat("x", rnd.IntN(100)) + `"`
	case "HTTPS":
		return []string{"1 . alpn=h2", "0 " + target(), "1 " + target()}[rnd.IntN(3)]
	case "CAA":
		return `0 issue "ca.provider.net"`
	case "NAPTR":
		return fmt.Sprintf(`1 1 "s" "SIP+D2U" "" %s`, target())
	case "TYPE65280":
		return fmt.Sprintf(`\# 2 %04x`, rnd.IntN(65536))
	}
	return target()
}

// differentialCorpus returns the zones of a run, as files in dir.
func differentialCorpus(t *testing.T, rnd *rand.Rand, dir string, size int) []peerZone {
	t.Helper()
	var zones []peerZone
	signers := map[int]*signer{}
	for i := range size {
		origin := fmt.Sprintf("z%d.test.", i)
		z := peerZone{origin: origin, file: filepath.Join(dir, origin+"zone")}
		if i%3 == 0 {
			z.text, z.name = wildZone(rnd, origin)
		} else {
			plain, name := randomSignable(rnd, origin)
			kind := i % len(signings)
			if signings[kind].algorithm == "RSASHA256" && i >= 3*len(signings) {
				kind = 0 // keys of RSA take long to make; a few zones are enough
			}
			signers[i] = newSigner(t, signings[kind], origin)
			z.text, z.name = signers[i].sign(t, plain), name
		}
		if err := os.WriteFile(z.file, []byte(z.text), 0o644); err != nil {
			t.Fatal(err)
		}
		zones = append(zones, z)
	}
	return zones
}

// question is one of a batch.
type question struct {
	name   string
	qtype  uint16
	secure bool
}

// differentialTypes are the types that are asked for.
var differentialTypes = []uint16{
	dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeNS, dns.TypeDS, dns.TypeMX, dns.TypeCNAME, dns.TypeDNAME, dns.TypeTXT, dns.TypeSOA,
	dns.TypeDNSKEY, dns.TypeNSEC, dns.TypeNSEC3PARAM, dns.TypeSRV, dns.TypeHTTPS, dns.TypePTR, dns.TypeCAA, dns.TypeNAPTR, dns.TypeCDS, 65280, 65281,
}

func randomQuestion(rnd *rand.Rand, z peerZone) question {
	q := question{z.name(), differentialTypes[rnd.IntN(len(differentialTypes))], rnd.IntN(2) == 0}
	switch rnd.IntN(8) {
	case 0, 1:
		q.name = "x" + q.name
	case 2:
		q.name = "deeper.still." + q.name
	case 3:
		q.name = strings.ToUpper(q.name)
	}
	if !dns.IsSubDomain(z.origin, q.name) {
		q.name = z.origin
	}
	return q
}

// askBatch asks a peer several questions at once, over one connection.
func askBatch(t *testing.T, conn *dns.Conn, batch []question) []*dns.Msg {
	t.Helper()
	var out []byte
	for i, q := range batch {
		m := new(dns.Msg).SetQuestion(q.name, q.qtype)
		m.Id, m.RecursionDesired = uint16(i), false
		if q.secure {
			m.SetEdns0(4096, true)
		}
		wire, err := m.Pack()
		if err != nil {
			t.Fatalf("%s: %v", q.name, err)
		}
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(wire))), wire...)
	}
	if err := conn.Conn.SetDeadline(time.Now().Add(peerPatience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Conn.Write(out); err != nil {
		t.Fatal(err)
	}
	answers := make([]*dns.Msg, len(batch))
	for range batch {
		var length [2]byte
		if _, err := io.ReadFull(conn.Conn, length[:]); err != nil {
			t.Fatal(err)
		}
		wire := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn.Conn, wire); err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(wire); err != nil {
			t.Fatalf("the peer's answer: %v", err)
		}
		if int(m.Id) >= len(answers) {
			t.Fatalf("an answer to nothing: %v", m)
		}
		answers[m.Id] = m
	}
	return answers
}

// differentialZone is a zone as one run compares it.
type differentialZone struct {
	peerZone
	ours *zone.Zone
	v    *verifier
}

// TestDifferential asks Knot, NSD and BIND and us random questions about random
// zones, signed and not, with DO and without, and compares the responses section by
// section. Every difference must be one that settle or settlePlain knows.
func TestDifferential(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three servers")
	}
	for _, p := range peerServers {
		tools.Need(t, p.program)
	}
	size, questions, seed := differentialSize(t)
	t.Logf("%d zones, %d questions to each peer, seed %d", size, questions, seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	corpus := differentialCorpus(t, rnd, t.TempDir(), size)
	var zones []differentialZone
	for _, z := range corpus {
		zones = append(zones, differentialZone{z, buildZone(t, z.origin, z.text), newVerifier(z.origin, records(t, z.text))})
	}
	var signed []peerZone // which every peer loads; of the others some will not have some
	for i, z := range corpus {
		if i%3 != 0 {
			signed = append(signed, z)
		}
	}
	for _, p := range peerServers {
		t.Run(p.name, func(t *testing.T) {
			conn := p.start(t, corpus, signed)
			defer conn.Close()
			runDifferential(t, rnd, conn, zones, questions)
		})
	}
}

// runDifferential asks one peer.
func runDifferential(t *testing.T, rnd *rand.Rand, conn *dns.Conn, zones []differentialZone, questions int) {
	var loaded []differentialZone
	for i, z := range zones {
		if soa := askBatch(t, conn, []question{{z.origin, dns.TypeSOA, false}})[0]; len(soa.Answer) == 1 {
			loaded = append(loaded, zones[i])
		}
	}
	equal, settled, failed := 0, map[string]int{}, 0
	for asked := 0; asked < questions; asked += differentialBatch {
		z := loaded[rnd.IntN(len(loaded))]
		batch := make([]question, differentialBatch)
		for i := range batch {
			batch[i] = randomQuestion(rnd, z.peerZone)
		}
		for i, theirs := range askBatch(t, conn, batch) {
			difference, reason := compareAnswers(t, z, batch[i], theirs)
			switch {
			case difference == "":
				equal++
			case reason != "":
				settled[reason]++
			default:
				if failed++; failed <= 5 {
					t.Errorf("%s %s DO=%v, - only here, + only there:\n%s\nin\n%s", batch[i].name, dns.TypeToString[batch[i].qtype], batch[i].secure, difference, z.text)
				}
			}
		}
	}
	t.Logf("%d zones, %d answers equal, %d different and not settled", len(loaded), equal, failed)
	for _, reason := range slices.Sorted(maps.Keys(settled)) {
		t.Logf("settled %d: %s", settled[reason], reason)
	}
}

// compareAnswers returns what differs between our answer and a peer's, and what
// settles it.
func compareAnswers(t *testing.T, z differentialZone, q question, theirs *dns.Msg) (difference, reason string) {
	var mine *dns.Msg
	if q.secure {
		mine = askSecure(t, z.ours, q.name, q.qtype, dnswire.MaxMessage)
	} else {
		mine = ask(t, z.ours, q.name, q.qtype, 0, dnswire.MaxMessage)
	}
	got, want := showSecure(mine), showSecure(theirs)
	if got == want {
		return "", ""
	}
	if reason = settlePlain(z, q, mine, theirs); reason == "" && q.secure {
		reason = settle(z.v, mine, theirs)
	}
	return diffLines(got, want), reason
}

// settlePlain returns why two responses that differ are both right, or why the
// peer's is wrong, for what DNSSEC has no part in.
func settlePlain(z differentialZone, q question, ours, theirs *dns.Msg) string {
	switch {
	case q.qtype == dns.TypeDS && slices.ContainsFunc(ours.Answer, func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeDS && strings.EqualFold(rr.Header().Name, z.origin)
	}):
		// Settled by RFC 4035 §2.4: a DS RRset must not be at the apex of its own zone.
		// If it is, we and Knot answer what the zone has; NSD says NODATA, and BIND too.
		return "RFC 4035 §2.4: DS at the apex of its own zone"
	case isWildcardReferral(theirs) || isWildcardReferral(ours):
		// Settled by RFC 4592 §4.2: what an NS RRset at a wildcard means is undefined. We
		// answer from the wildcard as from any other; Knot and NSD refer to its servers.
		return "RFC 4592 §4.2: NS at a wildcard"
	case z.endsInAlias(ours) && sameChain(ours, theirs):
		// Settled by RFC 1034 §3.6.2: how far a loop of aliases is followed is nobody's
		// business but the server's. We add no name and no DNAME twice and at most 16
		// aliases; Knot and NSD go further, BIND says SERVFAIL.
		return "RFC 1034 §3.6.2: a loop of aliases ends elsewhere"
	case q.qtype == dns.TypeNSEC && len(theirs.Answer) < len(ours.Answer) && sameChain(ours, theirs) && theirs.Rcode == dns.RcodeSuccess:
		// Settled by RFC 1034 §4.3.2: step 3a: an alias that does not have the type asked
		// for is followed, for NSEC too. BIND says NODATA.
		return "RFC 1034 §4.3.2: an alias is followed, for NSEC too"
	case q.qtype == dns.TypeNSEC && z.answersAtCut(theirs):
		// Settled by RFC 4035 §3.1.4.1: of the types at a zone cut only DS is answered by
		// the parent; for NSEC the client is referred. BIND answers it.
		return "RFC 4035 §3.1.4.1: NSEC at a zone cut"
	case slices.ContainsFunc(ours.Answer, func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeDNAME && strings.HasPrefix(rr.Header().Name, "*.")
	}):
		// Settled by RFC 4592 §4.4: what a DNAME at a wildcard means is undefined. We take it
		// as the DNAME of the name with the asterisk; Knot makes others of it.
		return "RFC 4592 §4.4: DNAME at a wildcard"
	case z.hasExpandedGlue(theirs):
		// Settled by RFC 1034 §4.3.3: a delegation cancels the wildcards above and below it
		// in its zone. Knot makes glue of a wildcard below a zone cut.
		return "RFC 1034 §4.3.3: glue from a wildcard"
	case z.onlyOptional(ours, theirs):
		// Settled by RFC 9471 §3: a referral must have the addresses of name servers below
		// the zone cut; all other additional records are there to be useful (RFC 1034
		// §4.3.2 step 6), and NSD and BIND leave out some that we add.
		return "RFC 9471 §3: additional records that need not be there"
	}
	return ""
}

// isWildcardReferral reports whether a response refers to the servers of a wildcard.
func isWildcardReferral(m *dns.Msg) bool {
	return slices.ContainsFunc(m.Ns, func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeNS && strings.HasPrefix(rr.Header().Name, "*.")
	})
}

// endsInAlias reports whether the chain of aliases in a response leads to a name of
// the zone that is an alias itself.
func (z differentialZone) endsInAlias(m *dns.Msg) bool {
	name := m.Question[0].Name
	for range len(m.Answer) {
		for _, rr := range m.Answer {
			if c, ok := rr.(*dns.CNAME); ok && strings.EqualFold(c.Hdr.Name, name) {
				name = c.Target
				break
			}
		}
	}
	n, err := dnsname.Parse(name)
	if err != nil {
		return false
	}
	f := z.ours.Lookup(n)
	node := f.Exact
	if node == 0 {
		node = f.Wildcard
	}
	return f.Cut == 0 && (f.DNAME != 0 || node != 0 && z.ours.HasCNAME(node))
}

// sameChain reports whether the answer section of one response is the beginning of
// the other's.
func sameChain(a, b *dns.Msg) bool {
	have := map[string]bool{}
	longer, shorter := a.Answer, b.Answer
	if len(longer) < len(shorter) {
		longer, shorter = shorter, longer
	}
	for _, rr := range longer {
		have[strings.ToLower(rr.String())] = true
	}
	return !slices.ContainsFunc(shorter, func(rr dns.RR) bool { return !have[strings.ToLower(rr.String())] })
}

// answersAtCut reports whether a response has an NSEC record of a zone cut as its answer.
func (z differentialZone) answersAtCut(m *dns.Msg) bool {
	return slices.ContainsFunc(m.Answer, func(rr dns.RR) bool {
		n, err := dnsname.Parse(rr.Header().Name)
		return err == nil && rr.Header().Rrtype == dns.TypeNSEC && z.ours.Lookup(n).Cut != 0
	})
}

// hasExpandedGlue reports whether a response has additional records of a name below a
// zone cut that the zone does not have.
func (z differentialZone) hasExpandedGlue(m *dns.Msg) bool {
	return slices.ContainsFunc(m.Extra, func(rr dns.RR) bool {
		n, err := dnsname.Parse(rr.Header().Name)
		if err != nil || rr.Header().Rrtype == dns.TypeOPT {
			return false
		}
		f := z.ours.Lookup(n)
		return f.Cut != 0 && f.Exact == 0
	})
}

// onlyOptional reports whether two responses differ in nothing but additional
// records, which in a referral are not below a zone cut.
func (z differentialZone) onlyOptional(ours, theirs *dns.Msg) bool {
	a, b := ours.Copy(), theirs.Copy()
	for _, m := range []*dns.Msg{a, b} {
		m.Extra = slices.DeleteFunc(m.Extra, func(rr dns.RR) bool {
			n, err := dnsname.Parse(rr.Header().Name)
			return err == nil && rr.Header().Rrtype != dns.TypeOPT && (m.Authoritative || z.ours.Lookup(n).Cut == 0)
		})
	}
	return showSecure(a) == showSecure(b)
}
