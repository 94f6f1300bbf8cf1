package kasp

import (
	"slices"
	"time"
)

// schedule asks for the keys that the policy lacks and for successors of those
// whose time is over, and retires what has been replaced.
func (m *Machine) schedule(now time.Time) {
	m.succeed(now)
	defer m.succeed(now) // a spare is there at once
	if m.policy.Off {
		m.dropUnmade()
		m.retireAll(now)
		return
	}
	m.demand()
	m.dismiss(now)
	for _, id := range m.keysOf(func(k *Key) bool { return !m.due(k).IsZero() }) {
		k := m.key(id)
		if !now.Before(m.due(k)) && !m.unfinished(k.Role) && !m.replacing(id) && len(m.memory.Keys) < MaxKeys {
			m.add(Key{Role: k.Role, Algorithm: k.Algorithm, Wanted: true, Replaces: id})
		}
	}
}

// succeed retires the keys whose successors are there.
func (m *Machine) succeed(now time.Time) {
	for i := range m.memory.Keys {
		if k := &m.memory.Keys[i]; k.isMade() && k.Replaces != 0 {
			if old := m.key(k.Replaces); old != nil {
				m.retire(old, now)
			}
			k.Replaces = 0
		}
	}
}

// dropUnmade forgets keys that are not wanted any more before they are made.
func (m *Machine) dropUnmade() {
	m.memory.Keys = slices.DeleteFunc(m.memory.Keys, func(k Key) bool { return !k.isMade() })
}

// retireAll retires the keys of a zone that is no longer signed.
func (m *Machine) retireAll(now time.Time) {
	if len(newest(m.memory.Data)) > 0 || len(newest(m.memory.DNSKEY)) > 0 {
		return
	}
	for i := range m.memory.Keys {
		m.retire(&m.memory.Keys[i], now)
	}
}

// demand asks for a key of each role of the policy that there is none of.
func (m *Machine) demand() {
	m.memory.Keys = slices.DeleteFunc(m.memory.Keys, func(k Key) bool {
		// The policy has changed before it was made.
		return !k.isMade() && (!m.fits(&k) || k.Role == KSK && m.policy.OfflineKSK)
	})
	for _, role := range m.policy.roles() {
		want := func(k *Key) bool { return k.Wanted && m.fits(k) && k.Role == role }
		if len(m.keysOf(want)) > 0 || len(m.memory.Keys) >= MaxKeys {
			continue
		}
		if last := m.keysOf(func(k *Key) bool { return m.isUsable(k) && k.Role == role }); len(last) > 0 {
			// The way back: what is on its way out, or was, serves again.
			k := m.key(last[len(last)-1])
			k.Wanted, k.Retired, k.Idle = true, time.Time{}, 0
			continue
		}
		if role == KSK && m.policy.OfflineKSK {
			continue // an operator brings it
		}
		m.add(Key{Role: role, Algorithm: m.policy.Algorithm, Wanted: true})
	}
}

// fits reports whether the policy has a place for k.
func (m *Machine) fits(k *Key) bool {
	return !k.Foreign && k.Algorithm == m.policy.Algorithm && slices.Contains(m.policy.roles(), k.Role)
}

// isUsable reports whether a retired key may be taken back.
func (m *Machine) isUsable(k *Key) bool {
	return m.fits(k) && k.isMade() && !k.Wanted && !k.Compromised
}

// dismiss retires the keys that the policy has no place for, when those that take
// over are there.
func (m *Machine) dismiss(now time.Time) {
	for _, role := range m.policy.roles() {
		if len(m.keysOf(func(k *Key) bool { return k.Wanted && k.isMade() && m.fits(k) && k.Role == role })) == 0 {
			return
		}
	}
	for i := range m.memory.Keys {
		if k := &m.memory.Keys[i]; k.isMade() && k.Wanted && !k.Foreign && !m.fits(k) {
			m.retire(k, now)
		}
	}
}

// due returns when the successor of k is to be made: so early that it is known
// everywhere when the lifetime of k ends (RFC 7583 §3.2.1). Zero: never.
func (m *Machine) due(k *Key) time.Time {
	life := m.policy.lifetime(k.Role)
	if k.Role == KSK && m.policy.OfflineKSK {
		return time.Time{}
	}
	if life == 0 || !k.Wanted || k.Foreign || k.Active.IsZero() || !m.fits(k) || m.replacing(k.ID) {
		return time.Time{}
	}
	return k.Active.Add(max(0, life-m.lead()))
}

// lead is how long it takes until a new key is known everywhere.
func (m *Machine) lead() time.Duration {
	return m.policy.KeyTTL + m.policy.Propagation + m.policy.Safety
}

// unfinished reports whether a rollover of a role is under way. The next one is
// not begun before it ends, however long a parent takes.
func (m *Machine) unfinished(role Role) bool {
	return slices.ContainsFunc(m.memory.Keys, func(k Key) bool {
		return k.Role == role && !k.Foreign && (!k.isMade() || !k.Wanted && !m.isNowhere(k.ID))
	})
}
