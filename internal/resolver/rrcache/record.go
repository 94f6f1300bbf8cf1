package rrcache

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Trust ranks where records came from; more is better (RFC 2181 §5.4.1).
type Trust uint8

// The ranks that a resolver meets, weakest first.
const (
	TrustAdditional   Trust = iota // additional section, or authority of a referral: never an answer
	TrustNonAuthority              // authority section of a reply without AA
	TrustNonAnswer                 // answer section of a reply without AA
	TrustAuthority                 // authority section of an authoritative reply
	TrustAnswer                    // answer section of an authoritative reply
)

// Kind is what an Entry says.
type Kind uint8

// The kinds of entries of the record level.
const (
	Positive Kind = iota // Set
	NoData               // no such records at this name (RFC 2308 §2.2)
	NXDomain             // no such name, for every type (RFC 2308 §2.1)
)

// String returns where records of that rank came from.
func (t Trust) String() string {
	return [...]string{"additional", "non-authority", "non-answer", "authority", "answer"}[t]
}

// String returns what entries of the kind say.
func (k Kind) String() string { return [...]string{"records", "nodata", "nxdomain"}[k] }

// State is what validation has made of something (RFC 4035 §4.3).
type State uint8

// The states, from the least said to the worst: of two, the greater one holds for
// what is made of both, but for Indeterminate.
const (
	Indeterminate State = iota // not validated, or not yet
	Secure                     // a chain of signatures leads to it from a trust anchor
	Insecure                   // a chain proves that it need not be signed, or no anchor is above it
	Bogus                      // it should be signed, and is not, or wrongly
)

// String returns the state as RFC 4035 §4.3 names it.
func (s State) String() string {
	return [...]string{"indeterminate", "secure", "insecure", "bogus"}[s]
}

// Signed is an RRset with the RDATA of the RRSIG records that came with it.
type Signed struct {
	rdata.RRset
	Sigs [][]byte
}

// Entry is one belief about a name. It is immutable.
type Entry struct {
	Kind   Kind
	Trust  Trust
	State  State
	Set    rdata.RRset  // of a Positive; its TTL is the one it came with, capped
	Sigs   [][]byte     // RDATA of the RRSIG records of Set, or of SOA
	SOA    rdata.Record // of a negative answer; the zero Record if it came without
	Denial []Signed     // the NSEC or NSEC3 RRsets that came with it
	until  instant
	epoch  time.Time
	number uint32 // of the item that it was read from
}

// TTL returns what is left of the entry's life, in seconds, rounded up.
func (e *Entry) TTL(now time.Time) rdata.TTL { return remaining(now.Sub(e.epoch), e.until) }

// Expires returns the moment from which on the entry is not used.
func (e *Entry) Expires() time.Time { return e.epoch.Add(e.until) }

// Server is one name server of a delegation and the addresses that came as glue.
type Server struct {
	Name  dnsname.Name
	Addrs []netip.Addr
}

// Delegation is a zone cut as the parent's servers tell it. Glue stays inside
// its delegation: it can not be mistaken for anything else, nor replace it.
type Delegation struct {
	Zone    dnsname.Name
	Servers []Server
	Expires time.Time
	// Local: a zone of our own says so, or one that was found through it. No chain of
	// trust leads there from outside.
	Local bool
}

// Failure is a resolution that came to nothing (RFC 9520).
type Failure struct {
	Rcode dnswire.Rcode
	EDE   dnswire.ExtendedError
	For   time.Duration // how long it is remembered; 0: Limits.FailureTime
	ID    uint64        // what it is known by; 0: nothing
}

// Get returns what is known about the records of type t at name, or that the
// name does not exist; nil if nothing is.
func (c *Cache) Get(now time.Time, name dnsname.Name, t rdata.Type) *Entry {
	it := c.find(now, name, t)
	if it == nil {
		return nil
	}
	e, _ := c.value(it.key(), it).(*Entry)
	return e
}

// Records is Get for the records of type t alone: that the name does not exist is not
// looked for.
func (c *Cache) Records(now time.Time, name dnsname.Name, t rdata.Type) *Entry {
	return c.entry(now, key{name, t, slotSet})
}

// Denied returns what says that a name does not exist; nil if nothing does.
func (c *Cache) Denied(now time.Time, name dnsname.Name) *Entry {
	return c.entry(now, key{name, 0, slotName})
}

func (c *Cache) entry(now time.Time, k key) *Entry {
	e, _ := c.read(now, k).(*Entry)
	return e
}

