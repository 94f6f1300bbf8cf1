// Package sign makes a zone a signed one: keys, signatures, and chains of NSEC or
// NSEC3 records, for a whole zone or for what has changed in it, and it checks zones
// that others have signed.
//
// It owns what is signed by which key, for how long, and what the chain of denial says. It
// does not own when keys come and go (package kasp), where they are kept, or when a
// zone is signed again (package signer). The octets that are signed are those that a
// validator checks, in package dnssec.
//
//	Key       a DNSKEY with or without its private half: Generate, ParsePair, ParsePEM
//	Params    which keys do what, how absence is proven, for how long signatures are good
//	Plan      a whole zone: NewPlan, Work (on as many goroutines as there are cores), Finish
//	Update    what becomes of a signed version when the unsigned one has changed
//	Due       the names whose signatures are to be made again
//	Check     what is wrong with a signed zone, whoever signed it; Verify on one goroutine
//
// Signing uses no random source: ECDSA is that of RFC 6979, so the same zone, Params
// and moment give the same signatures.
//
// Concurrency: Keys and Params are not changed here and may be shared. Plan.Work and
// Check.Work may be called by any number of goroutines at once, everything else by one at a time.
//
// Sources: RFC 4034, RFC 4035 §2, RFC 5155 §7.1, RFC 5702, RFC 6605, RFC 6781 §4.4,
// RFC 7344, RFC 8078, RFC 8080, RFC 8901, RFC 8976, RFC 9077, RFC 9276.
package sign

import (
	"errors"
	"fmt"
	"time"

	"pharos/internal/dns/rdata"
)

// Use is what a key does in a zone. A key of another provider (RFC 8901) is only
// published; one may also sign without being published, while an algorithm is
// introduced (RFC 6781 §4.1.4).
type Use struct {
	*Key
	Publish  bool // it stands in the DNSKEY RRset
	SignKeys bool // it signs DNSKEY, CDS and CDNSKEY
	SignZone bool // it signs everything else
	Keep     bool // it signs nothing new, but its signatures stay until they are due
	Parent   bool // CDS and CDNSKEY ask the parent for its DS record (RFC 7344)
}

// Roles gives keys the usual uses: those with the flag SEP sign the keys, others the zone,
// and where an algorithm has only one sort, these do both.
func Roles(keys ...*Key) []Use {
	var sep, plain [256]bool
	for _, k := range keys {
		sep[k.Algorithm] = sep[k.Algorithm] || k.IsSEP()
		plain[k.Algorithm] = plain[k.Algorithm] || !k.IsSEP()
	}
	uses := make([]Use, len(keys))
	for i, k := range keys {
		uses[i] = Use{
			Key: k, Publish: true,
			SignKeys: k.IsSEP() || !sep[k.Algorithm], SignZone: !k.IsSEP() || !plain[k.Algorithm],
		}
	}
	return uses
}

// NSEC3 is the parameters of a chain of hashed names.
type NSEC3 struct {
	Iterations uint16 // RFC 9276 §3.1: 0
	Salt       []byte // RFC 9276 §3.1: none
	OptOut     bool   // RFC 5155 §6: delegations without DS have no record; RFC 9276 §3.1: only for huge zones of them
}

