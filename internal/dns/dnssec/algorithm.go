package dnssec

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha1" // makes crypto.SHA1 available, for Policy.SHA1 and NSEC3
	_ "crypto/sha256"
	_ "crypto/sha512"
	"math"
	"math/big"

	"github.com/cloudflare/circl/sign/ed448"
)

// Algorithm numbers (IANA "DNS Security Algorithm Numbers").
const (
	RSASHA1      = 5
	RSASHA1NSEC3 = 7
	RSASHA256    = 8
	RSASHA512    = 10
	ECDSAP256    = 13
	ECDSAP384    = 14
	Ed25519      = 15
	Ed448        = 16
)

// Digest types of DS records (IANA "DS RR Type Digest Algorithms").
const (
	DigestSHA1   = 1
	DigestSHA256 = 2
	DigestSHA384 = 4
)

// Policy says which algorithms count. The zero Policy is the one for the Internet:
// 8, 10 and 13 to 16. A zone signed with others only is insecure (RFC 4035 §5.2), as
// if it was not signed: so are 5 and 7, because SHA-1 collides (RFC 9905 lets a
// validator treat them so).
type Policy struct {
	// SHA1 lets algorithms 5 and 7 count.
	SHA1 bool
	// ShortRSA lets RSA keys below 1024 bits count.
	ShortRSA bool
	// Patient has MaxSignatures and MaxCollisions not count. For laboratories that show
	// what they are for.
	Patient bool
	// Replays has the signature of a wildcard count for names and types that no wildcard
	// can stand for (CVE-2026-44690). For laboratories that show what comes of it.
	Replays bool
	// Extra checks signatures of further algorithms: supported is false for those
	// that it does not know. nil: there are none. For laboratories.
	Extra func(algorithm uint8, key, signed, signature []byte) (supported, ok bool)
}

// most is a limit that the policy may lift.
func (p Policy) most(limit int) int {
	if p.Patient {
		return math.MaxInt
	}
	return limit
}

// Supports reports whether signatures of an algorithm can be checked.
func (p Policy) Supports(algorithm uint8) bool {
	switch algorithm {
	case RSASHA256, RSASHA512, ECDSAP256, ECDSAP384, Ed25519, Ed448:
		return true
	case RSASHA1, RSASHA1NSEC3:
		return p.SHA1
	}
	if p.Extra == nil {
		return false
	}
	supported, _ := p.Extra(algorithm, nil, nil, nil)
	return supported
}

// SupportsDigest reports whether DS digests of a type can be checked. SHA-1 can:
// what attacks it are collisions, and a DS record needs a second preimage; see
// Verifier.Match for when it is passed over.
func (Policy) SupportsDigest(digest uint8) bool {
	return digest == DigestSHA1 || digest == DigestSHA256 || digest == DigestSHA384
}

// Check reports whether signature is key's for the octets signed.
func (p Policy) Check(key Key, signed, signature []byte) bool {
	switch key.Algorithm {
	case RSASHA1, RSASHA1NSEC3:
		return p.SHA1 && p.checkRSA(crypto.SHA1, key.PublicKey, signed, signature)
	case RSASHA256:
		return p.checkRSA(crypto.SHA256, key.PublicKey, signed, signature)
	case RSASHA512:
		return p.checkRSA(crypto.SHA512, key.PublicKey, signed, signature)
	case ECDSAP256:
		return checkECDSA(elliptic.P256(), crypto.SHA256, key.PublicKey, signed, signature)
	case ECDSAP384:
		return checkECDSA(elliptic.P384(), crypto.SHA384, key.PublicKey, signed, signature)
	case Ed25519: // RFC 8080 §3 and §4
		return len(key.PublicKey) == ed25519.PublicKeySize && ed25519.Verify(key.PublicKey, signed, signature)
	case Ed448: // likewise, with an empty context
		return len(key.PublicKey) == ed448.PublicKeySize && ed448.Verify(ed448.PublicKey(key.PublicKey), signed, signature, "")
	}
	if p.Extra == nil {
		return false
	}
	_, ok := p.Extra(key.Algorithm, key.PublicKey, signed, signature)
	return ok
}

func digest(h crypto.Hash, octets []byte) []byte {
	d := h.New()
	d.Write(octets)
	return d.Sum(nil)
}

// Bounds of RSA keys, in bits: shorter ones are broken at home, and RFC 3110 §2 ends
// at 4096, with which one check stays below 0.2 ms.
const (
	minRSA = 1024
	maxRSA = 4096
)

// checkRSA is RFC 5702 §3 and RFC 3110 §3: PKCS #1 v1.5.
func (p Policy) checkRSA(h crypto.Hash, publicKey, signed, signature []byte) bool {
	n, e := parseRSA(publicKey)
	if n == nil {
		return false
	}
	bits := n.BitLen()
	switch {
	case bits > maxRSA || bits < minRSA && !p.ShortRSA:
		return false
	case bits < minRSA || e.BitLen() > 31: // the standard library wants neither
		return checkPKCS1(h, n, e, digest(h, signed), signature)
	}
	return rsa.VerifyPKCS1v15(&rsa.PublicKey{N: n, E: int(e.Int64())}, h, digest(h, signed), signature) == nil
}

// parseRSA reads modulus and exponent in the form of RFC 3110 §2; nil if that is
// not what they are. Exponents up to 64 bits count: larger ones make checks slow and
// serve no purpose, but 2^32+1 was a choice of signing tools once.
func parseRSA(b []byte) (n, e *big.Int) {
	if len(b) < 3 {
		return nil, nil
	}
	length, b := int(b[0]), b[1:]
	if length == 0 {
		length, b = int(b[0])<<8|int(b[1]), b[2:]
	}
	if length == 0 || length > 8 || length >= len(b) {
		return nil, nil
	}
	n, e = new(big.Int).SetBytes(b[length:]), new(big.Int).SetBytes(b[:length])
	if e.BitLen() < 2 || e.Bit(0) == 0 || n.Bit(0) == 0 {
		return nil, nil
	}
	return n, e
}

// digestInfo is what stands before a digest in PKCS #1 v1.5 (RFC 8017 §9.2).
var digestInfo = map[crypto.Hash][]byte{
	crypto.SHA1:   {0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14},
	crypto.SHA256: {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20},
	crypto.SHA512: {0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40},
}

// checkPKCS1 is RFC 8017 §8.2.2, by making the one encoding that is right and
// comparing. Nothing here is secret.
func checkPKCS1(h crypto.Hash, n, e *big.Int, sum, signature []byte) bool {
	size := (n.BitLen() + 7) / 8
	tail := append(append([]byte{0}, digestInfo[h]...), sum...)
	s := new(big.Int).SetBytes(signature)
	if len(signature) != size || size < len(tail)+10 || s.Cmp(n) >= 0 {
		return false
	}
	want := append([]byte{0, 1}, bytes.Repeat([]byte{0xFF}, size-2-len(tail))...)
	return bytes.Equal(new(big.Int).Exp(s, e, n).FillBytes(make([]byte, size)), append(want, tail...))
}

// checkECDSA is RFC 6605 §4: the key is x | y, the signature r | s.
func checkECDSA(curve elliptic.Curve, h crypto.Hash, publicKey, signed, signature []byte) bool {
	size := curve.Params().BitSize / 8
	if len(publicKey) != 2*size || len(signature) != 2*size {
		return false
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, append([]byte{4}, publicKey...))
	if err != nil {
		return false
	}
	r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
	return ecdsa.Verify(key, digest(h, signed), r, s)
}