// find returns a copy of what Get is about; nil if there is nothing. The name is hashed,
// and its shard locked, once.
func (c *Cache) find(now time.Time, name dnsname.Name, t rdata.Type) item {
	h := maphash.String(c.seed, name.Wire())
	s, at := c.shardOf(h), c.instant(now)
	set, denial := key{name, t, slotSet}, key{name, 0, slotName}
	s.mu.Lock()
	defer s.mu.Unlock()
	if it := s.getLocked(set, hashOf(h, set), at); it != nil {
		return it
	}
	return s.getLocked(denial, hashOf(h, denial), at)
}

// read returns the value kept under k; nil if there is none.
func (c *Cache) read(now time.Time, k key) any {
	s, hash := c.place(k)
	it := s.get(k, hash, c.instant(now))
	if it == nil {
		return nil
	}
	return c.value(it.key(), it)
}

// value returns the value of an item that does not change any more. It looks at it.
func (c *Cache) value(k key, it item) any {
	value := mustUnpack(k, it.value())
	switch v := value.(type) {
	case *Entry:
		v.until, v.epoch, v.number = it.until(), c.epoch, it.number()
	case *Delegation:
		v.Expires = c.epoch.Add(it.until())
	}
	return value
}

// Put keeps an RRset of class IN for its TTL and reports whether it did: not if
// more trusted records, or records of the same name and type that are trusted
// more, are still alive (RFC 2181 §5.4.1), nor with TTL 0, which is for the
// answer at hand only (RFC 1035 §3.2.1).
func (c *Cache) Put(now time.Time, set rdata.RRset, trust Trust) bool {
	return c.PutSigned(now, Signed{RRset: set}, nil, trust)
}

// PutSigned is Put for an RRset with signatures, and with the NSEC or NSEC3 RRsets
// that must be kept with it, if it was made from a wildcard.
func (c *Cache) PutSigned(now time.Time, set Signed, denial []Signed, trust Trust) bool {
	if set.Type.IsMeta() || len(set.Data) == 0 {
		return false
	}
	set.TTL = c.limits.Bound(set.TTL)
	e := &Entry{Kind: Positive, Trust: trust, Set: set.RRset, Sigs: set.Sigs, Denial: denial}
	if !c.putEntry(now, key{set.Name, set.Type, slotSet}, e, set.TTL) {
		return false
	}
	// What has records exists: an older NXDOMAIN, about any type, is out of date.
	c.drop(key{set.Name, 0, slotName}, func(old item) bool { return trustIn(old.rank()) <= trust })
	return true
}

// PutNegative keeps a negative answer, as kind says, for the lesser of the SOA's
// TTL and its MINIMUM field (RFC 2308 §5). soa must be a valid SOA record; its
// TTL in the Entry is what was chosen. For NXDomain t does not matter.
func (c *Cache) PutNegative(now time.Time, name dnsname.Name, t rdata.Type, kind Kind, soa rdata.Record, trust Trust) bool {
	soa.TTL = NegativeTTL(soa)
	return c.PutDenied(now, name, t, Entry{Kind: kind, SOA: soa, Trust: trust}, soa.TTL)
}

// PutDenied keeps a negative answer with what came to prove it: Kind, SOA, Sigs,
// Denial and Trust of e, for ttl.
func (c *Cache) PutDenied(now time.Time, name dnsname.Name, t rdata.Type, e Entry, ttl rdata.TTL) bool {
	k := negativeKey(name, t, e.Kind)
	if e.Kind == NoData && t.IsMeta() {
		return false
	}
	ttl = c.limits.BoundNegative(ttl)
	e.SOA.TTL = ttl
	return c.putEntry(now, k, &e, ttl)
}

func negativeKey(name dnsname.Name, t rdata.Type, kind Kind) key {
	if kind == NXDomain {
		return key{name, 0, slotName}
	}
	return key{name, t, slotSet}
}

// Judge notes what validation has made of e, an entry for name and t, and that it
// is to be believed for no longer than ttl. Nothing happens if the cache has
// another entry there by now.
func (c *Cache) Judge(now time.Time, name dnsname.Name, t rdata.Type, e *Entry, state State, ttl rdata.TTL) {
	k, at := negativeKey(name, t, e.Kind), c.instant(now)
	s, hash := c.place(k)
	s.change(k, hash, at, func(it item) {
		if it.number() != e.number {
			return
		}
		it.setState(state)
		it.setUntil(min(it.until(), at+time.Duration(ttl)*time.Second))
	})
}

