// Package admission decides who may ask: an access list of address prefixes.
//
// It owns the list's compiled form and the lookup. It does not own what is allowed
// (recursion, transfers: the caller's) nor the answer to who is refused.
//
// Entry points: Compile, ACL.Allows, ACL.Decide.
//
// Concurrency: an ACL is immutable and may be shared freely.
//
// Sources: RFC 4632 §5.1 (longest match), RFC 4291 §2.5.5.2 (IPv4-mapped
// addresses), RFC 5358 (why recursion is not for everyone).
package admission

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// Action is what an ACL decides.
type Action uint8

// The actions. The zero Action is Deny.
const (
	Deny Action = iota
	Allow
)

// String returns "deny" or "allow".
func (a Action) String() string { return [...]string{"deny", "allow"}[a] }

// Rule gives an action to the addresses of a prefix.
type Rule struct {
	Prefix netip.Prefix
	Action Action
}

// ACL is a compiled access list. The longest prefix that holds an address decides,
// wherever it stood in the list; no prefix holds it: Deny. The same prefix twice:
// Deny wins. So "allow 10.0.0.0/8, deny 10.9.0.0/16, allow 10.9.1.0/24" means what
// it says in any order. The zero ACL denies everything.
//
// Prefixes nest or are apart, so a list of them cuts the address line into spans
// of one decision each, and a lookup is a binary search for the span:
//
//	10/8 allow, 10.9/16 deny     starts 0  10.0.0.0  10.9.0.0  10.10.0.0  11.0.0.0
//	                             rule   -  10/8      10.9/16   10/8       -
type ACL struct {
	rules  []Rule // sorted, without duplicates
	v4     spans[uint32]
	v6     spans[uint128]
	upper6 []uint64 // the upper halves of v6.starts
}

// spans cuts the addresses of one family. Invariant: starts ascends strictly and
// begins with 0; starts[i] up to starts[i+1] is decided by rule[i].
type spans[A comparable] struct {
	starts []A
	rule   []int32 // index into ACL.rules, or none
}

const none int32 = -1

// uint128 is an IPv6 address as a number.
type uint128 struct{ hi, lo uint64 }

// Compile builds the ACL of rules. It refuses a prefix that is not valid or has
// bits set after its length, since 10.1.2.3/8 may mean 10.0.0.0/8 or 10.1.2.3/32.
// A prefix of IPv4-mapped IPv6 addresses (::ffff:a.b.c.d/96 and longer) is taken
// as the IPv4 prefix it stands for.
func Compile(rules []Rule) (*ACL, error) {
	acl := &ACL{}
	for _, r := range rules {
		prefix, err := normal(r.Prefix)
		if err != nil {
			return nil, err
		}
		acl.rules = append(acl.rules, Rule{prefix, r.Action})
	}
	// By address, then shorter first, then Deny first: so a prefix comes after all
	// those it lies in.
	slices.SortFunc(acl.rules, func(a, b Rule) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), cmp.Compare(a.Action, b.Action))
	})
	acl.rules = slices.CompactFunc(acl.rules, func(a, b Rule) bool { return a.Prefix == b.Prefix })
	acl.v4 = cut(acl.rules, true, number4)
	acl.v6 = cut(acl.rules, false, number16)
	for _, start := range acl.v6.starts {
		acl.upper6 = append(acl.upper6, start.hi)
	}
	return acl, nil
}

// AllowOnly builds the ACL that allows prefixes and nothing else.
func AllowOnly(prefixes []netip.Prefix) (*ACL, error) {
	rules := make([]Rule, len(prefixes))
	for i, p := range prefixes {
		rules[i] = Rule{p, Allow}
	}
	return Compile(rules)
}

// normal returns p as an IPv4 prefix if it stands for one.
func normal(p netip.Prefix) (netip.Prefix, error) {
	switch {
	case !p.IsValid():
		return p, fmt.Errorf("access list: %v is no prefix: want an address and a length such as 192.0.2.0/24 or 2001:db8::/32", p)
	case p != p.Masked():
		return p, fmt.Errorf("access list: %v has bits set after its length: write %v, or %v/%d for the one address", p, p.Masked(), p.Addr(), p.Addr().BitLen())
	case p.Addr().Is4In6() && p.Bits() >= 96:
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96), nil
	}
	return p, nil
}

