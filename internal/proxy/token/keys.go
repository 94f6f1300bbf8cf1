package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// Keys are the keys of an issuer.
type Keys struct{ list []*Key }

// Key is one key.
type Key struct {
	id        string
	algorithm string // the only one that it is for; empty: all of its kind
	kind      string // as in Algorithms
	public    any    // what package jwt verifies with
}

// Limits of sets of keys.
const (
	maxKeys = 100 // arbitrary; issuers have two or three
	// leastRSA is the shortest RSA key in bits (RFC 7518 §3.3).
	leastRSA = 2048
	mostRSA  = 8192 // more only costs time
	// leastSecret is the shortest secret in octets: that of the hash (RFC 7518 §3.2).
	leastSecret = 32
)

// Len returns how many there are.
func (k *Keys) Len() int {
	if k == nil {
		return 0
	}
	return len(k.list)
}

// jwk is a key as RFC 7517 writes it.
type jwk struct {
	Kty, Kid, Use, Alg, Crv string
	N, E, X, Y, K           string
	KeyOps                  []string `json:"key_ops"`
}

// ParseKeys reads a JWK set. Keys that are for something else, or of kinds that nobody here
// can use, are passed over; secrets too, unless they are wanted: a set that anybody can fetch
// has none.
func ParseKeys(text []byte, secrets bool) (*Keys, error) {
	var set struct{ Keys []jwk }
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("no JWK set (RFC 7517 §5): %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%d keys, more than %d", len(set.Keys), maxKeys)
	}
	out := &Keys{}
	var problems []error
	for i := range set.Keys {
		j := &set.Keys[i]
		if j.Use != "" && j.Use != "sig" || len(j.KeyOps) > 0 && !slices.Contains(j.KeyOps, "verify") || j.Kty == "oct" && !secrets {
			continue
		}
		k, err := j.key()
		if err != nil {
			problems = append(problems, fmt.Errorf("key %d (kid %q): %w", i+1, j.Kid, err))
			continue
		}
		if k.algorithm != "" && Algorithms[k.algorithm] != k.kind {
			continue // for something that is not verified here
		}
		out.list = append(out.list, k)
	}
	if len(out.list) == 0 {
		return nil, errors.Join(append([]error{errors.New("no key of the set can verify a token")}, problems...)...)
	}
	return out, nil
}

func (j *jwk) key() (*Key, error) {
	k := &Key{id: j.Kid, algorithm: j.Alg}
	var err error
	switch j.Kty {
	case "RSA":
		k.kind = "RSA"
		k.public, err = j.rsa()
	case "EC":
		k.kind = j.Crv
		k.public, err = j.ec()
	case "OKP":
		k.kind = j.Crv
		x, bad := base64.RawURLEncoding.DecodeString(j.X)
		if bad != nil || j.Crv != "Ed25519" || len(x) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("no key of Ed25519")
		}
		k.public = ed25519.PublicKey(x)
	case "oct":
		k.kind = "oct"
		secret, bad := base64.RawURLEncoding.DecodeString(j.K)
		if bad != nil || len(secret) < leastSecret {
			return nil, fmt.Errorf("a secret of less than %d octets", leastSecret)
		}
		k.public = secret
	default:
		return nil, fmt.Errorf("of kind %q", j.Kty)
	}
	return k, err
}

func (j *jwk) rsa() (*rsa.PublicKey, error) {
	n, err := number(j.N)
	if err != nil {
		return nil, err
	}
	e, err := number(j.E)
	if err != nil || !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 || e.Bit(0) == 0 {
		return nil, fmt.Errorf("an exponent that no key has")
	}
	if bits := n.BitLen(); bits < leastRSA || bits > mostRSA {
		return nil, fmt.Errorf("%d bits; want %d to %d", bits, leastRSA, mostRSA)
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

func (j *jwk) ec() (*ecdsa.PublicKey, error) {
	curves := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
	curve := curves[j.Crv]
	if curve == nil {
		return nil, fmt.Errorf("on curve %q", j.Crv)
	}
	size := (curve.Params().BitSize + 7) / 8
	x, errX := base64.RawURLEncoding.DecodeString(j.X)
	y, errY := base64.RawURLEncoding.DecodeString(j.Y)
	if errX != nil || errY != nil || len(x) != size || len(y) != size {
		return nil, fmt.Errorf("a point of another size than %s has", j.Crv)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, x...), y...)) // checks that it is on the curve
	if err != nil {
		return nil, fmt.Errorf("a point that is not on %s", j.Crv)
	}
	return public, nil
}

func number(text string) (*big.Int, error) {
	octets, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(octets) == 0 {
		return nil, fmt.Errorf("a number that is not in base64url")
	}
	return new(big.Int).SetBytes(octets), nil
}

// forToken returns the keys that may have signed a token with that header.
func (k *Keys) forToken(header map[string]any, algorithms []string) ([]*Key, error) {
	algorithm, _ := header["alg"].(string)
	if !slices.Contains(algorithms, algorithm) {
		return nil, fmt.Errorf("the token is signed by an algorithm that is not taken")
	}
	if _, has := header["crit"]; has { // RFC 7515 §4.1.11
		return nil, errors.New("the token has extensions that are not understood")
	}
	id, named := header["kid"].(string)
	var out []*Key
	known := false
	for _, key := range k.list {
		if named && key.id != id {
			continue
		}
		known = true
		if key.kind == Algorithms[algorithm] && (key.algorithm == "" || key.algorithm == algorithm) {
			out = append(out, key)
		}
	}
	switch {
	case !known:
		return nil, ErrUnknownKey
	case len(out) == 0:
		return nil, errors.New("the token is signed by an algorithm that its key is not for")
	}
	return out, nil
}
