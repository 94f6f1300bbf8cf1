package sign

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloudflare/circl/sign/ed448"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// Pair is a key as BIND, Knot and ldns keep it in two files: K<owner>+<algorithm>+<tag>.key
// has the DNSKEY record, .private the private key and when it is for what.
type Pair struct {
	*Key
	Owner dnsname.Name
	TTL   rdata.TTL // of the record; 0 if it has none
	// Times are the timing fields of .private by their names, such as Created,
	// Publish, Activate, Inactive, Delete, SyncPublish.
	Times map[string]time.Time
}

// FileName returns the name of the two files without extension.
func (p Pair) FileName() string {
	return fmt.Sprintf("K%s+%03d+%05d", p.Owner, p.Algorithm, p.Tag())
}

// maxPair is the octets that each file of a pair may have: 64 KiB, where a key of RSA
// with 4096 bits takes 4.
const maxPair = 64 << 10

const timeForm = "20060102150405" // as dnssec-keygen writes it

// ParsePair reads the two files of a pair. private may be nil: then the key is public only.
func ParsePair(public, private []byte) (Pair, error) {
	if len(public) > maxPair || len(private) > maxPair {
		return Pair{}, fmt.Errorf("a key file of more than %d octets; it is none", maxPair)
	}
	p, err := parsePublic(public)
	if err != nil || private == nil {
		return p, err
	}
	fields, err := parseFields(private)
	if err != nil {
		return Pair{}, err
	}
	signer, err := fields.signer(p.Algorithm)
	if err != nil {
		return Pair{}, err
	}
	k, err := NewKey(p.Flags, p.Algorithm, signer)
	if err != nil {
		return Pair{}, err
	}
	if !bytes.Equal(k.Public, p.Public) {
		return Pair{}, fmt.Errorf("the files .key and .private of key %d are not of one key; give both of one name", p.Tag())
	}
	p.Key, p.Times = k, fields.times()
	return p, nil
}

// parsePublic reads the first DNSKEY record of a .key file.
func parsePublic(text []byte) (Pair, error) {
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, ";")
		f := strings.Fields(line)
		at := slices.IndexFunc(f, func(s string) bool { return strings.EqualFold(s, "DNSKEY") })
		if at < 1 || at > 3 {
			continue
		}
		owner, err := dnsname.Parse(f[0])
		if err != nil {
			return Pair{}, fmt.Errorf("the DNSKEY record: %w", err)
		}
		p := Pair{Owner: owner}
		for _, s := range f[1:at] {
			if ttl, err := strconv.ParseUint(s, 10, 31); err == nil {
				p.TTL = rdata.TTL(ttl)
			} else if !strings.EqualFold(s, "IN") {
				return Pair{}, fmt.Errorf("%q in the DNSKEY record is neither TTL nor class; write owner, TTL, IN, DNSKEY", s)
			}
		}
		data, err := rdata.ParseText(rdata.TypeDNSKEY, dnsname.Root, strings.Join(f[at+1:], " "))
		if err != nil {
			return Pair{}, fmt.Errorf("the DNSKEY record: %w", err)
		}
		p.Key, err = NewPublicKey(data)
		return p, err
	}
	return Pair{}, errors.New("no DNSKEY record on one line; give the file that ends in .key")
}

// fields are the fields of a .private file, with their base64 as text.
type fields map[string]string

func parseFields(text []byte) (fields, error) {
	f := fields{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == ';' || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, errors.New("a line without a colon; give the file that ends in .private")
		}
		f[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if version := f["private-key-format"]; !strings.HasPrefix(version, "v1.") {
		return nil, fmt.Errorf("private key format %q; want v1.2 or v1.3", version)
	}
	return f, nil
}

func (f fields) octets(name string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(f[strings.ToLower(name)])
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("field %s of the private key is missing or no base64; the file is damaged, or the key lies in a hardware module", name)
	}
	return b, nil
}

// signer returns the private key of f, which must be of the algorithm.
func (f fields) signer(algorithm uint8) (crypto.Signer, error) {
	number, _, _ := strings.Cut(f["algorithm"], " ")
	if number != strconv.Itoa(int(algorithm)) {
		return nil, fmt.Errorf("the private key is of algorithm %q, the record of %d; give both files of one key", f["algorithm"], algorithm)
	}
	if algorithm == dnssec.RSASHA256 || algorithm == dnssec.RSASHA512 {
		return f.rsa()
	}
	b, err := f.octets("PrivateKey")
	if err != nil {
		return nil, err
	}
	switch algorithm {
	case dnssec.ECDSAP256, dnssec.ECDSAP384:
		curve := curves[algorithm]
		size := curve.Params().BitSize / 8
		if len(b) > size {
			return nil, fmt.Errorf("an ECDSA key of %d octets; want %d", len(b), size)
		}
		return ecdsa.ParseRawPrivateKey(curve, append(make([]byte, size-len(b)), b...)) // old BIND leaves zeros out
	case dnssec.Ed25519:
		if len(b) == ed25519.SeedSize {
			return ed25519.NewKeyFromSeed(b), nil
		}
	case dnssec.Ed448:
		if len(b) == ed448.SeedSize {
			return ed448.NewKeyFromSeed(b), nil
		}
	default:
		return nil, unsupported(algorithm)
	}
	return nil, fmt.Errorf("a private key of %d octets is none of algorithm %d", len(b), algorithm)
}

