package iterate

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// forger changes replies at random: it drops, doubles, renames and alters records,
// moves them between sections, takes some of earlier replies, changes the RCODE. It
// has no key.
type forger struct {
	r    *rand.Rand
	seen []rdata.Record
}

func (f *forger) change(m *dnswire.Message) {
	sections := []*[]rdata.Record{&m.Answer, &m.Authority, &m.Additional}
	for _, s := range sections {
		f.seen = append(f.seen, *s...)
	}
	for range f.r.IntN(4) {
		s := sections[f.r.IntN(2)]
		if len(*s) > 0 {
			f.changeOne(s, f.r.IntN(len(*s)))
		}
		switch f.r.IntN(8) {
		case 0:
			m.Rcode = []dnswire.Rcode{dnswire.RcodeNoError, dnswire.RcodeNXDomain, dnswire.RcodeYXDomain}[f.r.IntN(3)]
		case 1:
			m.AA = !m.AA
		case 2, 3: // a replay
			if len(f.seen) > 0 {
				*s = append(*s, f.seen[f.r.IntN(len(f.seen))])
			}
		case 4:
			m.Answer, m.Authority = m.Authority, m.Answer
		}
	}
}

func (f *forger) changeOne(s *[]rdata.Record, i int) {
	r := (*s)[i]
	r.Data = slices.Clone(r.Data)
	switch f.r.IntN(6) {
	case 0:
		*s = slices.Delete(slices.Clone(*s), i, i+1)
		return
	case 1:
		if len(r.Data) > 0 {
			r.Data[f.r.IntN(len(r.Data))] ^= 1 << f.r.IntN(8)
		}
	case 2:
		if len(f.seen) > 0 {
			r.Name = f.seen[f.r.IntN(len(f.seen))].Name
		}
	case 3: // every record of a type goes
		*s = slices.DeleteFunc(slices.Clone(*s), func(o rdata.Record) bool { return o.Type == r.Type })
		return
	case 4:
		if r.Type == rdata.TypeRRSIG {
			r.Data[3] = byte(f.r.IntN(4)) // labels
		}
	case 5:
		r.TTL = rdata.TTL(f.r.IntN(1 << 20))
	}
	(*s)[i] = r
}

// Whoever can change every packet, but has no key, can make answers fail: never can
// he make a false one secure, nor a signed zone's insecure.
func TestForgeriesAreNeverBelieved(t *testing.T) {
	truth := map[string]string{
		"www.example.com. A":    "NOERROR | www.example.com. A 203.0.113.1",
		"alias.example.com. A":  "NOERROR | alias.example.com. CNAME www.example.com.; www.example.com. A 203.0.113.1",
		"www.d.example.com. A":  "NOERROR | d.example.com. DNAME example.com.; www.d.example.com. CNAME www.example.com.; www.example.com. A 203.0.113.1",
		"no.example.com. A":     "NXDOMAIN",
		"www.example.com. AAAA": "NOERROR",
		"ent.example.com. A":    "NOERROR",
		// The test's server knows no wildcards: what it says of these names is false by
		// itself, and has to fail.
		"b.wild.example.com. A":    "NOERROR | b.wild.example.com. A 203.0.113.9",
		"a.b.wild.example.com. MX": "NOERROR",
	}
	states := map[rrcache.State]int{}
	for seed := range uint64(200) {
		w := newSignedWorld(t)
		w.example.add(rrs("*.wild.example.com. 300 A 203.0.113.9")...)
		if seed%2 == 1 {
			w.example.nsec3, w.com.nsec3 = 1, 1
		}
		w.begin(func(c *Config) { c.Rand = rand.New(rand.NewPCG(seed, 0)) })
		f := &forger{r: rand.New(rand.NewPCG(seed, 1))}
		for _, z := range []*signedZone{w.root, w.com, w.example} {
			z.change = func(_, m *dnswire.Message) {
				if f.r.IntN(3) == 0 {
					f.change(m)
				}
			}
		}
		for range 2 { // the second time much is in the cache
			for _, question := range slices.Sorted(maps.Keys(truth)) {
				name, ty, _ := strings.Cut(question, " ")
				a := w.query(name, ty, "DO")
				states[a.State]++
				if a.State == rrcache.Insecure {
					t.Fatalf("seed %d: %s is insecure: %s", seed, question, a.Why)
				}
				if got := renderTruth(a); a.State == rrcache.Secure && got != truth[question] {
					t.Fatalf("seed %d: %s is secure and false: %s, want %s", seed, question, got, truth[question])
				}
			}
			w.pass(20 * time.Second)
		}
	}
	if states[rrcache.Secure] < 500 {
		t.Errorf("hardly anything gets through: %v", states)
	}
	t.Logf("states: %v", states)
}

// renderTruth is render without TTLs, signatures and the authority section.
func renderTruth(a Answer) string {
	var lines []string
	for _, r := range a.Answer {
		if r.Type == rdata.TypeRRSIG {
			continue
		}
		lines = append(lines, r.Name.String()+" "+r.Type.String()+" "+shown(r))
	}
	slices.Sort(lines)
	if len(lines) == 0 {
		return a.Rcode.String()
	}
	return a.Rcode.String() + " | " + strings.Join(lines, "; ")
}
