package proxyheader

import (
	"bytes"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

const (
	textStart = "PROXY "

	// maxText is the longest line, in octets, with its end (§2.1).
	maxText = 107
)

// readText reads the rest of a line of version 1, of which line has come. It reads octet
// by octet, as what follows is not ours to take.
func readText(r io.Reader, line []byte) (Header, error) {
	line = append(make([]byte, 0, maxText), line...)
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		if len(line) == maxText {
			return Header{}, ErrMalformed
		}
		if _, err := io.ReadFull(r, line[len(line):len(line)+1]); err != nil {
			return Header{}, err
		}
		line = line[:len(line)+1]
	}
	h, ok := parseText(string(line[len(textStart) : len(line)-len("\r\n")]))
	if !ok {
		return Header{}, ErrMalformed
	}
	return h, nil
}

// parseText reads what follows "PROXY ". What stands behind UNKNOWN has no meaning: the
// proxy names nobody.
func parseText(s string) (h Header, ok bool) {
	if s == "UNKNOWN" || strings.HasPrefix(s, "UNKNOWN ") {
		return Header{}, true
	}
	parts := strings.Split(s, " ")
	if len(parts) != 5 || parts[0] != "TCP4" && parts[0] != "TCP6" {
		return Header{}, false
	}
	client, clientOK := end(parts[1], parts[3], parts[0] == "TCP4")
	local, localOK := end(parts[2], parts[4], parts[0] == "TCP4")
	return Header{Client: client, Local: local}, clientOK && localOK
}

// end reads one end of a connection. A port has no zero before it and no sign.
func end(address, port string, four bool) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Zone() != "" || a.Is4() != four {
		return netip.AddrPort{}, false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), true
}

// AppendText appends the line of version 1 for h.
func AppendText(b []byte, h Header) []byte {
	b = append(b, textStart...)
	client, local := h.Client.Addr().Unmap().WithZone(""), h.Local.Addr().Unmap().WithZone("")
	switch {
	case !client.IsValid() || client.Is4() != local.Is4():
		return append(b, "UNKNOWN\r\n"...)
	case client.Is4():
		b = append(b, "TCP4 "...)
	default:
		b = append(b, "TCP6 "...)
	}
	b = append(client.AppendTo(b), ' ')
	b = append(local.AppendTo(b), ' ')
	b = append(strconv.AppendUint(b, uint64(h.Client.Port()), 10), ' ')
	b = strconv.AppendUint(b, uint64(h.Local.Port()), 10)
	return append(b, '\r', '\n')
}
