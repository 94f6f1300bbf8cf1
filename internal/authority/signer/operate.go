package signer

import (
	"errors"
	"fmt"
	"time"

	"pharos/internal/authority/kasp"
	"pharos/internal/authority/sign"
	"pharos/internal/dns/dnsname"
)

// change has an operator's wish done to a zone: durable when it returns, and then
// acted upon.
func (s *Signers) change(name dnsname.Name, do func(e *entry, now time.Time) error) error {
	s.mu.Lock()
	e := s.entries[name]
	s.mu.Unlock()
	if e == nil {
		return fmt.Errorf("zone %s is not signed here; give it the key dnssec with the name of a policy", name)
	}
	e.work.Lock()
	defer e.work.Unlock()
	if e.machine == nil {
		return errors.New(e.state.Problem)
	}
	now, _ := s.clock.read()
	before := e.machine.Memory()
	if err := do(e, now); err != nil {
		return err
	}
	s.mu.Lock()
	settings := e.settings
	s.mu.Unlock()
	if err := s.save(e, settings); err != nil {
		e.goBack(before)
		return err
	}
	s.describe(e)
	s.kick(e)
	return nil
}

// goBack has the keys be as if nothing had been: what was refused, because there was no
// room for it on disk, must not happen when there is room again.
func (e *entry) goBack(before kasp.Memory) {
	m, err := kasp.Restore(e.name, e.machine.Policy(), before)
	if err != nil {
		panic("BUG: the memory of a machine is not one: " + err.Error())
	}
	e.machine = m
	for id := range e.keys {
		if _, ok := m.Key(id); !ok {
			delete(e.keys, id)
		}
	}
}

// Roll has the keys of a role replaced.
func (s *Signers) Roll(name dnsname.Name, role kasp.Role, compromised bool) error {
	return s.change(name, func(e *entry, now time.Time) error { return e.machine.Roll(role, compromised, now) })
}

// Submitted takes an operator's word that the parent shows what it was asked for.
func (s *Signers) Submitted(name dnsname.Name) error {
	return s.change(name, func(e *entry, _ time.Time) error { return e.machine.Submitted() })
}

// Import takes in a key that was made elsewhere. One without a private half is that
// of another signer, and only published (RFC 8901).
func (s *Signers) Import(name dnsname.Name, role kasp.Role, k *sign.Key) (as kasp.Role, err error) {
	err = s.change(name, func(e *entry, now time.Time) error {
		if role == 0 {
			role = e.machine.RoleOf(k.RDATA())
		}
		if k.Signer != nil && e.hasTag(k.Tag(), k.Algorithm) {
			return fmt.Errorf("the zone has a key with the tag %d already, and validators would confuse them", k.Tag())
		}
		before := e.machine.Memory()
		id, err := e.machine.Import(role, k.RDATA(), k.Signer == nil, now)
		if err != nil || k.Signer == nil {
			return err
		}
		if err := s.writeKey(e, id, k); err != nil { // as if nothing had been
			e.goBack(before)
			return err
		}
		e.keys[id] = k
		return nil
	})
	return role, err
}

// Withdraw takes a key of another signer out again.
func (s *Signers) Withdraw(name dnsname.Name, tag uint16) error {
	return s.change(name, func(e *entry, now time.Time) error {
		for _, k := range e.machine.Memory().Keys {
			if k.Foreign && k.Wanted && k.Tag() == tag {
				return e.machine.Withdraw(k.ID, now)
			}
		}
		return fmt.Errorf("the zone has no key %d of another signer", tag)
	})
}

// ReadKey returns a key with its private half from the folder of keys, without any
// Signers. sealer is that of Config.
func ReadKey(folder string, sealer func() (*Sealer, error), name dnsname.Name, tag uint16) (*sign.Key, error) {
	at := folderOf(folder, name)
	r, err := loadRecord(at, name)
	if err != nil {
		return nil, fmt.Errorf("the keys of zone %s: %w", name, err)
	}
	e := &entry{name: name, folder: at, keys: map[kasp.ID]*sign.Key{}}
	s := &Signers{config: Config{Sealer: sealer}}
	for _, k := range r.Memory.Keys {
		if !k.Foreign && len(k.DNSKEY) > 0 && k.Tag() == tag {
			return s.privateKey(e, &k)
		}
	}
	return nil, fmt.Errorf("zone %s has no key %d", name, tag)
}

// Look has the zone's servers and its parent looked at now.
func (s *Signers) Look(name dnsname.Name) {
	s.mu.Lock()
	e := s.entries[name]
	if e != nil {
		e.force = true
	}
	s.mu.Unlock()
	if e != nil {
		s.watch(e)
	}
}

// Keys returns the keys that a zone's live answers are signed with now (package sign),
// those that sign its data; nil if it is not signed.
func (s *Signers) Keys(name dnsname.Name) []*sign.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[name]; e != nil {
		return e.live
	}
	return nil
}
