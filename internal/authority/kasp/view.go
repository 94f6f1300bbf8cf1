package kasp

import (
	"fmt"
	"slices"
	"time"
)

// View is a key as an operator sees it.
type View struct {
	Key    Key
	DNSKEY State
	Signs  State // Hidden for a KSK
	DS     State // Hidden for a ZSK
	// Phase is where the key is in its life: generate, publish, ready, active, retire,
	// removed; foreign.
	Phase string
	// Next is what comes next, in words; In the time until then, 0 if time alone does
	// not bring it.
	Next string
	In   time.Duration
}

// Views returns the keys as an operator sees them, oldest first.
func (m *Machine) Views(now time.Time) []View {
	all := make([]View, 0, len(m.memory.Keys))
	for _, k := range m.memory.Keys {
		v := View{Key: k, DNSKEY: m.State(k.ID, DNSKEY), Signs: m.State(k.ID, Signatures), DS: m.State(k.ID, DS)}
		v.Phase, v.Next, v.In = m.describe(&k, v, now)
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b View) int { return byID(a.Key, b.Key) })
	return all
}

func (m *Machine) describe(k *Key, v View, now time.Time) (phase, next string, in time.Duration) {
	switch {
	case !k.isMade():
		return "generate", "is being made", 0
	case k.Foreign && k.Wanted:
		return "foreign", "is published for another signer", 0
	case !k.Wanted:
		return m.describeLeaving(k, v)
	case v.DNSKEY == Hidden:
		return "generate", "is published when " + m.describeWait(m.memory.Data, "the signatures of its algorithm"), longest(m.memory.Data)
	case v.DNSKEY == Rumoured:
		return "publish", "is used when " + m.describeWait(m.memory.DNSKEY, "the DNSKEY RRset with it"), longest(m.memory.DNSKEY)
	case k.Role.isEntry() && v.DS != Omnipresent:
		return m.describeArriving(k, v)
	case k.Role == ZSK && v.Signs == Hidden:
		return "ready", "signs from the next step on", 0
	}
	if due := m.due(k); !due.IsZero() {
		return "active", "its successor is made", max(0, due.Sub(now))
	}
	if m.replacing(k.ID) {
		return "active", "its successor is being made", 0
	}
	return "active", "is in use until it is rolled", 0
}

// describeArriving tells of a key that the parent has yet to name.
func (m *Machine) describeArriving(k *Key, v View) (phase, next string, in time.Duration) {
	switch {
	case !slices.Contains(m.memory.Ask, k.ID):
		return "ready", "the parent is asked for its DS when " + m.describeWait(m.memory.Data, "the signatures"), longest(m.memory.Data)
	case v.DS == Rumoured:
		return "active", "the DS records before it may be cached", m.longestDS()
	}
	return "ready", "waits until the parent shows its DS", 0
}

// describeLeaving tells of a key that is on its way out.
func (m *Machine) describeLeaving(k *Key, v View) (phase, next string, in time.Duration) {
	switch {
	case m.isNowhere(k.ID):
		return "removed", "is deleted", max(0, m.policy.Purge-k.Idle)
	case m.isShown(k.ID): // it is relied on as long as it is
		return "active", "waits until the parent no longer shows its DS", 0
	case m.isNamed(k.ID):
		return "retire", "leaves when nobody can have its DS any more", m.longestDS()
	case v.Signs == Omnipresent || v.Signs == Rumoured:
		return "active", "signs until its successor is known everywhere", longest(m.memory.DNSKEY)
	case v.Signs == Unretentive:
		return "retire", "leaves when " + m.describeWait(m.memory.Data, "the signatures without it"), longest(m.memory.Data)
	case v.DNSKEY == Unretentive:
		return "retire", "is gone when " + m.describeWait(m.memory.DNSKEY, "the DNSKEY RRset without it"), longest(m.memory.DNSKEY)
	}
	return "retire", "leaves with the next step", 0
}

// describeWait says what a surface is waiting for.
func (m *Machine) describeWait(list []Content, what string) string {
	for _, c := range list {
		if c.Until != 0 && !c.Fading {
			return fmt.Sprintf("every server of the zone shows %s (generation %d)", what, m.memory.Generation)
		}
	}
	return "no cache can have anything but " + what
}

// longest returns the time until the last of the older contents has faded; 0
// while one has not begun to.
func longest(list []Content) time.Duration {
	var last time.Duration
	for _, c := range list {
		if c.Until != 0 && !c.Fading {
			return 0
		}
		last = max(last, c.Left)
	}
	return last
}

func (m *Machine) longestDS() time.Duration {
	var last time.Duration
	for _, c := range m.memory.DS {
		last = max(last, c.Left)
	}
	return last
}

// Parental is what the parent is asked for and what it shows.
type Parental struct {
	Ask    []Key // the DS RRset it should have
	None   bool  // it should have none
	Shown  [][]ID
	Others bool // it also shows DS records of keys that are not ours
	Looked bool // it has been seen, or an operator has spoken for it
	Agrees bool // it shows what it was asked for, and nothing else
	// Lost says that a DS RRset it shows leads nowhere: the zone is bogus to whoever
	// has it.
	Lost string
}

// Parent returns how things stand with the parent.
func (m *Machine) Parent() Parental {
	p := Parental{None: m.memory.AskNone, Looked: m.memory.Looked, Agrees: m.agrees()}
	for _, id := range m.memory.Ask {
		p.Ask = append(p.Ask, *m.key(id))
	}
	for _, c := range m.memory.DS {
		if !c.Seen {
			continue
		}
		p.Shown = append(p.Shown, slices.Clone(c.Keys))
		p.Others = p.Others || c.Unknown
		switch {
		case c.Unknown && len(c.Keys) == 0:
			p.Lost = "the parent shows DS records of keys that the zone does not have"
		case len(c.Keys) > 0 && p.Lost == "":
			p.Lost = m.chain(c.Keys, newest(m.memory.DNSKEY), newest(m.memory.Data))
		}
	}
	return p
}

// Waiting returns the generation that some server of the zone does not show yet,
// as far as a step waits for it; 0: none.
func (m *Machine) Waiting() uint64 {
	for _, list := range [][]Content{m.memory.DNSKEY, m.memory.Data} {
		for _, c := range list {
			if c.Until != 0 && !c.Fading {
				return c.Until
			}
		}
	}
	return 0
}
