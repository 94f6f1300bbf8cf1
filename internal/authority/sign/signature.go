package sign

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// signatures returns the RDATA of the RRSIG records of set: those of old that may stay,
// and those made new. before is the node that the set's owner has in old, 0 if it has none.
func (s *signing) signatures(set rdata.RRset, before zone.Node) (all [][]byte, made int, err error) {
	keys := s.zoneKeys
	if isKeySet(set.Type) {
		keys = s.keyKeys
	}
	var candidates [][]byte
	if s.reuse && before != 0 {
		candidates = signaturesIn(s.old, before, set)
	}
	if isKeySet(set.Type) {
		candidates = append(candidates[:len(candidates):len(candidates)], s.p.Signatures...)
	}
	for _, k := range keys {
		kept := s.find(candidates, set, k)
		if k.Signer == nil {
			kept = s.newest(candidates, set, k)
		}
		if kept != nil {
			if !contains(all, kept) {
				all = append(all, kept)
			}
			continue
		}
		data, err := s.make(set, k)
		if err != nil {
			return all, made, fmt.Errorf("signing %s %s with key %d: %w", set.Name, set.Type, k.tag, err)
		}
		made++
		all = append(all, data)
	}
	return all, made, nil
}

func contains(list [][]byte, data []byte) bool {
	for _, other := range list {
		if bytes.Equal(other, data) {
			return true
		}
	}
	return false
}

// signaturesIn returns the signatures that z has of set, nil if its set is another one.
func signaturesIn(z *zone.Zone, n zone.Node, set rdata.RRset) [][]byte {
	have, ok := z.RRset(n, set.Type)
	if !ok || !isSame(&have, set) {
		return nil
	}
	signatures, ok := have.Signatures()
	if !ok {
		return nil
	}
	return dataOf(&signatures)
}

// isSame reports whether have is set, whose data are in canonical order.
func isSame(have *zone.RRset, set rdata.RRset) bool {
	if have.Count != len(set.Data) || have.TTL != set.TTL {
		return false
	}
	at := 0
	for _, want := range set.Data {
		var data []byte
		if data, _, at = have.Record(at); !bytes.Equal(data, want) {
			return false
		}
	}
	return true
}

// find returns the one of candidates, signatures of set, that may stand for one by k: k's
// own, else that of a key of the same algorithm that is on its way out.
func (s *signing) find(candidates [][]byte, set rdata.RRset, k signer) []byte {
	var other []byte
	for _, data := range candidates {
		sig, ok := dnssec.ParseSignature(data)
		if !ok || sig.Covered != set.Type || sig.Algorithm != k.Algorithm || !s.stays(sig, set) {
			continue
		}
		if sig.Tag == k.tag {
			return data
		}
		for _, old := range s.kept {
			if sig.Tag == old.tag && old.Algorithm == k.Algorithm {
				other = data
			}
		}
	}
	return other
}

// newest returns the one of candidates that a key made which is not here, is good now, and
// ends last; whether it is due or not, for nobody here can make another.
func (s *signing) newest(candidates [][]byte, set rdata.RRset, k signer) []byte {
	var best []byte
	var until rdata.Serial
	now := rdata.Serial(s.now.Unix())
	for _, data := range candidates {
		sig, ok := dnssec.ParseSignature(data)
		if !ok || sig.Covered != set.Type || sig.Algorithm != k.Algorithm || sig.Tag != k.tag || !s.fits(sig, set) ||
			now.Less(sig.Inception) || !now.Less(sig.Expiration) || best != nil && !until.Less(sig.Expiration) {
			continue
		}
		if key, ok := dnssec.ParseKey(k.RDATA()); ok && (dnssec.Policy{}).Check(key, dnssec.AppendSigned(nil, sig, set), sig.Octets) {
			best, until = data, sig.Expiration
		}
	}
	return best
}

// fits reports whether a signature is one of a set, but for its times.
func (s *signing) fits(sig dnssec.Signature, set rdata.RRset) bool {
	return sig.OriginalTTL == set.TTL && sig.Labels == dnssec.LabelCount(set.Name) && sig.Signer == s.origin
}

// stays reports whether a signature fits set and is not due.
func (s *signing) stays(sig dnssec.Signature, set rdata.RRset) bool {
	now := rdata.Serial(s.now.Unix())
	due := rdata.Serial(s.now.Add(s.p.Refresh).Unix())
	return s.fits(sig, set) && !now.Less(sig.Inception) && due.Less(sig.Expiration)
}

// make makes a signature of set.
func (s *signing) make(set rdata.RRset, k signer) ([]byte, error) {
	return k.signRRset(set, s.origin, k.tag, s.now.Add(-s.p.Backdate), s.now.Add(s.lifetime(set)))
}

// SignRRset returns the RDATA of an RRSIG record of set, data of zone, with the times given
// to the second.
func (k *Key) SignRRset(set rdata.RRset, zone dnsname.Name, from, until time.Time) ([]byte, error) {
	return k.signRRset(set, zone, k.Tag(), from, until)
}

func (k *Key) signRRset(set rdata.RRset, zone dnsname.Name, tag uint16, from, until time.Time) ([]byte, error) {
	sig := dnssec.Signature{
		Covered: set.Type, Algorithm: k.Algorithm, Labels: dnssec.LabelCount(set.Name), OriginalTTL: set.TTL,
		Inception: rdata.Serial(from.Unix()), Expiration: rdata.Serial(until.Unix()), Tag: tag, Signer: zone,
	}
	var room [1024]byte
	octets, err := k.sign(dnssec.AppendSigned(room[:0], sig, set))
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, 18+zone.Len()+len(octets))
	return append(sig.AppendUnsigned(out), octets...), nil
}

// lifetime is how long a signature of set is good: another part of the jitter for each
// owner, type and moment, so that what was signed at once is not due at once, nor the
// same ones again.
func (s *signing) lifetime(set rdata.RRset) time.Duration {
	h := fnv.New64a()
	h.Write([]byte(set.Name.Wire()))
	seconds := s.now.Unix()
	h.Write([]byte{byte(set.Type >> 8), byte(set.Type), byte(seconds), byte(seconds >> 8), byte(seconds >> 16), byte(seconds >> 24)})
	part := h.Sum64() >> 32 * uint64(s.p.Jitter/time.Second) >> 32
	return s.p.Lifetime - time.Duration(part)*time.Second
}
