// Package ratelimit bounds how many answers over UDP go to one network, so that
// queries with a forged source address cannot make this server flood the victim.
//
// It owns the accounts and the decision. It does not own the answer, nor who is
// exempt: clients over TCP, with a good cookie or in networks that the
// configuration names never come here.
//
// An account is one network and one class of answer. It is a token bucket, kept as
// the time at which it will be full again (the generic cell rate algorithm), in
// one word of a table of fixed size:
//
//	tag of the account (16 bits) | microseconds since New (48 bits: 8 years)
//
// Eight words are a cache line and a set: an account may be in any of the words of
// its set. When all are others', the one that is full soonest makes room.
//
// It bounds TLS handshakes likewise, and whatever else has keys (Buckets).
//
// Entry points: New, Limiter.Take; NewHandshakes, Handshakes.Allow; NewBuckets,
// Buckets.Take.
//
// Concurrency: all methods may be called from any number of goroutines; there is
// no lock and nothing is allocated. Two that meet at one word try again.
//
// Sources: the response rate limiting of BIND, NSD and Knot (ISC-TN-2012-1).
package ratelimit

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"

	"pharos/internal/dns/dnswire"
)

// Config says how much is too much.
type Config struct {
	// PerSecond is how many answers of each class go to a network in a second, from 1
	// to 1,000,000.
	PerSecond [Classes]int
	// Slip is one of how many answers too many is sent, truncated: a client whose
	// address was forged can still come by TCP. The others are dropped; with 0, all.
	Slip int
	// IPv4Prefix and IPv6Prefix are the lengths of the networks whose clients share
	// accounts, at most 64 for IPv6. An attacker can forge any address in the victim's
	// network, and a site has a /56 of IPv6 in general.
	IPv4Prefix, IPv6Prefix int
}

// Usual is the configuration that nobody has refined: so many answers of each class
// in a second.
func Usual(perSecond int) Config {
	c := Config{Slip: 2, IPv4Prefix: 24, IPv6Prefix: 56}
	for class := range c.PerSecond {
		c.PerSecond[class] = perSecond
	}
	return c
}

// Class is what sort of answer is counted. A forger chooses which sort he makes, and
// a client that needs one sort should not suffer for another.
type Class uint8

// The classes.
const (
	Answer   Class = iota // with records in the answer section
	Empty                 // referrals and NODATA
	NXDomain              // names that do not exist
	Failure               // all other response codes
	Classes               // their number
)

// String returns the name of c as metrics spell it.
func (c Class) String() string { return [...]string{"answer", "empty", "nxdomain", "failure"}[c] }

// ClassOf returns the class of an answer with so many records in its answer section.
func ClassOf(rcode dnswire.Rcode, answers int) Class {
	switch {
	case rcode == dnswire.RcodeNXDomain:
		return NXDomain
	case rcode != dnswire.RcodeNoError:
		return Failure
	case answers > 0:
		return Answer
	default:
		return Empty
	}
}

// Verdict is what becomes of an answer.
type Verdict uint8

// The verdicts.
const (
	Send     Verdict = iota // as it is
	Truncate                // without records and with TC
	Drop                    // not at all
)

const (
	ways    = 8       // words in a set
	sets    = 1 << 14 // 131,072 accounts in 1 MiB: at the limit, those that are nearly full are forgotten
	tagBits = 16
	timeMax = 1<<(64-tagBits) - 1
)

// Limiter keeps the accounts.
type Limiter struct {
	// Constant after New.
	rates  [Classes]rate
	slip   uint32
	masks4 uint32
	masks6 uint64
	start  time.Time
	seed   maphash.Seed

	table   []atomic.Uint64
	dropped [Classes]atomic.Uint64
	slipped [Classes]atomic.Uint64
}

// rate is how fast an account gains answers, in microseconds.
type rate struct {
	interval uint64 // in which it gains one
	burst    uint64 // in which it gains all that it can hold
}

// New returns a Limiter. now is any time not after the first call of Take.
func New(c Config, now time.Time) *Limiter {
	l := &Limiter{slip: uint32(c.Slip), start: now, seed: maphash.MakeSeed(), table: make([]atomic.Uint64, sets*ways)}
	for class, perSecond := range c.PerSecond {
		interval := uint64(time.Second.Microseconds()) / uint64(perSecond)
		l.rates[class] = rate{interval, interval * uint64(perSecond-1)}
	}
	l.masks4 = ^uint32(0) << (32 - c.IPv4Prefix)
	l.masks6 = ^uint64(0) << (64 - c.IPv6Prefix)
	return l
}

// Take takes one answer of class c to client out of its account. roll is a random
// number, which decides what becomes of one too many.
func (l *Limiter) Take(now time.Time, client netip.Addr, c Class, roll uint32) Verdict {
	if l.take(uint64(max(now.Sub(l.start).Microseconds(), 0))&timeMax, l.account(client, c), l.rates[c]) {
		return Send
	}
	if l.slip > 0 && roll%l.slip == 0 {
		l.slipped[c].Add(1)
		return Truncate
	}
	l.dropped[c].Add(1)
	return Drop
}

// Counts returns how many answers of class c were dropped, and how many truncated.
func (l *Limiter) Counts(c Class) (dropped, slipped uint64) {
	return l.dropped[c].Load(), l.slipped[c].Load()
}

// account returns the hash of a client's network and a class.
func (l *Limiter) account(client netip.Addr, c Class) uint64 {
	client = client.Unmap()
	var key [8 + 2]byte
	key[8] = byte(c)
	if client.Is4() {
		a := client.As4()
		binary.BigEndian.PutUint32(key[:], binary.BigEndian.Uint32(a[:])&l.masks4)
		key[9] = 4 // no network of IPv6 has the same key
	} else {
		a := client.As16()
		binary.BigEndian.PutUint64(key[:], binary.BigEndian.Uint64(a[:8])&l.masks6)
	}
	return maphash.Bytes(l.seed, key[:])
}

func (l *Limiter) take(now, account uint64, r rate) bool {
	_, ok := take(l.table, now, account, r)
	return ok
}

// take reports whether the account has one left, and takes it; full is when it will be full
// again.
func take(table []atomic.Uint64, now, account uint64, r rate) (full uint64, ok bool) {
	tag := account >> (64 - tagBits)
	for {
		word, old := word(table, account, tag)
		full := now // when the account will be full
		if old>>(64-tagBits) == tag {
			full = max(now, old&timeMax)
		}
		if full-now > r.burst {
			return full, false
		}
		if word.CompareAndSwap(old, tag<<(64-tagBits)|(full+r.interval)&timeMax) {
			return full + r.interval, true
		}
	}
}

// word returns the word of the account with the tag in its set, or the one that makes room
// for it, and its value. The table has a power of two of sets.
func word(table []atomic.Uint64, account, tag uint64) (*atomic.Uint64, uint64) {
	first := account & uint64(len(table)/ways-1) * ways
	var soonest *atomic.Uint64
	var least uint64
	for i := range uint64(ways) {
		word := &table[first+i]
		value := word.Load()
		if value>>(64-tagBits) == tag && value != 0 {
			return word, value
		}
		if soonest == nil || value&timeMax < least&timeMax {
			soonest, least = word, value
		}
	}
	return soonest, least
}
