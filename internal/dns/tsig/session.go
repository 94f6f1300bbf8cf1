package tsig

import (
	"crypto/hmac"
	"encoding/binary"
	"hash"
	"time"

	"pharos/internal/dns/dnsname"
)

// Session is one exchange: a request and all messages of its response.
type Session struct {
	key      *Key // nil after BadKey and BadSig: then nothing is signed
	name     dnsname.Name
	algName  dnsname.Name
	last     []byte         // the MAC before, which the next message continues
	times    [timesLen]byte // of the request, for BadTime
	code     Code
	other    []byte
	started  bool      // the first message of the response is done
	digest   hash.Hash // client: over the messages since the last signed one; nil when there are none
	unsigned int       // client: how many those are
}

// Verify checks the signature of a request. The Session signs the response, also
// when the error is a *Refusal: RFC 8945 §5.2 says how each is signed. It is nil
// for ErrMalformed (answer FORMERR) and ErrUnsigned. find returns the key of a
// name, or nil.
func Verify(msg []byte, keyOf func(dnsname.Name) *Key, now time.Time) (*Session, error) {
	r, err := find(msg)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, ErrUnsigned
	}
	s := &Session{name: r.key, algName: r.algorithm, times: r.times}
	key := keyOf(r.key)
	if key == nil || algorithms[key.Algorithm].wire != r.algorithm {
		return s, s.refuse(BadKey, 0) // RFC 8945 §5.2.1
	}
	if len(r.mac) > key.size() || len(r.mac) < shortestMAC(key.size()) {
		return nil, ErrMalformed // RFC 8945 §5.2.2.1
	}
	mac := key.mac()
	writeMessage(mac, msg, r)
	writeVariables(mac, r)
	if !hmac.Equal(mac.Sum(nil)[:len(r.mac)], r.mac) {
		return s, s.refuse(BadSig, 0)
	}
	s.key, s.last = key, append([]byte(nil), r.mac...) // the response may be made in the request's memory
	if skew := r.signed().Sub(now); skew.Abs() > r.fudge() {
		// RFC 8945 §5.2.3: signed, with the server's time.
		s.other = binary.BigEndian.AppendUint64(nil, uint64(now.Unix())&unixBits)[2:]
		return s, s.refuse(BadTime, skew)
	}
	if len(r.mac) < key.leastMAC() {
		return s, s.refuse(BadTrunc, 0)
	}
	return s, nil
}

func (s *Session) refuse(code Code, skew time.Duration) error {
	s.code = code
	return &Refusal{Code: code, Key: s.name, Skew: skew}
}

// Key returns the name of the key of the exchange.
func (s *Session) Key() dnsname.Name { return s.name }

// MAC returns the MAC of the last message that was signed or verified: after Verify
// that of the request, by which it is known again.
func (s *Session) MAC() []byte { return s.last }

// Fudge returns for how long before and after its time the request's signature holds,
// which is for who signed it to choose.
func (s *Session) Fudge() time.Duration {
	return time.Duration(binary.BigEndian.Uint16(s.times[6:])) * time.Second
}

// Overhead returns how many octets Sign adds to a message.
func (s *Session) Overhead() int {
	size := s.name.Len() + 10 + s.algName.Len() + timesLen + 8 + len(s.other)
	if s.key != nil {
		size += s.key.size()
	}
	return size
}

// Sign appends the signature to a message of the response. Messages are signed in
// the order in which they are sent.
func (s *Session) Sign(msg []byte, now time.Time) []byte {
	r := &record{
		at: len(msg), key: s.name, algorithm: s.algName, times: timesOf(now),
		id: binary.BigEndian.Uint16(msg), code: s.code, other: s.other,
	}
	if s.code == BadTime {
		r.times = s.times // RFC 8945 §5.2.3: as in the request
	}
	if s.key == nil {
		return r.append(msg) // RFC 8945 §5.3.2: unsigned
	}
	mac := s.key.mac()
	writeMAC(mac, s.last)
	writeMessage(mac, msg, r)
	if s.started {
		mac.Write(r.times[:]) // RFC 8945 §5.3.1
	} else {
		writeVariables(mac, r)
	}
	s.started = true
	r.mac = mac.Sum(nil)
	s.last = r.mac
	return r.append(msg)
}

// Open signs a request with key. The Session checks the response.
func Open(msg []byte, key *Key, now time.Time) ([]byte, *Session) {
	s := &Session{key: key, name: key.Name, algName: algorithms[key.Algorithm].wire}
	r := &record{at: len(msg), key: s.name, algorithm: s.algName, times: timesOf(now), id: binary.BigEndian.Uint16(msg)}
	mac := key.mac()
	writeMessage(mac, msg, r)
	writeVariables(mac, r)
	r.mac = mac.Sum(nil)
	s.last = r.mac
	return r.append(msg), s
}

