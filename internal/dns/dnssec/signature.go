package dnssec

import (
	"encoding/binary"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Signature is an RRSIG record (RFC 4034 §3.1).
type Signature struct {
	Covered               rdata.Type
	Algorithm             uint8
	Labels                int
	OriginalTTL           rdata.TTL
	Expiration, Inception rdata.Serial // RFC 4034 §3.1.5: compared as serial numbers
	Tag                   uint16
	Signer                dnsname.Name
	Octets                []byte
}

const signatureHead = 18

// ParseSignature takes RRSIG RDATA apart.
func ParseSignature(data []byte) (Signature, bool) {
	if len(data) < signatureHead {
		return Signature{}, false
	}
	signer, length, err := dnsname.FromWire(data[signatureHead:])
	if err != nil {
		return Signature{}, false
	}
	return Signature{
		Covered: rdata.Type(binary.BigEndian.Uint16(data)), Algorithm: data[2], Labels: int(data[3]),
		OriginalTTL: rdata.TTL(binary.BigEndian.Uint32(data[4:])),
		Expiration:  rdata.Serial(binary.BigEndian.Uint32(data[8:])), Inception: rdata.Serial(binary.BigEndian.Uint32(data[12:])),
		Tag: binary.BigEndian.Uint16(data[16:]), Signer: signer,
		Octets: data[signatureHead+length:],
	}, true
}

// AppendUnsigned appends the RDATA of s up to its last field, the octets of the
// signature: what is signed with the records (RFC 4034 §3.1.8.1).
func (s Signature) AppendUnsigned(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(s.Covered))
	b = append(b, s.Algorithm, byte(s.Labels))
	for _, v := range [...]uint32{uint32(s.OriginalTTL), uint32(s.Expiration), uint32(s.Inception)} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	b = binary.BigEndian.AppendUint16(b, s.Tag)
	return s.Signer.AppendWire(b)
}

// LabelCount counts as RFC 4034 §3.1.3 does: neither the root nor a wildcard label.
func LabelCount(n dnsname.Name) int {
	if n.IsWildcard() {
		return n.Labels() - 1
	}
	return n.Labels()
}

// Verdict is what became of verifying an RRset.
type Verdict struct {
	Fault *Fault // nil: the RRset is the zone's own word
	// Encloser is set when the RRset was made from a wildcard: the name below which
	// the wildcard is, the closest encloser. That nothing nearer exists is for Denial
	// to prove (RFC 4035 §5.3.4).
	Encloser dnsname.Name
	// Expires is when it is no longer believed, TTL the most that may be made of
	// its TTL (RFC 4035 §5.3.3).
	Expires time.Time
	TTL     rdata.TTL
}

// Verify checks that one of the RRSIG records sigs is that of one of zone's keys for
// set (RFC 4035 §5.3). All keys must be believed already.
func (v *Verifier) Verify(set rdata.RRset, sigs [][]byte, keys []Key, zone dnsname.Name) Verdict {
	worst := fault(dnswire.EDERRSIGsMissing, "%v %v has no signature of zone %v", set.Name, set.Type, zone)
	rank := 0
	var octets []byte
	for _, data := range sigs[:min(len(sigs), v.Policy.most(MaxSignatures))] {
		sig, ok := ParseSignature(data)
		if !ok || sig.Covered != set.Type || sig.Signer != zone {
			continue
		}
		if f, r := v.screen(sig, set, keys); f != nil {
			if r > rank {
				worst, rank = f, r
			}
			continue
		}
		tried := 0
		for _, k := range keys {
			if k.Tag != sig.Tag || k.Algorithm != sig.Algorithm || !k.isZoneKey() {
				continue
			}
			if tried++; tried > v.Policy.most(MaxCollisions) {
				break
			}
			octets = AppendSigned(octets[:0], sig, set)
			fits, paid := v.check(k, octets, sig.Octets)
			if !paid {
				return Verdict{Fault: fault(dnswire.EDEDNSSECBogus, "more signature checks than one question may cost")}
			}
			if fits {
				return v.verdict(sig, set)
			}
		}
		worst, rank = fault(dnswire.EDEDNSSECBogus, "the signature of %v %v by key %d of %v does not fit", set.Name, set.Type, sig.Tag, zone), 9
	}
	return Verdict{Fault: worst}
}

