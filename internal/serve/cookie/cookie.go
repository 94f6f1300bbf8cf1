// Package cookie is DNS cookies: what tells a client that was here before from one
// that only wrote somebody else's address on a query.
//
// It owns the making and checking of server cookies. It does not own the option
// on the wire (package dnswire), nor what a good cookie is worth to a client.
//
//	server cookie: version 1 | reserved 0 (3) | timestamp u32 | hash (8)
//	hash: SipHash-2-4 of client cookie | version | reserved | timestamp | client address
//
// All servers with one secret accept each other's cookies, be they Pharos, BIND,
// Knot or NSD: that is what RFC 9018 is for.
//
// Entry points: Secret, Secret.Answer, ParseSecret; Secrets, while one is changed for
// another.
//
// Concurrency: a Secret is a value that does not change. Nothing here allocates,
// but ParseSecret.
//
// Sources: RFC 7873, RFC 9018.
package cookie

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
)

// Lengths of the option's parts in octets (RFC 7873 §4).
const (
	ClientLen = 8
	ServerLen = 16 // of those that RFC 9018 describes; others have 8 to 32
	Len       = ClientLen + ServerLen
)

// Secret is what a group of servers share (RFC 9018 §4.4).
type Secret [16]byte

// ErrSecret is a secret that is not 32 hexadecimal digits.
var ErrSecret = errors.New("a cookie secret is 32 hexadecimal digits (128 bits); make one with: openssl rand -hex 16")

// ParseSecret reads a secret as BIND, Knot and NSD have it in their configuration.
func ParseSecret(text string) (Secret, error) {
	var s Secret
	b, err := hex.DecodeString(text)
	if err != nil || copy(s[:], b) != len(s) || len(b) != len(s) {
		return Secret{}, ErrSecret
	}
	return s, nil
}

// Ages of a server cookie by its timestamp, in seconds (RFC 9018 §4.3).
const (
	maxAge    = 3600 // older ones are refused
	maxFuture = 300  // for servers whose clocks differ
	renewAge  = 1800 // older ones are good, but a new one is given
)

// Answer returns the cookie to answer a client's option with: client and server
// part. good reports whether the option had a server cookie that a server with
// this secret gave to this client within the last hour. The option must have a
// length that RFC 7873 §4 allows; now is in seconds since 1970, and may wrap.
func (s *Secret) Answer(option []byte, client netip.Addr, now uint32) (answer [Len]byte, good bool) {
	return (&Secrets{Current: *s}).Answer(option, client, now)
}

// Secrets are the secret that cookies are made with, and one whose cookies are good
// still: a group of servers cannot change secrets in one instant (RFC 9018 §5). That
// may be the one before, or, while not all have it, the next.
type Secrets struct {
	Current  Secret
	Other    Secret
	HasOther bool
}

// Answer is Secret.Answer. A cookie made with the other secret is good, and is
// answered with a new one.
func (s *Secrets) Answer(option []byte, client netip.Addr, now uint32) (answer [Len]byte, good bool) {
	copy(answer[:], option[:ClientLen])
	server := answer[ClientLen:]
	if len(option) == Len && option[ClientLen] == 1 {
		given := option[ClientLen:]
		var age int32
		if age, good = s.Current.verify(option, client, now); good && age <= renewAge {
			copy(server, given)
			return answer, true
		}
		if !good && s.HasOther {
			_, good = s.Other.verify(option, client, now)
		}
	}
	server[0] = 1
	binary.BigEndian.PutUint32(server[4:], now)
	binary.LittleEndian.PutUint64(server[8:], s.Current.hash(answer[:ClientLen+8], client))
	return answer, good
}

// verify reports whether an option of length Len has a server cookie of this secret
// that is not too old, and its age in seconds.
func (s *Secret) verify(option []byte, client netip.Addr, now uint32) (age int32, good bool) {
	given := option[ClientLen:]
	// The reserved octets are covered by the hash: what was sent is what must verify.
	hash := s.hash(option[:ClientLen+8], client)
	age = int32(now - binary.BigEndian.Uint32(given[4:])) // RFC 9018 §4.3: serial number arithmetic
	return age, hash == binary.LittleEndian.Uint64(given[8:]) && -maxFuture <= age && age <= maxAge
}

// hash returns the hash of a client cookie with the server cookie's first half
// behind it, and the client's address (RFC 9018 §4.4).
func (s *Secret) hash(half []byte, client netip.Addr) uint64 {
	var input [ClientLen + 8 + 16]byte
	n := copy(input[:], half)
	client = client.Unmap()
	if client.Is4() {
		a := client.As4()
		n += copy(input[n:], a[:])
	} else {
		a := client.As16()
		n += copy(input[n:], a[:])
	}
	return sipHash(s, input[:n])
}
