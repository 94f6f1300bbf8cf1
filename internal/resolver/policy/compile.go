package policy

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
)

// The labels right below a policy zone's apex that hold triggers of other kinds than
// QNAME (draft §4).
var folders = [triggers]string{ClientIP: "rpz-client-ip", ResponseIP: "rpz-ip", NSDName: "rpz-nsdname", NSIP: "rpz-nsip"}

// maxSkipped is how many owner names that are no triggers are told of: 10, a handful
// to begin mending with.
const maxSkipped = 10

// Compile makes a policy zone of z. Owner names that are no triggers are passed over;
// see Zone.Skipped. One pass over the owners that are networks, and over as many
// names as it takes to see whether there are triggers of the other kinds.
func Compile(z *zone.Zone, o Options) *Zone {
	p := &Zone{Options: o, zone: z, text: "policy zone " + z.Origin().String()}
	for t, folder := range folders {
		if folder == "" {
			continue
		}
		top, err := z.Origin().Child(folder)
		if err != nil {
			continue // no name of the zone can have it
		}
		node := z.Lookup(top).Exact
		if node == 0 {
			continue
		}
		p.compileFolder(Trigger(t), node, top)
	}
	p.names = p.hasNames()
	return p
}

// compileFolder takes in the triggers below top.
func (p *Zone) compileFolder(t Trigger, node zone.Node, top dnsname.Name) {
	for n := range p.zone.Below(node) {
		if !p.zone.HasData(n) || n == node {
			continue
		}
		if t == NSDName {
			p.servers = true
			continue
		}
		prefix, err := parseNetwork(p.zone.Name(n), top)
		if err != nil {
			if len(p.skipped) < maxSkipped {
				p.skipped = append(p.skipped, fmt.Sprintf("%s: %v", p.zone.Name(n), err))
			}
			continue
		}
		p.nets[t].add(prefix, n)
	}
	p.nets[t].finish()
}

// hasNames reports whether an owner name is a QNAME trigger.
func (p *Zone) hasNames() bool {
	origin := p.zone.Origin()
	for n := range p.zone.Nodes() {
		name := p.zone.Name(n)
		if name != origin && p.zone.HasData(n) && !isFolder(name, origin) {
			return true
		}
	}
	return false
}

// isFolder reports whether the label of name right below origin is not for names.
func isFolder(name, origin dnsname.Name) bool {
	return strings.HasPrefix(topLabel(name, origin.Len()), "rpz-")
}

// topLabel returns the label of name that stands left of its last so many octets.
func topLabel(name dnsname.Name, octets int) string {
	wire := name.Wire()
	for at := 0; at < len(wire)-octets; {
		next := at + 1 + int(wire[at])
		if next >= len(wire)-octets {
			return wire[at+1 : next]
		}
		at = next
	}
	return ""
}

// maxParts is how many labels a network can have: its length and eight groups.
const maxParts = 9

// parseNetwork reads the labels of name below top as a network, last part first
// (draft §4.1.1): 24.0.2.0.192 is 192.0.2.0/24, 48.zz.1.db8.2001 is 2001:db8:1::/48.
func parseNetwork(name, top dnsname.Name) (netip.Prefix, error) {
	var room [maxParts]string
	labels := room[:0]
	for n := name; n.Len() > top.Len(); n = n.Parent() {
		if len(labels) == maxParts {
			return netip.Prefix{}, fmt.Errorf("more than %d labels", maxParts)
		}
		labels = append(labels, n.Label())
	}
	bits, err := parseNumber(labels[0], 10, 128)
	if err != nil || bits == 0 {
		return netip.Prefix{}, fmt.Errorf("%q is no length of a prefix; want 1 to 32 or 1 to 128 as the first label", labels[0])
	}
	var address netip.Addr
	if parts := labels[1:]; len(parts) == 4 && !contains(parts, "zz") {
		address, err = parseIPv4(parts)
	} else {
		address, err = parseIPv6(parts)
	}
	if err != nil {
		return netip.Prefix{}, err
	}
	prefix := netip.PrefixFrom(address, bits)
	switch {
	case !prefix.IsValid():
		return netip.Prefix{}, fmt.Errorf("%v has no %d bits", address, bits)
	case prefix != prefix.Masked():
		return netip.Prefix{}, fmt.Errorf("%v has bits set after its length; write %v", prefix, prefix.Masked())
	}
	return prefix, nil
}

func contains(parts []string, word string) bool {
	for _, p := range parts {
		if p == word {
			return true
		}
	}
	return false
}

func parseIPv4(parts []string) (netip.Addr, error) {
	var octets [4]byte
	for i, part := range parts {
		n, err := parseNumber(part, 10, 255)
		if err != nil {
			return netip.Addr{}, fmt.Errorf("%q is no octet of an IPv4 address", part)
		}
		octets[3-i] = byte(n)
	}
	return netip.AddrFrom4(octets), nil
}

// parseIPv6 reads up to eight groups; "zz" stands for "::".
func parseIPv6(parts []string) (netip.Addr, error) {
	var octets [16]byte
	at, elided := len(octets), -1
	for i, part := range parts {
		if part == "zz" && elided < 0 {
			elided = i
			at = 2 * (len(parts) - 1 - i)
			continue
		}
		n, err := parseNumber(part, 16, 0xFFFF)
		if err != nil || at < 2 {
			return netip.Addr{}, fmt.Errorf("%q is no group of an IPv6 address, or one too many", part)
		}
		at -= 2
		binary.BigEndian.PutUint16(octets[at:], uint16(n))
	}
	if at != 0 || len(parts) > 8 {
		return netip.Addr{}, fmt.Errorf("%d labels are no address; want four numbers, eight groups, or groups with \"zz\" for those that are zero", len(parts))
	}
	return netip.AddrFrom16(octets), nil
}

// parseNumber refuses leading zeros, so that a network has one spelling.
func parseNumber(text string, base, most int) (int, error) {
	n, err := strconv.ParseUint(text, base, 16)
	if err != nil || int(n) > most || len(text) > 1 && text[0] == '0' {
		return 0, fmt.Errorf("%q is no number up to %d", text, most)
	}
	return int(n), nil
}
