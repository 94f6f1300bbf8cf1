package dnssec

import (
	"bytes"
	"encoding/binary"
	"slices"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// AppendSigned appends what sig signs (RFC 4034 §3.1.8.1):
//
//	RRSIG RDATA without signature | RR(1) | RR(2) ...
//	RR(i) = owner | type | class | original TTL | length | RDATA in canonical form
//
// with the RRs in canonical order (§6.3), none twice.
func AppendSigned(b []byte, sig Signature, set rdata.RRset) []byte {
	b = sig.AppendUnsigned(b)
	all := Canonical(set.Type, set.Data)
	owner := signedOwner(sig, set.Name)
	for i, data := range all {
		if i > 0 && bytes.Equal(data, all[i-1]) {
			continue
		}
		b = append(b, owner...)
		b = binary.BigEndian.AppendUint16(b, uint16(set.Type))
		b = binary.BigEndian.AppendUint16(b, uint16(set.Class))
		b = binary.BigEndian.AppendUint32(b, uint32(sig.OriginalTTL))
		b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
		b = append(b, data...)
	}
	return b
}

// signedOwner returns the owner as it was signed: that of the wildcard when sig
// has fewer labels (RFC 4035 §5.3.2).
func signedOwner(sig Signature, owner dnsname.Name) []byte {
	if sig.Labels < LabelCount(owner) {
		return owner.Ancestor(sig.Labels).AppendWire([]byte{1, '*'})
	}
	return owner.AppendWire(nil)
}

// Canonical returns the RDATA of an RRset in canonical form and order (RFC 4034 §6.2
// and §6.3). Duplicates stay.
func Canonical(t rdata.Type, set [][]byte) [][]byte {
	all := make([][]byte, len(set))
	for i, data := range set {
		all[i] = CanonicalRDATA(t, data)
	}
	if len(all) > 1 {
		slices.SortFunc(all, bytes.Compare)
	}
	return all
}

// CanonicalRDATA returns RDATA with the letters of its names in lower case, for the types
// of RFC 4034 §6.2 but, as RFC 6840 §5.1 corrects, not for NSEC. Newer types with
// names (RFC 3597 §7), such as SVCB, stay as they are. data itself is not changed.
func CanonicalRDATA(t rdata.Type, data []byte) []byte {
	l := rdata.LayoutOf(t)
	if l.Names == 0 || t == rdata.TypeNSEC || t == rdata.TypeSVCB || t == rdata.TypeHTTPS {
		return data
	}
	at := l.Prefix
	if at < 0 { // NAPTR, RFC 3403 §4.1
		at = 4
		for range 3 {
			if at >= len(data) {
				return data
			}
			at += 1 + int(data[at])
		}
	}
	if at > len(data) {
		return data
	}
	out := bytes.Clone(data)
	for range l.Names {
		name, length, err := dnsname.FromWire(out[at:]) // in lower case
		if err != nil {
			return data
		}
		copy(out[at:], name.Wire())
		at += length
	}
	return out
}
