package dnssec

import (
	"bytes"
	"crypto"
	"encoding/binary"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Key is a DNSKEY record (RFC 4034 §2.1). It shares the memory of its RDATA.
type Key struct {
	Flags     uint16
	Protocol  uint8
	Algorithm uint8
	PublicKey []byte
	Tag       uint16
	RDATA     []byte
}

// Flags of a Key.
const (
	flagZone   = 0x0100 // RFC 4034 §2.1.1: a key of a zone
	flagRevoke = 0x0080 // RFC 5011 §7
)

// ParseKey takes DNSKEY RDATA apart.
func ParseKey(data []byte) (Key, bool) {
	if len(data) < 5 {
		return Key{}, false
	}
	return Key{
		Flags: binary.BigEndian.Uint16(data), Protocol: data[2], Algorithm: data[3], PublicKey: data[4:],
		Tag: KeyTag(data), RDATA: data,
	}, true
}

// KeyTag is RFC 4034 appendix B. Algorithm 1, which has a rule of its own, is not
// supported anyway.
func KeyTag(data []byte) uint16 {
	sum := uint32(0)
	for i, octet := range data {
		if i&1 == 0 {
			sum += uint32(octet) << 8
		} else {
			sum += uint32(octet)
		}
	}
	return uint16(sum + sum>>16)
}

// isZoneKey reports whether k may sign a zone: RFC 4034 §2.1.1 and §2.1.2; a
// revoked key is out of use (RFC 5011 §2.1).
func (k Key) isZoneKey() bool {
	return k.Flags&flagZone != 0 && k.Flags&flagRevoke == 0 && k.Protocol == 3
}

// DS is a DS record (RFC 4034 §5.1).
type DS struct {
	Tag        uint16
	Algorithm  uint8
	DigestType uint8
	Digest     []byte
}

// ParseDS takes DS RDATA apart.
func ParseDS(data []byte) (DS, bool) {
	if len(data) < 5 {
		return DS{}, false
	}
	return DS{binary.BigEndian.Uint16(data), data[2], data[3], data[4:]}, true
}

var digests = map[uint8]crypto.Hash{DigestSHA1: crypto.SHA1, DigestSHA256: crypto.SHA256, DigestSHA384: crypto.SHA384}

// MakeDS returns the DS record of owner's key with DNSKEY RDATA key; ok is false for
// an unknown digest type.
func MakeDS(owner dnsname.Name, key []byte, digestType uint8) (d DS, ok bool) {
	k, valid := ParseKey(key)
	h, ok := digests[digestType]
	if !ok || !valid {
		return DS{}, false
	}
	return DS{k.Tag, k.Algorithm, digestType, digest(h, append(owner.AppendWire(nil), key...))}, true
}

// AppendRDATA appends d in wire form.
func (d DS) AppendRDATA(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, d.Tag)
	b = append(b, d.Algorithm, d.DigestType)
	return append(b, d.Digest...)
}

// IsOf reports whether d is the digest of owner's key k (RFC 4034 §5.1.4).
func (d DS) IsOf(owner dnsname.Name, k Key) bool {
	h, ok := digests[d.DigestType]
	return ok && d.Tag == k.Tag && d.Algorithm == k.Algorithm &&
		bytes.Equal(d.Digest, digest(h, append(owner.AppendWire(nil), k.RDATA...)))
}

// ParseKeys takes the RDATA of a DNSKEY RRset apart, up to MaxKeys.
func ParseKeys(set [][]byte) []Key {
	var keys []Key
	for _, data := range set[:min(len(set), MaxKeys)] {
		if k, ok := ParseKey(data); ok {
			keys = append(keys, k)
		}
	}
	return keys
}

