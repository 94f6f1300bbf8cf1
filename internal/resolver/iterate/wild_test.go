package iterate

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// wildWorld is newSignedWorld with wildcards in example.com.
func wildWorld(t *testing.T, nsec3 int) *signedWorld {
	w := newSignedWorld(t)
	w.example.nsec3, w.com.nsec3 = nsec3, nsec3
	w.example.add(rrs("*.wild.example.com. 300 A 203.0.113.66", "here.wild.example.com. 300 A 203.0.113.5", "n.deep.wild.example.com. 300 A 203.0.113.6",
		"*.to.example.com. 300 CNAME www.example.com.")...)
	return w
}

// RFC 8198 §5.3: a wildcard that is known answers for all names that a proof which is known
// says it stands for: with its signatures and that proof, and without a query.
func TestWildcardsFromCache(t *testing.T) {
	for _, nsec3 := range []int{-1, 0, 5} {
		t.Run(fmt.Sprintf("NSEC3 %d", nsec3), func(t *testing.T) {
			w := wildWorld(t, nsec3)
			w.begin(func(c *Config) { c.Aggressive = true })
			w.wantState(w.query("p.wild.example.com.", "A"), rrcache.Secure, "NOERROR | p.wild.example.com. 300 A 203.0.113.66")
			w.wantState(w.query("p.to.example.com.", "A"), rrcache.Secure, "NOERROR | p.to.example.com. 300 CNAME www.example.com.; www.example.com. 300 A 203.0.113.1")
			w.pass(100 * time.Second)
			w.asked = nil
			a := w.query("x.p.wild.example.com.", "A", "DO")
			w.wantState(a, rrcache.Secure, "NOERROR | x.p.wild.example.com. 200 A 203.0.113.66")
			w.wantState(w.query("*.wild.example.com.", "A"), rrcache.Secure, "NOERROR | *.wild.example.com. 200 A 203.0.113.66")
			b := w.query("x.p.to.example.com.", "A", "DO")
			w.wantState(Answer{State: b.State, Answer: slices.DeleteFunc(slices.Clone(b.Answer), func(r rdata.Record) bool { return r.Type == rdata.TypeRRSIG })}, rrcache.Secure,
				"NOERROR | www.example.com. 200 A 203.0.113.1; x.p.to.example.com. 200 CNAME www.example.com.")
			w.wantAsked()
			for _, a := range []Answer{a, b} {
				proofs := slices.ContainsFunc(a.Authority, func(r rdata.Record) bool { return r.Type == rdata.TypeNSEC || r.Type == rdata.TypeNSEC3 })
				sigs := slices.ContainsFunc(a.Answer, func(r rdata.Record) bool { return r.Type == rdata.TypeRRSIG && r.Name == a.Answer[0].Name })
				for _, r := range a.Authority {
					if r.TTL != 200 {
						t.Errorf("%v %v has TTL %d, want 200: what is left of it", r.Name, r.Type, r.TTL)
					}
				}
				if !a.AD || !proofs || !sigs {
					t.Errorf("AD %v, proof %v, signatures %v: want all\n%v\n%v", a.AD, proofs, sigs, a.Answer, a.Authority)
				}
			}
			if got := w.r.Counters().Synthesised; got != 2 {
				t.Errorf("%d answers were counted, want 2", got)
			}
			// What is nearer is asked for, and so are other types.
			w.wantState(w.query("here.wild.example.com.", "A"), rrcache.Secure, "NOERROR | here.wild.example.com. 300 A 203.0.113.5")
			w.wantState(w.query("x.deep.wild.example.com.", "A"), rrcache.Secure, "NXDOMAIN")
			w.wantState(w.query("q.wild.example.com.", "TXT"), rrcache.Secure, "NOERROR |")
			w.query("r.wild.example.com.", "A", "CD")
			// Neither outlives its records.
			w.pass(201 * time.Second)
			w.asked = nil
			if w.query("y.p.wild.example.com.", "A"); len(w.asked) == 0 {
				t.Error("answered from what is out of date")
			}
		})
	}
}

// An answer that was made from a wildcard is learnt from when it has been validated only.
func TestWildcardsUnproven(t *testing.T) {
	for _, optOut := range []bool{true, false} {
		w := wildWorld(t, 0)
		w.example.optOut = optOut
		w.begin(func(c *Config) { c.Aggressive = true })
		w.query("p.wild.example.com.", "A", "CD")
		w.asked = nil
		w.query("x.p.wild.example.com.", "A")
		if len(w.asked) == 0 {
			t.Error("answered from what was not validated")
		}
		w.asked = nil
		w.query("y.p.wild.example.com.", "A")
		if isMade := len(w.asked) == 0; isMade == optOut {
			t.Errorf("opt-out %v: made from the wildcard %v", optOut, isMade)
		}
	}
	w := wildWorld(t, -1)
	w.query("p.wild.example.com.", "A")
	w.asked = nil
	if w.query("x.p.wild.example.com.", "A"); len(w.asked) == 0 {
		t.Error("made from the wildcard, though that is turned off")
	}
}
