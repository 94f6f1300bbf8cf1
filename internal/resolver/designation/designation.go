// Package designation decides what a plain server's word about its encrypted
// transports is worth: discovery of designated resolvers (DDR), as a client.
//
//	_dns.resolver.arpa SVCB --> Read --> services, or an alias --> Candidates --> whom to try, and how to know them
//
// The records come over a transport that anybody on the path can write to, so each is
// taken for hostile until the server that it leads to has proven itself. It owns these
// rules. It does not own the asking, nor the times: see package upgrade.
//
// Entry points: Read, Candidates.
//
// Sources: RFC 9460 (SVCB), RFC 9461 (for DNS servers), RFC 9462 (DDR).
package designation

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
)

// Name is what plain servers are asked for (RFC 9462 §4).
var Name = dnsname.MustParse("_dns.resolver.arpa")

// Limits of what is read. Chosen: three transports at two ports, over both families, fit.
const (
	maxRecords    = 16 // that are looked at
	maxServices   = 8
	maxHints      = 4 // of one service
	maxCandidates = 8 // that are tried
	maxPath       = 256

	// MinTTL and MaxTTL bound what is believed of the TTL: no server is asked more often
	// than once a minute, and what has moved is found within a day.
	MinTTL, MaxTTL = time.Minute, 24 * time.Hour
)

// Designation is one way to ask a designated resolver.
type Designation struct {
	Priority uint16
	Target   dnsname.Name
	Over     iterate.Transport
	Port     uint16
	Path     string       // of DoH
	Hints    []netip.Addr // none: the addresses of Target
}

// Reading is what an answer says.
type Reading struct {
	Services []Designation // the preferred one first
	Alias    dnsname.Name  // where to ask on, if there are no services; zero: nowhere
	TTL      time.Duration // for how long it is good
	Left     string        // why a record was left out; the last reason counts
}

// Read reads the SVCB records of owner. Other records are none of its business.
func Read(owner dnsname.Name, records []rdata.Record) Reading {
	r := Reading{TTL: MaxTTL}
	seen := 0
	for _, record := range records {
		if record.Type != rdata.TypeSVCB || record.Name != owner {
			continue
		}
		if seen++; seen > maxRecords {
			r.Left = "there are more than 16 SVCB records"
			break
		}
		r.TTL = min(r.TTL, time.Duration(record.TTL)*time.Second)
		r.take(record.Data)
	}
	r.TTL = max(r.TTL, MinTTL)
	slices.SortStableFunc(r.Services, func(a, b Designation) int { return cmp.Compare(a.Priority, b.Priority) })
	if len(r.Services) > maxServices {
		r.Services, r.Left = r.Services[:maxServices], "there are more than 8 services"
	}
	if len(r.Services) > 0 {
		r.Alias = dnsname.Name{}
	}
	return r
}

// take takes one record in.
func (r *Reading) take(data []byte) {
	if rdata.Validate(rdata.TypeSVCB, data) != nil {
		r.Left = "a record is malformed"
		return
	}
	target, _ := rdata.NameAt(data, 2)
	priority := binary.BigEndian.Uint16(data)
	switch {
	case target.IsRoot(): // RFC 9460 §2.5: "." is the owner's name, or there is no service
		r.Left = "a record names no resolver"
		return
	case priority == 0:
		r.Alias = target
		return
	}
	p, why := readParams(data[2+target.Len():])
	if why != "" {
		r.Left = why
		return
	}
	for _, alpn := range p.alpn {
		s := Designation{Priority: priority, Target: target, Port: p.port, Hints: p.hints}
		switch alpn {
		case "dot":
			s.Over, s.Port = iterate.DoT, cmp.Or(s.Port, 853)
		case "doq":
			s.Over, s.Port = iterate.DoQ, cmp.Or(s.Port, 853)
		case "h2":
			if p.path == "" {
				r.Left = "a record for HTTPS has no dohpath that ends with {?dns} (RFC 9461 §5)"
				continue
			}
			s.Over, s.Port, s.Path = iterate.DoH, cmp.Or(s.Port, 443), p.path
		default: // h3, which is not asked over, and whatever comes
			continue
		}
		r.Services = append(r.Services, s)
	}
}

// params are the parameters of a record that are understood.
type params struct {
	alpn  []string
	port  uint16 // 0: that of the transport
	path  string
	hints []netip.Addr
}

