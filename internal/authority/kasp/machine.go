package kasp

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
)

// Limits of a zone's keys.
const (
	// MaxKeys bounds the keys of a zone, those of other signers included: more make
	// DNSKEY answers that do not fit, and validators stop at 64. A rollover of key
	// and algorithm at once has 8.
	MaxKeys = 32
	// maxContents bounds the contents remembered of a surface. When it is full, no
	// step is taken until one has faded: a server that is dead for months, with a
	// rollover asked for daily.
	maxContents = 64
)

// Machine is the key life of one zone.
type Machine struct {
	zone   dnsname.Name
	policy Policy
	memory Memory

	// Of the step at hand, and the one before.
	offline *Offline
	lacking []ID
}

// New returns the machine of a zone that is not signed, and has no DS record
// unless the parent shows one.
func New(zone dnsname.Name, p Policy) *Machine {
	return &Machine{zone: zone, policy: p, memory: Memory{
		DNSKEY: []Content{{}}, Data: []Content{{}}, DS: []ParentContent{{Seen: true}},
	}}
}

// Restore returns the machine that remembers m, under a policy that may be
// another one now.
func Restore(zone dnsname.Name, p Policy, memory Memory) (*Machine, error) {
	m := &Machine{zone: zone, policy: p, memory: clone(memory)}
	if len(memory.DNSKEY) == 0 || len(memory.Data) == 0 || len(memory.DS) == 0 {
		return nil, errors.New("the memory of the zone's keys lacks what is published")
	}
	for _, k := range memory.Keys {
		if k.ID == 0 || k.ID > memory.LastID || k.Role < KSK || k.Role > CSK {
			return nil, fmt.Errorf("the memory of the zone's keys has a key %d that cannot be", k.ID)
		}
	}
	for _, list := range [][]Content{memory.DNSKEY, memory.Data} {
		for i, c := range list {
			if (i == len(list)-1) != (c.Until == 0) {
				return nil, errors.New("the memory of the zone's keys contradicts itself")
			}
			for _, id := range c.Keys {
				if m.key(id) == nil {
					return nil, fmt.Errorf("the memory of the zone's keys lacks key %d, which is in use", id)
				}
			}
		}
	}
	return m, nil
}

// Memory returns all that the machine has to remember.
func (m *Machine) Memory() Memory { return clone(m.memory) }

// SetPolicy changes how the zone is to be signed.
func (m *Machine) SetPolicy(p Policy) { m.policy = p }

// Policy returns how the zone is to be signed.
func (m *Machine) Policy() Policy { return m.policy }

func (m *Machine) key(id ID) *Key {
	for i := range m.memory.Keys {
		if m.memory.Keys[i].ID == id {
			return &m.memory.Keys[i]
		}
	}
	return nil
}

// keysOf returns the keys for which use holds, in ascending order.
func (m *Machine) keysOf(use func(*Key) bool) []ID {
	var all []ID
	for i := range m.memory.Keys {
		if k := &m.memory.Keys[i]; use(k) {
			all = append(all, k.ID)
		}
	}
	slices.Sort(all)
	return all
}

// Key returns a key.
func (m *Machine) Key(id ID) (Key, bool) {
	if k := m.key(id); k != nil {
		return *k, true
	}
	return Key{}, false
}

// add takes a new key in and returns its ID. One that has yet to be made is taken from
// the reserve, if there is one.
func (m *Machine) add(k Key) ID {
	if !k.isMade() {
		if s, ok := m.spare(k.Role, k.Algorithm); ok {
			k.ID, k.DNSKEY, k.Made = s.ID, s.DNSKEY, s.Made
			m.memory.Keys = append(m.memory.Keys, k)
			return k.ID
		}
	}
	m.memory.LastID++
	k.ID = m.memory.LastID
	m.memory.Keys = append(m.memory.Keys, k)
	return k.ID
}

// Made says that a key that was asked for is there, safe on disk.
func (m *Machine) Made(id ID, dnskey []byte, now time.Time) error {
	k := m.key(id)
	switch {
	case k == nil || k.isMade():
		return fmt.Errorf("key %d was not asked for", id)
	case len(dnskey) < 5 || binary.BigEndian.Uint16(dnskey) != k.Role.Flags() || dnskey[3] != k.Algorithm:
		return fmt.Errorf("key %d is not of the role and algorithm that was asked for", id)
	case m.byDNSKEY(dnskey) != nil:
		return fmt.Errorf("key %d is one that the zone has already", id)
	}
	k.DNSKEY, k.Made = slices.Clone(dnskey), now
	return nil
}

func (m *Machine) byDNSKEY(dnskey []byte) *Key {
	i := slices.IndexFunc(m.memory.Keys, func(k Key) bool { return string(k.DNSKEY) == string(dnskey) })
	if i < 0 {
		return nil
	}
	return &m.memory.Keys[i]
}

