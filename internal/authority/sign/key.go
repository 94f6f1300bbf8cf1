package sign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/cloudflare/circl/sign/ed448"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
)

// Flags of DNSKEY records: a key of a zone, and one that DS records speak of (the
// flag SEP, RFC 4034 §2.1.1).
const (
	ZSK uint16 = 256
	KSK uint16 = 257 // also of a key that does both, a CSK
)

// Key is a DNSKEY (RFC 4034 §2) with its private half, if that is here.
type Key struct {
	Flags     uint16
	Algorithm uint8
	Public    []byte        // the public key as the RDATA has it
	Signer    crypto.Signer // nil: the private key is not here
}

// IsSEP reports whether k is a KSK or CSK by its flags.
func (k *Key) IsSEP() bool { return k.Flags&1 != 0 }

// RDATA returns the RDATA of the DNSKEY record.
func (k *Key) RDATA() []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 4+len(k.Public)), k.Flags)
	return append(append(b, 3, k.Algorithm), k.Public...)
}

// Tag returns the key tag (RFC 4034 appendix B).
func (k *Key) Tag() uint16 { return dnssec.KeyTag(k.RDATA()) }

// DS returns the RDATA of the DS record for k as a key of owner, which is also that
// of CDS (RFC 7344 §3.1).
func (k *Key) DS(owner dnsname.Name, digest uint8) ([]byte, error) {
	ds, ok := dnssec.MakeDS(owner, k.RDATA(), digest)
	if !ok {
		return nil, fmt.Errorf("digest type %d is not supported; use 2 (SHA-256) or 4 (SHA-384)", digest)
	}
	return ds.AppendRDATA(nil), nil
}

// NewPublicKey returns the key that DNSKEY RDATA is, without its private half.
func NewPublicKey(data []byte) (*Key, error) {
	k, ok := dnssec.ParseKey(data)
	if !ok || k.Protocol != 3 {
		return nil, errors.New("no DNSKEY record of protocol 3; copy the record as its provider publishes it")
	}
	return &Key{Flags: k.Flags, Algorithm: k.Algorithm, Public: k.PublicKey}, nil
}

// NewKey returns the key with a private half. Its algorithm must be one that the kind
// of key can have.
func NewKey(flags uint16, algorithm uint8, private crypto.Signer) (*Key, error) {
	public, err := encodePublic(algorithm, private.Public())
	if err != nil {
		return nil, err
	}
	return &Key{Flags: flags, Algorithm: algorithm, Public: public, Signer: private}, nil
}

// Sizes of RSA keys in bits: RFC 8624 §3.1 and NIST SP 800-131A want 2048; RFC 3110
// §2 ends at 4096.
const (
	minRSA     = 2048
	maxRSA     = 4096
	DefaultRSA = 2048
)

// Generate makes a new key from the operating system's random source. bits is for RSA
// only; 0 is DefaultRSA.
func Generate(flags uint16, algorithm uint8, bits int) (*Key, error) {
	var private crypto.Signer
	var err error
	switch algorithm {
	case dnssec.RSASHA256, dnssec.RSASHA512:
		if bits == 0 {
			bits = DefaultRSA
		}
		if bits < minRSA || bits > maxRSA {
			return nil, fmt.Errorf("RSA keys of %d bits; choose %d to %d", bits, minRSA, maxRSA)
		}
		private, err = rsa.GenerateKey(nil, bits)
	case dnssec.ECDSAP256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), nil)
	case dnssec.ECDSAP384:
		private, err = ecdsa.GenerateKey(elliptic.P384(), nil)
	case dnssec.Ed25519:
		_, private, err = ed25519.GenerateKey(nil)
	case dnssec.Ed448:
		_, private, err = ed448.GenerateKey(nil)
	default:
		return nil, unsupported(algorithm)
	}
	if err != nil {
		return nil, fmt.Errorf("generating a key of algorithm %d: %w", algorithm, err)
	}
	return NewKey(flags, algorithm, private)
}

func unsupported(algorithm uint8) error {
	return fmt.Errorf("algorithm %d is not signed with; choose 13 (ECDSA P-256), 14, 15 (Ed25519), 16 or 8 (RSA)", algorithm)
}

