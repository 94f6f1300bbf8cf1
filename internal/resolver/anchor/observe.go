package anchor

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// Change is one step of a key from state to state, for the log.
type Change struct {
	Tag      uint16
	From, To string
}

// String returns it as a log says it.
func (c Change) String() string { return fmt.Sprintf("key %d: %s -> %s", c.Tag, c.From, c.To) }

// Observe takes in the DNSKEY RRset of the zone with its RRSIG records, as just fetched
// from the zone's servers. What it says about other keys counts only if a trusted key
// has signed it (RFC 5011 §2.2); that a key is revoked, if that key has (§2.1).
func (p *Point) Observe(now time.Time, set rdata.RRset, sigs [][]byte, policy dnssec.Policy) []Change {
	p.mendClock(now)
	p.reached = true
	v := dnssec.Verifier{Policy: policy, Now: now, Budget: &dnssec.Budget{Signatures: observeChecks}}
	changes := p.revoke(&v, set, sigs)
	verdict := p.verify(&v, set, sigs)
	if verdict.Fault != nil {
		p.Failed(now, verdict.Fault.Text)
		return changes
	}
	changes = append(changes, p.admit(now, set)...)
	p.Checked, p.Failures, p.Problem = now, 0, ""
	p.Next = now.Add(between(queryLeast, min(ttl(set)/2, verdict.Expires.Sub(now)/2), queryMost))
	return changes
}

// observeChecks bounds the signature checks of one look at a zone's keys: 64, enough
// for every key there with every signature that can be its own.
const observeChecks = 64

func ttl(set rdata.RRset) time.Duration { return time.Duration(set.TTL) * time.Second }

func between(least, d, most time.Duration) time.Duration { return max(least, min(d, most)) }

// Failed notes that a look at the zone's keys came to nothing, and when to try again
// (RFC 5011 §2.3).
func (p *Point) Failed(now time.Time, why string) {
	p.mendClock(now)
	p.Failures++
	p.Problem = why
	p.Next = now.Add(between(retryLeast, time.Hour<<min(p.Failures-1, 5), retryMost))
}

// earlyFirst and earlyMost are how soon a zone's keys are tried again that could not be had
// since the process started: a minute, doubled up to an hour, for six tries.
const (
	earlyFirst = time.Minute
	earlyMost  = 6
)

// Unreached is Failed when the keys did not come at all. A machine that starts before its
// network does is not to wait for hours.
func (p *Point) Unreached(now time.Time, why string) {
	if p.reached || p.early >= earlyMost {
		p.Failed(now, why)
		return
	}
	p.mendClock(now)
	// Deviates from RFC 5011 §2.3: until the zone's keys have been had once since the process started they are tried after 1, 2, 4 ... 32 minutes, not after an hour at least; nobody was reached, so nobody is burdened.
	p.Next = now.Add(earlyFirst << p.early)
	p.early++
	p.Problem = why
}

// mendClock takes back what lies in the future: a clock that was ahead and was set back
// must not keep keys waiting, nor give them time that has not passed. A clock that is
// ahead by more than signatures last verifies nothing, so nothing is trusted sooner.
func (p *Point) mendClock(now time.Time) {
	for i := range p.Keys {
		if k := &p.Keys[i]; k.Since.After(now) {
			k.Since = now
		}
	}
	if p.Checked.After(now) {
		p.Checked = now
	}
	if p.Next.After(now.Add(queryMost)) {
		p.Next = now
	}
}

// verify checks the RRset by what is trusted.
func (p *Point) verify(v *dnssec.Verifier, set rdata.RRset, sigs [][]byte) dnssec.Verdict {
	var keys []dnssec.Key
	var ds []dnssec.DS
	for _, r := range p.Anchors() {
		if k, ok := dnssec.ParseKey(r.Data); ok && r.Type == rdata.TypeDNSKEY {
			keys = append(keys, k)
		}
		if d, ok := dnssec.ParseDS(r.Data); ok && r.Type == rdata.TypeDS {
			ds = append(ds, d)
		}
	}
	if len(keys) > 0 {
		if _, verdict := v.MatchKeys(set, sigs, keys); verdict.Fault == nil || len(ds) == 0 {
			return verdict
		}
	}
	_, verdict := v.Match(set, sigs, ds)
	return verdict
}

