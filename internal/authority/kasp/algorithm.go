package kasp

import (
	"slices"
	"time"
)

// AlgorithmChange is how far the way from one algorithm to another is, in the five
// steps of RFC 6781 §4.1.4. It begins with another Policy.Algorithm and goes on by
// itself: each step is taken when every server of the zone, and for the DS the parent,
// is seen to show the one before and no cache can have anything older.
type AlgorithmChange struct {
	From []uint8 // the algorithms that are leaving; none: none is
	To   uint8
	Step int    // 1 to AlgorithmSteps
	Text string // what this step does, and what it waits for
	// In is the time until the next step; 0 if time alone does not bring it.
	In time.Duration
}

// AlgorithmSteps is how many steps there are.
const AlgorithmSteps = 5

// AlgorithmChange returns how far a change of the algorithm is; ok is false if none is
// under way.
func (m *Machine) AlgorithmChange() (c AlgorithmChange, ok bool) {
	old := m.keysOf(func(k *Key) bool {
		return k.isMade() && !k.Foreign && k.Algorithm != m.policy.Algorithm && !m.isNowhere(k.ID)
	})
	if m.policy.Off || len(old) == 0 {
		return c, false
	}
	c = AlgorithmChange{From: m.algorithms(old, func(*Key) bool { return true }), To: m.policy.Algorithm}
	slices.Sort(c.From)
	next := m.keysOf(func(k *Key) bool { return k.isMade() && k.Wanted && m.fits(k) })
	is := func(keys []ID, r Record, want State, use func(Role) bool) bool {
		return !slices.ContainsFunc(keys, func(id ID) bool { return use(m.key(id).Role) && m.State(id, r) != want })
	}
	any := func(Role) bool { return true }
	switch {
	case len(next) < len(m.policy.roles()):
		c.Step, c.Text = 1, "the keys of the new algorithm are being made"
	case !is(next, Signatures, Omnipresent, Role.isZone) && is(old, DNSKEY, Omnipresent, any) && !m.inDNSKEY(next):
		c.Step, c.Text, c.In = 1, "signed with both algorithms; the new keys follow when "+m.describeWait(m.memory.Data, "both signatures"), longest(m.memory.Data)
	case !is(next, DNSKEY, Omnipresent, any):
		c.Step, c.Text, c.In = 2, "the keys of both algorithms are published; the parent is asked for the new DS when "+m.describeWait(m.memory.DNSKEY, "both keys"), longest(m.memory.DNSKEY)
	case !is(next, DS, Omnipresent, Role.isEntry) || !is(old, DS, Hidden, any):
		c.Step, c.Text, c.In = 3, "waits until the parent shows the new DS and no other", 0
		if !slices.ContainsFunc(old, m.isShown) && slices.ContainsFunc(next, m.isShown) {
			c.Text, c.In = "the parent shows the new DS; the old keys leave when no cache can have the old one", m.longestDS()
		}
	case !is(old, DNSKEY, Hidden, any):
		c.Step, c.Text, c.In = 4, "the old keys have left; their signatures follow when "+m.describeWait(m.memory.DNSKEY, "the DNSKEY RRset without them"), longest(m.memory.DNSKEY)
	default:
		c.Step, c.Text, c.In = 5, "the old signatures have left; done when "+m.describeWait(m.memory.Data, "the new ones"), longest(m.memory.Data)
	}
	return c, true
}

// inDNSKEY reports whether one of keys stands in the DNSKEY RRset.
func (m *Machine) inDNSKEY(keys []ID) bool {
	return slices.ContainsFunc(keys, func(id ID) bool { return slices.Contains(newest(m.memory.DNSKEY), id) })
}
