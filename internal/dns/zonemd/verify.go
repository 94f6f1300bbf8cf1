package zonemd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Errors of Verify.
var (
	// ErrNone: the zone has no ZONEMD record at its apex.
	ErrNone = errors.New("the zone has no ZONEMD record")
	// ErrUnusable: none has a scheme and hash algorithm that are known, and once only, and
	// the serial of the zone.
	ErrUnusable = errors.New("no ZONEMD record can be used")
	// ErrMismatch: the zone is not the one that the digest was made of.
	ErrMismatch = errors.New("the digest of the zone is not that of its ZONEMD record")
)

// maxRecords is how many ZONEMD records of a zone are looked at: 16, where two
// algorithms make sense. Further ones are as good as absent.
const maxRecords = 16

// digest is a ZONEMD record.
type digest struct {
	serial            rdata.Serial
	scheme, algorithm uint8
	octets            []byte
}

// Verify checks a zone against its ZONEMD records (RFC 8976 §4, but for DNSSEC): nil if one
// of them fits. records are as for Sum; they are gone through twice.
func Verify(origin dnsname.Name, records iter.Seq[rdata.Record]) error {
	digests, serial := find(origin, records)
	if len(digests) == 0 {
		return ErrNone
	}
	why := ErrUnusable
	var usable []digest
	d := digester{origin: origin}
	for i, z := range digests {
		h, known := hashes[z.algorithm]
		switch {
		case z.serial != serial:
			why = fmt.Errorf("%w: it is of serial %d, the zone has %d", ErrUnusable, z.serial, serial)
		case z.scheme != schemeSimple || !known:
			why = fmt.Errorf("%w: scheme %d with hash algorithm %d is unknown", ErrUnusable, z.scheme, z.algorithm)
		case isRepeated(digests, i): // RFC 8976 §4: "MUST NOT be used"
			why = fmt.Errorf("%w: there are two of scheme %d and hash algorithm %d", ErrUnusable, z.scheme, z.algorithm)
		case len(z.octets) != h.Size():
			why = fmt.Errorf("%w: a digest of %d octets, want %d", ErrUnusable, len(z.octets), h.Size())
		default:
			usable = append(usable, z)
			d.sums = append(d.sums, h.New())
		}
	}
	if len(usable) == 0 {
		return why
	}
	d.all(records)
	for i, z := range usable {
		if bytes.Equal(d.sums[i].Sum(nil), z.octets) {
			return nil
		}
	}
	return ErrMismatch
}

func isRepeated(digests []digest, i int) bool {
	for j, other := range digests {
		if j != i && other.scheme == digests[i].scheme && other.algorithm == digests[i].algorithm {
			return true
		}
	}
	return false
}

// find returns the ZONEMD records at the apex, and the serial of the zone. The apex is
// the first name.
func find(origin dnsname.Name, records iter.Seq[rdata.Record]) (digests []digest, serial rdata.Serial) {
	for r := range records {
		if r.Name != origin {
			if r.Name.IsSubdomainOf(origin) {
				break
			}
			continue
		}
		switch {
		case r.Type == rdata.TypeSOA && len(r.Data) >= 20:
			serial = rdata.Serial(binary.BigEndian.Uint32(r.Data[len(r.Data)-20:]))
		case r.Type == rdata.TypeZONEMD && len(r.Data) >= headLen+minDigestLen && len(digests) < maxRecords:
			digests = append(digests, digest{
				rdata.Serial(binary.BigEndian.Uint32(r.Data)), r.Data[4], r.Data[5], r.Data[headLen:],
			})
		}
	}
	return digests, serial
}
