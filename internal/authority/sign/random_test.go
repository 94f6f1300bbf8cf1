package sign

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonemd"
)

// edits is a zone as lines of text, which random edits change.
type edits struct {
	rnd   *rand.Rand
	lines map[string]bool
}

func newEdits(rnd *rand.Rand, size int) *edits {
	e := &edits{rnd, map[string]bool{"@ 300 IN NS ns": true, "ns 300 IN A 192.0.2.1": true}}
	for range size {
		e.add()
	}
	return e
}

func (e *edits) name() string {
	labels := []string{"a", "b", "c", "d", "*", "ns", "zz", "_x"}
	n := labels[e.rnd.IntN(len(labels))]
	for range e.rnd.IntN(3) {
		n = labels[e.rnd.IntN(len(labels))] + "." + n
	}
	return n
}

func (e *edits) add() {
	n := e.name()
	line := fmt.Sprintf([]string{"%s 300 IN A 192.0.2.%d", "%s 300 IN A 192.0.2.%d", "%s 60 IN TXT \"%d\"", "%s 300 IN MX %d mail", "%s 300 IN NS ns%d.net."}[e.rnd.IntN(5)], n, e.rnd.IntN(3))
	switch e.rnd.IntN(8) {
	case 0:
		if !strings.HasPrefix(n, "*") {
			line = n + " 300 IN DNAME else.net."
		}
	case 1:
		if e.lines[n+" 300 IN NS ns1.net."] {
			line = fmt.Sprintf("%s 300 IN DS 1 13 2 %064x", n, e.rnd.IntN(3))
		}
	}
	if n == "ns" || strings.HasPrefix(n, "*") && strings.Contains(line, " NS ") {
		return
	}
	e.lines[line] = true
}

// zone returns the zone. It leaves out what cannot be together: a DNAME twice, or beside
// NS. What a cut or a DNAME covers stays.
func (e *edits) zone(t testing.TB, serial int) *zone.Zone {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "@ 300 IN SOA ns host %d 2 3 4 60\n", serial)
	for line := range e.lines {
		name, _, _ := strings.Cut(line, " ")
		if strings.Contains(line, " DNAME ") && (e.has(name, "NS") || name == "ns") || strings.Contains(line, " DS ") && !e.has(name, "NS") {
			continue
		}
		b.WriteString(line + "\n")
	}
	return mustBuild(t, b.String())
}

func (e *edits) has(name, rrtype string) bool {
	for line := range e.lines {
		if strings.HasPrefix(line, name+" 300 IN "+rrtype+" ") {
			return true
		}
	}
	return false
}

// change makes some edits.
func (e *edits) change() {
	for range 1 + e.rnd.IntN(5) {
		if e.rnd.IntN(2) == 0 {
			e.add()
			continue
		}
		all := slices.Sorted(func(yield func(string) bool) {
			for line := range e.lines {
				if !strings.HasPrefix(line, "@") && !strings.HasPrefix(line, "ns ") && !yield(line) {
					return
				}
			}
		})
		if len(all) > 0 {
			delete(e.lines, all[e.rnd.IntN(len(all))])
		}
	}
}

// touched are the names at which two zones differ.
func touched(a, b *zone.Zone) (names []dnsname.Name) {
	text := func(z *zone.Zone) map[string]dnsname.Name {
		m := map[string]dnsname.Name{}
		for r := range z.Records() {
			m[r.String()] = r.Name.Clone()
		}
		return m
	}
	x, y := text(a), text(b)
	for line, n := range x {
		if _, both := y[line]; !both {
			names = append(names, n)
		}
	}
	for line, n := range y {
		if _, both := x[line]; !both {
			names = append(names, n)
		}
	}
	return names
}

// meaning is the records of a signed zone as lines, of signatures only by whom of what.
func meaning(z *zone.Zone) (lines []string) {
	for r := range z.Records() {
		if sig, ok := dnssec.ParseSignature(r.Data); ok && r.Type == rdata.TypeRRSIG {
			lines = append(lines, fmt.Sprintf("%s %d RRSIG %s by %d %d of %d labels, TTL %d", r.Name, r.TTL, sig.Covered, sig.Tag, sig.Algorithm, sig.Labels, sig.OriginalTTL))
			continue
		}
		if r.Type == rdata.TypeZONEMD { // of the signatures too
			lines = append(lines, fmt.Sprintf("%s %d ZONEMD %x", r.Name, r.TTL, r.Data[:6]))
			continue
		}
		lines = append(lines, r.String())
	}
	slices.Sort(lines)
	return lines
}

