package scenario

import (
	//lint:ignore SA1019 RFC 8624 §3.1 forbids DSA; the public scenarios of 2007 are signed with it
	"crypto/dsa"
	"crypto/sha1"
	"encoding/asn1"
	"math/big"

	"pharos/internal/dns/dnssec"
)

// policy lets the algorithms of the public scenarios count, most of which are out
// of use: DSA, SHA-1, and RSA keys of 512 bits.
var policy = dnssec.Policy{SHA1: true, ShortRSA: true, Extra: checkDSA}

// Algorithm numbers of DSA: RFC 2536, and RFC 5155 for zones with NSEC3.
const (
	algorithmDSA      = 3
	algorithmDSANSEC3 = 6
)

// checkDSA is RFC 2536: the key is T | Q | P | G | Y, the signature T | R | S, or as
// the program that signed the scenarios wrote it, an ASN.1 sequence of R and S.
func checkDSA(algorithm uint8, key, signed, signature []byte) (supported, ok bool) {
	if algorithm != algorithmDSA && algorithm != algorithmDSANSEC3 {
		return false, false
	}
	const q = 20 // octets of Q, R and S
	if len(key) < 1 || key[0] > 8 {
		return true, false
	}
	size := 64 + 8*int(key[0])
	if len(key) != 1+q+3*size {
		return true, false
	}
	number := func(from, length int) *big.Int { return new(big.Int).SetBytes(key[from : from+length]) }
	public := dsa.PublicKey{
		Parameters: dsa.Parameters{Q: number(1, q), P: number(1+q, size), G: number(1+q+size, size)},
		Y:          number(1+q+2*size, size),
	}
	sum := sha1.Sum(signed)
	if pair := (struct{ R, S *big.Int }{}); len(signature) > 0 && signature[0] == 0x30 {
		_, err := asn1.Unmarshal(signature, &pair)
		return true, err == nil && dsa.Verify(&public, sum[:], pair.R, pair.S)
	}
	if len(signature) != 1+2*q {
		return true, false
	}
	r, s := new(big.Int).SetBytes(signature[1:1+q]), new(big.Int).SetBytes(signature[1+q:])
	return true, dsa.Verify(&public, sum[:], r, s)
}
