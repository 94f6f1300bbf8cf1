package kasp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// This file is keys that sign elsewhere. An offline KSK is published and named by the
// parent like any other, but its private half never comes here: the DNSKEY RRset and
// those that ask the parent are signed in advance, all that may be needed for some
// time, on a machine without a network. So what will be needed has to be known:
// ZSKs are made in advance (spares), and Forecast says which contents there will be.

// Offline is which sets have signatures that were made elsewhere. A step to another
// DNSKEY RRset is not taken before there are some for it.
type Offline struct {
	// Keys reports whether the DNSKEY RRset of these keys can be signed.
	Keys func(set []ID) bool
	// Ask reports whether CDS and CDNSKEY RRsets of these keys can be; none: those that
	// ask to have no DS.
	Ask func(set []ID, none bool) bool
}

// Content of a forecast.
type Forecast struct {
	// Entries are the sets of KSKs that stand in the DNSKEY RRset at some time, Others
	// those of the keys beside them. Everything that comes late, or early, is one of the
	// first with one of the second.
	Entries, Others [][]ID
	// Asks are what CDS and CDNSKEY RRsets may have; Remove: they may ask for no DS.
	Asks   [][]ID
	Remove bool
}

// maxForecast bounds the steps of a forecast: a ZSK rolled every day for ten years.
const maxForecast = 20_000

// ImportOffline takes in a key whose private half is, and stays, elsewhere.
func (m *Machine) ImportOffline(role Role, dnskey []byte, now time.Time) (ID, error) {
	if role != KSK {
		return 0, fmt.Errorf("a %s signs data, so its private half has to be here; only a ksk can be offline", role)
	}
	id, err := m.Import(role, dnskey, false, now)
	if err == nil {
		m.key(id).Offline = true
	}
	return id, err
}

// AddSpare takes in a key for later, safe on disk: the next that is needed of its role
// and algorithm is this one. Spares are used in the order in which they came.
func (m *Machine) AddSpare(role Role, dnskey []byte, now time.Time) (ID, error) {
	switch {
	case len(dnskey) < 5 || binary.BigEndian.Uint16(dnskey) != role.Flags():
		return 0, errors.New("this is no DNSKEY record of that role")
	case m.byDNSKEY(dnskey) != nil || slices.ContainsFunc(m.memory.Spares, func(k Key) bool { return string(k.DNSKEY) == string(dnskey) }):
		return 0, errors.New("the zone has this key already")
	case len(m.memory.Spares) >= maxSpares:
		return 0, fmt.Errorf("the zone has %d keys in reserve, which is the limit; choose a shorter time, or a longer lifetime of keys", maxSpares)
	}
	m.memory.LastID++
	m.memory.Spares = append(m.memory.Spares, Key{ID: m.memory.LastID, Role: role, Algorithm: dnskey[3], DNSKEY: slices.Clone(dnskey), Made: now})
	return m.memory.LastID, nil
}

// maxSpares bounds the keys in reserve: ten years of a ZSK rolled each week.
const maxSpares = 520

// NextID returns the ID that the next key gets.
func (m *Machine) NextID() ID { return m.memory.LastID + 1 }

// spare takes the first spare key of a role and algorithm out of the reserve.
func (m *Machine) spare(role Role, algorithm uint8) (Key, bool) {
	i := slices.IndexFunc(m.memory.Spares, func(k Key) bool { return k.Role == role && k.Algorithm == algorithm })
	if i < 0 {
		return Key{}, false
	}
	k := m.memory.Spares[i]
	m.memory.Spares = slices.Delete(m.memory.Spares, i, i+1)
	return k, true
}

// dropSpares forgets spares that no policy of now will use, and returns them.
func (m *Machine) dropSpares() []ID {
	var gone []ID
	m.memory.Spares = slices.DeleteFunc(m.memory.Spares, func(k Key) bool {
		stale := !m.policy.Off && !m.fits(&k)
		if stale {
			gone = append(gone, k.ID)
		}
		return stale
	})
	return gone
}

