package kasp

import (
	"slices"
	"time"
)

// Facts are what has come to light since the last step.
type Facts struct {
	// Passed is how much time has surely passed, by a clock that cannot be set, in
	// this process: what passed while it was not running does not count.
	Passed time.Duration
	// Shown is the newest generation that every server of the zone shows.
	Shown uint64
	// DataTTL is the longest TTL in the zone, as it is published now.
	DataTTL time.Duration
	// Parent is what the parent shows; nil: nobody has looked since.
	Parent *Parent
	// Offline is what keys elsewhere have signed; nil: that is no reason to wait.
	Offline *Offline
}

// Plan is what the zone is to look like, and what is to be done.
type Plan struct {
	// Generation rises when what follows changes. Generation 0 is the zone as its
	// source has it.
	Generation uint64
	Keys       []Key // the DNSKEY RRset
	KeySigners []ID  // who sign it, and the CDS and CDNSKEY RRsets
	Signers    []ID  // who sign everything else; none: the zone is not signed
	CDS        []Key // what the CDS and CDNSKEY RRsets have; none: there are none
	DeleteDS   bool  // CDS and CDNSKEY ask to have no DS (RFC 8078 §4)
	// Generate are the keys to be made: then Made, then Step again.
	Generate []Key
	// Purge are the keys whose private part is of no use any more. They are no
	// longer known.
	Purge []ID
	// Wait is the time after which Step has something to do, without anything else
	// coming to light; 0: none.
	Wait time.Duration
}

// Step takes in the facts, takes every step that may be taken, and says what is to
// be published. Its Memory has to be on disk before the plan is acted upon.
func (m *Machine) Step(now time.Time, f Facts) Plan {
	m.offline, m.lacking = f.Offline, nil
	m.remember(f)
	m.schedule(now)
	generation := m.memory.Generation
	for range 4 * MaxKeys { // each round takes a step; this many are never there
		if !m.advance(generation + 1) {
			break
		}
		m.memory.Generation = generation + 1
	}
	m.note(now)
	return m.plan(now)
}

// remember lets time pass and takes in what was seen.
func (m *Machine) remember(f Facts) {
	passed := max(0, f.Passed)
	for _, list := range []*[]Content{&m.memory.DNSKEY, &m.memory.Data} {
		for i := range *list {
			c := &(*list)[i]
			switch {
			case c.Until == 0:
				c.TTL = max(c.TTL, m.ttl(list == &m.memory.DNSKEY && len(c.Keys) > 0, f))
			case c.Fading:
				c.Left -= passed
			case f.Shown >= c.Until:
				c.Fading, c.Left = true, c.TTL+m.policy.Propagation+m.margin(c.Keys)
			}
		}
		*list = slices.DeleteFunc(*list, func(c Content) bool { return c.Fading && c.Left <= 0 })
	}
	for i := range m.memory.DS {
		c := &m.memory.DS[i]
		if c.Fading {
			c.Left -= passed
		}
		if c.Until != 0 && f.Shown >= c.Until && f.Parent != nil { // the parent is seen not to have followed
			c.Asked, c.Until = false, 0
			m.startFading(c)
		}
	}
	if f.Parent != nil {
		m.observe(*f.Parent)
	}
	m.memory.DS = slices.DeleteFunc(m.memory.DS, func(c ParentContent) bool { return c.Fading && c.Left <= 0 })
	for i := range m.memory.Keys {
		if k := &m.memory.Keys[i]; !k.Wanted && m.isNowhere(k.ID) {
			k.Idle += passed
		} else {
			k.Idle = 0
		}
	}
}

func (m *Machine) ttl(keys bool, f Facts) time.Duration {
	if keys {
		return m.policy.KeyTTL
	}
	return max(f.DataTTL, m.policy.KeyTTL)
}

// margin is Policy.Safety, but for a content with a compromised key.
func (m *Machine) margin(set []ID) time.Duration {
	if slices.ContainsFunc(set, func(id ID) bool { k := m.key(id); return k != nil && k.Compromised }) {
		return 0
	}
	return m.policy.Safety
}

