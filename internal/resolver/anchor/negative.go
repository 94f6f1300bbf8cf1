package anchor

import (
	"fmt"
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
)

// Bounds of negative trust anchors (RFC 7646 §2).
const (
	// NegativeDefault is how long one lasts if nobody says otherwise: a day. RFC 7646 §2
	// wants it to be short, as most such faults are mended within a day.
	NegativeDefault = 24 * time.Hour
	// NegativeMost is how long one may last: a week, as RFC 7646 §2 and BIND have it.
	NegativeMost = 7 * 24 * time.Hour
	// MaxNegatives is how many there may be at run time: 1000, arbitrary.
	MaxNegatives = 1000
	// retest is how often a name is tried without its anchor: an hour, or a quarter of
	// what is left if that is less, but not below retestLeast.
	retest, retestLeast = time.Hour, time.Minute
)

// Negative is a name at and below which nothing is validated, until it is mended.
type Negative struct {
	Name   dnsname.Name
	Since  time.Time
	Until  time.Time // zero: from the configuration, until that changes
	Reason string
	Forced bool // it stays to its end, mended or not: the name is not tried without it
	// Retest is when the name is tried next without the anchor.
	Retest time.Time
	// Mended: the last such try found the name secure, or insecure without it, so the
	// anchor is of no use. One with an end is removed then.
	Mended bool
	// Verdict is what the last try came to; empty: there was none.
	Verdict string
}

// Negatives are the negative trust anchors there are.
//
// Invariant: one for each name, sorted by name.
type Negatives struct {
	List []Negative
}

func (n *Negatives) find(name dnsname.Name) (int, bool) {
	return slices.BinarySearchFunc(n.List, name, func(e Negative, name dnsname.Name) int { return e.Name.Compare(name) })
}

// Configure makes names the anchors without an end, beside those that have one.
func (n *Negatives) Configure(now time.Time, names []dnsname.Name) {
	old := *n
	n.List = slices.DeleteFunc(slices.Clone(n.List), func(e Negative) bool { return e.Until.IsZero() || slices.Contains(names, e.Name) })
	for _, name := range names {
		e := Negative{Name: name, Since: now, Reason: "resolver.negativeTrustAnchors", Retest: now.Add(retest)}
		if i, found := old.find(name); found && old.List[i].Until.IsZero() {
			e = old.List[i]
		}
		n.put(e)
	}
}

func (n *Negatives) put(e Negative) {
	i, found := n.find(e.Name)
	if found {
		n.List[i] = e
		return
	}
	n.List = slices.Insert(n.List, i, e)
}

// Add makes name a negative anchor for so long, or for longer or shorter than it was.
func (n *Negatives) Add(now time.Time, name dnsname.Name, lasts time.Duration, reason string, forced bool) error {
	i, found := n.find(name)
	switch {
	case lasts <= 0 || lasts > NegativeMost:
		return fmt.Errorf("a negative trust anchor lasts between a second and %v (RFC 7646 section 2), not %v", NegativeMost, lasts)
	case found && n.List[i].Until.IsZero():
		return fmt.Errorf("%v is a negative trust anchor of the configuration, which has no end; change resolver.negativeTrustAnchors", name)
	case !found && len(n.List) >= MaxNegatives:
		return fmt.Errorf("there are %d negative trust anchors, which is the most; remove one", MaxNegatives)
	}
	e := Negative{Name: name, Since: now, Until: now.Add(lasts), Reason: reason, Forced: forced}
	e.schedule(now)
	n.put(e)
	return nil
}

// Remove ends an anchor that was added.
func (n *Negatives) Remove(name dnsname.Name) error {
	i, found := n.find(name)
	switch {
	case !found:
		return fmt.Errorf("%v is no negative trust anchor", name)
	case n.List[i].Until.IsZero():
		return fmt.Errorf("%v is a negative trust anchor of the configuration; take it out of resolver.negativeTrustAnchors", name)
	}
	n.List = slices.Delete(slices.Clone(n.List), i, i+1)
	return nil
}

// Expire removes what has come to its end and returns the names. A clock that was set
// back makes no anchor last longer than it may.
func (n *Negatives) Expire(now time.Time) (gone []dnsname.Name) {
	n.List = slices.DeleteFunc(slices.Clone(n.List), func(e Negative) bool {
		over := !e.Until.IsZero() && (!now.Before(e.Until) || e.Until.After(now.Add(NegativeMost)))
		if over {
			gone = append(gone, e.Name)
		}
		return over
	})
	return gone
}

// Tested takes in what a try without the anchor came to. It reports whether the anchor
// was removed for it.
func (n *Negatives) Tested(now time.Time, name dnsname.Name, mended bool, verdict string) bool {
	i, found := n.find(name)
	if !found {
		return false
	}
	if mended && !n.List[i].Until.IsZero() {
		n.List = slices.Delete(slices.Clone(n.List), i, i+1)
		return true
	}
	n.List = slices.Clone(n.List)
	e := &n.List[i]
	e.Mended, e.Verdict = mended, verdict
	e.schedule(now)
	return false
}

// schedule sets when the name is tried next.
func (e *Negative) schedule(now time.Time) {
	wait := retest
	if !e.Until.IsZero() {
		wait = min(wait, max(e.Until.Sub(now)/4, retestLeast))
	}
	e.Retest = now.Add(wait)
}

// Due returns the names to be tried at now, and when there is something to do next; the
// zero time if never.
func (n *Negatives) Due(now time.Time) (names []dnsname.Name, next time.Time) {
	for _, e := range n.List {
		if !e.Forced && !now.Before(e.Retest) {
			names = append(names, e.Name)
		}
		for i, at := range [...]time.Time{e.Until, e.Retest} {
			if !at.IsZero() && !(i == 1 && e.Forced) && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
	}
	return names, next
}

// Names returns the names.
func (n *Negatives) Names() []dnsname.Name {
	names := make([]dnsname.Name, len(n.List))
	for i, e := range n.List {
		names[i] = e.Name
	}
	return names
}
