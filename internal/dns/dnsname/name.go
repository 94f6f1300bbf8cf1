// Package dnsname is the domain name as a value: immutable, comparable, usable
// as a map key, in uncompressed wire form with its letters in lower case.
//
// It owns the order, the ancestry and the two spellings (wire and presentation)
// of a name. It does not own compression, which is a matter of messages
// (package dnswire).
//
//	www.Example.com.  ->  3 w w w 7 e x a m p l e 3 c o m 0
//	                      one string of 1 to 255 octets; labels of 1 to 63 octets
//
// Two Names are the same domain name exactly when they are equal with ==,
// because DNS compares ASCII letters without case (RFC 4343) and a Name holds
// them in lower case. The zero Name is no name at all; it is not the root.
// Ancestors share the memory of the name they come from, so walking towards the
// root allocates nothing.
//
// Concurrency: Names are values and may be shared freely. A Name made by View
// is only as immutable as the memory it looks at.
//
// Sources: RFC 1035 §2.3.4 and §3.1 (limits, wire form), §5.1 (presentation),
// RFC 4034 §6.1 (canonical order), RFC 4343 (case), RFC 4592 (wildcards).
package dnsname

import (
	"strings"
	"unsafe"
)

// Limits of RFC 1035 §2.3.4. A longer label or name is refused, never cut.
const (
	MaxLen      = 255 // octets of a name in wire form, with all length octets
	MaxLabelLen = 63  // octets of a label, without its length octet
	MaxLabels   = 127 // labels that fit in MaxLen octets, without the root's
)

// Name is a domain name. The zero Name is not a name: IsZero reports true, and
// it is what Parent returns above the root.
type Name struct {
	wire string // lower case, uncompressed, ends with the root's zero octet
}

// Root is the name of the DNS root, written ".".
var Root = Name{"\x00"}

// IsZero reports whether n is the zero Name, which is no name.
func (n Name) IsZero() bool { return n.wire == "" }

// IsRoot reports whether n is the root.
func (n Name) IsRoot() bool { return n.wire == "\x00" }

// IsWildcard reports whether n's leftmost label is "*" (RFC 4592 §2.1.1).
func (n Name) IsWildcard() bool {
	return len(n.wire) > 2 && n.wire[0] == 1 && n.wire[1] == '*'
}

// Len returns the length of n in wire form, in octets; 0 for the zero Name.
func (n Name) Len() int { return len(n.wire) }

// Wire returns n in wire form: lower case, uncompressed, ending in a zero octet.
func (n Name) Wire() string { return n.wire }

// AppendWire appends n in wire form to b.
func (n Name) AppendWire(b []byte) []byte { return append(b, n.wire...) }

// Labels returns the number of labels of n, not counting the root's empty label
// (RFC 4034 §3.1.3 counts the same way, but also leaves a wildcard label out).
func (n Name) Labels() int {
	count := 0
	for i := 0; i < len(n.wire) && n.wire[i] != 0; i += 1 + int(n.wire[i]) {
		count++
	}
	return count
}

// Label returns the octets of n's leftmost label; "" for the root.
func (n Name) Label() string {
	if n.wire == "" {
		return ""
	}
	return n.wire[1 : 1+int(n.wire[0])]
}

// Parent returns n without its leftmost label. The parent of the root is the
// zero Name, so that a walk over n and its ancestors reads
//
//	for a := n; !a.IsZero(); a = a.Parent() { ... }
func (n Name) Parent() Name {
	if len(n.wire) <= 1 {
		return Name{}
	}
	return Name{n.wire[1+int(n.wire[0]):]}
}

// Ancestor returns the ancestor of n with the given number of labels: n itself
// when it has just that many, the zero Name when it has fewer.
func (n Name) Ancestor(labels int) Name {
	skip := n.Labels() - labels
	if skip < 0 || n.IsZero() {
		return Name{}
	}
	for ; skip > 0; skip-- {
		n = n.Parent()
	}
	return n
}

// IsSubdomainOf reports whether n is equal to or below a (RFC 9499 §7,
// "subdomain", here with the name itself counted in). It is false if either is
// the zero Name.
func (n Name) IsSubdomainOf(a Name) bool {
	if a.wire == "" || !strings.HasSuffix(n.wire, a.wire) {
		return false
	}
	// The octets match; the match must also begin at a label of n.
	i, start := 0, len(n.wire)-len(a.wire)
	for i < start {
		i += 1 + int(n.wire[i])
	}
	return i == start
}

// CommonAncestor returns the longest name that n and o are both subdomains of;
// at least the root, or the zero Name if either is zero.
func (n Name) CommonAncestor(o Name) Name {
	if n.IsZero() || o.IsZero() {
		return Name{}
	}
	nl, ol := n.Labels(), o.Labels()
	n, o = n.Ancestor(min(nl, ol)), o.Ancestor(min(nl, ol))
	for n != o {
		n, o = n.Parent(), o.Parent()
	}
	return n
}

// Compare orders names canonically (RFC 4034 §6.1): by label from the right, a
// label by its octets, an absent label first. It returns -1, 0 or +1; the zero
// Name sorts before the root.
func (n Name) Compare(o Name) int {
	if n == o {
		return 0
	}
	if n.IsZero() || o.IsZero() {
		return compareInts(len(n.wire), len(o.wire))
	}
	var nAt, oAt [MaxLabels]uint8
	nl, ol := n.labelStarts(&nAt), o.labelStarts(&oAt)
	for nl > 0 && ol > 0 {
		nl, ol = nl-1, ol-1
		if c := strings.Compare(n.labelAt(nAt[nl]), o.labelAt(oAt[ol])); c != 0 {
			return c
		}
	}
	return compareInts(nl, ol)
}

// labelStarts fills at with the offset of each label of n, leftmost first, and
// returns their number.
func (n Name) labelStarts(at *[MaxLabels]uint8) int {
	count := 0
	for i := 0; n.wire[i] != 0; i += 1 + int(n.wire[i]) {
		at[count] = uint8(i)
		count++
	}
	return count
}

func (n Name) labelAt(i uint8) string { return n.wire[int(i)+1 : int(i)+1+int(n.wire[i])] }

func compareInts(a, b int) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return +1
	}
	return 0
}

// Clone returns a copy of n with memory of its own: what to keep of a Name that
// View made.
func (n Name) Clone() Name { return Name{strings.Clone(n.wire)} }

// View returns the name whose wire form is b, without copying: b must be a valid
// uncompressed name in lower case, and must not change while the Name is in use.
// It is for looking a name up on a hot path; whatever keeps the Name must Clone
// it.
func View(b []byte) Name { return Name{unsafe.String(unsafe.SliceData(b), len(b))} }
