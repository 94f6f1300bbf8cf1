// Package proxyheader reads the header with which a proxy says whom it speaks for:
// the PROXY protocol. Version 2:
//
//	 0                    12     13      14    16
//	+--------------------+------+-------+------+-----------+-------------------
//	| signature          | 2|c  | f|t   | len  | addresses | TLVs, passed over
//	+--------------------+------+-------+------+-----------+-------------------
//	c 0 LOCAL, 1 PROXY    f 1 IPv4, 2 IPv6, 3 UNIX    t 1 stream, 2 datagram
//	addresses: source, destination, source port, destination port
//
// On a connection it stands once, before everything else; of datagrams each has
// one. Version 1 is a line of text, for connections only:
//
//	PROXY TCP4 192.0.2.7 198.51.100.1 5300 80\r\n
//
// It owns the format. Whose header is believed is decided by the caller:
// anybody can write one.
//
// Entry points: Parse for a datagram, Read for a connection, ReadAny for one that may
// have either version; Append, AppendText; Is.
//
// Source: "The PROXY protocol, versions 1 & 2", HAProxy, 2020-03-05, §2.1, §2.2.
package proxyheader

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
)

// signature begins every header. As a DNS message it would be an inverse query,
// as the length of one 3,338 octets, as TLS nothing.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

const (
	fixedLen = 16 // octets up to the addresses

	// maxRest bounds addresses and TLVs in octets. The largest that proxies send
	// have a certificate's names; arbitrary. Beyond it the header is refused.
	maxRest = 2048
)

// Errors of Parse and Read.
var (
	ErrNone      = errors.New("proxy header: there is none, and this address is trusted to send one")
	ErrMalformed = errors.New("proxy header: malformed")
	ErrTooLong   = errors.New("proxy header: longer than 2048 octets")
)

// Header is what a proxy says.
type Header struct {
	// Client and Local are the two ends of what the proxy has accepted. Both are
	// the zero value when the proxy speaks for itself, as for a check of its own.
	Client, Local netip.AddrPort
}

// Is reports whether b begins with the signature of a header.
func Is(b []byte) bool { return len(b) >= len(signature) && string(b[:len(signature)]) == signature }

// Parse reads the header that a datagram begins with, and returns how many octets
// it has. It allocates nothing.
func Parse(b []byte) (h Header, length int, err error) {
	if !Is(b) {
		return Header{}, 0, ErrNone
	}
	if len(b) < fixedLen {
		return Header{}, 0, ErrMalformed
	}
	rest := int(binary.BigEndian.Uint16(b[14:]))
	if rest > maxRest {
		return Header{}, 0, ErrTooLong
	}
	length = fixedLen + rest
	if len(b) < length {
		return Header{}, 0, ErrMalformed
	}
	h, ok := parse(b[12], b[13], b[fixedLen:length])
	if !ok {
		return Header{}, 0, ErrMalformed
	}
	return h, length, nil
}

// Read reads the header of version 2 that a connection begins with, and nothing after it.
func Read(r io.Reader) (Header, error) {
	var fixed [fixedLen]byte
	if _, err := io.ReadFull(r, fixed[:len(signature)]); err != nil {
		return Header{}, err
	}
	return readRest(r, &fixed)
}

// ReadAny reads the header of either version that a connection begins with, and nothing
// after it.
func ReadAny(r io.Reader) (Header, error) {
	var fixed [fixedLen]byte // as long as the shortest line, but for two octets
	if _, err := io.ReadFull(r, fixed[:len(signature)]); err != nil {
		return Header{}, err
	}
	if string(fixed[:len(textStart)]) == textStart {
		return readText(r, fixed[:len(signature)])
	}
	return readRest(r, &fixed)
}

// readRest reads what follows the signature.
func readRest(r io.Reader, fixed *[fixedLen]byte) (Header, error) {
	if !Is(fixed[:]) {
		return Header{}, ErrNone
	}
	if _, err := io.ReadFull(r, fixed[len(signature):]); err != nil {
		return Header{}, err
	}
	rest := int(binary.BigEndian.Uint16(fixed[14:]))
	if rest > maxRest {
		return Header{}, ErrTooLong
	}
	body := make([]byte, rest)
	if _, err := io.ReadFull(r, body); err != nil {
		return Header{}, err
	}
	h, ok := parse(fixed[12], fixed[13], body)
	if !ok {
		return Header{}, ErrMalformed
	}
	return h, nil
}

// parse reads what follows the signature.
func parse(versionCommand, family byte, rest []byte) (Header, bool) {
	switch versionCommand {
	case 0x20: // LOCAL: the addresses are those of the connection itself
		return Header{}, true
	case 0x21: // PROXY
	default:
		return Header{}, false
	}
	var size int
	switch family {
	case 0x11, 0x12: // over IPv4
		size = 4
	case 0x21, 0x22: // over IPv6
		size = 16
	default:
		// The specification lets UNSPEC and UNIX sockets pass as LOCAL; but then
		// whoever is behind such a proxy would get the proxy's rights.
		return Header{}, false
	}
	if len(rest) < 2*size+4 {
		return Header{}, false
	}
	client, _ := netip.AddrFromSlice(rest[:size])
	local, _ := netip.AddrFromSlice(rest[size : 2*size])
	ports := rest[2*size:]
	return Header{
		Client: netip.AddrPortFrom(client.Unmap(), binary.BigEndian.Uint16(ports)),
		Local:  netip.AddrPortFrom(local.Unmap(), binary.BigEndian.Uint16(ports[2:])),
	}, true
}

// Append appends the header for h, of a stream or of datagrams, to b: the other
// direction, for tests and tools.
func Append(b []byte, h Header, stream bool) []byte {
	b = append(b, signature...)
	if !h.Client.IsValid() {
		return append(b, 0x20, 0, 0, 0)
	}
	family := byte(0x12)
	client, local := h.Client.Addr().AsSlice(), h.Local.Addr().AsSlice()
	if len(client) == 16 {
		family = 0x22
	}
	if stream {
		family--
	}
	b = append(b, 0x21, family)
	b = binary.BigEndian.AppendUint16(b, uint16(2*len(client)+4))
	b = append(append(b, client...), local...)
	b = binary.BigEndian.AppendUint16(b, h.Client.Port())
	return binary.BigEndian.AppendUint16(b, h.Local.Port())
}