func (f fields) rsa() (crypto.Signer, error) {
	var n [5]*big.Int
	for i, name := range []string{"Modulus", "PublicExponent", "PrivateExponent", "Prime1", "Prime2"} {
		b, err := f.octets(name)
		if err != nil {
			return nil, err
		}
		if len(b) > maxRSA/8+1 {
			return nil, fmt.Errorf("field %s of the private key has %d octets; want at most %d", name, len(b), maxRSA/8)
		}
		n[i] = new(big.Int).SetBytes(b)
	}
	if !n[1].IsInt64() || n[1].BitLen() > 31 {
		return nil, errors.New("an RSA key with an exponent of more than 31 bits; make another key")
	}
	if bits := n[0].BitLen(); bits < minRSA || bits > maxRSA {
		return nil, fmt.Errorf("an RSA key of %d bits; want %d to %d", bits, minRSA, maxRSA)
	}
	key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n[0], E: int(n[1].Int64())}, D: n[2], Primes: n[3:5]}
	if err := key.Validate(); err != nil {
		return nil, fmt.Errorf("the RSA key: %w", err)
	}
	key.Precompute()
	return key, nil
}

// times returns the timing fields.
func (f fields) times() map[string]time.Time {
	out := map[string]time.Time{}
	for _, name := range []string{"Created", "Publish", "Activate", "Revoke", "Inactive", "Delete", "SyncPublish", "SyncDelete", "DSPublish", "DSRemoved"} {
		if t, err := time.Parse(timeForm, f[strings.ToLower(name)]); err == nil {
			out[name] = t
		}
	}
	return out
}

// Public returns the file .key.
func (p Pair) PublicFile() []byte {
	kind := "zone"
	if p.IsSEP() {
		kind = "key"
	}
	b := fmt.Appendf(nil, "; This is a %s-signing key, keyid %d, for %s\n%s ", kind, p.Tag(), p.Owner, p.Owner)
	if p.TTL != 0 {
		b = fmt.Appendf(b, "%d ", p.TTL)
	}
	b = append(b, "IN DNSKEY "...)
	return append(rdata.AppendText(b, rdata.TypeDNSKEY, p.RDATA()), '\n')
}

// PrivateFile returns the file .private, in format v1.3.
func (p Pair) PrivateFile() ([]byte, error) {
	b := fmt.Appendf(nil, "Private-key-format: v1.3\nAlgorithm: %d (%s)\n", p.Algorithm, names[p.Algorithm])
	field := func(name string, octets []byte) {
		b = fmt.Appendf(b, "%s: %s\n", name, base64.StdEncoding.EncodeToString(octets))
	}
	switch key := p.Signer.(type) {
	case *rsa.PrivateKey:
		key.Precompute()
		field("Modulus", key.N.Bytes())
		field("PublicExponent", big.NewInt(int64(key.E)).Bytes())
		field("PrivateExponent", key.D.Bytes())
		field("Prime1", key.Primes[0].Bytes())
		field("Prime2", key.Primes[1].Bytes())
		field("Exponent1", key.Precomputed.Dp.Bytes())
		field("Exponent2", key.Precomputed.Dq.Bytes())
		field("Coefficient", key.Precomputed.Qinv.Bytes())
	case *ecdsa.PrivateKey:
		octets, err := key.Bytes()
		if err != nil {
			return nil, err
		}
		field("PrivateKey", octets)
	case ed25519.PrivateKey:
		field("PrivateKey", key.Seed())
	case ed448.PrivateKey:
		field("PrivateKey", key.Seed())
	default:
		return nil, fmt.Errorf("the private key of key %d cannot be written: it is a %T", p.Tag(), p.Signer)
	}
	for _, name := range []string{"Created", "Publish", "Activate", "Revoke", "Inactive", "Delete", "SyncPublish", "SyncDelete", "DSPublish", "DSRemoved"} {
		if t, ok := p.Times[name]; ok {
			b = fmt.Appendf(b, "%s: %s\n", name, t.UTC().Format(timeForm))
		}
	}
	return b, nil
}