// checkSignatures: each signature is good, and is not due.
func checkSignatures(t testing.TB, z *zone.Zone, p Params, now time.Time) {
	t.Helper()
	var keys []dnssec.Key
	for _, u := range p.Keys {
		k, _ := dnssec.ParseKey(u.RDATA())
		keys = append(keys, k)
	}
	for n := range z.Nodes() {
		for _, set := range setsOf(z, n, nil) {
			have, _ := z.RRset(n, set.Type)
			signatures, ok := have.Signatures()
			if !ok {
				continue
			}
			for _, data := range dataOf(&signatures) {
				sig, _ := dnssec.ParseSignature(data)
				good := false
				for _, k := range keys {
					good = good || k.Tag == sig.Tag && dnssec.Policy{}.Check(k, dnssec.AppendSigned(nil, sig, set), sig.Octets)
				}
				if !good {
					t.Errorf("%s %s: the signature by %d is not good", set.Name, set.Type, sig.Tag)
				}
				if rdata.Serial(now.Unix()).Less(sig.Inception) || !rdata.Serial(now.Unix()).Less(sig.Expiration) {
					t.Errorf("%s %s: not valid now", set.Name, set.Type)
				}
			}
		}
	}
}

func diff(got, want []string) string {
	var b strings.Builder
	for _, line := range got {
		if !slices.Contains(want, line) {
			b.WriteString("+ " + line + "\n")
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			b.WriteString("- " + line + "\n")
		}
	}
	return b.String()
}

// refreshed is a signed version with what is due by now signed again.
func refreshed(t *testing.T, signed, unsigned *zone.Zone, p Params) *zone.Zone {
	t.Helper()
	due, _, err := Due(signed, p, moment(), 0)
	if err != nil {
		t.Fatal(err)
	}
	change, err := Update(Revision{Old: signed, New: unsigned, Due: due}, p, moment())
	if err != nil {
		t.Fatal(err)
	}
	z, problems := change.Apply(signed)
	if z == nil {
		t.Fatal(problems)
	}
	return z
}

// TestUpdateAgainstWhole: after random edits, what Update makes of the old version means what
// signing whole makes of the new one, for each way of denial; and tools agree.
func TestUpdateAgainstWhole(t *testing.T) {
	tools := hasTools()
	for way, nsec3 := range ways {
		t.Run(way, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(3, uint64(len(way))))
			p := Params{Keys: keysFor(t, dnssec.Ed25519, false), NSEC3: nsec3}
			if way == "nsec" || way == "opt-out" {
				p.ZONEMD = []uint8{zonemd.SHA384, zonemd.SHA512}
			}
			for round := range 15 {
				now := moment().Add(-20 * 24 * time.Hour) // no more than 20 days are gone at the last step
				e := newEdits(rnd, rnd.IntN(40))
				z := e.zone(t, 1)
				signed := whole(t, z, nil, p, now)
				for step := range 8 {
					e.change()
					now = now.Add(time.Duration(rnd.IntN(60)) * time.Hour)
					next := e.zone(t, step+2)
					due, _, err := Due(signed, p, now, 0)
					if err != nil {
						t.Fatal(err)
					}
					change, err := Update(Revision{Old: signed, New: next, Touched: touched(z, next), Due: due}, p, now)
					if err != nil {
						t.Fatal(err)
					}
					got, problems := change.Apply(signed)
					if got == nil {
						t.Fatal(problems)
					}
					want := whole(t, next, nil, p, now)
					if g, w := meaning(got), meaning(want); !slices.Equal(g, w) {
						t.Fatalf("round %d step %d:\n%s", round, step, diff(g, w))
					}
					checkSignatures(t, got, p, now)
					if err := zonemd.Verify(example, got.Records()); len(p.ZONEMD) > 0 && err != nil {
						t.Fatal(err)
					}
					if step == 7 && round%5 == 0 && tools {
						checkWithTools(t, refreshed(t, got, next, p))
					}
					if left, _, _ := Due(got, p, now, 0); len(left) > 0 {
						t.Fatalf("still due: %v", left)
					}
					z, signed = next, got
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}