// Forget drops what is known about the records of type t at name, for another
// server to say it better.
func (c *Cache) Forget(name dnsname.Name, t rdata.Type) {
	always := func(item) bool { return true }
	c.drop(key{name, t, slotSet}, always)
	c.drop(key{name, 0, slotName}, always)
}

func (c *Cache) drop(k key, mayDrop func(item) bool) bool {
	s, hash := c.place(k)
	return s.drop(k, hash, mayDrop)
}

// NegativeTTL returns how long a negative answer with this SOA record may be
// kept (RFC 2308 §5).
func NegativeTTL(soa rdata.Record) rdata.TTL {
	if len(soa.Data) < 4 {
		return 0
	}
	return min(soa.TTL, rdata.TTL(binary.BigEndian.Uint32(soa.Data[len(soa.Data)-4:])))
}

// putEntry keeps e, but not over something alive that is more trusted, or has been
// validated while e has not.
func (c *Cache) putEntry(now time.Time, k key, e *Entry, ttl rdata.TTL) bool {
	until := c.instant(now) + time.Duration(ttl)*time.Second
	return c.keep(now, k, appendEntry(nil, e), until, func(old item) bool {
		rank := old.rank()
		return e.Trust >= trustIn(rank) && (stateIn(rank) != Secure || e.State == Secure)
	})
}

// keep puts an item into its shard.
func (c *Cache) keep(now time.Time, k key, value []byte, until instant, mayReplace func(old item) bool) bool {
	s, hash := c.place(k)
	if !s.put(k, hash, value, c.instant(now), until, mayReplace) {
		return false
	}
	c.own.note(k.name, ownKey{key: k})
	return true
}

// PutDelegation keeps a zone cut for ttl, but not beyond notAfter (unless that is
// zero), and returns it as kept; with TTL 0 it is returned but not kept. servers
// must not be written to afterwards.
func (c *Cache) PutDelegation(now time.Time, zone dnsname.Name, servers []Server, ttl rdata.TTL, notAfter time.Time) *Delegation {
	return c.putDelegation(now, &Delegation{Zone: zone, Servers: servers}, ttl, notAfter)
}

// PutLocalDelegation is PutDelegation for a zone cut that has Local set.
func (c *Cache) PutLocalDelegation(now time.Time, zone dnsname.Name, servers []Server, ttl rdata.TTL, notAfter time.Time) *Delegation {
	return c.putDelegation(now, &Delegation{Zone: zone, Servers: servers, Local: true}, ttl, notAfter)
}

func (c *Cache) putDelegation(now time.Time, d *Delegation, ttl rdata.TTL, notAfter time.Time) *Delegation {
	d.Expires = now.Add(lifetime(ttl, c.limits.MaxTTL))
	if !notAfter.IsZero() && notAfter.Before(d.Expires) {
		d.Expires = notAfter
	}
	c.keep(now, key{d.Zone, 0, slotCut}, appendDelegation(nil, d), c.instant(d.Expires), nil)
	return d
}

// Delegation returns the deepest known zone cut at name or above it; nil if
// there is none.
func (c *Cache) Delegation(now time.Time, name dnsname.Name) *Delegation {
	for n := name; !n.IsZero(); n = n.Parent() {
		if d, ok := c.read(now, key{n, 0, slotCut}).(*Delegation); ok {
			return d
		}
	}
	return nil
}

// PutFailure remembers that a resolution failed.
func (c *Cache) PutFailure(now time.Time, name dnsname.Name, t rdata.Type, f Failure) {
	if f.For == 0 {
		f.For = c.limits.FailureTime
	}
	c.keep(now, key{name, t, slotFailure}, appendFailure(nil, &f), c.instant(now)+f.For, nil)
}

// Failure returns the failure remembered for this question; nil if there is none.
func (c *Cache) Failure(now time.Time, name dnsname.Name, t rdata.Type) *Failure {
	f, _ := c.read(now, key{name, t, slotFailure}).(*Failure)
	return f
}

// place returns the shard of a key, and its hash there.
func (c *Cache) place(k key) (*shard, uint32) {
	h := maphash.String(c.seed, k.name.Wire())
	return c.shardOf(h), hashOf(h, k)
}

// shardOf returns the shard of a name's hash.
func (c *Cache) shardOf(h uint64) *shard { return &c.shards[h>>48&uint64(len(c.shards)-1)] }

// hashOf returns the hash of a key from that of its name.
func hashOf(h uint64, k key) uint32 {
	return uint32(h ^ (uint64(k.t)<<8|uint64(k.slot))*0x9E3779B97F4A7C15>>20)
}