// screen checks what can be checked without arithmetic. Of several faults the one
// with the highest rank is told.
func (v *Verifier) screen(sig Signature, set rdata.RRset, keys []Key) (*Fault, int) {
	name, now := LabelCount(set.Name), rdata.Serial(v.Now.Unix())
	switch {
	case !v.Policy.Supports(sig.Algorithm):
		return fault(dnswire.EDEUnsupportedDNSKEYAlgorithm, "%v %v is signed with algorithm %d, which is not supported", set.Name, set.Type, sig.Algorithm), 1
	case !set.Name.IsSubdomainOf(sig.Signer), sig.Labels > name:
		return fault(dnswire.EDEDNSSECBogus, "the signature of %v %v is one for another name", set.Name, set.Type), 2
	case !v.Policy.Replays && (sig.Labels < sig.Signer.Labels() || sig.Labels < name && !mayBeSynthesised(set.Type)):
		// A label count above the zone's apex, or a wildcard where none can be, is the
		// replay of a signature (CVE-2026-44690).
		return fault(dnswire.EDEDNSSECBogus, "the signature of %v %v is that of a wildcard where none can be", set.Name, set.Type), 2
	case sig.Expiration.Less(sig.Inception):
		return fault(dnswire.EDESignatureInverted, "the signature of %v %v expired %s, before it was valid from %s", set.Name, set.Type, clock(v.Now, sig.Expiration), clock(v.Now, sig.Inception)), 6
	case now.Less(sig.Inception):
		return fault(dnswire.EDESignatureNotYetValid, "the signature of %v %v is valid from %s", set.Name, set.Type, clock(v.Now, sig.Inception)), 4
	case sig.Expiration.Less(now):
		return fault(dnswire.EDESignatureExpired, "the signature of %v %v expired %s", set.Name, set.Type, clock(v.Now, sig.Expiration)), 5
	}
	for _, k := range keys {
		if k.Tag == sig.Tag && k.Algorithm == sig.Algorithm {
			return nil, 0
		}
	}
	return fault(dnswire.EDEDNSKEYMissing, "%v %v is signed with key %d, which %v does not have", set.Name, set.Type, sig.Tag, sig.Signer), 3
}

// mayBeSynthesised reports whether RRsets of type t can come from a wildcard.
// What describes the zone itself can not, nor what reshapes it: RFC 4592 §4.4 leaves
// open what a DNAME at a wildcard would mean.
func mayBeSynthesised(t rdata.Type) bool {
	switch t {
	case rdata.TypeSOA, rdata.TypeDNSKEY, rdata.TypeDS, rdata.TypeNSEC, rdata.TypeNSEC3, rdata.TypeNSEC3PARAM, rdata.TypeDNAME:
		return false
	}
	return true
}

// moment returns the time that s stands for, the one nearest to now.
func moment(now time.Time, s rdata.Serial) time.Time {
	return time.Unix(now.Unix()+int64(int32(s-rdata.Serial(now.Unix()))), 0)
}

func clock(now time.Time, s rdata.Serial) string { return moment(now, s).UTC().Format(time.RFC3339) }

// verdict says for how long and as what a verified RRset is believed.
func (v *Verifier) verdict(sig Signature, set rdata.RRset) Verdict {
	out := Verdict{Expires: moment(v.Now, sig.Expiration)}
	left := max(0, out.Expires.Sub(v.Now)/time.Second)
	out.TTL = min(set.TTL, sig.OriginalTTL, rdata.TTL(min(int64(left), int64(rdata.MaxTTL))))
	if sig.Labels < LabelCount(set.Name) {
		out.Encloser = set.Name.Ancestor(sig.Labels)
	}
	return out
}

// IsExpanded reports whether an RRSIG record says that its RRset, owned by owner, was
// made from a wildcard. It is a claim until it is verified.
func IsExpanded(owner dnsname.Name, sig []byte) bool {
	return len(sig) >= signatureHead && int(sig[3]) < LabelCount(owner)
}
