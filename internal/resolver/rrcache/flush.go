package rrcache

import (
	"slices"
	"sync"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// This file is what is forgotten because somebody says so: an operator, or a change
// of a zone that this server has itself.

// Selection is what an operator wants forgotten.
type Selection struct {
	Name dnsname.Name
	Tree bool       // and everything below
	Type rdata.Type // 0: every type
}

func (s Selection) hasName(name dnsname.Name) bool {
	return name == s.Name || s.Tree && name.IsSubdomainOf(s.Name)
}

// hasKey reports whether an item is selected. That a name does not exist is about
// every type.
func (s Selection) hasKey(k key) bool {
	if !s.hasName(k.name) {
		return false
	}
	switch k.slot {
	case slotName:
		return true
	case slotCut:
		return s.Type == 0 || s.Type == rdata.TypeNS
	}
	return s.Type == 0 || s.Type == k.t
}

// hasAnswer reports whether an answer is, or has records that are.
func (s Selection) hasAnswer(e *readyEntry) bool {
	if s.Type != 0 && s.Type != e.questionType() {
		return false
	}
	return e.mentions(s.hasName)
}

// Flush forgets what is selected, in both levels, and returns how many entries that
// were; among them answers whose aliases lead to a selected name.
func (c *Cache) Flush(s Selection) int {
	if c.onFlush != nil {
		c.onFlush(s)
	}
	defer c.flushes.Add(1)
	return c.flush(s.hasKey, s.hasAnswer)
}

// Flushes returns how often Flush was called, for who keeps what is not in the cache.
func (c *Cache) Flushes() uint64 { return c.flushes.Load() }

// OnFlush has tell called with what is about to be forgotten, for who keeps a copy of
// the cache. It is set before the first use of the cache.
func (c *Cache) OnFlush(tell func(Selection)) { c.onFlush = tell }

func (c *Cache) flush(chooseKey func(key) bool, chooseAnswer func(*readyEntry) bool) int {
	count := 0
	for i := range c.shards {
		count += c.shards[i].flush(chooseKey)
	}
	for i := range c.ready.sets {
		s, set := &c.ready.shards[i%readyShards], &c.ready.sets[i]
		s.mu.Lock()
		for way := range set.entries {
			if e := set.entries[way].Load(); e != nil && chooseAnswer(e) && c.ready.drop(s, set, way) {
				count++
			}
		}
		s.mu.Unlock()
	}
	return count
}

// mentions reports whether the question of e, or the owner of a record of its answer,
// is chosen.
func (e *readyEntry) mentions(choose func(dnsname.Name) bool) bool {
	if choose(e.name()) {
		return true
	}
	if e.counts[0] == 0 || e.turnCount > 0 && e.turnFrom == 0 { // addresses of that name alone
		return false
	}
	return slices.ContainsFunc(e.message().Answer, func(r rdata.Record) bool { return choose(r.Name) })
}

// own is what the cache has of zones that this server has itself: from before it had
// them, from aliases that lead into them, and the delegations in them.
type own struct {
	zoneOf func(dnsname.Name) (dnsname.Name, bool) // constant; may be nil
	open   func(dnsname.Name) (dnsname.Name, bool) // constant; may be nil

	mu      sync.Mutex // guards all below; no other lock is taken under it
	kept    map[dnsname.Name]map[ownKey]bool
	count   int
	spilled bool // some keys found no room: the next change of a zone looks at everything
}

// ownMost is how many keys are noted: 65,536, some 8 MB. Beyond that dropping what a
// change of a zone wants dropped takes a look at everything.
const ownMost = 1 << 16

// ownKey is a key of either level.
type ownKey struct {
	key
	answer uint64 // kind of an answer; 0 for the record level
}

// Own has the cache know which zones are this server's own: zoneOf returns the apex of
// the one that a name is in, unless it is below a delegation of it. It is called by
// whoever fills the cache, and must not block. Own is called before the first use.
func (c *Cache) Own(zoneOf func(dnsname.Name) (apex dnsname.Name, ok bool)) { c.own.zoneOf = zoneOf }

// OwnOpen has the cache know which of these zones everybody may have answers from: zoneOf
// returns the apex of the deepest one at or above a name, be there a delegation between
// them or not. It is set, and called, as Own is.
func (c *Cache) OwnOpen(zoneOf func(dnsname.Name) (apex dnsname.Name, ok bool)) { c.own.open = zoneOf }

// OpenZone returns the apex of the zone of ours that answers about a name; ok is false if
// that is none, or one that is not for everybody.
func (c *Cache) OpenZone(name dnsname.Name) (apex dnsname.Name, ok bool) {
	if c.own.open == nil {
		return dnsname.Name{}, false
	}
	return c.own.open(name)
}

func (o *own) note(name dnsname.Name, k ownKey) {
	if o.zoneOf == nil {
		return
	}
	apex, ok := o.zoneOf(name)
	if !ok {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kept == nil {
		o.kept = make(map[dnsname.Name]map[ownKey]bool)
	}
	keys := o.kept[apex]
	if keys[k] {
		return
	}
	if o.count >= ownMost {
		o.spilled = true
		return
	}
	if keys == nil {
		keys = make(map[ownKey]bool)
		o.kept[apex.Clone()] = keys
	}
	k.name = k.name.Clone()
	keys[k] = true
	o.count++
}

func (o *own) noteAnswer(r Ready, kind uint64) {
	if o.zoneOf == nil {
		return
	}
	k := ownKey{key{name: r.Name}, kind}
	o.note(r.Name, k)
	for i, record := range r.Answer {
		if record.Name != r.Name && (i == 0 || record.Name != r.Answer[i-1].Name) {
			o.note(record.Name, k)
		}
	}
}

// takeOut returns what was noted for a zone, and whether that is all.
func (o *own) takeOut(apex dnsname.Name) (keys map[ownKey]bool, all bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.spilled {
		o.kept, o.count, o.spilled = nil, 0, false
		return nil, false
	}
	keys = o.kept[apex]
	delete(o.kept, apex)
	o.count -= len(keys)
	return keys, true
}

// ZoneChanged forgets what the cache has of a zone of ours that has another version
// now, or is no longer ours; below its delegations only where same reports that a
// delegation it has learnt is not what the zone says now. It returns how many entries
// went.
func (c *Cache) ZoneChanged(apex dnsname.Name, same func(*Delegation) bool) int {
	keys, all := c.own.takeOut(apex)
	if !all {
		return c.ZoneCame(func(name dnsname.Name) bool { return name.IsSubdomainOf(apex) })
	}
	count := 0
	var moved []dnsname.Name
	for k := range keys {
		if k.answer != 0 {
			if c.dropAnswer(k.name, k.answer) {
				count++
			}
			continue
		}
		if k.slot == slotCut {
			s, hash := c.place(k.key)
			if it := s.get(k.key, hash, 0); it != nil && !same(c.value(it.key(), it).(*Delegation)) {
				moved = append(moved, k.name)
				if c.onFlush != nil {
					c.onFlush(Selection{Name: k.name, Tree: true})
				}
			}
		}
		if c.drop(k.key, func(item) bool { return true }) {
			count++
		}
	}
	if len(moved) > 0 {
		count += c.ZoneCame(func(name dnsname.Name) bool {
			return slices.ContainsFunc(moved, func(cut dnsname.Name) bool { return name.IsSubdomainOf(cut) })
		})
	}
	return count
}

// ZoneCame forgets everything about the names of zones that are ours from now on, and
// what aliases lead there. It looks at everything that is kept.
func (c *Cache) ZoneCame(isOurs func(dnsname.Name) bool) int {
	return c.flush(func(k key) bool { return isOurs(k.name) }, func(e *readyEntry) bool { return e.mentions(isOurs) })
}

func (c *Cache) dropAnswer(name dnsname.Name, kind uint64) bool {
	hash := c.hash(name.Wire(), kind)
	index := c.ready.set(hash)
	s, set := &c.ready.shards[index%readyShards], &c.ready.sets[index]
	s.mu.Lock()
	defer s.mu.Unlock()
	for way := range set.entries {
		if e := set.entries[way].Load(); e != nil && e.is(name.Wire(), kind) {
			return c.ready.drop(s, set, way)
		}
	}
	return false
}
