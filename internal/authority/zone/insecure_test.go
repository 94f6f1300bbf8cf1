package zone

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// parent is a zone of delegations with an NSEC3 chain, with or without opt-out.
type parent struct {
	optOut bool
	secure map[string]bool // whether a delegation has DS records
}

// records returns what is in the zone.
func (p *parent) records(t *testing.T) []rdata.Record {
	list := signedApex(t, record(t, "example.", rdata.TypeNSEC3PARAM, "1 0 0 -"))
	names := []string{"example."}
	for name, secure := range p.secure {
		list = append(list, record(t, name, rdata.TypeNS, "ns.elsewhere.test."))
		if secure {
			list = append(list, record(t, name, rdata.TypeDS, "1 13 2 "+fmt.Sprintf("%064d", len(name))))
		}
		if secure || !p.optOut {
			names = append(names, name)
		}
	}
	z := Zone{origin: dnsname.MustParse("example."), special: &ordinary}
	var hashes []string
	for _, n := range names {
		h := z.Hash(dnsname.MustParse(n))
		hashes = append(hashes, string(h[:]))
	}
	slices.Sort(hashes)
	for i, h := range hashes {
		list = append(list, record(t, h+".example.", rdata.TypeNSEC3, "1 1 0 - "+hashes[(i+1)%len(hashes)]+" NS"))
	}
	return list
}

// edit returns z with the records of p.
func (p *parent) edit(t *testing.T, z *Zone) *Zone {
	t.Helper()
	e, wanted := z.Edit(), map[string]rdata.Record{}
	e.always = true
	for _, r := range p.records(t) {
		wanted[r.String()] = r
	}
	for r := range z.Records() {
		if _, ok := wanted[r.String()]; ok {
			delete(wanted, r.String())
		} else if !e.Delete(r) {
			t.Fatalf("%v was not there", r)
		}
	}
	for _, r := range wanted {
		e.Add(r)
	}
	if len(e.names) == 0 {
		return z
	}
	next, problems := e.Finish()
	if next == nil || next.over == nil {
		t.Fatalf("no overlay: %v", problems)
	}
	return next
}

// check holds what is noted in the zone cuts against hashing, and returns how many of the
// insecure ones have a note that holds.
func (p *parent) check(t *testing.T, z *Zone) (noted, insecure int) {
	t.Helper()
	for name, secure := range p.secure {
		cut := z.Lookup(dnsname.MustParse(name)).Exact
		matching, covering, ok := z.Insecurity(cut)
		h := z.Hash(z.Name(cut))
		wantMatching, wantCovering := z.Matching(h), Node(0)
		if wantMatching == 0 {
			wantMatching, wantCovering = z.Matching(z.Hash(z.Origin())), z.Covering(h)
		}
		switch {
		case secure:
			continue
		case ok && (matching != wantMatching || covering != wantCovering):
			t.Fatalf("%s: nodes %d and %d, want %d and %d", name, matching, covering, wantMatching, wantCovering)
		case ok:
			noted++
		}
		insecure++
	}
	return noted, insecure
}

// TestInsecurity: RFC 5155 §7.2.7: what is noted in a zone cut is what hashing its name
// finds, in a zone that was built, in versions that edits made of it, and in its image.
func TestInsecurity(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, optOut := range []bool{true, false} {
		p := &parent{optOut: optOut, secure: map[string]bool{}}
		for i := range 300 {
			p.secure[fmt.Sprintf("d%d.example.", i)] = i%3 == 0
		}
		z, _ := mustBuild(t, p.records(t))
		if noted, insecure := p.check(t, z); noted != insecure || noted != 200 {
			t.Errorf("%d of %d insecure delegations have a note, want all 200", noted, insecure)
		}
		for range 20 {
			for range 1 + rnd.IntN(4) {
				switch name := fmt.Sprintf("d%d.example.", rnd.IntN(320)); rnd.IntN(3) {
				case 0:
					delete(p.secure, name)
				case 1:
					p.secure[name] = false
				default:
					p.secure[name] = true
				}
			}
			z = p.edit(t, z)
			if noted, insecure := p.check(t, z); noted < insecure/3 {
				t.Errorf("%d of %d notes are left after a few edits", noted, insecure)
			}
		}
		z = z.Compact()
		if noted, insecure := p.check(t, z); noted != insecure {
			t.Errorf("%d of %d insecure delegations have a note, want all", noted, insecure)
		}
		z, _, err := FromImage(imageOf(t, z))
		if err != nil {
			t.Fatal(err)
		}
		if noted, insecure := p.check(t, z); noted != insecure {
			t.Errorf("%d of %d insecure delegations have a note, want all", noted, insecure)
		}
	}
}

// TestInsecurityBelow: by opt-out, a delegation further down may have a closest provable
// encloser other than the origin, which is found by hashing.
func TestInsecurityBelow(t *testing.T) {
	p := &parent{optOut: true, secure: map[string]bool{"a.b.example.": false, "c.example.": true, "d.c.example.": false}}
	z, _ := mustBuild(t, p.records(t))
	for name := range p.secure {
		if _, _, ok := z.Insecurity(z.Lookup(dnsname.MustParse(name)).Exact); ok {
			t.Errorf("%s has a note", name)
		}
	}
	if _, _, ok := z.Insecurity(z.Apex()); ok {
		t.Error("the apex is no delegation")
	}
}
