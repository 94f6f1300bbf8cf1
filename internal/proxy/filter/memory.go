package filter

import (
	"crypto/sha256"
	"sync"
	"time"
)

// memory remembers what was verified at a price, so that it is not verified for every request:
// in two generations, of which the older is forgotten when the younger is full. What is kept
// is a hash of what was shown, under a secret, and never that itself.
type memory[V any] struct {
	most   int
	secret []byte

	mu       sync.Mutex
	now, old map[[sha256.Size]byte]remembered[V]
}

type remembered[V any] struct {
	value V
	until time.Time
}

func newMemory[V any](most int, secret []byte) *memory[V] {
	return &memory[V]{most: most, secret: secret, now: map[[sha256.Size]byte]remembered[V]{}}
}

// sum returns the hash of parts, each of which is hashed with its length.
func (m *memory[V]) sum(parts ...string) (out [sha256.Size]byte) {
	h := sha256.New()
	h.Write(m.secret)
	for _, p := range parts {
		n := len(p)
		h.Write([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		h.Write([]byte(p))
	}
	h.Sum(out[:0])
	return out
}

func (m *memory[V]) get(key [sha256.Size]byte, now time.Time) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, has := m.now[key]
	if !has {
		if r, has = m.old[key]; has {
			m.add(key, r)
		}
	}
	if !has || !now.Before(r.until) {
		var none V
		return none, false
	}
	return r.value, true
}

func (m *memory[V]) put(key [sha256.Size]byte, value V, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(key, remembered[V]{value, until})
}

// add adds to the younger generation; mu is held.
func (m *memory[V]) add(key [sha256.Size]byte, r remembered[V]) {
	if len(m.now) >= m.most {
		m.old, m.now = m.now, make(map[[sha256.Size]byte]remembered[V], m.most/4)
	}
	m.now[key] = r
}