// Check verifies a message of the response and returns it without its TSIG
// record, in the same memory. The first one must be signed, later ones of a
// stream may leave it out now and then; Complete says whether the last was. A
// *Refusal with Peer set is what the other side says; if it could not sign that,
// anybody may have said it.
func (s *Session) Check(msg []byte, now time.Time) ([]byte, error) {
	r, err := find(msg)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return msg, s.passUnsigned(msg)
	}
	if r.key != s.name || r.algorithm != s.algName {
		return nil, &Refusal{Code: BadKey, Key: s.name}
	}
	if len(r.mac) == 0 && (r.code == BadKey || r.code == BadSig) {
		return nil, &Refusal{Code: r.code, Key: s.name, Peer: true}
	}
	if len(r.mac) > s.key.size() || len(r.mac) < shortestMAC(s.key.size()) {
		return nil, ErrMalformed
	}
	mac := s.running()
	writeMessage(mac, msg, r)
	if s.started {
		mac.Write(r.times[:])
	} else {
		writeVariables(mac, r)
	}
	if !hmac.Equal(mac.Sum(nil)[:len(r.mac)], r.mac) {
		return nil, &Refusal{Code: BadSig, Key: s.name}
	}
	if r.code != NoError {
		refusal := &Refusal{Code: r.code, Key: s.name, Peer: true}
		if len(r.other) == 6 {
			theirs := int64(binary.BigEndian.Uint64(append([]byte{0, 0}, r.other...)))
			refusal.Skew = time.Unix(theirs, 0).Sub(now)
		}
		return nil, refusal
	}
	if skew := r.signed().Sub(now); skew.Abs() > r.fudge() {
		return nil, &Refusal{Code: BadTime, Key: s.name, Skew: skew}
	}
	if len(r.mac) < s.key.leastMAC() {
		return nil, &Refusal{Code: BadTrunc, Key: s.name}
	}
	s.started, s.last, s.digest, s.unsigned = true, append([]byte(nil), r.mac...), nil, 0
	binary.BigEndian.PutUint16(msg[10:], binary.BigEndian.Uint16(msg[10:])-1)
	return msg[:r.at], nil
}

// running returns the digest that the next signed message continues.
func (s *Session) running() hash.Hash {
	if s.digest == nil {
		s.digest = s.key.mac()
		writeMAC(s.digest, s.last)
	}
	return s.digest
}

// passUnsigned takes a message without signature into the running digest.
func (s *Session) passUnsigned(msg []byte) error {
	if !s.started { // RFC 8945 §5.3.1: the first one must have one
		return ErrUnsigned
	}
	if s.unsigned++; s.unsigned > maxUnsigned {
		return ErrStream
	}
	s.running().Write(msg)
	return nil
}

// Complete returns nil if the last message checked was signed, which the last one
// of a stream must be (RFC 8945 §5.3.1).
func (s *Session) Complete() error {
	if !s.started || s.unsigned > 0 {
		return ErrUnsigned
	}
	return nil
}

// writeMAC digests the MAC of the message before (RFC 8945 §4.3.1).
func writeMAC(h hash.Hash, mac []byte) {
	h.Write([]byte{byte(len(mac) >> 8), byte(len(mac))})
	h.Write(mac)
}

// writeMessage digests msg as it was before r was added: with the original id and
// without r in the count (RFC 8945 §4.3.2).
func writeMessage(h hash.Hash, msg []byte, r *record) {
	var header [headerLen]byte
	copy(header[:], msg)
	binary.BigEndian.PutUint16(header[:], r.id)
	if r.at < len(msg) {
		binary.BigEndian.PutUint16(header[10:], binary.BigEndian.Uint16(header[10:])-1)
	}
	h.Write(header[:])
	h.Write(msg[headerLen:r.at])
}

// writeVariables digests the fields of r (RFC 8945 §4.3.3).
func writeVariables(h hash.Hash, r *record) {
	h.Write([]byte(r.key.Wire()))
	h.Write([]byte{0, 255, 0, 0, 0, 0}) // class ANY, TTL 0
	h.Write([]byte(r.algorithm.Wire()))
	h.Write(r.times[:])
	h.Write([]byte{byte(r.code >> 8), byte(r.code), byte(len(r.other) >> 8), byte(len(r.other))})
	h.Write(r.other)
}