// names has the mnemonics of the algorithms (IANA registry).
var names = map[uint8]string{
	dnssec.RSASHA256: "RSASHA256", dnssec.RSASHA512: "RSASHA512", dnssec.ECDSAP256: "ECDSAP256SHA256",
	dnssec.ECDSAP384: "ECDSAP384SHA384", dnssec.Ed25519: "ED25519", dnssec.Ed448: "ED448",
}

// AlgorithmName returns the mnemonic of an algorithm that is signed with, or "".
func AlgorithmName(algorithm uint8) string { return names[algorithm] }

// encodePublic returns a public key in the form of DNSKEY RDATA: RFC 3110 §2, RFC 6605 §4,
// RFC 8080 §3.
func encodePublic(algorithm uint8, public crypto.PublicKey) ([]byte, error) {
	mismatch := fmt.Errorf("a %T is no key of algorithm %d; name the algorithm that it was made for", public, algorithm)
	switch key := public.(type) {
	case *rsa.PublicKey:
		if algorithm != dnssec.RSASHA256 && algorithm != dnssec.RSASHA512 {
			return nil, mismatch
		}
		if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
			return nil, fmt.Errorf("an RSA key of %d bits; want %d to %d", bits, minRSA, maxRSA)
		}
		exponent := big.NewInt(int64(key.E)).Bytes()
		return append(append([]byte{byte(len(exponent))}, exponent...), key.N.Bytes()...), nil
	case *ecdsa.PublicKey:
		if algorithm != dnssec.ECDSAP256 && algorithm != dnssec.ECDSAP384 || curves[algorithm] != key.Curve {
			return nil, mismatch
		}
		point, err := key.Bytes()
		if err != nil {
			return nil, err
		}
		return point[1:], nil // without the 4 that says "uncompressed"
	case ed25519.PublicKey:
		if algorithm != dnssec.Ed25519 {
			return nil, mismatch
		}
		return key, nil
	case ed448.PublicKey:
		if algorithm != dnssec.Ed448 {
			return nil, mismatch
		}
		return key, nil
	}
	return nil, mismatch
}

var curves = map[uint8]elliptic.Curve{dnssec.ECDSAP256: elliptic.P256(), dnssec.ECDSAP384: elliptic.P384()}

var hashes = map[uint8]crypto.Hash{
	dnssec.RSASHA256: crypto.SHA256, dnssec.RSASHA512: crypto.SHA512, dnssec.ECDSAP256: crypto.SHA256, dnssec.ECDSAP384: crypto.SHA384,
}

// sign returns the signature of octets in the form of RRSIG RDATA.
func (k *Key) sign(octets []byte) ([]byte, error) {
	if k.Signer == nil {
		return nil, fmt.Errorf("the private key of key %d is not here; import it", k.Tag())
	}
	switch k.Algorithm {
	case dnssec.Ed25519, dnssec.Ed448:
		return k.Signer.Sign(nil, octets, crypto.Hash(0))
	case dnssec.RSASHA256, dnssec.RSASHA512, dnssec.ECDSAP256, dnssec.ECDSAP384:
	default:
		return nil, unsupported(k.Algorithm)
	}
	h := hashes[k.Algorithm]
	d := h.New()
	d.Write(octets)
	// No random source: PKCS #1 v1.5 needs none, and ECDSA is then that of RFC 6979.
	signature, err := k.Signer.Sign(nil, d.Sum(nil), h)
	if err != nil {
		return nil, err
	}
	if curve, ok := curves[k.Algorithm]; ok {
		return fixed(signature, curve.Params().BitSize/8)
	}
	return signature, nil
}

var errDER = errors.New("the private key made no ECDSA signature in DER")

// fixed turns an ECDSA signature from DER (SEQUENCE of two INTEGERs, each shorter
// than 128 octets) into r | s of size octets each (RFC 6605 §4).
func fixed(der []byte, size int) ([]byte, error) {
	if len(der) < 2 || der[0] != 0x30 || int(der[1]) != len(der)-2 || der[1] > 127 {
		return nil, errDER
	}
	der = der[2:]
	out := make([]byte, 2*size)
	for i := range 2 {
		if len(der) < 2 || der[0] != 0x02 || int(der[1]) > len(der)-2 {
			return nil, errDER
		}
		n := der[2 : 2+int(der[1])]
		der = der[2+len(n):]
		for len(n) > size && n[0] == 0 {
			n = n[1:]
		}
		if len(n) > size {
			return nil, errDER
		}
		copy(out[size*(i+1)-len(n):], n)
	}
	return out, nil
}
