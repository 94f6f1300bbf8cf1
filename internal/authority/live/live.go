// Package live signs answers as they are asked for: those that come from pools in a
// signed zone, and all of a zone that is not signed on disk (compact denial, RFC 9824).
//
// It owns the signatures, the cache of them, and how many may be made in a second. It
// does not own what is in an answer (package answer), nor keys and their times (packages
// kasp and signer).
//
//	answer ──> Signer.Sign ──> Cache ──────────────────────────> signatures
//	                             └ miss: a signature is made, or Slow, or Busy
//
// Entry points: NewCache, NewSigner, Signer.Sign.
//
// Concurrency: everything may be used by any number of goroutines at once. A hit takes no
// lock, allocates nothing and costs a hash of the records.
//
// Sources: RFC 4034 §3.1, RFC 4470, RFC 9824.
package live

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"iter"
	"slices"
	"time"

	"pharos/internal/authority/sign"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// Reason says what became of a wish for signatures.
type Reason uint8

// The reasons.
const (
	Signed Reason = iota
	Slow          // it has to be made with a slow key, which is not for a loop that others wait for: ask again with Late
	Busy          // too many were made in this second
	Failed        // the key does not sign
)

// String returns the reason in a few words.
func (r Reason) String() string {
	return [...]string{"signed", "made with a slow key", "too many signatures at a time", "the key does not sign"}[r]
}

// Work is under which conditions signatures may be made.
type Work struct {
	Now time.Time
	// Late: nobody waits on this goroutine, so that slow keys may be used.
	Late bool
	// Proven: the client's address is: it came over TCP, or with a cookie. It has a
	// budget of its own.
	Proven bool
}

// Times of live signatures.
const (
	// lifetime is how long a signature is good, and backdate how long ago it begins: a few
	// days, for who caches it, and an hour for clocks that are late.
	lifetime = 3 * 24 * time.Hour
	backdate = time.Hour
	// fresh is how long it is given out: then more than two days are left, which is
	// more than any TTL that makes sense for what changes.
	fresh = 12 * time.Hour
)

// Signer signs for one zone with some keys.
type Signer struct {
	origin dnsname.Name
	keys   []*sign.Key
	tags   []uint16
	id     uint64 // of origin and keys, in the cache's keys
	slow   bool   // a signature of theirs takes longer than a loop may wait
	cache  *Cache
}

// NewSigner returns a Signer for the zone origin. Two with the same keys share what cache
// has.
func NewSigner(origin dnsname.Name, keys []*sign.Key, cache *Cache) *Signer {
	s := &Signer{origin: origin.Clone(), keys: slices.Clone(keys), cache: cache}
	s.id = maphash.String(cache.seeds[0], origin.Wire())
	for _, k := range keys {
		s.tags = append(s.tags, k.Tag())
		s.id = s.id*mixer + maphash.Bytes(cache.seeds[0], k.RDATA())
		// RSA takes half a millisecond and more, Ed448 a quarter; ECDSA with P-256 and
		// Ed25519 some 25 us, P-384 a few hundred.
		s.slow = s.slow || k.Algorithm != dnssec.ECDSAP256 && k.Algorithm != dnssec.Ed25519
	}
	return s
}

// Origin returns the zone of s.
func (s *Signer) Origin() dnsname.Name { return s.origin }

// IsSame reports whether s signs with keys.
func (s *Signer) IsSame(keys []*sign.Key) bool {
	return slices.EqualFunc(s.keys, keys, func(a, b *sign.Key) bool { return a == b || bytes.Equal(a.RDATA(), b.RDATA()) })
}

// Signatures are the RDATA of RRSIG records, one for each key: length u16 | RDATA.
type Signatures []byte

// All yields the RDATA, views of s.
func (s Signatures) All() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(s) > 0 {
			end := 2 + int(binary.BigEndian.Uint16(s))
			if !yield(s[2:end:end]) {
				return
			}
			s = s[end:]
		}
	}
}

// Sign returns the signatures of set, whose TTL is the one that is signed. Invented says
// that the owner is a name that the client made up, so that there are as many as it
// likes: denials and expanded wildcards. set is not kept.
func (s *Signer) Sign(w Work, set rdata.RRset, invented bool) (Signatures, Reason) {
	t := &s.cache.answers
	if invented {
		t = &s.cache.invented
	}
	k, second := s.keyOf(set), w.Now.Unix()
	if found := t.get(k, second); found != nil {
		s.cache.hits.Add(1)
		return found, Signed
	}
	switch {
	case s.slow && !w.Late:
		return nil, Slow
	case invented && !s.cache.take(second, w.Proven):
		s.cache.refused.Add(1)
		return nil, Busy
	}
	s.cache.misses.Add(1)
	made, ok := s.make(w.Now, clone(set))
	if !ok {
		return nil, Failed
	}
	t.put(&entry{key: k, until: second + int64(fresh/time.Second), signatures: made})
	return made, Signed
}

// make makes the signatures of set.
func (s *Signer) make(now time.Time, set rdata.RRset) (Signatures, bool) {
	var out Signatures
	for _, k := range s.keys {
		data, err := k.SignRRset(set, s.origin, now.Add(-backdate), now.Add(lifetime))
		if err != nil {
			return nil, false
		}
		out = binary.BigEndian.AppendUint16(out, uint16(len(data)))
		out = append(out, data...)
	}
	return out, len(out) > 0
}

// clone copies set, so that those who ask for a signature may do so with memory of their
// stack frames.
func clone(set rdata.RRset) rdata.RRset {
	all := make([][]byte, len(set.Data))
	for i, data := range set.Data {
		all[i] = bytes.Clone(data)
	}
	return rdata.RRset{Name: set.Name.Clone(), Type: set.Type, Class: rdata.ClassIN, TTL: set.TTL, Data: all}
}

const mixer = 0x9E3779B97F4A7C15 // the fraction of the golden ratio: without a pattern

// keyOf returns the key of set in the cache: 128 bits that nobody outside can
// compute. The order of the records does not matter.
func (s *Signer) keyOf(set rdata.RRset) (k key) {
	for i := range k {
		seed := s.cache.seeds[i]
		sum := uint64(0)
		for _, data := range set.Data {
			sum += maphash.Bytes(seed, data)
		}
		h := maphash.String(seed, set.Name.Wire()) ^ s.id
		h = (h ^ uint64(set.Type)<<32 ^ uint64(set.TTL)) * mixer
		k[i] = (h ^ h>>29 ^ sum) * mixer
	}
	return k
}
