package kasp

import (
	"slices"
	"time"

	"pharos/internal/dns/dnssec"
)

// Parent is what the parent's servers were seen to show.
type Parent struct {
	Sets [][][]byte    // RDATA of the DS RRset of each server; an empty one: no DS
	TTL  time.Duration // the longest seen
}

// observe takes in what the parent shows: contents that no server shows any more
// begin to fade.
func (m *Machine) observe(p Parent) {
	m.memory.Looked = true
	for i := range m.memory.DS {
		m.memory.DS[i].Seen = false
	}
	for _, set := range p.Sets {
		keys, unknown := m.identify(set)
		m.see(keys, unknown, p.TTL)
	}
	ask, _ := m.wantedAtParent()
	arrived := len(p.Sets) > 0
	for _, set := range p.Sets {
		keys, _ := m.identify(set)
		arrived = arrived && slices.Equal(keys, ask)
	}
	for i := range m.memory.DS {
		c := &m.memory.DS[i]
		if arrived && !slices.Equal(c.Keys, ask) {
			c.Asked = false // nothing on the way to what was asked for will come now
		}
		m.startFading(c)
	}
}

// see notes that a server of the parent shows a DS RRset.
func (m *Machine) see(keys []ID, unknown bool, ttl time.Duration) {
	for i := range m.memory.DS {
		c := &m.memory.DS[i]
		if slices.Equal(c.Keys, keys) && c.Unknown == unknown {
			c.Seen, c.Fading, c.TTL = true, false, max(c.TTL, ttl, m.policy.ParentTTL)
			return
		}
	}
	m.memory.DS = append(m.memory.DS, ParentContent{Keys: keys, Unknown: unknown, Seen: true, TTL: max(ttl, m.policy.ParentTTL)})
}

// startFading lets a content go that nobody shows or asks for.
func (m *Machine) startFading(c *ParentContent) {
	if c.Seen || c.Asked || c.Fading {
		return
	}
	c.Fading = true
	c.Left = max(c.TTL, m.policy.ParentTTL) + m.policy.ParentPropagation + m.policy.Safety
}

// identify returns the keys that DS records speak of, and whether there are
// others.
func (m *Machine) identify(set [][]byte) (keys []ID, unknown bool) {
	for _, data := range set {
		ds, ok := dnssec.ParseDS(data)
		i := slices.IndexFunc(m.memory.Keys, func(k Key) bool {
			made, valid := dnssec.ParseKey(k.DNSKEY)
			return ok && valid && ds.IsOf(m.zone, made)
		})
		if i < 0 {
			unknown = true
			continue
		}
		keys = append(keys, m.memory.Keys[i].ID)
	}
	slices.Sort(keys)
	return slices.Compact(keys), unknown
}

// wantedAtParent returns what the parent is asked for; none: to have no DS.
func (m *Machine) wantedAtParent() (set []ID, none bool) { return m.memory.Ask, m.memory.AskNone }

// agrees reports whether all that the parent shows is what it was asked for.
func (m *Machine) agrees() bool {
	for _, c := range m.memory.DS {
		if c.Seen && (!slices.Equal(c.Keys, m.memory.Ask) || c.Unknown && m.memory.AskNone) {
			return false
		}
	}
	return true
}

// ask asks the parent for another DS RRset, from generation on. It may change to it
// at once, or by way of a mixture; both must hold with everything that anybody
// has.
func (m *Machine) ask(set []ID) (ok bool) {
	l := m.lists()
	l.ds = slices.Clone(l.ds)
	for _, to := range m.waysTo(set) {
		l.ds = withAsked(l.ds, to, 0)
	}
	if len(l.ds) > maxContents || m.hinders(l) != "" {
		return false
	}
	ttl := m.policy.ParentTTL
	for i := range m.memory.DS {
		c := &m.memory.DS[i]
		ttl = max(ttl, c.TTL)
		if c.Asked && c.Until == 0 {
			c.Until = m.memory.Generation + 1 // what was asked for until now may yet come
		}
	}
	for _, to := range m.waysTo(set) {
		m.memory.DS = withAsked(m.memory.DS, to, ttl)
	}
	m.memory.Ask, m.memory.AskNone = set, len(set) == 0
	return true
}

// waysTo returns the DS RRsets that the parent may show on its way to set.
func (m *Machine) waysTo(set []ID) [][]ID {
	ways := [][]ID{set}
	for _, c := range m.memory.DS {
		if c.Seen {
			ways = append(ways, union(c.Keys, set))
		}
	}
	return ways
}

func withAsked(list []ParentContent, set []ID, ttl time.Duration) []ParentContent {
	for i := range list {
		if c := &list[i]; slices.Equal(c.Keys, set) && !c.Unknown {
			c.Asked, c.Fading, c.Until, c.TTL = true, false, 0, max(c.TTL, ttl)
			return list
		}
	}
	return append(list, ParentContent{Keys: set, Asked: true, TTL: ttl})
}
