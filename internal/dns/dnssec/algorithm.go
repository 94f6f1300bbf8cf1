package dnssec

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha1" // makes crypto.SHA1 available, for Policy.SHA1 and NSEC3
	_ "crypto/sha256"
	_ "crypto/sha512"
	"math/big"
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
)

// Digest types of DS records (IANA "DS RR Type Digest Algorithms").
const (
	DigestSHA1   = 1
	DigestSHA256 = 2
	DigestSHA384 = 4
)

// Policy says which algorithms count. The zero Policy is the one for the Internet:
// 8, 10, 13, 14 and 15. A zone signed with others only is insecure (RFC 4035 §5.2), as
// if it was not signed: so are 5 and 7, because SHA-1 collides (RFC 9905 lets a
// validator treat them so), and 16, which the standard library lacks.
type Policy struct {
	// SHA1 lets algorithms 5 and 7 count.
	SHA1 bool
	// ShortRSA lets RSA keys below 1024 bits count, if the standard library does.
	ShortRSA bool
	// Extra checks signatures of further algorithms: supported is false for those
	// that it does not know. nil: there are none. For laboratories.
	Extra func(algorithm uint8, key, signed, signature []byte) (supported, ok bool)
}

// Supports reports whether signatures of an algorithm can be checked.
func (p Policy) Supports(algorithm uint8) bool {
	switch algorithm {
	case RSASHA256, RSASHA512, ECDSAP256, ECDSAP384, Ed25519:
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

// check reports whether signature is key's for the octets signed.
func (p Policy) check(key Key, signed, signature []byte) bool {
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

// Bounds of RSA keys, in bits: RFC 8301-like floor, and RFC 3110 §2's ceiling, with
// which one check stays below 0.2 ms.
const (
	minRSA = 1024
	maxRSA = 4096
)

// checkRSA is RFC 5702 §3 and RFC 3110 §3: PKCS #1 v1.5.
func (p Policy) checkRSA(h crypto.Hash, publicKey, signed, signature []byte) bool {
	key := parseRSA(publicKey)
	if key == nil {
		return false
	}
	if bits := key.N.BitLen(); bits > maxRSA || bits < minRSA && !p.ShortRSA {
		return false
	}
	return rsa.VerifyPKCS1v15(key, h, digest(h, signed), signature) == nil
}

// parseRSA reads a public key in the form of RFC 3110 §2; nil if it is none. An
// exponent above 31 bits is refused: it makes checks slow and serves no purpose.
func parseRSA(b []byte) *rsa.PublicKey {
	if len(b) < 3 {
		return nil
	}
	length, b := int(b[0]), b[1:]
	if length == 0 {
		length, b = int(b[0])<<8|int(b[1]), b[2:]
	}
	if length == 0 || length > 4 || length >= len(b) {
		return nil
	}
	exponent := 0
	for _, octet := range b[:length] {
		exponent = exponent<<8 | int(octet)
	}
	if exponent < 2 || exponent > 1<<31-1 {
		return nil
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(b[length:]), E: exponent}
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
