package sign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/cloudflare/circl/sign/ed448"

	"pharos/internal/dns/dnssec"
)

const pemType = "PRIVATE KEY" // RFC 7468 §10

// ParsePEM reads a private key in PKCS #8, PEM, as Knot keeps it. algorithm 0 stands
// for the one that the kind of key suggests: of RSA, 8.
func ParsePEM(flags uint16, algorithm uint8, text []byte) (*Key, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemType || len(text) > maxPair {
		return nil, errors.New("no PEM block PRIVATE KEY; convert the key with: openssl pkcs8 -topk8 -nocrypt")
	}
	private, err := parsePKCS8(block.Bytes)
	if err != nil {
		return nil, err
	}
	if algorithm == 0 {
		algorithm = usual(private)
	}
	return NewKey(flags, algorithm, private)
}

// usual returns the algorithm that a kind of key suggests.
func usual(private crypto.Signer) uint8 {
	switch key := private.(type) {
	case *rsa.PrivateKey:
		return dnssec.RSASHA256
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P384() {
			return dnssec.ECDSAP384
		}
		return dnssec.ECDSAP256
	case ed25519.PrivateKey:
		return dnssec.Ed25519
	}
	return dnssec.Ed448
}

var oidEd448 = asn1.ObjectIdentifier{1, 3, 101, 113} // RFC 8410 §3

// parsePKCS8 is RFC 5958 §2; the standard library lacks Ed448.
func parsePKCS8(der []byte) (crypto.Signer, error) {
	var outer struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
		Public    asn1.RawValue `asn1:"optional"`
	}
	if _, err := asn1.Unmarshal(der, &outer); err == nil && outer.Algorithm.Algorithm.Equal(oidEd448) {
		var seed []byte
		if rest, err := asn1.Unmarshal(outer.Key, &seed); err != nil || len(rest) > 0 || len(seed) != ed448.SeedSize {
			return nil, errors.New("the Ed448 key in PKCS #8 is damaged; export it again")
		}
		return ed448.NewKeyFromSeed(seed), nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("the key in PKCS #8: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T signs nothing; give a key of RSA, ECDSA or EdDSA", key)
	}
	return signer, nil
}

// PEM returns the private key in PKCS #8.
func (k *Key) PEM() ([]byte, error) {
	der, err := k.pkcs8()
	if err != nil {
		return nil, fmt.Errorf("the private key of key %d cannot be written: %w", k.Tag(), err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil
}

func (k *Key) pkcs8() ([]byte, error) {
	key, ok := k.Signer.(ed448.PrivateKey)
	if !ok {
		return x509.MarshalPKCS8PrivateKey(k.Signer)
	}
	seed, err := asn1.Marshal(bytes.Clone(key.Seed()))
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}{0, pkix.AlgorithmIdentifier{Algorithm: oidEd448}, seed})
}