// Usable returns the DS records whose algorithm and digest type are supported. A
// zone with none is insecure (RFC 4035 §5.2); why says what was missing. Records
// with SHA-1 are left out where one with a better digest is there: RFC 4509 §3
// says so for SHA-256, and RFC 8624 §3.3 forbids to make new ones.
func (p Policy) Usable(set [][]byte) (usable []DS, why *Fault) {
	better := false
	for _, data := range set[:min(len(set), MaxKeys)] {
		d, ok := ParseDS(data)
		switch {
		case !ok:
		case !p.Supports(d.Algorithm):
			why = fault(dnswire.EDEUnsupportedDNSKEYAlgorithm, "algorithm %d is not supported", d.Algorithm)
		case !p.SupportsDigest(d.DigestType):
			why = fault(dnswire.EDEUnsupportedDSDigest, "DS digest type %d is not supported", d.DigestType)
		default:
			better = better || d.DigestType != DigestSHA1
			usable = append(usable, d)
		}
	}
	if better {
		strong := usable[:0]
		for _, d := range usable {
			if d.DigestType != DigestSHA1 {
				strong = append(strong, d)
			}
		}
		usable = strong
	}
	if len(usable) > 0 {
		why = nil
	}
	return usable, why
}

// Match verifies the DNSKEY RRset of zone by those of its keys that the DS
// records speak of, and returns the keys that may then sign the zone. set must
// have owner zone.
func (v *Verifier) Match(set rdata.RRset, sigs [][]byte, ds []DS) ([]Key, Verdict) {
	keys := ParseKeys(set.Data)
	var entry []Key
	lacksFlag := false
	for _, d := range ds {
		tried := 0
		for _, k := range keys {
			if k.Tag != d.Tag || k.Algorithm != d.Algorithm {
				continue
			}
			if tried++; tried > MaxCollisions {
				break
			}
			if !d.IsOf(set.Name, k) {
				continue
			}
			if !k.isZoneKey() {
				lacksFlag = true
				continue
			}
			entry = addKey(entry, k)
		}
	}
	return v.admit(set, sigs, keys, entry, lacksFlag)
}

// MatchKeys is Match with trust anchors in the form of keys.
func (v *Verifier) MatchKeys(set rdata.RRset, sigs [][]byte, anchors []Key) ([]Key, Verdict) {
	keys := ParseKeys(set.Data)
	var entry []Key
	for _, a := range anchors {
		for _, k := range keys {
			if bytes.Equal(a.RDATA, k.RDATA) && k.isZoneKey() {
				entry = addKey(entry, k)
			}
		}
	}
	return v.admit(set, sigs, keys, entry, false)
}

func addKey(keys []Key, k Key) []Key {
	for _, have := range keys {
		if bytes.Equal(have.RDATA, k.RDATA) {
			return keys
		}
	}
	return append(keys, k)
}

// admit verifies a DNSKEY RRset by the entry keys among its own (RFC 4035 §5.2),
// and returns those of the others that may sign.
func (v *Verifier) admit(set rdata.RRset, sigs [][]byte, keys, entry []Key, lacksFlag bool) ([]Key, Verdict) {
	if len(entry) == 0 {
		if lacksFlag {
			return nil, Verdict{Fault: fault(dnswire.EDENoZoneKeyBitSet, "the key of %v that its parent names is no zone key", set.Name)}
		}
		return nil, Verdict{Fault: fault(dnswire.EDEDNSKEYMissing, "no key of %v is the one that its parent or anchor names", set.Name)}
	}
	verdict := v.Verify(set, sigs, entry, set.Name)
	if verdict.Fault != nil {
		return nil, verdict
	}
	var usable []Key
	for _, k := range keys {
		if k.isZoneKey() && v.Policy.Supports(k.Algorithm) {
			usable = append(usable, k)
		}
	}
	return usable, verdict
}

// IsSelfSigned reports whether k, which is in the DNSKEY RRset set, has signed it. It may be
// revoked: that is how a key says so (RFC 5011 §2.1).
func (v *Verifier) IsSelfSigned(set rdata.RRset, sigs [][]byte, k Key) bool {
	for _, data := range sigs[:min(len(sigs), v.Policy.most(MaxSignatures))] {
		sig, ok := ParseSignature(data)
		if !ok || sig.Covered != set.Type || sig.Signer != set.Name {
			continue
		}
		if f, _ := v.screen(sig, set, []Key{k}); f != nil {
			continue
		}
		if fits, _ := v.check(k, AppendSigned(nil, sig, set), sig.Octets); fits {
			return true
		}
	}
	return false
}
