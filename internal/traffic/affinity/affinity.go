// Package affinity brings a client back to the member that served it before. It owns
// what a client is known by (a signed cookie, or a key that is remembered), for how
// long, and when that ends: it breaks when the member is down, and outlasts its
// draining for a while. It does not own the first pick (package balance) nor how a
// key or a cookie is found in a request (package httpproxy).
//
//	request -> cookie: the member that it names    -+
//	           key:    the member that is remembered -+-> usable? -> that one
//	                                                  otherwise -> balance.Pick, and tell the client or remember
//
// Entry points: New makes the Affinity of a pool, from the one before it; ByCookie,
// ByKey, Learn; AppendCookie.
//
// Concurrency: an Affinity is immutable but for its table, whose shards have a lock
// each. No clock: times come in as arguments.
//
// Sources: RFC 6265 §4.1 (Set-Cookie), RFC 2104 (HMAC).
package affinity

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"pharos/internal/traffic/consistent"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// Kind is what a client is known by.
type Kind uint8

// The kinds. The zero Kind is None.
const (
	None    Kind = iota
	Cookie       // a cookie of ours, which names the member
	Key          // part of the request, which is remembered with the member
	Session      // a cookie of the member's, learnt from its response
)

// Spec is the affinity of a pool as configured.
type Spec struct {
	Kind Kind
	Key  pool.Key      // of Key and Session: what is remembered
	TTL  time.Duration // how long a cookie is good for, 0: until the browser ends; or how long a key is remembered after its last request
	// Drain is how long clients go on to a member that drains.
	Drain time.Duration
	Most  int // keys remembered

	Name     string // of the cookie
	Path     string // that the cookie is for
	Secure   bool   // only over TLS
	HTTPOnly bool   // not for scripts
	SameSite string // Lax, Strict or None
	// Secret signs cookies: all gateways that serve one pool must have the same.
	Secret []byte
}

// Affinity is that of one pool under one configuration. A nil one knows nobody.
type Affinity struct {
	spec    Spec
	members map[uint64]int32 // by identity
	ids     []uint64         // by number of the member
	tokens  map[string]int32 // by value of the cookie
	values  []string         // of the cookie, by number of the member
	after   string           // what stands in Set-Cookie after the value
	table   *table           // nil: nothing is remembered
	of      *pool.Spec       // whose members these are; nil: not known
}

// For returns the Affinity of a pool for the members of a view, as New does.
func For(v *pool.View, spec Spec, prev *Affinity) *Affinity {
	names := make([]string, len(v.Members))
	for i := range v.Members {
		names[i] = v.Members[i].Name
	}
	a := New(v.Name, names, spec, prev)
	if a != nil {
		a.of = v.Spec()
	}
	return a
}

// Fits reports whether the members of a view are those that a was made for: they are
// called by their numbers. Members come and go by discovery.
func (a *Affinity) Fits(v *pool.View) bool { return a.of == v.Spec() }

// New returns the Affinity of a pool whose members are called names, in the order of
// its views; nil if spec wants none. What prev remembers is taken over.
func New(poolName string, names []string, spec Spec, prev *Affinity) *Affinity {
	if spec.Kind == None {
		return nil
	}
	a := &Affinity{spec: spec, members: make(map[uint64]int32, len(names))}
	for i, name := range names {
		id := consistent.ID(name)
		a.ids = append(a.ids, id)
		a.members[id] = int32(i)
	}
	if spec.Kind == Cookie {
		a.sign(poolName, names)
		return a
	}
	if a.table = newTable(spec.Most); prev != nil && prev.table != nil && prev.spec.Key == spec.Key {
		a.table = prev.table
		a.table.resize(spec.Most)
	}
	return a
}

// sign makes the values of cookies: a MAC of the names of pool and member. It names
// the member to whoever has the secret, tells nobody else anything, and cannot be
// made by others.
func (a *Affinity) sign(poolName string, names []string) {
	a.tokens = make(map[string]int32, len(names))
	for i, name := range names {
		mac := hmac.New(sha256.New, a.spec.Secret)
		fmt.Fprintf(mac, "pharos affinity 1\x00%s\x00%s", poolName, name) // names have no NUL
		value := base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:tokenOctets])
		a.values = append(a.values, value)
		a.tokens[value] = int32(i)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "; Path=%s", a.spec.Path)
	if a.spec.TTL > 0 {
		fmt.Fprintf(&b, "; Max-Age=%d", int64(a.spec.TTL/time.Second))
	}
	if a.spec.HTTPOnly {
		b.WriteString("; HttpOnly")
	}
	if a.spec.Secure {
		b.WriteString("; Secure")
	}
	fmt.Fprintf(&b, "; SameSite=%s\r\n", a.spec.SameSite)
	a.after = b.String()
}

// tokenOctets: nobody guesses 128 bits.
const tokenOctets = 16

// Spec returns what a was made from.
func (a *Affinity) Spec() *Spec { return &a.spec }

// ByCookie returns the member that the value of a cookie names, or -1.
func (a *Affinity) ByCookie(value []byte) int {
	if m, ok := a.tokens[string(value)]; ok {
		return int(m)
	}
	return -1
}

// ByKey returns the member that is remembered for a key, or -1; a member that the
// configuration no longer has is forgotten.
func (a *Affinity) ByKey(key uint64, now time.Duration) int {
	if a.table == nil {
		return -1
	}
	if m, ok := a.members[a.table.find(key, now, a.spec.TTL)]; ok {
		return int(m)
	}
	return -1
}

// Learn remembers that the client with this key was served by a member.
func (a *Affinity) Learn(key uint64, member int, now time.Duration) {
	if a.table != nil && member < len(a.ids) {
		a.table.learn(key, a.ids[member], now)
	}
}

// Known returns how many keys are remembered.
func (a *Affinity) Known() int {
	if a == nil || a.table == nil {
		return 0
	}
	return a.table.len()
}

// AppendCookie appends the field line that tells a client its member.
func (a *Affinity) AppendCookie(b []byte, member int) []byte {
	b = append(append(b, "Set-Cookie: "...), a.spec.Name...)
	return append(append(append(b, '='), a.values[member]...), a.after...)
}

// IsUsable reports whether a client may go on to a member of v. It may while the
// member may be picked by others, and for a while when it drains, unless an operator has
// disabled it.
func (a *Affinity) IsUsable(v *pool.View, member int, now time.Duration) bool {
	if a == nil || member < 0 || member >= len(v.Members) {
		return false
	}
	m := &v.Members[member]
	draining := m.State == health.Draining
	since := m.Load.Parting(now, draining)
	if draining {
		return m.Override.State != pool.Disabled && now-since < a.spec.Drain
	}
	return v.Tier.Excludes(m.State) == ""
}

// String tells what a goes by: for explain.
func (a *Affinity) String() string {
	spec := &a.spec
	switch spec.Kind {
	case Cookie:
		return fmt.Sprintf("a client that sends the cookie %s, as it was set, goes to the member it names while that is up", spec.Name)
	case Session:
		return fmt.Sprintf("a client that sends the cookie %s goes to the member that set it while that is up; %d are remembered", spec.Name, a.Known())
	}
	return fmt.Sprintf("a client that is remembered by its %s goes to the member it had while that is up; %d are remembered", spec.Key, a.Known())
}
