// Package kasp decides the life of the keys of a signed zone: when a key is made,
// published, signed with, told to the parent, and taken away (key and signing
// policy).
//
// It owns what may stand in the zone and at the parent, and the times between. It
// does not own signatures (package sign), nor keys on disk, servers and parents
// (package signer).
//
// # Three surfaces
//
// A validator joins three things that it may have cached at different times:
//
//	DS       the parent's records                one set of keys
//	DNSKEY   the apex of the zone, signed by     one set of keys
//	         every key of it that is a KSK or CSK
//	data     everything else, signed by          one set of keys
//
// The Machine keeps, for each of the three, every content that somebody may still
// have: the one that is published now, and the ones before it until the last
// cache has let go of them. From these lists follow the states of RFC 7583 §3.1
// and of its records, in the words of Knot and BIND:
//
//	hidden -> rumoured -> omnipresent -> unretentive -> hidden
//	nowhere   in the newest   in every     in an older    nowhere
//	          content only    content      content only
//
// # One rule
//
// A step gives a surface a new content. It is taken only if, with it, every
// combination of a DS, a DNSKEY and a data content that anybody may hold has a
// chain of trust, in the sense of the strictest validators: for each algorithm
// that the DS or the DNSKEY RRset names (RFC 4035 §2.2, RFC 6840 §5.11). All
// rollovers follow from this rule and from what is wanted in the end:
// pre-publication for a ZSK, double KSK for a KSK, the conservative way of
// RFC 6781 §4.1.4 for an algorithm, and the ways into and out of signing.
//
// A content begins to fade when every server of the zone shows its successor
// (Facts.Shown), a DS set when every server of the parent does (Facts.Parent).
// Then its TTL has to pass on a clock that nobody can set (Facts.Passed): a wall
// clock that jumps ahead makes new keys at most, it never takes any away.
//
// Entry points: New, Restore, Machine.Step, Machine.Made, Machine.Import,
// Machine.Roll, Machine.Submitted, Machine.Views, Machine.AlgorithmChange.
//
// Concurrency: a Machine belongs to one goroutine at a time. It has no clock: now
// is an argument.
//
// Sources: RFC 4035 §2.2, RFC 6781 §4, RFC 6840 §5.11, RFC 7344, RFC 7583, RFC 8078,
// RFC 8901.
package kasp

import (
	"slices"
	"time"
)

// ID names a key within its zone. No two keys of a zone ever have the same.
type ID uint32

// Role is what a key signs.
type Role uint8

// The roles.
const (
	KSK Role = iota + 1 // the DNSKEY, CDS and CDNSKEY RRsets; the parent names it
	ZSK                 // everything else
	CSK                 // both
)

// String returns "ksk", "zsk" or "csk".
func (r Role) String() string {
	if r < KSK || r > CSK {
		return "none"
	}
	return [...]string{"ksk", "zsk", "csk"}[r-KSK]
}

// ParseRole is the reverse of String.
func ParseRole(s string) (Role, bool) {
	i := slices.Index([]string{"ksk", "zsk", "csk"}, s)
	return Role(i + 1), i >= 0
}

func (r Role) isEntry() bool { return r == KSK || r == CSK } // the parent names it
func (r Role) isZone() bool  { return r == ZSK || r == CSK } // signs data

// Flags returns the flags of the role's DNSKEY record (RFC 4034 §2.1.1).
func (r Role) Flags() uint16 {
	if r.isEntry() {
		return 257
	}
	return 256
}

// Key is what the machine knows of a key. The private part is elsewhere.
type Key struct {
	ID        ID     `json:"id"`
	Role      Role   `json:"role"`
	Algorithm uint8  `json:"algorithm"`
	DNSKEY    []byte `json:"dnskey,omitempty"` // RDATA; empty: asked for, not made yet
	// Foreign keys are published and nothing else: those of another signer of the
	// zone (RFC 8901).
	Foreign bool `json:"foreign,omitempty"`
	// Offline keys sign elsewhere, in advance; see offline.go.
	Offline bool `json:"offline,omitempty"`
	// Wanted keys are on their way in or in use, the others on their way out.
	Wanted bool `json:"wanted"`
	// Replaces is the key that leaves when this one is made; 0: none.
	Replaces    ID        `json:"replaces,omitempty"`
	Compromised bool      `json:"compromised,omitempty"`
	Made        time.Time `json:"made,omitzero"`
	Active      time.Time `json:"active,omitzero"`  // since when it is relied on
	Retired     time.Time `json:"retired,omitzero"` // since when it is on its way out
	// Idle is how long nobody has had any of its records any more.
	Idle time.Duration `json:"idle,omitempty"`
}

// isMade reports whether k can be published.
func (k *Key) isMade() bool { return len(k.DNSKEY) > 0 }

// Policy is how a zone is signed.
type Policy struct {
	// Off takes the signatures away, in steps that leave nobody with a broken chain.
	Off       bool
	Algorithm uint8
	Single    bool // one CSK in place of KSK and ZSK
	// OfflineKSK: no KSK is ever made here; one is imported without its private half.
	OfflineKSK bool
	// Lifetimes after which a key is replaced; 0: only when asked.
	KSKLifetime, ZSKLifetime time.Duration
	// KeyTTL is the TTL of the DNSKEY, CDS and CDNSKEY RRsets.
	KeyTTL time.Duration
	// Propagation is added to every TTL: the time between our servers showing
	// something and everybody seeing it there.
	Propagation time.Duration
	// ParentTTL is the TTL of the DS RRset if the parent does not tell a longer one;
	// ParentPropagation is Propagation among the parent's servers, and how long it
	// may still act on a CDS that has been withdrawn.
	ParentTTL, ParentPropagation time.Duration
	// Safety is added to every wait that ends with something being taken away.
	Safety time.Duration
	// Purge is how long a key that nobody needs is kept.
	Purge time.Duration
	CDS   CDS
}

// CDS says when CDS and CDNSKEY records ask the parent for its DS (RFC 7344).
type CDS uint8

// The ways of asking.
const (
	CDSAlways   CDS = iota + 1 // whenever there is something to ask for
	CDSRollover                // while the parent does not show it
	CDSNone                    // never: an operator tells the parent
)

// lifetime returns how long a key of role r is used.
func (p Policy) lifetime(r Role) time.Duration {
	if r == ZSK {
		return p.ZSKLifetime
	}
	return p.KSKLifetime
}

// roles returns the roles that the policy needs a key for.
func (p Policy) roles() []Role {
	switch {
	case p.Off:
		return nil
	case p.Single:
		return []Role{CSK}
	}
	return []Role{KSK, ZSK}
}
