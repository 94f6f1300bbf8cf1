package dnsserver

// Transport is how a query came.
type Transport uint8

// The transports.
const (
	UDP  Transport = iota
	TCP            // RFC 7766
	DoT            // DNS over TLS, RFC 7858
	DoH            // DNS over HTTPS, RFC 8484, on HTTP/2
	DoH3           // the same on HTTP/3
	DoQ            // DNS over QUIC, RFC 9250
	numTransports
)

var transportNames = [numTransports]string{"udp", "tcp", "dot", "doh", "doh3", "doq"}

// String returns the name of t in lower case, as metrics spell it.
func (t Transport) String() string { return transportNames[t] }

// Transports returns every Transport.
func Transports() []Transport {
	all := make([]Transport, numTransports)
	for t := range all {
		all[t] = Transport(t)
	}
	return all
}

// IsEncrypted reports whether nobody on the way can read what t carries.
func (t Transport) IsEncrypted() bool { return t >= DoT }

// IsStream reports whether t carries answers of several messages: zone transfers.
// A response of HTTP is one message (RFC 8484 §6).
func (t Transport) IsStream() bool { return t == TCP || t == DoT || t == DoQ }
