package kasp

import (
	"fmt"
	"slices"
)

// lists is everything that somebody may hold, or may come to hold after a step.
type lists struct {
	ds     []ParentContent
	dnskey []Content
	data   []Content
}

func (m *Machine) lists() lists { return lists{m.memory.DS, m.memory.DNSKEY, m.memory.Data} }

// hinders returns the first combination of l without a chain of trust, in words;
// empty: there is none, and a step that leads to l may be taken. A DS RRset of the
// parent's own making that does not even fit what is published now is passed over:
// no step of ours can make that worse, and some step may mend it.
func (m *Machine) hinders(l lists) string {
	l.ds = slices.DeleteFunc(slices.Clone(l.ds), func(c ParentContent) bool {
		return (c.Seen || c.Fading) && m.chain(c.Keys, newest(m.memory.DNSKEY), newest(m.memory.Data)) != ""
	})
	return m.broken(l)
}

// broken returns the first combination of l without a chain of trust, in words.
func (m *Machine) broken(l lists) string {
	for i := range l.ds {
		ds := &l.ds[i]
		if len(ds.Keys) == 0 {
			continue // unsigned to its holder, or of keys that we know nothing of
		}
		for _, keys := range l.dnskey {
			for _, data := range l.data {
				if why := m.chain(ds.Keys, keys.Keys, data.Keys); why != "" {
					return why
				}
			}
		}
	}
	return ""
}

// chain says why the DS records of keys ds, a DNSKEY RRset and signatures of data
// make no chain of trust; empty: they do. Every algorithm that the DS or the
// DNSKEY RRset names has to be complete: RFC 4035 §2.2 asks it of signers, and
// some validators insist (RFC 6840 §5.11).
func (m *Machine) chain(ds, keys, data []ID) string {
	named := m.algorithms(ds, func(*Key) bool { return true })
	carried := m.algorithms(keys, func(k *Key) bool { return !k.Foreign })
	for _, a := range named {
		if !m.has(ds, a, func(k *Key) bool { return slices.Contains(keys, k.ID) }) {
			return fmt.Sprintf("the DS RRset names algorithm %d, for which the DNSKEY RRset has none of its keys", a)
		}
	}
	for _, a := range union8(named, carried) {
		if !m.has(keys, a, func(k *Key) bool { return k.Role.isEntry() && !k.Foreign }) {
			return fmt.Sprintf("the DNSKEY RRset is not signed with algorithm %d", a)
		}
		if !m.has(data, a, func(k *Key) bool { return slices.Contains(keys, k.ID) }) {
			return fmt.Sprintf("data are not signed with algorithm %d by a key of the DNSKEY RRset", a)
		}
	}
	return ""
}

// algorithms returns those of the keys of a set for which use holds.
func (m *Machine) algorithms(set []ID, use func(*Key) bool) []uint8 {
	var all []uint8
	for _, id := range set {
		if k := m.key(id); k != nil && use(k) && !slices.Contains(all, k.Algorithm) {
			all = append(all, k.Algorithm)
		}
	}
	return all
}

// has reports whether a set has a key of algorithm a for which use holds.
func (m *Machine) has(set []ID, a uint8, use func(*Key) bool) bool {
	return slices.ContainsFunc(set, func(id ID) bool {
		k := m.key(id)
		return k != nil && k.Algorithm == a && use(k)
	})
}

func union8(a, b []uint8) []uint8 {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// check returns what is wrong with m, for tests: somebody may hold a combination
// without a chain of trust, or the lists contradict each other.
func (m *Machine) check() error {
	if why := m.broken(m.lists()); why != "" {
		return fmt.Errorf("a chain of trust is broken: %s", why)
	}
	for _, list := range [][]Content{m.memory.DNSKEY, m.memory.Data} {
		for i, c := range list {
			last := i == len(list)-1
			if last != (c.Until == 0) || last && c.Fading {
				return fmt.Errorf("content %d of %d is replaced in generation %d", i, len(list), c.Until)
			}
			for _, id := range c.Keys {
				if m.key(id) == nil {
					return fmt.Errorf("key %d is in use and not known", id)
				}
			}
		}
	}
	for _, c := range m.memory.DS {
		if c.Fading && (c.Seen || c.Asked) {
			return fmt.Errorf("DS RRset %v is there and fades", c.Keys)
		}
	}
	return nil
}
