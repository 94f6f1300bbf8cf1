package iterate

import (
	"net/netip"
	"time"
)

// Transport is how a server is asked.
type Transport uint8

// The transports.
const (
	Do53 Transport = iota // UDP, and TCP for what it is too small or too unsafe for
	DoT                   // RFC 7858
	DoH                   // RFC 8484
	DoQ                   // RFC 9250
)

// String returns the name of t as RFC 9499 has it.
func (t Transport) String() string { return [...]string{"Do53", "DoT", "DoH", "DoQ"}[t] }

// Server is a server as it is asked. What is known of one way to ask it says
// nothing about another: it is another Server.
type Server struct {
	netip.AddrPort
	Over Transport
	// Peer tells whoever carries messages how to know the server, if they are
	// encrypted. To the machine it is only a number.
	Peer int
}

// plainServer returns the server at addr that is asked without encryption.
func plainServer(addr netip.AddrPort) Server { return Server{AddrPort: addr} }

// isEncrypted reports whether nobody else sees what the server is asked, nor can
// forge its replies.
func (s Server) isEncrypted() bool { return s.Over != Do53 }

// Times of encrypted exchanges: each may have to begin with a new connection, which
// costs two or three round trips more and the other side's arithmetic.
const (
	encryptedFirst = 1500 * time.Millisecond // of a server never heard of
	encryptedMin   = time.Second
)

// timeout returns how long to wait for a reply of s, of which h is known, to the given
// try (from 0).
func (s Server) timeout(h *host, try int) time.Duration {
	if !s.isEncrypted() {
		return h.timeout(try)
	}
	if h == nil || h.srtt == 0 {
		return min(encryptedFirst<<min(try, 4), maxTimeout)
	}
	return min(max(encryptedMin, 4*h.timeout(try)), maxTimeout)
}

// paddingBlock is what the length of encrypted queries is a multiple of, so that it
// tells little of the name: RFC 8467 §4.1.
const paddingBlock = 128

// isStream reports whether what comes back can only be from the server itself, and
// once: over TCP, or encrypted.
func (x *exchange) isStream() bool { return x.tcp || x.to.isEncrypted() }

// padding returns what the length of x's query is made a multiple of.
func (x *exchange) padding() int {
	if x.to.isEncrypted() {
		return paddingBlock
	}
	return 0
}
