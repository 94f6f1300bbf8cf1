package answer

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnswire"
)

// randomZone returns the text of a zone of few different labels, so that names,
// cuts, aliases and wildcards fall upon each other, and the names it uses.
func randomZone(rnd *rand.Rand) (text string, name func() string) {
	labels := []string{"a", "B", "*", "ns", "long-label-of-a-name-server", "a"}
	name = func() string {
		n := "test."
		for range rnd.IntN(4) {
			n = labels[rnd.IntN(len(labels))] + "." + n
		}
		return n
	}
	var b strings.Builder
	b.WriteString("@ 60 SOA ns.test. h.provider.net. 1 2 3 4 5\n@ 60 NS ns.test.\n")
	taken := map[string]string{}
	for range rnd.IntN(30) {
		owner, t := name(), []string{"A", "A", "AAAA", "NS", "NS", "MX", "SRV", "CNAME", "DNAME", "TXT", "HTTPS"}[rnd.IntN(11)]
		key := strings.ToLower(owner)
		if other := taken[key]; other != "" && (t == "CNAME" || other == "CNAME" || t == "DNAME" || other == "DNAME") || key == "test." && t == "CNAME" {
			continue
		}
		taken[key] = t
		for range 1 + rnd.IntN(3) {
			data := ""
			switch t {
			case "A":
				data = fmt.Sprintf("192.0.2.%d", rnd.IntN(256))
			case "AAAA":
				data = fmt.Sprintf("2001:db8::%x", rnd.IntN(256))
			case "TXT":
				data = `"` + strings.Repeat("x", rnd.IntN(200)) + `"`
			case "MX":
				data = fmt.Sprint(rnd.IntN(3)) + " " + name()
			case "SRV":
				data = fmt.Sprint("1 1 ", rnd.IntN(3), " ", name())
			case "HTTPS":
				data = []string{"1 .", "0 " + name(), "1 " + name()}[rnd.IntN(3)]
			default:
				data = name()
			}
			fmt.Fprintf(&b, "%s 60 %s %s\n", owner, t, data)
			if t == "CNAME" || t == "DNAME" {
				break
			}
		}
	}
	return b.String(), name
}

// checkResponse checks what must hold for every response: another library reads
// it, it keeps within the limit, and each record is one of the zone, or made of
// one by a wildcard (RFC 4592) or DNAME (RFC 6672).
func checkResponse(t *testing.T, z *zone.Zone, qname string, qtype uint16, rotation uint32, limit int) {
	t.Helper()
	m := ask(t, z, qname, qtype, rotation, limit)
	known := map[string]bool{}
	for r := range z.Records() {
		known[strings.ToLower(fmt.Sprint(r.Name, " ", r.Type, " ", rdataText(r.String())))] = true
	}
	for i, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		seen := map[string]bool{}
		for _, rr := range section {
			owner, rest := strings.ToLower(rr.Header().Name), dns.TypeToString[rr.Header().Rrtype]+" "+rdataText(rr.String())
			key := strings.ToLower(owner + " " + rest)
			if seen[key] {
				t.Errorf("%s %s: %v twice in section %d", qname, dns.TypeToString[qtype], rr, i)
			}
			seen[key] = true
			if !known[key] && !madeByWildcard(known, owner, rest) && !madeByDNAME(m, rr) {
				t.Errorf("%s %s: %v in section %d is not of the zone", qname, dns.TypeToString[qtype], rr, i)
			}
		}
	}
	if m.Rcode == dns.RcodeNameError && !m.Truncated && (len(m.Ns) != 1 || m.Ns[0].Header().Rrtype != dns.TypeSOA) {
		t.Errorf("%s: NXDOMAIN without SOA: %v", qname, m)
	}
}

// rdataText returns the RDATA of a record in presentation form.
func rdataText(record string) string {
	return strings.Join(strings.Fields(record)[4:], " ")
}

func madeByWildcard(known map[string]bool, owner, rest string) bool {
	for {
		_, parent, ok := strings.Cut(owner, ".")
		if !ok {
			return false
		}
		if known[strings.ToLower("*."+parent+" "+rest)] {
			return true
		}
		owner = parent
	}
}

func madeByDNAME(m *dns.Msg, rr dns.RR) bool {
	cname, ok := rr.(*dns.CNAME)
	if !ok {
		return false
	}
	for _, other := range m.Answer {
		if d, ok := other.(*dns.DNAME); ok {
			prefix, found := strings.CutSuffix(strings.ToLower(cname.Hdr.Name), strings.ToLower(d.Hdr.Name))
			if found && strings.EqualFold(prefix+d.Target, cname.Target) {
				return true
			}
		}
	}
	return false
}

// TestRandomZones asks random zones everything, with little room and with much.
func TestRandomZones(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 400 {
		text, name := randomZone(rnd)
		z := buildZone(t, "test.", text)
		for range 25 {
			types := []uint16{dns.TypeA, dns.TypeNS, dns.TypeMX, dns.TypeSRV, dns.TypeHTTPS, dns.TypeTXT, dns.TypeCNAME, dns.TypeDS, dns.TypeANY, dns.TypeDNAME}
			checkResponse(t, z, name(), types[rnd.IntN(len(types))], rnd.Uint32(), []int{512, 600, 1232, 65535}[rnd.IntN(4)])
		}
		if t.Failed() {
			t.Fatalf("in\n%s", text)
		}
	}
}

// FuzzAnswer asks zones made from a seed any question.
func FuzzAnswer(f *testing.F) {
	f.Add(uint64(1), []byte("\x01a\x04test\x00"), uint16(1), uint16(512))
	f.Add(uint64(2), []byte("\x01*\x01a\x04test\x00"), uint16(255), uint16(1232))
	f.Add(uint64(3), []byte("\x01b\x01a\x04test\x00"), uint16(43), uint16(65000))
	f.Add(uint64(4), []byte("\x04test\x00"), uint16(15), uint16(512))
	f.Fuzz(func(t *testing.T, seed uint64, qname []byte, qtype, limit uint16) {
		text, _ := randomZone(rand.New(rand.NewPCG(seed, 0)))
		z := buildZone(t, "test.", text)
		msg := append([]byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, qname...)
		msg = append(msg, byte(qtype>>8), byte(qtype), 0, 1)
		var q dnswire.Query
		var out dnswire.Builder
		if q.Parse(msg) != dnswire.Accept {
			return
		}
		size := max(int(limit), dnswire.MaxUDP512)
		out.Reset(&q, make([]byte, size+dnswire.BufferSlack), size)
		Answer(&q, z, uint32(seed), &out)
		wire := out.Finish()
		if len(wire) > size {
			t.Fatalf("%d octets, limit %d", len(wire), size)
		}
		if _, err := dnswire.ParseMessage(wire); err != nil {
			t.Fatalf("%v: %x", err, wire)
		}
	})
}
