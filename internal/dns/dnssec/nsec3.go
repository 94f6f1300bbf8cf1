package dnssec

import (
	"bytes"
	"crypto/sha1" // RFC 5155 §11: the only hash of NSEC3; it hides names, it signs nothing
	"encoding/base32"
	"encoding/binary"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// nsec3 is an NSEC3 record.
type nsec3 struct {
	owner, next []byte // hashes
	types       bitmap
	optOut      bool
	iterations  int
	salt        []byte
}

var base32hex = base32.HexEncoding.WithPadding(base32.NoPadding)

// addHashed takes NSEC3 RDATA apart (RFC 5155 §3.2). RFC 5155 §8.1, §8.2: unknown hash
// algorithms and flags make a record useless; all that are used together must have
// the parameters of the first.
func (d *Denial) addHashed(owner dnsname.Name, data []byte) {
	if owner.Parent() != d.zone || len(data) < 5 || data[0] != 1 || data[1]&^1 != 0 {
		return
	}
	label := bytes.ToUpper([]byte(owner.Label()))
	hash := make([]byte, base32hex.DecodedLen(len(label)))
	if n, err := base32hex.Decode(hash, label); err != nil || n != sha1.Size {
		return
	}
	n := nsec3{owner: hash, optOut: data[1]&1 != 0, iterations: int(binary.BigEndian.Uint16(data[2:]))}
	saltLen := int(data[4])
	rest := data[5:]
	if len(rest) < saltLen+1 {
		return
	}
	n.salt, rest = rest[:saltLen], rest[saltLen:]
	if rest[0] != sha1.Size || len(rest) < 1+sha1.Size {
		return
	}
	n.next, n.types = rest[1:1+sha1.Size], bitmap(rest[1+sha1.Size:])
	if (n.iterations > MaxIterations || saltLen > MaxSalt) && !d.budget.Patient {
		d.excess = true
		return
	}
	if len(d.hashed) > 0 && (d.hashed[0].iterations != n.iterations || !bytes.Equal(d.hashed[0].salt, n.salt)) {
		return
	}
	d.hashed = append(d.hashed, n)
}

// hash returns the hash of name with the records' parameters (RFC 5155 §5), nil
// when the budget is spent.
func (d *Denial) hash(name dnsname.Name) []byte {
	if h, ok := d.hashes[name]; ok {
		return h
	}
	if !d.budget.hash() {
		return nil
	}
	h := HashName(name, d.hashed[0].salt, d.hashed[0].iterations)
	d.hashes[name] = h
	return h
}

// HashName is the hash of NSEC3 (RFC 5155 §5).
func HashName(name dnsname.Name, salt []byte, iterations int) []byte {
	buf := append(name.AppendWire(make([]byte, 0, dnsname.MaxLen+len(salt))), salt...)
	sum := sha1.Sum(buf)
	for range iterations {
		buf = append(append(buf[:0], sum[:]...), salt...)
		sum = sha1.Sum(buf)
	}
	return sum[:]
}

// matching returns the record of name itself, nil if there is none.
func (d *Denial) matching(name dnsname.Name) *nsec3 {
	h := d.hash(name)
	for i := range d.hashed {
		if h != nil && bytes.Equal(d.hashed[i].owner, h) {
			return &d.hashed[i]
		}
	}
	return nil
}

// covering returns a record that proves that name, as a whole, does not exist.
func (d *Denial) covering(name dnsname.Name) *nsec3 {
	h := d.hash(name)
	for i := range d.hashed {
		n := &d.hashed[i]
		if h == nil {
			return nil
		}
		after, before := bytes.Compare(n.owner, h) < 0, bytes.Compare(h, n.next) < 0
		if bytes.Compare(n.owner, n.next) >= 0 { // the last of the zone
			if after || before {
				return n
			}
		} else if after && before {
			return n
		}
	}
	return nil
}

func (n *nsec3) coverage() Finding {
	if n.optOut {
		return OptedOut
	}
	return Proven
}

// hashedEncloser finds the closest encloser of name, and the record that covers
// the next closer name (RFC 5155 §8.3). cover is nil when the records do not prove
// it.
func (d *Denial) hashedEncloser(name dnsname.Name) (encloser dnsname.Name, cover *nsec3) {
	if len(d.hashed) == 0 || !name.IsSubdomainOf(d.zone) {
		return dnsname.Name{}, nil
	}
	for next := name; next != d.zone; next = next.Parent() {
		encloser = next.Parent()
		n := d.matching(encloser)
		if n == nil {
			continue
		}
		// "If it is the closest encloser, it must not be an ancestor delegation, nor
		// have a DNAME."
		if n.types.isCut() || n.types.has(rdata.TypeDNAME) {
			return dnsname.Name{}, nil
		}
		return encloser, d.covering(next)
	}
	return dnsname.Name{}, nil
}

func (d *Denial) hashedNXDomain(name dnsname.Name) Finding {
	encloser, cover := d.hashedEncloser(name)
	if cover == nil {
		return d.otherwise()
	}
	wildcard, err := encloser.Child("*")
	if err == nil {
		w := d.covering(wildcard)
		if w == nil {
			return d.otherwise()
		}
	}
	return cover.coverage()
}

func (d *Denial) hashedNoData(name dnsname.Name, t rdata.Type) Finding {
	if len(d.hashed) == 0 || !name.IsSubdomainOf(d.zone) {
		return d.otherwise()
	}
	if n := d.matching(name); n != nil {
		if n.types.lacks(t) {
			return Proven
		}
		return Unproven
	}
	encloser, cover := d.hashedEncloser(name)
	if cover == nil {
		return d.otherwise()
	}
	if wildcard, err := encloser.Child("*"); err == nil { // RFC 5155 §8.7
		if n := d.matching(wildcard); n != nil {
			if !n.types.lacks(t) {
				return Unproven
			}
			return cover.coverage()
		}
	}
	if cover.optOut { // RFC 5155 §8.6, and what lies in or below an unsigned delegation
		return OptedOut
	}
	return Unproven
}
