// Package tsig signs and verifies messages with a secret that two parties share
// (RFC 8945): requests, their responses, and the many messages of a transfer.
//
//	key name | ANY 0 TTL | algorithm | time u48 | fudge u16 | MAC | original id | error | other
//
// It owns the TSIG record, what the MAC is computed over, and the order of the
// checks. It does not own which key may do what (the caller's access list), the
// rest of the message (package dnswire), nor the clock: time is an argument.
//
//	server  Verify(request) -> Session; Session.Sign(each response message)
//	client  Open(request) -> Session; Session.Check(each response message), then Session.Complete
//
// Entry points: Verify, Open, Session, Key, ParseAlgorithm.
//
// Concurrency: a Session belongs to one exchange and one goroutine at a time; a
// Key is never changed and may be shared.
//
// Sources: RFC 8945, RFC 4635 (algorithm names), RFC 2104.
package tsig

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"strings"
	"time"

	"pharos/internal/dns/dnsname"
)

// Fudge is how far two clocks may be apart. RFC 8945 §10 recommends it.
const Fudge = 300 * time.Second

// maxUnsigned is how many messages of a stream may come between two that are
// signed. RFC 8945 §5.3.1: "up to 99 intermediary messages".
const maxUnsigned = 99

// Algorithm is a MAC algorithm. The zero Algorithm is none.
type Algorithm uint8

// The algorithms of RFC 8945 §6 that are still in use; HMAC-MD5 is not.
const (
	HMACSHA1 Algorithm = iota + 1
	HMACSHA224
	HMACSHA256
	HMACSHA384
	HMACSHA512
)

// algorithms has each Algorithm's name and hash.
var algorithms = [...]struct {
	name string
	wire dnsname.Name
	hash func() hash.Hash
	size int // octets of a full MAC
}{
	HMACSHA1:   {"hmac-sha1", dnsname.MustParse("hmac-sha1."), sha1.New, sha1.Size},
	HMACSHA224: {"hmac-sha224", dnsname.MustParse("hmac-sha224."), sha256.New224, sha256.Size224},
	HMACSHA256: {"hmac-sha256", dnsname.MustParse("hmac-sha256."), sha256.New, sha256.Size},
	HMACSHA384: {"hmac-sha384", dnsname.MustParse("hmac-sha384."), sha512.New384, sha512.Size384},
	HMACSHA512: {"hmac-sha512", dnsname.MustParse("hmac-sha512."), sha512.New, sha512.Size},
}

// String returns the algorithm's name without the final dot.
func (a Algorithm) String() string {
	if a == 0 || int(a) >= len(algorithms) {
		return "none"
	}
	return algorithms[a].name
}

// ParseAlgorithm reads an algorithm's name, in any case.
func ParseAlgorithm(s string) (Algorithm, error) {
	for a := HMACSHA1; int(a) < len(algorithms); a++ {
		if strings.EqualFold(strings.TrimSuffix(s, "."), algorithms[a].name) {
			return a, nil
		}
	}
	return 0, fmt.Errorf("%.40q is no TSIG algorithm: want hmac-sha1, hmac-sha224, hmac-sha256, hmac-sha384 or hmac-sha512", s)
}

// Key is a secret that two parties share, under a name.
type Key struct {
	Name      dnsname.Name
	Algorithm Algorithm
	Secret    []byte
	// MinMAC is how many octets of MAC are asked for at the least: 0 asks for a
	// whole one. RFC 8945 §5.2.2.1 sets a floor under it.
	MinMAC int
}

func (k *Key) size() int { return algorithms[k.Algorithm].size }

func (k *Key) mac() hash.Hash { return hmac.New(algorithms[k.Algorithm].hash, k.Secret) }

// leastMAC returns how many octets of MAC the key's owner asks for.
func (k *Key) leastMAC() int {
	if k.MinMAC == 0 {
		return k.size()
	}
	return max(k.MinMAC, shortestMAC(k.size()))
}

// shortestMAC is the floor of RFC 8945 §5.2.2.1: half of the hash, and 10 octets.
func shortestMAC(size int) int { return max(10, (size+1)/2) }

// Code is an extended RCODE in the record's field ERROR (RFC 8945 §3).
type Code uint16

// The codes.
const (
	NoError  Code = 0
	BadSig   Code = 16
	BadKey   Code = 17
	BadTime  Code = 18
	BadTrunc Code = 22
)

// String returns the mnemonic of c, or TSIG error n.
func (c Code) String() string {
	switch c {
	case NoError:
		return "NOERROR"
	case BadSig:
		return "BADSIG"
	case BadKey:
		return "BADKEY"
	case BadTime:
		return "BADTIME"
	case BadTrunc:
		return "BADTRUNC"
	}
	return fmt.Sprintf("TSIG error %d", uint16(c))
}

// Refusal is why a signature does not hold.
type Refusal struct {
	Code Code
	Key  dnsname.Name
	Peer bool // the other side says so, about what we signed
	// Skew is by how much the other's clock is ahead of ours, of BadTime.
	Skew time.Duration
}

// Error says who refused what, and what to look at.
func (r *Refusal) Error() string {
	who := "we refuse the signature"
	if r.Peer {
		who = "the other side refuses our signature"
	}
	remedy := map[Code]string{
		BadSig:   "the secrets of the two sides differ, or the message was changed on its way",
		BadKey:   "the two sides do not have the same key name and algorithm",
		BadTime:  fmt.Sprintf("its clock is %v ahead of ours: set both by NTP, or the message is a replay", r.Skew.Round(time.Second)),
		BadTrunc: "the signature is shorter than is asked for",
	}[r.Code]
	return fmt.Sprintf("TSIG %s, key %s: %s; %s", r.Code, r.Key, who, remedy)
}