// advance takes one step towards what is wanted, if one may be taken.
func (m *Machine) advance(generation uint64) bool {
	if m.policy.Off {
		return m.unsign(generation)
	}
	signers, keys, entry := m.wanted()
	if len(signers) == 0 || len(entry) == 0 {
		return false // the first keys are being made
	}
	now, carried := newest(m.memory.Data), newest(m.memory.DNSKEY)
	if len(carried) == 0 && !m.canSign(keys) {
		return false // nor are data signed, with nothing that leads to them
	}
	switch {
	case m.setData(signers, generation), m.setData(union(now, m.missing(signers, now)), generation):
		return true
	case m.setKeys(union(carried, keys), generation):
		return true
	}
	for _, id := range keys {
		if m.setKeys(union(carried, []ID{id}), generation) {
			return true
		}
	}
	for _, leaving := range m.leaving(carried, keys) {
		if m.setKeys(without(carried, leaving), generation) {
			return true
		}
	}
	return m.isNews(entry) && m.ask(entry)
}

// isNews reports whether the parent has yet to be asked for set.
func (m *Machine) isNews(set []ID) bool {
	return !slices.Equal(m.memory.Ask, set) || m.memory.AskNone != (len(set) == 0)
}

// wanted returns who shall sign data, what shall stand in the DNSKEY RRset, and
// what the parent shall name, when all is done. A key that the parent names stays,
// or comes back, as long as it does.
func (m *Machine) wanted() (signers, keys, entry []ID) {
	made := func(use func(*Key) bool) []ID {
		return m.keysOf(func(k *Key) bool { return k.isMade() && use(k) })
	}
	signers = made(func(k *Key) bool { return k.Wanted && !k.Foreign && k.Role.isZone() })
	entry = made(func(k *Key) bool { return k.Wanted && !k.Foreign && k.Role.isEntry() })
	foreign := made(func(k *Key) bool { return k.Wanted && k.Foreign })
	named := made(func(k *Key) bool { return !k.Foreign && !k.Compromised && k.Idle == 0 && m.isShown(k.ID) })
	return signers, union(signers, entry, foreign, named), entry
}

// isShown reports whether the parent shows a DS of k now.
func (m *Machine) isShown(k ID) bool {
	return slices.ContainsFunc(m.memory.DS, func(c ParentContent) bool { return c.Seen && slices.Contains(c.Keys, k) })
}

// missing returns the keys of wanted whose algorithm no key of now has: data are
// signed with a new algorithm beside the old one (RFC 6781 §4.1.4).
func (m *Machine) missing(wanted, now []ID) []ID {
	have := m.algorithms(now, func(*Key) bool { return true })
	return slices.DeleteFunc(slices.Clone(wanted), func(id ID) bool { return slices.Contains(have, m.key(id).Algorithm) })
}

// leaving returns sets of keys to try to take out of the DNSKEY RRset: each that is
// not wanted, and all of one algorithm together, for neither KSK nor ZSK of an
// algorithm can go without the other.
func (m *Machine) leaving(carried, wanted []ID) [][]ID {
	var sets [][]ID
	all := without(carried, wanted)
	for _, id := range all {
		sets = append(sets, []ID{id})
	}
	for _, a := range m.algorithms(all, func(*Key) bool { return true }) {
		sets = append(sets, slices.DeleteFunc(slices.Clone(all), func(id ID) bool { return m.key(id).Algorithm != a }))
	}
	return sets
}

func (m *Machine) setData(set []ID, generation uint64) bool {
	l := m.lists()
	if slices.Equal(set, newest(l.data)) || len(l.data) >= maxContents {
		return false
	}
	l.data = published(l.data, set, generation)
	if m.hinders(l) != "" {
		return false
	}
	m.memory.Data = l.data
	return true
}

// setKeys changes the DNSKEY RRset. A key that any DS record may still name is
// never taken out of it, whatever else leads to the zone.
func (m *Machine) setKeys(set []ID, generation uint64) bool {
	l := m.lists()
	if slices.Equal(set, newest(l.dnskey)) || len(l.dnskey) >= maxContents {
		return false
	}
	for _, id := range without(newest(l.dnskey), set) {
		if m.isNamed(id) {
			return false
		}
	}
	l.dnskey = published(l.dnskey, set, generation)
	if m.hinders(l) != "" || !m.canSign(set) {
		return false
	}
	m.memory.DNSKEY = l.dnskey
	return true
}