// revoke takes keys out of trust that say so themselves (RFC 5011 §2.1).
func (p *Point) revoke(v *dnssec.Verifier, set rdata.RRset, sigs [][]byte) (changes []Change) {
	for _, k := range dnssec.ParseKeys(set.Data) {
		if k.Flags&flagRevoke == 0 {
			continue
		}
		plain := withoutRevoke(k.RDATA)
		known := p.key(plain)
		if known == nil {
			if !p.isOfConfigured(plain) || len(p.Keys) >= maxKeys || !v.IsSelfSigned(set, sigs, k) {
				continue
			}
			// A configured DS record of a key that was never seen unrevoked.
			p.Keys = append(p.Keys, Key{RDATA: plain, State: Valid, Since: v.Now})
			known = &p.Keys[len(p.Keys)-1]
			p.dropConfigured()
		}
		if (known.State == Valid || known.State == Missing) && v.IsSelfSigned(set, sigs, k) {
			changes = append(changes, known.move(v.Now, Revoked))
		}
	}
	return changes
}

func withoutRevoke(data []byte) []byte {
	plain := bytes.Clone(data)
	plain[1] &^= flagRevoke
	return plain
}

func (p *Point) isOfConfigured(data []byte) bool {
	k, ok := dnssec.ParseKey(data)
	return ok && slices.ContainsFunc(p.Configured, func(ds []byte) bool {
		d, ok := dnssec.ParseDS(ds)
		return ok && d.IsOf(p.Zone, k)
	})
}

// dropConfigured leaves the DS records whose keys are not known.
func (p *Point) dropConfigured() { p.Configured = slices.DeleteFunc(p.Configured, p.isKnown) }

func (k *Key) move(now time.Time, to State) Change {
	c := Change{k.Tag(), k.State.String(), to.String()}
	k.State, k.Since = to, now
	return c
}

// admit is the table of RFC 5011 §4.3 for a verified RRset.
func (p *Point) admit(now time.Time, set rdata.RRset) (changes []Change) {
	present := map[string]bool{}
	for _, k := range dnssec.ParseKeys(set.Data) {
		if k.Flags&flagZone == 0 || k.Flags&flagSEP == 0 || k.Protocol != 3 { // RFC 5011 §3: only those with the SEP flag
			continue
		}
		if k.Flags&flagRevoke == 0 {
			present[string(k.RDATA)] = true
		}
		if k.Flags&flagRevoke != 0 || p.key(k.RDATA) != nil || len(p.Keys) >= maxKeys {
			continue
		}
		fresh := Key{RDATA: bytes.Clone(k.RDATA), State: AddPend, Since: now, Hold: max(addHold, ttl(set))}
		if p.isOfConfigured(k.RDATA) {
			fresh.State, fresh.Hold = Valid, 0
		}
		p.Keys = append(p.Keys, fresh)
		changes = append(changes, Change{k.Tag, "unknown", fresh.State.String()})
	}
	p.dropConfigured()
	p.Keys = slices.DeleteFunc(p.Keys, func(k Key) bool {
		if k.State != AddPend || present[string(k.RDATA)] {
			return false
		}
		changes = append(changes, Change{k.Tag(), k.State.String(), "unknown"})
		return true
	})
	for i := range p.Keys {
		k := &p.Keys[i]
		if to, moves := p.next(now, k, present[string(k.RDATA)]); moves {
			changes = append(changes, k.move(now, to))
		}
	}
	return changes
}

// next says where a key goes that is in the RRset, or is not.
func (p *Point) next(now time.Time, k *Key, present bool) (State, bool) {
	due := !k.Until().IsZero() && !now.Before(k.Until())
	switch {
	case k.State == AddPend && due:
		return Valid, true
	case k.State == Valid && !present:
		return Missing, true
	case k.State == Missing && present:
		return Valid, true
	case k.State == Missing && due && p.hasValid(), k.State == Revoked && due:
		return Removed, true
	}
	return 0, false
}

func (p *Point) hasValid() bool {
	return slices.ContainsFunc(p.Keys, func(k Key) bool { return k.State == Valid })
}
