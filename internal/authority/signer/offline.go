package signer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pharos/internal/authority/kasp"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/skr"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// This file is zones whose KSK is elsewhere:
//
//	operator: KeyRequest ─> kasp.Forecast ─> keys made in advance ─> skr.Request
//	operator: TakeSigned(skr.Response) ─> verified ─> book (fsync) ─> kasp may step ─> sign
const bookFile = "offline.skr"

// loadBook reads what was signed elsewhere. A book that cannot be used is as none: what
// is published stays, and the next response puts things right.
func (s *Signers) loadBook(e *entry) {
	path := filepath.Join(e.folder, bookFile)
	e.book = &skr.Book{Zone: e.name}
	var r *skr.Response
	stat, err := os.Stat(path)
	if err == nil && stat.Size() > skr.MaxSize {
		err = fmt.Errorf("it is larger than %d octets", skr.MaxSize)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err == nil {
		r, err = skr.ParseResponse(text)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err == nil && r.Zone == e.name:
		e.book.Sets = r.Sets
	default:
		s.config.Log.Warn("what the offline KSK has signed cannot be read; import the response again", "zone", e.name.String(), "file", path, "error", err)
	}
}

// offline returns what keys elsewhere have signed, for a step at now.
func (e *entry) offline(settings Settings, now time.Time) *kasp.Offline {
	return &kasp.Offline{
		Keys: func(set []kasp.ID) bool {
			return e.book.Covers(e.keySet(rdata.TypeDNSKEY, set, settings.KeyTTL), e.elsewhere(set), now)
		},
		Ask: func(set []kasp.ID, none bool) bool {
			published := e.machine.Memory().DNSKEY
			signers := e.elsewhere(published[len(published)-1].Keys)
			return e.book.Covers(e.keySet(rdata.TypeCDS, set, settings.KeyTTL), signers, now) &&
				e.book.Covers(e.keySet(rdata.TypeCDNSKEY, set, settings.KeyTTL), signers, now)
		},
	}
}

// elsewhere returns those keys of a set that sign elsewhere.
func (e *entry) elsewhere(set []kasp.ID) (keys []skr.Key) {
	for _, id := range set {
		if k, _ := e.machine.Key(id); k.Offline {
			keys = append(keys, skr.Key{Tag: k.Tag(), Algorithm: k.Algorithm})
		}
	}
	return keys
}

// keySet returns the RRset of a type that some keys make, with its data in canonical order.
func (e *entry) keySet(t rdata.Type, set []kasp.ID, ttl rdata.TTL) rdata.RRset {
	r := skr.Request{Zone: e.name, TTL: ttl}
	s := skr.Set{Type: t}
	for i, id := range set {
		k, _ := e.machine.KeyOrSpare(id)
		r.Keys, s.Keys = append(r.Keys, k.DNSKEY), append(s.Keys, i)
	}
	return r.RRset(s)
}

// fromElsewhere returns the signatures for what a plan publishes that are good now, and
// when newer ones begin.
func (e *entry) fromElsewhere(settings Settings, plan kasp.Plan, now time.Time) (all [][]byte, next time.Time) {
	var keys, cds []kasp.ID
	for _, k := range plan.Keys {
		keys = append(keys, k.ID)
	}
	for _, k := range plan.CDS {
		cds = append(cds, k.ID)
	}
	if len(e.elsewhere(keys)) == 0 {
		return nil, next
	}
	sets := []rdata.RRset{e.keySet(rdata.TypeDNSKEY, keys, settings.KeyTTL)}
	if len(cds) > 0 || plan.DeleteDS {
		sets = append(sets, e.keySet(rdata.TypeCDS, cds, settings.KeyTTL), e.keySet(rdata.TypeCDNSKEY, cds, settings.KeyTTL))
	}
	for _, set := range sets {
		good, begin := e.book.Now(set, now)
		all = append(all, good...)
		if !begin.IsZero() && (next.IsZero() || begin.Before(next)) {
			next = begin
		}
	}
	return all, next
}

// lacks reports whether a signed version could have signatures from elsewhere that end
// later than those it has.
func lacks(z *zone.Zone, fresh [][]byte) bool {
	return slices.ContainsFunc(fresh, func(data []byte) bool {
		want, _ := dnssec.ParseSignature(data)
		set, _ := z.RRset(z.Apex(), want.Covered)
		signatures, _ := set.Signatures()
		for at, i := 0, 0; i < signatures.Count; i++ {
			var have []byte
			have, _, at = signatures.Record(at)
			sig, ok := dnssec.ParseSignature(have)
			if ok && sig.Tag == want.Tag && sig.Algorithm == want.Algorithm && !sig.Expiration.Less(want.Expiration) {
				return false
			}
		}
		return true
	})
}

// Elsewhere is how a zone with an offline KSK stands.
type Elsewhere struct {
	// Until is when the last signature of the DNSKEY RRset ends that was made in advance.
	Until time.Time
	// Warn reports whether that is soon: no new signature begins for the rest of the
	// time, or none before half a life of one.
	Warn bool
	// Lacks is what an operator has to bring before anything goes on; empty: nothing.
	Lacks string
}

// describeElsewhere is for describe. e.work is held.
func (e *entry) describeElsewhere(now time.Time) *Elsewhere {
	memory := e.machine.Memory()
	published := memory.DNSKEY[len(memory.DNSKEY)-1].Keys
	keys := e.elsewhere(published)
	if !e.machine.Policy().OfflineKSK && len(keys) == 0 && len(e.machine.Lacking()) == 0 {
		return nil
	}
	out := &Elsewhere{}
	set := e.keySet(rdata.TypeDNSKEY, published, e.settings.KeyTTL)
	for _, k := range keys {
		if until := e.book.Until(set, k, now); out.Until.IsZero() || until.Before(out.Until) {
			out.Until = until
		}
	}
	out.Warn = len(keys) > 0 && out.Until.Sub(now) < e.settings.Life+e.settings.Life/2
	switch {
	case e.machine.LacksKSK():
		out.Lacks = "it has no KSK: import the public half of the one that signs elsewhere, with \"pharos zone keys import --offline\""
	case len(e.machine.Lacking()) > 0:
		out.Lacks = "the next DNSKEY RRset is not signed: make a request with \"pharos zone keys ksr\", have it signed where the KSK is, and import the response"
	}
	return out
}

// maxAhead bounds how far ahead is signed.
const maxAhead = 10 * 366 * 24 * time.Hour

// KeyRequest returns what the machine with the KSK is to sign for the time from from on,
// and makes the keys that will be needed until its end.
func (s *Signers) KeyRequest(name dnsname.Name, from time.Time, span time.Duration) (r *skr.Request, err error) {
	err = s.change(name, func(e *entry, now time.Time) error {
		if span <= 0 || span > maxAhead {
			return fmt.Errorf("signatures for %s are not made in advance; choose a time of up to %s", span, maxAhead)
		}
		if from.IsZero() {
			from = now
		}
		if !from.Add(span).After(now) {
			return errors.New("that time is over")
		}
		s.mu.Lock()
		settings := e.settings
		s.mu.Unlock()
		e.machine.SetPolicy(settings.Policy)
		dataTTL := e.signed.dataTTL
		if e.signed.zone == nil {
			dataTTL = s.sourceTTL(e)
		}
		forecast, err := e.machine.Forecast(now, from.Add(span).Sub(now), dataTTL, func(role kasp.Role, algorithm uint8) error {
			return s.makeSpare(e, role, algorithm, now)
		})
		if err != nil {
			return err
		}
		r, err = e.request(forecast, settings)
		if err != nil {
			return err
		}
		r.Made = now.Truncate(time.Second)
		r.Row = skr.Row{From: from.Truncate(time.Second), Until: from.Add(span).Truncate(time.Second), Life: settings.Life, Every: max(time.Second, ((settings.Life - settings.Renew) / 2).Truncate(time.Second))}
		return nil
	})
	return r, err
}

// request returns the RRsets of a forecast that keys elsewhere sign.
func (e *entry) request(f kasp.Forecast, settings Settings) (*skr.Request, error) {
	r := &skr.Request{Zone: e.name, TTL: settings.KeyTTL}
	places := map[kasp.ID]int{}
	add := func(t rdata.Type, set []kasp.ID) {
		s := skr.Set{Type: t, Keys: []int{}}
		for _, id := range set {
			if _, have := places[id]; !have {
				k, _ := e.machine.KeyOrSpare(id)
				places[id] = len(r.Keys)
				r.Keys = append(r.Keys, k.DNSKEY)
			}
			s.Keys = append(s.Keys, places[id])
		}
		r.Sets = append(r.Sets, s)
	}
	for _, entry := range f.Entries {
		for _, other := range f.Others {
			if len(e.elsewhere(entry)) > 0 {
				add(rdata.TypeDNSKEY, slices.Sorted(slices.Values(slices.Concat(entry, other))))
			}
		}
	}
	if len(r.Sets) == 0 {
		return nil, errors.New("the zone has no key that signs elsewhere; its policy needs offlineKSK: true, and the KSK to be imported with --offline")
	}
	asks := f.Asks
	if f.Remove {
		asks = append(asks, nil)
	}
	for _, ask := range asks {
		add(rdata.TypeCDS, ask)
		add(rdata.TypeCDNSKEY, ask)
	}
	return r, nil
}

// makeSpare makes a key for later.
func (s *Signers) makeSpare(e *entry, role kasp.Role, algorithm uint8, now time.Time) error {
	made, err := s.newKey(e, role, algorithm)
	if err != nil {
		return err
	}
	id := e.machine.NextID()
	if err := s.writeKey(e, id, made); err != nil {
		return err
	}
	_, err = e.machine.AddSpare(role, made.RDATA(), now)
	return err
}

// TakeSigned takes in what the machine with the KSK has signed. Every signature is
// verified first. It returns how many there are, and until when.
func (s *Signers) TakeSigned(name dnsname.Name, r *skr.Response) (count int, until time.Time, err error) {
	if r.Zone != name {
		return 0, until, fmt.Errorf("the response is for zone %s, not for %s", r.Zone, name)
	}
	err = s.change(name, func(e *entry, now time.Time) error {
		var keys [][]byte
		memory := e.machine.Memory()
		for _, k := range slices.Concat(memory.Keys, memory.Spares) {
			if k.Offline {
				keys = append(keys, k.DNSKEY)
			}
		}
		if err := r.Check(keys); err != nil {
			return err
		}
		next := skr.Book{Zone: e.name, Sets: cloneSets(e.book.Sets)}
		next.Add(r, now)
		text, err := next.Response().Encode()
		if err == nil && len(text) > skr.MaxSize {
			err = fmt.Errorf("all that was signed elsewhere would take more than %d octets; ask for a shorter time", skr.MaxSize)
		}
		if err == nil {
			err = writeFile(filepath.Join(e.folder, bookFile), text)
		}
		if err != nil {
			return err
		}
		e.book = &next
		for _, set := range r.Sets {
			count += len(set.Signatures)
			for _, k := range memory.Keys {
				if end := next.Until(set.RRset, skr.Key{Tag: k.Tag(), Algorithm: k.Algorithm}, now); k.Offline && end.After(until) {
					until = end
				}
			}
		}
		return nil
	})
	return count, until, err
}

func cloneSets(sets []skr.Signed) []skr.Signed {
	sets = slices.Clone(sets)
	for i := range sets {
		sets[i].Signatures = slices.Clone(sets[i].Signatures)
	}
	return sets
}

// ImportOffline takes in the public half of a key that signs elsewhere.
func (s *Signers) ImportOffline(name dnsname.Name, role kasp.Role, k *sign.Key) error {
	return s.change(name, func(e *entry, now time.Time) error {
		if e.hasTag(k.Tag(), k.Algorithm) {
			return fmt.Errorf("the zone has a key with the tag %d already, and validators would confuse them", k.Tag())
		}
		_, err := e.machine.ImportOffline(role, k.RDATA(), now)
		return err
	})
}
