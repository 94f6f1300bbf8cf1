package dnssec

import (
	"crypto/sha256"
	"encoding/binary"
)

// memoSize is how many checks a Memo remembers: 4096, some 400 kB. A resolver that
// sees more different signatures in a minute forgets the oldest first.
const memoSize = 4096

// Memo remembers what checks of signatures have come to. That a key has made a
// signature for some octets, or has not, is arithmetic and stays so; whether the key is
// believed and the time is right is decided anew each time. So the same NSEC record
// under many questions, and the same forgery from each server, is paid for once.
//
// Invariant: queue holds exactly the keys of known.
//
// Concurrency: it belongs to who has the Verifier.
type Memo struct {
	known map[memoKey]bool
	queue []memoKey // a ring once full
	next  int
}

// memoKey is SHA-256, as somebody else may choose the octets.
type memoKey [sha256.Size]byte

// NewMemo returns a Memo that remembers nothing.
func NewMemo() *Memo { return &Memo{known: make(map[memoKey]bool)} }

func keyOf(k Key, signed, signature []byte) memoKey {
	h := sha256.New()
	var head [9]byte
	binary.BigEndian.PutUint32(head[:], uint32(len(k.PublicKey)))
	binary.BigEndian.PutUint32(head[4:], uint32(len(signature)))
	head[8] = k.Algorithm
	h.Write(head[:])
	h.Write(k.PublicKey)
	h.Write(signature)
	h.Write(signed)
	return memoKey(h.Sum(nil))
}

func (m *Memo) put(key memoKey, fits bool) {
	if len(m.queue) < memoSize {
		m.queue = append(m.queue, key)
	} else {
		delete(m.known, m.queue[m.next])
		m.queue[m.next] = key
		m.next = (m.next + 1) % memoSize
	}
	m.known[key] = fits
}

// check reports whether signature is k's for the octets signed, from memory or by
// arithmetic, which the budget pays. paid is false when it could not.
func (v *Verifier) check(k Key, signed, signature []byte) (fits, paid bool) {
	var key memoKey
	if v.Memo != nil {
		key = keyOf(k, signed, signature)
		if fits, known := v.Memo.known[key]; known {
			return fits, true
		}
	}
	if !v.Budget.signature() {
		return false, false
	}
	fits = v.Policy.Check(k, signed, signature)
	if !fits {
		v.Budget.Wasted += price(k)
	}
	if v.Memo != nil {
		v.Memo.put(key, fits)
	}
	return fits, true
}

// price is what a check by k costs, in checks of ECDSA P-256, which take 0.1 ms: as
// measured, rounded up.
func price(k Key) int {
	switch {
	case k.Algorithm == ECDSAP384:
		return 12
	case k.Algorithm == Ed448, len(k.PublicKey) > 260: // RSA beyond 2048 bits
		return 4
	}
	return 1
}