// Params is how a zone is signed. The zero value of a field that has a default means
// that default.
type Params struct {
	Keys []Use

	// NSEC3 makes denials of hashed names; nil: of plain ones, with NSEC.
	NSEC3 *NSEC3
	// Live: the zone gets no chain and no signatures but those of its keys; the server
	// that has the keys signs answers as they are asked for (RFC 9824).
	Live bool
	// Exported: at steered names the zone has the present answers, for servers that know
	// nothing of pools, and the chain lists these. Otherwise it lists all that the names may
	// be answered with, and nothing of the zone's own that is hidden.
	Exported bool

	// KeyTTL is the TTL of DNSKEY, CDS and CDNSKEY records: DefaultKeyTTL.
	KeyTTL rdata.TTL
	// Digests are the digest types of CDS records: SHA-256 (RFC 8624 §3.3).
	Digests []uint8
	// RemoveDS: CDS and CDNSKEY ask the parent to remove all DS records (RFC 8078 §4).
	RemoveDS bool

	// Lifetime is how long a new signature is good from now on: DefaultLifetime.
	Lifetime time.Duration
	// Jitter is by how much less, at most, each by another part of it, so that
	// signatures come due evenly: DefaultJitter.
	Jitter time.Duration
	// Refresh is how long before its end a signature is due: DefaultRefresh.
	Refresh time.Duration
	// Backdate is how long ago a signature begins, for validators whose clocks are late:
	// DefaultBackdate.
	Backdate time.Duration

	// Serial is that of the signed version; nil: that of the unsigned one.
	Serial *rdata.Serial
	// ZONEMD are the hash algorithms of the digests of the zone (RFC 8976) that it
	// gets: 1 is SHA-384, 2 is SHA-512.
	ZONEMD []uint8
	// Signatures are RRSIG RDATA of DNSKEY, CDS and CDNSKEY, made where the private keys
	// are, for keys with SignKeys that have none here. Each is verified before it is used;
	// of several the one that ends last is, even if it is due.
	Signatures [][]byte
}

// Defaults of Params. Two weeks and a refresh four days before the end survive a
// long weekend without a signer; a jitter of five days spreads the work over the
// five days between the two.
const (
	DefaultKeyTTL   rdata.TTL = 3600
	DefaultLifetime           = 14 * 24 * time.Hour
	DefaultJitter             = 5 * 24 * time.Hour
	DefaultRefresh            = 4 * 24 * time.Hour
	DefaultBackdate           = time.Hour
)

// Errors of Params that a caller may want to tell apart.
var (
	ErrNoKeys = errors.New("no key signs the DNSKEY RRset, or none signs the zone; give a key both, or a key for each")
	ErrWhole  = errors.New("more than the touched names changes; the zone is to be signed whole")
	ErrTimes  = errors.New("signatures would be due as soon as they are made; make the lifetime longer than refresh and jitter together")
)

// withDefaults returns p with its defaults, or what is wrong with it.
func (p Params) withDefaults() (*Params, error) {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&p.Lifetime, DefaultLifetime}, {&p.Jitter, DefaultJitter}, {&p.Refresh, DefaultRefresh}, {&p.Backdate, DefaultBackdate}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if p.KeyTTL == 0 {
		p.KeyTTL = DefaultKeyTTL
	}
	if len(p.Digests) == 0 {
		p.Digests = []uint8{2}
	}
	if p.Lifetime <= p.Refresh+p.Jitter {
		return nil, fmt.Errorf("lifetime %s, refresh %s, jitter %s: %w", p.Lifetime, p.Refresh, p.Jitter, ErrTimes)
	}
	return &p, p.checkKeys()
}

// checkKeys: RFC 4035 §2.2: each algorithm of the DNSKEY RRset signs both it and the rest
// of the zone, where the algorithm's keys are ours.
func (p *Params) checkKeys() error {
	var keys, zone bool
	seen := map[[2]uint32][]byte{}
	for _, u := range p.Keys {
		keys = keys || u.SignKeys
		zone = zone || u.SignZone
		if u.SignZone && u.Signer == nil && !p.Live {
			return fmt.Errorf("key %d signs the zone, but its private key is not here; import it", u.Tag())
		}
		id := [2]uint32{uint32(u.Tag()), uint32(u.Algorithm)}
		if other, taken := seen[id]; taken && (u.SignZone || u.SignKeys) && string(other) != string(u.Public) {
			return fmt.Errorf("two keys have the tag %d, so validators confuse them; generate another key", u.Tag())
		}
		seen[id] = u.Public
	}
	if !keys || !zone {
		return ErrNoKeys
	}
	return nil
}