// unsign leads a zone out of DNSSEC: the parent is asked to have no DS (RFC 8078
// §4), and when nobody can have one, keys and signatures go.
func (m *Machine) unsign(generation uint64) bool {
	if len(newest(m.memory.Data)) == 0 && len(newest(m.memory.DNSKEY)) == 0 {
		changed := m.memory.AskNone || len(m.memory.Ask) > 0
		m.memory.Ask, m.memory.AskNone = nil, false
		return changed
	}
	if m.isNews(nil) {
		return m.ask(nil)
	}
	for i := range m.memory.DS {
		if !m.memory.DS[i].isEmpty() {
			return false
		}
	}
	return m.setKeys(nil, generation) || m.setData(nil, generation)
}

// note keeps the times of keys, for lifetimes and for people.
func (m *Machine) note(now time.Time) {
	for i := range m.memory.Keys {
		k := &m.memory.Keys[i]
		if !k.Active.IsZero() {
			continue
		}
		signs := k.Role.isZone() && slices.Contains(newest(m.memory.Data), k.ID)
		if signs && k.Role == ZSK || k.Role.isEntry() && m.isShown(k.ID) {
			k.Active = now
		}
	}
}

func (m *Machine) plan(now time.Time) Plan {
	p := Plan{Generation: m.memory.Generation, Signers: slices.Clone(newest(m.memory.Data))}
	for _, id := range newest(m.memory.DNSKEY) {
		k := *m.key(id)
		p.Keys = append(p.Keys, k)
		if k.Role.isEntry() && !k.Foreign {
			p.KeySigners = append(p.KeySigners, id)
		}
	}
	if m.policy.CDS == CDSAlways || m.policy.CDS == CDSRollover && !m.agrees() {
		if m.offline != nil && m.hasOffline(newest(m.memory.DNSKEY)) && !m.offline.Ask(m.memory.Ask, m.memory.AskNone) {
			return m.finish(p, now) // an operator tells the parent
		}
		p.DeleteDS = m.memory.AskNone && len(p.Keys) > 0
		for _, id := range m.memory.Ask {
			p.CDS = append(p.CDS, *m.key(id))
		}
	}
	return m.finish(p, now)
}

// finish adds to a plan what concerns keys rather than what is published.
func (m *Machine) finish(p Plan, now time.Time) Plan {
	for _, k := range m.memory.Keys {
		if !k.isMade() {
			p.Generate = append(p.Generate, k)
		}
	}
	p.Purge = append(m.purge(), m.dropSpares()...)
	p.Wait = m.wait(now)
	return p
}

// purge forgets the keys that nobody has needed for Policy.Purge.
func (m *Machine) purge() []ID {
	gone := m.keysOf(func(k *Key) bool { return k.isMade() && !k.Wanted && k.Idle > 0 && k.Idle >= m.policy.Purge })
	m.memory.Keys = slices.DeleteFunc(m.memory.Keys, func(k Key) bool { return slices.Contains(gone, k.ID) })
	return gone
}

// wait returns the time to the next thing that time alone brings.
func (m *Machine) wait(now time.Time) time.Duration {
	var next time.Duration
	for _, list := range [][]Content{m.memory.DNSKEY, m.memory.Data} {
		for _, c := range list {
			if c.Fading {
				next = minPositive(next, c.Left)
			}
		}
	}
	for _, c := range m.memory.DS {
		if c.Fading {
			next = minPositive(next, c.Left)
		}
	}
	for i := range m.memory.Keys {
		k := &m.memory.Keys[i]
		if due := m.due(k); !due.IsZero() && !m.unfinished(k.Role) {
			next = minPositive(next, max(due.Sub(now), time.Second))
		}
		if !k.Wanted && k.isMade() && m.isNowhere(k.ID) {
			next = minPositive(next, max(m.policy.Purge-k.Idle, time.Second))
		}
	}
	return next
}