// Forecast lets a time pass, without doing anything, in which every server and the
// parent follow at once, and returns what the zone goes through. Keys that are wanted
// and have no spare are asked of generate, which adds one to m.
func (m *Machine) Forecast(now time.Time, span, dataTTL time.Duration, generate func(role Role, algorithm uint8) error) (Forecast, error) {
	if m.LacksKSK() {
		return Forecast{}, errors.New("the zone has no KSK yet; import the public half of the one that signs elsewhere first")
	}
	for range maxSpares + 1 {
		f, lacks, err := m.forecast(now, span, dataTTL)
		if err != nil || lacks == nil {
			return f, err
		}
		if err := generate(lacks.Role, lacks.Algorithm); err != nil {
			return f, err
		}
	}
	return Forecast{}, fmt.Errorf("more than %d keys would be needed; choose a shorter time", maxSpares)
}

// LacksKSK reports whether the zone waits for an operator to bring its KSK.
func (m *Machine) LacksKSK() bool {
	return m.policy.OfflineKSK && !m.policy.Off && !m.policy.Single && len(m.keysOf(func(k *Key) bool { return k.Role == KSK && k.Wanted && m.fits(k) })) == 0
}

// forecast is Forecast until a key lacks.
func (m *Machine) forecast(now time.Time, span, dataTTL time.Duration) (f Forecast, lacks *Key, err error) {
	clone, err := Restore(m.zone, m.policy, m.memory)
	if err != nil {
		return f, nil, err
	}
	facts := Facts{DataTTL: dataTTL}
	for left, steps := span, 0; ; steps++ {
		if steps > maxForecast {
			return f, nil, fmt.Errorf("more than %d steps; choose a shorter time", maxForecast)
		}
		before := clone.memory.Generation
		plan := clone.Step(now, facts)
		if len(plan.Generate) > 0 {
			return f, &plan.Generate[0], nil
		}
		f.note(clone)
		next := Facts{DataTTL: dataTTL, Shown: plan.Generation}
		if ask, none := clone.wantedAtParent(); len(ask) > 0 || none {
			next.Parent = &Parent{Sets: [][][]byte{clone.dsSet(ask)}}
		}
		if settled := clone.memory.Generation == before && facts.Parent != nil == (next.Parent != nil) && facts.Shown == next.Shown; settled {
			if plan.Wait <= 0 || plan.Wait >= left {
				return f, nil, nil
			}
			next.Passed = plan.Wait
			left, now = left-plan.Wait, now.Add(plan.Wait)
		}
		facts = next
	}
}

// note adds what is published now.
func (f *Forecast) note(m *Machine) {
	var entries, others []ID
	for _, id := range newest(m.memory.DNSKEY) {
		if k := m.key(id); k.Role.isEntry() && !k.Foreign {
			entries = append(entries, id)
		} else {
			others = append(others, id)
		}
	}
	add := func(list *[][]ID, set []ID) {
		if len(set) > 0 && !slices.ContainsFunc(*list, func(have []ID) bool { return slices.Equal(have, set) }) {
			*list = append(*list, set)
		}
	}
	add(&f.Entries, entries)
	add(&f.Others, others)
	add(&f.Asks, slices.Clone(m.memory.Ask))
	f.Remove = f.Remove || m.memory.AskNone
}

// KeyOrSpare returns a key that is known, or in reserve.
func (m *Machine) KeyOrSpare(id ID) (Key, bool) {
	if k := m.key(id); k != nil {
		return *k, true
	}
	i := slices.IndexFunc(m.memory.Spares, func(k Key) bool { return k.ID == id })
	if i < 0 {
		return Key{}, false
	}
	return m.memory.Spares[i], true
}

// hasOffline reports whether a key of a set signs elsewhere.
func (m *Machine) hasOffline(set []ID) bool {
	return slices.ContainsFunc(set, func(id ID) bool { k := m.key(id); return k != nil && k.Offline })
}

// canSign reports whether the DNSKEY RRset of a set can be signed, and notes what
// lacks if not.
func (m *Machine) canSign(set []ID) bool {
	if m.offline == nil || !m.hasOffline(set) || m.offline.Keys(set) {
		return true
	}
	m.lacking = set
	return false
}

// Lacking returns the DNSKEY RRset that was wanted in the last step and has no
// signatures from where its keys are; none: nothing waits for that.
func (m *Machine) Lacking() []ID { return m.lacking }