// Keys of parameters (RFC 9460 §14.3.2, RFC 9461 §5).
const (
	keyMandatory = 0
	keyALPN      = 1
	keyPort      = 3
	keyIPv4Hint  = 4
	keyIPv6Hint  = 6
	keyDoHPath   = 7
)

// understood are the keys that a record may declare mandatory (RFC 9460 §8).
var understood = []uint16{keyALPN, keyPort, keyIPv4Hint, keyIPv6Hint, keyDoHPath}

// readParams reads parameters that have been validated. why is not empty if the record
// must not be used.
func readParams(list []byte) (p params, why string) {
	for len(list) >= 4 {
		key, length := binary.BigEndian.Uint16(list), int(binary.BigEndian.Uint16(list[2:]))
		value := list[4 : 4+length]
		list = list[4+length:]
		switch key {
		case keyMandatory:
			for ; len(value) >= 2; value = value[2:] {
				if !slices.Contains(understood, binary.BigEndian.Uint16(value)) {
					return p, "a record demands a parameter that is not understood"
				}
			}
		case keyALPN:
			for ; len(value) > 0; value = value[1+int(value[0]):] {
				if id := string(value[1 : 1+int(value[0])]); !slices.Contains(p.alpn, id) {
					p.alpn = append(p.alpn, id)
				}
			}
		case keyPort:
			if p.port = binary.BigEndian.Uint16(value); p.port == 0 {
				return p, "a record has port 0"
			}
		case keyIPv4Hint, keyIPv6Hint:
			size := 4
			if key == keyIPv6Hint {
				size = 16
			}
			for ; len(value) >= size && len(p.hints) < maxHints; value = value[size:] {
				addr, _ := netip.AddrFromSlice(value[:size])
				p.hints = append(p.hints, addr)
			}
		case keyDoHPath:
			p.path = pathOf(string(value))
		}
	}
	if len(p.alpn) == 0 { // RFC 9461 §4.1: there is no default
		return p, "a record has no alpn"
	}
	return p, ""
}

// pathOf returns the path of a URI template, empty if it is not a plain one: questions are
// sent by POST, for which the variable is left out (RFC 8484 §4.1).
func pathOf(template string) string {
	path, ok := strings.CutSuffix(template, "{?dns}")
	if !ok || len(path) > maxPath || !strings.HasPrefix(path, "/") || strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune("{}?#%\\\"<>", c) }) {
		return ""
	}
	return path
}

// Candidate is a server to try.
type Candidate struct {
	At   netip.AddrPort
	Over iterate.Transport
	Path string // of DoH
	// Local: if its certificate does not name the plain server, it may be used all the
	// same where that is wanted (RFC 9462 §4.3).
	Local bool
}

// Candidates returns whom to try for a plain server, by what it has said and the addresses
// of targets without hints. Who is led from the Internet into private networks, or to this
// machine, does not go there: a handshake is a request, too.
func Candidates(server netip.Addr, services []Designation, addresses func(dnsname.Name) []netip.Addr) (all []Candidate, left string) {
	server = server.Unmap().WithZone("")
	for _, s := range services {
		hints := s.Hints
		if len(hints) == 0 {
			hints = addresses(s.Target)
		}
		for _, addr := range hints[:min(len(hints), maxHints)] {
			addr = addr.Unmap()
			if !mayLead(server, addr) {
				left = "it leads to " + addr.String() + ", where a server like it must not"
				continue
			}
			c := Candidate{At: netip.AddrPortFrom(addr, s.Port), Over: s.Over, Path: s.Path}
			// RFC 9462 §4.3: at the server's own address, which nobody could have a
			// certificate for; not over HTTPS, which RFC 7858 §4.1 is not about.
			c.Local = addr == server && isNear(server) && s.Over != iterate.DoH
			if !slices.Contains(all, c) && len(all) < maxCandidates {
				all = append(all, c)
			}
		}
	}
	return all, left
}

// isNear reports whether an address is private, or of the link or machine.
func isNear(a netip.Addr) bool { return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() }

// mayLead reports whether a server may lead to addr.
func mayLead(server, addr netip.Addr) bool {
	switch {
	case addr == server:
		return true
	case !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() || addr.IsLinkLocalUnicast() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return false
	case addr.IsLoopback():
		return server.IsLoopback()
	case addr.IsPrivate():
		return isNear(server)
	}
	return true
}