// Import takes in a key that was made elsewhere. It takes the place of the key of
// its role and algorithm, if there is one; with an algorithm or role that the
// policy does not want it is on its way out from the start. A foreign key is only
// published.
func (m *Machine) Import(role Role, dnskey []byte, foreign bool, now time.Time) (ID, error) {
	switch {
	case len(dnskey) < 5 || role < KSK || role > CSK:
		return 0, errors.New("this is no DNSKEY record")
	case !foreign && binary.BigEndian.Uint16(dnskey) != role.Flags():
		return 0, fmt.Errorf("a %s has flags %d, this key has %d", role, role.Flags(), binary.BigEndian.Uint16(dnskey))
	case !foreign && (role == CSK) != m.policy.Single:
		return 0, fmt.Errorf("the policy has keys: %s, so a %s would be taken out again at once; import it in another role, or change the policy first", m.policy.layout(), role)
	case !foreign && dnskey[3] != m.policy.Algorithm:
		return 0, fmt.Errorf("the policy signs with algorithm %d, so a key of algorithm %d would be taken out again at once; change the policy first", m.policy.Algorithm, dnskey[3])
	case m.byDNSKEY(dnskey) != nil:
		return 0, errors.New("the zone has this key already")
	case len(m.memory.Keys) >= MaxKeys:
		return 0, fmt.Errorf("the zone has %d keys, which is the limit", MaxKeys)
	}
	k := Key{Role: role, Algorithm: dnskey[3], DNSKEY: slices.Clone(dnskey), Foreign: foreign, Made: now, Wanted: true}
	if !foreign {
		for i := range m.memory.Keys {
			if old := &m.memory.Keys[i]; old.Wanted && !old.Foreign && old.Role == role && old.Algorithm == k.Algorithm {
				m.retire(old, now)
			}
		}
	}
	return m.add(k), nil
}

// RoleOf returns the role of an imported key of which nothing but its DNSKEY record is
// known: by its flags, and by whether the policy has one key for both.
func (m *Machine) RoleOf(dnskey []byte) Role {
	switch {
	case len(dnskey) < 2 || binary.BigEndian.Uint16(dnskey) != KSK.Flags():
		return ZSK
	case m.policy.Single:
		return CSK
	}
	return KSK
}

// layout is what the configuration calls the keys of a policy.
func (p Policy) layout() string {
	if p.Single {
		return "csk"
	}
	return "ksk-zsk"
}

// Withdraw takes a foreign key out of the zone again.
func (m *Machine) Withdraw(id ID, now time.Time) error {
	k := m.key(id)
	if k == nil || !k.Foreign {
		return errors.New("this is no key of another signer; \"pharos zone rollover\" replaces own keys")
	}
	m.retire(k, now)
	return nil
}

func (m *Machine) retire(k *Key, now time.Time) {
	if k.Wanted {
		k.Wanted, k.Retired = false, now
	}
}

// Roll has the keys of a role replaced now: it asks for new ones. compromised also
// leaves out the safety margins, never takes the old key back, and does not wait for
// a rollover that is under way.
func (m *Machine) Roll(role Role, compromised bool, now time.Time) error {
	if m.unfinished(role) && !compromised {
		return fmt.Errorf("a rollover of the %s is under way; wait for its end", role)
	}
	if role == KSK && m.policy.OfflineKSK {
		return errors.New("the KSK signs elsewhere, where its successor has to be made too; import the public half of that, and it takes over")
	}
	var rolled int
	for _, id := range m.keysOf(func(k *Key) bool { return k.Role == role && k.Wanted && k.isMade() && !k.Foreign }) {
		k := m.key(id)
		k.Compromised = k.Compromised || compromised
		switch {
		case m.replacing(id):
			return fmt.Errorf("%s %d is being replaced already", role, k.Tag())
		case len(m.memory.Keys) >= MaxKeys:
			return fmt.Errorf("the zone has %d keys, which is the limit; wait until old ones are gone", MaxKeys)
		}
		m.add(Key{Role: role, Algorithm: k.Algorithm, Wanted: true, Replaces: id})
		rolled++
	}
	if rolled == 0 {
		return fmt.Errorf("the zone has no %s in use", role)
	}
	return nil
}

// replacing reports whether a successor of id has been asked for.
func (m *Machine) replacing(id ID) bool {
	return slices.ContainsFunc(m.memory.Keys, func(k Key) bool { return k.Replaces == id && !k.isMade() })
}

// Submitted takes an operator's word that the parent shows what it was asked for.
func (m *Machine) Submitted() error {
	set, none := m.wantedAtParent()
	if len(set) == 0 && !none {
		return errors.New("there is nothing yet that the parent should have; wait until the zone's keys are known everywhere")
	}
	m.observe(Parent{Sets: [][][]byte{m.dsSet(set)}})
	return nil
}

// Tag returns the key tag (RFC 4034 appendix B); 0 before the key is made.
func (k *Key) Tag() uint16 {
	if !k.isMade() {
		return 0
	}
	return dnssec.KeyTag(k.DNSKEY)
}

// DS returns the RDATA of the key's DS and CDS record, with a digest that every
// validator knows (RFC 8624 §3.3).
func (k *Key) DS(zone dnsname.Name) []byte {
	ds, _ := dnssec.MakeDS(zone, k.DNSKEY, dnssec.DigestSHA256)
	return ds.AppendRDATA(nil)
}

func (m *Machine) dsSet(ids []ID) [][]byte {
	var set [][]byte
	for _, id := range ids {
		set = append(set, m.key(id).DS(m.zone))
	}
	return set
}

// minPositive returns the lesser of two times to come, of which zero is none.
func minPositive(a, b time.Duration) time.Duration {
	if a <= 0 || b <= 0 {
		return max(a, b)
	}
	return min(a, b)
}

func byID(a, b Key) int { return cmp.Compare(a.ID, b.ID) }