func number4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func number16(a netip.Addr) uint128 {
	b := a.As16()
	return uint128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// cut makes the spans of the rules of one family. It walks over the sorted rules
// with a stack of those that are open: a prefix begins a span of its own, and at
// its end the one around it goes on.
func cut[A comparable](rules []Rule, v4 bool, number func(netip.Addr) A) spans[A] {
	var s spans[A]
	var zero A
	var open []int32
	begin := func(at A, rule int32) {
		// A span that begins where the one before did is all that is left of it.
		if last := len(s.starts) - 1; last >= 0 && s.starts[last] == at {
			s.rule[last] = rule
			return
		}
		s.starts, s.rule = append(s.starts, at), append(s.rule, rule)
	}
	closeUntil := func(inner func(i int32) bool) {
		for len(open) > 0 && !inner(open[len(open)-1]) {
			closed := open[len(open)-1]
			open = open[:len(open)-1]
			outer := none
			if len(open) > 0 {
				outer = open[len(open)-1]
			}
			if after := last(rules[closed].Prefix).Next(); after.IsValid() {
				begin(number(after), outer)
			}
		}
	}
	begin(zero, none)
	for i, r := range rules {
		if r.Prefix.Addr().Is4() != v4 {
			continue
		}
		closeUntil(func(i int32) bool { return rules[i].Prefix.Contains(r.Prefix.Addr()) })
		begin(number(r.Prefix.Addr()), int32(i))
		open = append(open, int32(i))
	}
	closeUntil(func(int32) bool { return false })
	return s
}

// last returns the last address of p.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// Allows reports whether the ACL allows addr. It allocates nothing.
func (l *ACL) Allows(addr netip.Addr) bool {
	i := l.find(addr)
	return i != none && l.rules[i].Action == Allow
}

// Decide returns the action for addr and the rule it comes from; ok is false when
// no rule holds addr, so that it is denied.
func (l *ACL) Decide(addr netip.Addr) (r Rule, ok bool) {
	i := l.find(addr)
	if i == none {
		return Rule{}, false
	}
	return l.rules[i], true
}

// find returns the index of the rule that decides about addr, or none. Zones of
// link-local addresses do not matter.
func (l *ACL) find(addr netip.Addr) int32 {
	if l == nil || len(l.rules) == 0 || !addr.IsValid() {
		return none
	}
	if addr.Is4() || addr.Is4In6() {
		return l.find4(number4(addr.Unmap()))
	}
	return l.find6(number16(addr))
}

// find4 finds the last span that starts at or before n; the first starts at 0. The
// loop has no branch that depends on the address, which would be mispredicted every
// other time.
func (l *ACL) find4(n uint32) int32 {
	starts, at := l.v4.starts, 0
	for left := len(starts); left > 1; {
		half := left >> 1
		next := at
		if starts[at+half] <= n {
			next = at + half
		}
		at, left = next, left-half
	}
	return l.v4.rule[at]
}

// find6 is find4 for IPv6. Most prefixes are apart in their upper half, so that is
// compared first, alone.
func (l *ACL) find6(n uint128) int32 {
	upper, at := l.upper6, 0
	for left := len(upper); left > 1; {
		half := left >> 1
		next := at
		if upper[at+half] <= n.hi {
			next = at + half
		}
		at, left = next, left-half
	}
	if upper[at] == n.hi {
		return l.find6Exact(n)
	}
	return l.v6.rule[at]
}

func (l *ACL) find6Exact(n uint128) int32 {
	after, _ := slices.BinarySearchFunc(l.v6.starts, n, func(start, n uint128) int {
		if start == n {
			return -1 // so that what is found is the first start after n
		}
		return cmp.Or(cmp.Compare(start.hi, n.hi), cmp.Compare(start.lo, n.lo))
	})
	return l.v6.rule[after-1]
}

// Rules returns the rules in the order of their prefixes, without those that have
// no effect because the same prefix is denied.
func (l *ACL) Rules() []Rule { return slices.Clone(l.rules) }

// Reach returns how many leading bits of addr an address must share with it for
// the list to decide alike, by the same rule: the length of the largest prefix
// around addr that lies within one span.
func (l *ACL) Reach(addr netip.Addr) int {
	if l == nil || len(l.rules) == 0 || !addr.IsValid() {
		return 0
	}
	if addr = addr.Unmap(); addr.Is4() {
		n := number4(addr)
		first, next, bounded := around(l.v4.starts, n, cmp.Compare[uint32])
		for bits := range 32 {
			host := uint32(1)<<(32-bits) - 1 // for /0 the shift makes 0, less 1: all bits
			if n&^host >= first && (!bounded || n|host < next) {
				return bits
			}
		}
		return 32
	}
	n := number16(addr)
	first, next, bounded := around(l.v6.starts, n, uint128.compare)
	for bits := range 128 {
		host := uint128{^uint64(0) >> min(bits, 64), ^uint64(0) >> max(bits-64, 0)}
		low, high := uint128{n.hi &^ host.hi, n.lo &^ host.lo}, uint128{n.hi | host.hi, n.lo | host.lo}
		if low.compare(first) >= 0 && (!bounded || high.compare(next) < 0) {
			return bits
		}
	}
	return 128
}

// around returns the start of the span that holds n, and that of the next one, if
// there is one.
func around[A comparable](starts []A, n A, compare func(a, b A) int) (first, next A, bounded bool) {
	at, found := slices.BinarySearchFunc(starts, n, compare)
	if !found {
		at--
	}
	if at+1 < len(starts) {
		next, bounded = starts[at+1], true
	}
	return starts[at], next, bounded
}

func (a uint128) compare(b uint128) int {
	return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo))
}
