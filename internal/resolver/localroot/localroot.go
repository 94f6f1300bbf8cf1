// Package localroot is a copy of the root zone from which the resolver takes what it
// would ask the root's servers for (RFC 8806): referrals and denials come at once, reach
// nobody else, and come when no root server can be reached.
//
//	transferred zone ──► Take: DNSKEY by the trust anchors, ZONEMD and SOA signed by these keys,
//	                     the digest that of the zone ──► the copy ──► Answer
//
// It owns whether a version of the zone may be believed and until when. It does not own
// how it is transferred and kept, nor what is done when there is none: the resolver asks
// the root's servers then. What it answers is validated like every other answer.
//
// Entry points: Copy.Take, Drop, Answer, State.
//
// Concurrency: all methods may be called by many goroutines.
//
// Sources: RFC 8806, RFC 8976 §4.
package localroot

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/authority/answer"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonemd"
)

// Reasons to refuse a version.
var (
	ErrNotRoot  = errors.New("it is not the root zone")
	ErrNoDigest = errors.New("it has no ZONEMD record, so that nobody can tell whether it is whole; take it from servers that have the root zone as IANA publishes it")
)

// Copy is the copy there is. The zero Copy has none.
type Copy struct {
	current  atomic.Pointer[version]
	rotation atomic.Uint32

	mu      sync.Mutex // guards what follows
	problem string
}

type version struct {
	zone  *zone.Zone
	until time.Time // when the first signature at the apex ends
}

// State is how the copy is.
type State struct {
	Serial  rdata.Serial
	Present bool
	Until   time.Time // after which it is not used any more
	Problem string    // why the last version was refused
}

// Take makes z the copy if it is what the trust anchors say is the root zone; otherwise
// the copy stays as it is.
func (c *Copy) Take(now time.Time, z *zone.Zone, anchors []rdata.Record) error {
	until, err := verify(now, z, anchors)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("the root zone with serial %d is refused: %w", z.Serial(), err)
		c.problem = err.Error()
		return err
	}
	c.problem = ""
	c.current.Store(&version{z, until})
	return nil
}

// Drop ends the copy: it has expired.
func (c *Copy) Drop() { c.current.Store(nil) }

// State returns how the copy is at now.
func (c *Copy) State(now time.Time) State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := State{Problem: c.problem}
	if v := c.current.Load(); v != nil {
		s.Serial, s.Until, s.Present = v.zone.Serial(), v.until, now.Before(v.until)
	}
	return s
}

// Answer answers a query from the copy; nil if there is none that may be used.
func (c *Copy) Answer(now time.Time, query []byte, tcp bool) []byte {
	v := c.current.Load()
	var q dnswire.Query
	if v == nil || !now.Before(v.until) || q.Parse(query) != dnswire.Accept {
		return nil
	}
	size := q.UDPLimit()
	if tcp {
		size = 0xFFFF
	}
	var out dnswire.Builder
	out.Reset(&q, make([]byte, size+dnswire.BufferSlack), size)
	answer.Answer(&q, v.zone, c.rotation.Add(1), &out)
	return out.Finish()
}

// verify is RFC 8976 §4, for a zone that must be signed: step 1 and 2 by the trust anchors.
func verify(now time.Time, z *zone.Zone, anchors []rdata.Record) (until time.Time, err error) {
	if !z.Origin().IsRoot() {
		return until, ErrNotRoot
	}
	v := &dnssec.Verifier{Now: now, Budget: &dnssec.Budget{Signatures: 64}} // three RRsets with all the signatures that are looked at
	keySet, sigs, ok := signed(z, rdata.TypeDNSKEY)
	if !ok {
		return until, errors.New("it has no signed DNSKEY records")
	}
	keys, verdict := match(v, keySet, sigs, anchors)
	if verdict.Fault != nil {
		return until, fmt.Errorf("its keys: %s", verdict.Fault.Text)
	}
	until = verdict.Expires
	for _, t := range []rdata.Type{rdata.TypeSOA, rdata.TypeZONEMD} {
		set, sigs, ok := signed(z, t)
		if !ok {
			if t == rdata.TypeZONEMD {
				return until, ErrNoDigest
			}
			return until, fmt.Errorf("its %v record is not signed", t)
		}
		verdict := v.Verify(set, sigs, keys, dnsname.Root)
		if verdict.Fault != nil {
			return until, errors.New(verdict.Fault.Text)
		}
		if verdict.Expires.Before(until) {
			until = verdict.Expires
		}
	}
	return until, zonemd.Verify(dnsname.Root, z.Records())
}

func match(v *dnssec.Verifier, set rdata.RRset, sigs [][]byte, anchors []rdata.Record) ([]dnssec.Key, dnssec.Verdict) {
	var keys, ds [][]byte
	for _, a := range anchors {
		switch {
		case !a.Name.IsRoot():
		case a.Type == rdata.TypeDNSKEY:
			keys = append(keys, a.Data)
		case a.Type == rdata.TypeDS:
			ds = append(ds, a.Data)
		}
	}
	usable, _ := v.Policy.Usable(ds)
	if len(keys) > 0 {
		if good, verdict := v.MatchKeys(set, sigs, dnssec.ParseKeys(keys)); verdict.Fault == nil || len(usable) == 0 {
			return good, verdict
		}
	}
	return v.Match(set, sigs, usable)
}

// signed returns an RRset of the apex with its signatures.
func signed(z *zone.Zone, t rdata.Type) (set rdata.RRset, sigs [][]byte, ok bool) {
	have, ok := z.RRset(z.Apex(), t)
	if !ok {
		return set, nil, false
	}
	signatures, ok := have.Signatures()
	if !ok {
		return set, nil, false
	}
	return rdata.RRset{Name: z.Origin(), Type: t, Class: rdata.ClassIN, TTL: have.TTL, Data: dataOf(&have)}, dataOf(&signatures), true
}

func dataOf(set *zone.RRset) (all [][]byte) {
	for i, at := 0, 0; i < set.Count; i++ {
		var data []byte
		data, _, at = set.Record(at)
		all = append(all, data)
	}
	return all
}
