package signer

import (
	"fmt"
	"time"

	"pharos/internal/authority/kasp"
	"pharos/internal/clock"
)

// expiring is how long before the end of the first signature that is a trouble, at
// most: renewal has failed since long.
const expiring = 2 * 24 * time.Hour

// patience is how long a parent may take before it is a trouble.
const patience = 24 * time.Hour

// Trouble is what is wrong with a signed zone, a text for each kind; empty: nothing.
type Trouble struct {
	Failed   string // it is not signed as it should be
	Jumped   string // the clock
	Expires  string // signatures end that nobody renews
	Lost     string // the parent's DS records match no key
	Offline  string // a KSK that is not here has to sign
	Waits    string // for the parent
	BehindOf string // which server does not show what rollovers wait for
}

// Trouble returns what is wrong. Commands in the texts name the zone as about.
func (st *State) Trouble(about string) Trouble {
	t := Trouble{Failed: st.Problem, Offline: st.Elsewhere.trouble(), Waits: waitsForParent(st)}
	if st.Jumped != 0 {
		t.Jumped = fmt.Sprintf("the clock has jumped by %s; signatures go on being dated as before for some minutes, in case it is a mistake", st.Jumped.Round(time.Second))
	}
	if left := clock.Until(st.Expires); st.Signed && st.Problem != "" && left < expiring {
		t.Expires = fmt.Sprintf("the first signature ends in %s (%s), and none is renewed: see the other problems", left.Round(time.Minute), st.Expires.UTC().Format(time.DateTime))
	}
	if st.Parent.Lost != "" {
		t.Lost = fmt.Sprintf("it is bogus to whoever validates: %s; have the parent show what \"pharos zone ds %s\" prints", st.Parent.Lost, about)
	}
	if st.Waiting != 0 {
		for _, s := range st.Servers {
			if s.Err != nil {
				t.BehindOf = fmt.Sprintf("server %s cannot be seen, so rollovers wait for it: %v", s.Address, s.Err)
			}
		}
	}
	return t
}

// trouble says what an operator has to bring for a KSK that is elsewhere.
func (e *Elsewhere) trouble() string {
	switch {
	case e == nil:
		return ""
	case e.Lacks == "" && e.Warn:
		return fmt.Sprintf("what the offline KSK has signed ends in %s (%s); make a request with \"pharos zone keys ksr\", have it signed, and import the response", clock.Until(e.Until).Round(time.Hour), e.Until.UTC().Format(time.DateTime))
	}
	return e.Lacks
}

// waitsForParent says what the parent has yet to show, if it cannot be seen, if it takes
// long or if somebody has to tell it.
func waitsForParent(st *State) string {
	if st.ParentProblem != "" {
		return "the parent cannot be seen, so rollovers wait: " + st.ParentProblem
	}
	if st.Parent.Agrees || len(st.Parent.Ask) == 0 && !st.Parent.None {
		return ""
	}
	since := time.Duration(0)
	for _, v := range st.Keys {
		if v.Key.Wanted && v.Key.Role != kasp.ZSK && !v.Key.Made.IsZero() {
			since = max(since, clock.Since(v.Key.Made))
		}
	}
	switch {
	case !st.ParentAsks && !st.ParentAsked.IsZero():
		return "the parent has to be given the DS records that \"pharos zone ds\" prints, and nobody here can see whether it shows them; say so with --submitted"
	case since > patience && st.Parent.None:
		return "the parent still shows DS records; have it remove them"
	case since > patience:
		return "the parent does not show the DS records that it should; \"pharos zone ds\" prints them"
	}
	return ""
}
