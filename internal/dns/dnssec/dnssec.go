// Package dnssec checks signatures and proofs: whether a key signed an RRset,
// whether a DS record speaks of a key, and what NSEC and NSEC3 records deny.
//
// It owns the canonical form, the arithmetic and the policy of algorithms. It does
// not own the chain of trust: which key is believed, and what is looked up to
// find out, is for package iterate.
//
//	Key, DS, Signature   RDATA taken apart and put together: ParseKey, ParseDS, MakeDS, ParseSignature
//	AppendSigned         the octets that a signature signs, for who checks and who makes one
//	Verifier.Verify      an RRset against its RRSIG records and the keys of a zone
//	Verifier.Match       the keys of a DNSKEY RRset that DS records speak of
//	Denial               what verified NSEC or NSEC3 records of a zone prove
//
// What is wrong is a *Fault: an extended error and a sentence. Work is paid for out
// of a Budget, which the caller makes per question of a client.
//
// Concurrency: everything here is a value; a Verifier and its Budget belong to
// one goroutine at a time.
//
// Sources: RFC 4033-4035, RFC 4509, RFC 5155, RFC 5702, RFC 6605, RFC 6840, RFC 8080,
// RFC 8624, RFC 8914, RFC 9276.
package dnssec

import (
	"fmt"
	"time"

	"pharos/internal/dns/dnswire"
)

// Fault says why something is not proven. A nil *Fault says that it is.
type Fault struct {
	Code dnswire.EDE
	Text string
}

func fault(code dnswire.EDE, format string, args ...any) *Fault {
	return &Fault{code, fmt.Sprintf(format, args...)}
}

// Limits of what one message or zone can make us do. They are about work, not
// about taste: KeyTrap (CVE-2023-50387) multiplies keys, tags and signatures.
const (
	// MaxSignatures is how many RRSIG records of one RRset are looked at: 8, as in
	// Unbound and Hickory. A double rollover of key and algorithm has 4.
	MaxSignatures = 8
	// MaxCollisions is how many keys of one tag and algorithm are tried for one
	// signature or DS record: 2, as in PowerDNS. Further ones are as good as absent.
	MaxCollisions = 2
	// MaxKeys is how many keys of a zone are looked at: 64. The largest key sets in
	// use have about a dozen.
	MaxKeys = 64
	// MaxIterations is how often NSEC3 may hash again: 50. RFC 9276 §3.2 lets a
	// resolver treat more as insecure, and so does this one.
	MaxIterations = 50
	// MaxSalt is the number of octets of NSEC3 salt that is worked with: 64. More
	// is treated like too many iterations; RFC 9276 §3.1 wants none at all.
	MaxSalt = 64
)

// Budget is what may still be spent. At zero, checks end with a fault that says
// so.
type Budget struct {
	Signatures int // public key operations
	Hashes     int // NSEC3 hashes of a name, each with up to MaxIterations rounds
	// Wasted is what checks have cost that found a signature not to fit, in checks of
	// ECDSA P-256. Checks end when it reaches MaxWasted; 0: there is no limit. An honest
	// zone wastes next to nothing, so that this can be much less than Signatures.
	Wasted, MaxWasted int
	// Patient has MaxIterations and MaxSalt not count; see Policy.Patient.
	Patient bool
	// Exceeded is set when something was not done for want of budget.
	Exceeded bool
}

func (b *Budget) signature() bool {
	if b.MaxWasted > 0 && b.Wasted >= b.MaxWasted {
		b.Exceeded = true
		return false
	}
	return b.take(&b.Signatures)
}

func (b *Budget) hash() bool { return b.take(&b.Hashes) }

func (b *Budget) take(from *int) bool {
	if *from <= 0 {
		b.Exceeded = true
		return false
	}
	*from--
	return true
}

// Verifier checks at a moment, with a policy, out of a budget.
type Verifier struct {
	Policy Policy
	Now    time.Time
	Budget *Budget
	Memo   *Memo // nil: nothing is remembered
}
