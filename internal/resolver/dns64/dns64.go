// Package dns64 is the arithmetic of DNS64: IPv6 addresses that stand for IPv4 ones, for
// clients that have IPv6 alone and a NAT64 that carries them on.
//
// It owns the embedding of addresses in prefixes, which addresses take part, and what
// is told about the prefixes. It does not own when something is looked up (package
// rewrite).
//
//	/32  p p p p v v v v 0 0 0 0 0 0 0 0     p prefix, v IPv4 address, u zero (RFC 6052 §2.2)
//	/40  p p p p p v v v u v 0 0 0 0 0 0
//	/48  p p p p p p v v u v v 0 0 0 0 0
//	/56  p p p p p p p v u v v v 0 0 0 0
//	/64  p p p p p p p p u v v v v 0 0 0
//	/96  p p p p p p p p p p p p v v v v
//
// Entry points: New, Translator.Addresses, Translator.Extract.
//
// Concurrency: a Translator does not change after New.
//
// Sources: RFC 6147, RFC 6052, RFC 7050, RFC 8880.
package dns64

import (
	"fmt"
	"net/netip"

	"pharos/internal/dns/dnsname"
)

// Config is what a Translator is made from.
type Config struct {
	// Prefixes have a length of 32, 40, 48, 56, 64 or 96. Each IPv4 address becomes one
	// in each of them. At least one.
	Prefixes []netip.Prefix
	// Exclude are networks of AAAA records that count as if they were not there (RFC 6147
	// §5.1.4).
	Exclude []netip.Prefix
	// Ignore are names at and below which AAAA records are passed over where there are A
	// records to translate.
	Ignore []dnsname.Name
	// Private translates addresses that are not global also with the well-known prefix.
	Private bool
}

// Translator translates addresses.
type Translator struct{ cfg Config }

// WellKnown is the prefix that needs no configuration (RFC 6052 §2.1).
var WellKnown = netip.MustParsePrefix("64:ff9b::/96")

// IPv4Only is the name whose AAAA records tell clients the prefixes, and its
// addresses (RFC 7050 §8.2).
var (
	IPv4Only          = dnsname.MustParse("ipv4only.arpa")
	IPv4OnlyAddresses = []netip.Addr{netip.MustParseAddr("192.0.0.170"), netip.MustParseAddr("192.0.0.171")}
)

// New returns a Translator, or says which prefix cannot be used.
func New(cfg Config) (*Translator, error) {
	if len(cfg.Prefixes) == 0 {
		return nil, fmt.Errorf("no prefix to translate with; %v is the well-known one", WellKnown)
	}
	for _, p := range cfg.Prefixes {
		if err := CheckPrefix(p); err != nil {
			return nil, err
		}
	}
	return &Translator{cfg}, nil
}

// CheckPrefix says what is wrong with a prefix to translate with.
func CheckPrefix(p netip.Prefix) error {
	switch {
	case !p.IsValid() || !p.Addr().Is6() || p.Addr().Is4In6():
		return fmt.Errorf("%v is no IPv6 prefix", p)
	case p != p.Masked():
		return fmt.Errorf("%v has bits set after its length; write %v", p, p.Masked())
	case startOf(p) == 0:
		return fmt.Errorf("%v: the length must be 32, 40, 48, 56, 64 or 96 (RFC 6052 §2.2)", p)
	case p.Bits() == 96 && p.Addr().As16()[8] != 0:
		return fmt.Errorf("%v: bits 64 to 71 must be zero (RFC 6052 §2.2)", p)
	}
	return nil
}

// startOf returns the octet at which an IPv4 address begins; 0 for a length that
// there is not.
func startOf(p netip.Prefix) int {
	switch p.Bits() {
	case 32, 40, 48, 56:
		return p.Bits() / 8
	case 64:
		return 9
	case 96:
		return 12
	}
	return 0
}

// Addresses appends to list the addresses that stand for v4, one for each prefix that
// may translate it.
func (t *Translator) Addresses(list []netip.Addr, v4 netip.Addr) []netip.Addr {
	for _, p := range t.cfg.Prefixes {
		// RFC 6052 §3.1: the well-known prefix must not represent addresses that are not
		// global.
		if p == WellKnown && !t.cfg.Private && !isGlobal(v4) {
			continue
		}
		list = append(list, embed(p, v4))
	}
	return list
}

func embed(p netip.Prefix, v4 netip.Addr) netip.Addr {
	octets, at := p.Addr().As16(), startOf(p)
	for _, o := range v4.As4() {
		if at == 8 { // RFC 6052 §2.2: octet u
			at++
		}
		octets[at] = o
		at++
	}
	return netip.AddrFrom16(octets)
}

// Extract returns the IPv4 address that v6 stands for; ok is false if it lies in none
// of the prefixes.
func (t *Translator) Extract(v6 netip.Addr) (v4 netip.Addr, ok bool) {
	for _, p := range t.cfg.Prefixes {
		if !p.Contains(v6) {
			continue
		}
		var octets [4]byte
		all, at := v6.As16(), startOf(p)
		for i := range octets {
			if at == 8 {
				at++
			}
			octets[i] = all[at]
			at++
		}
		if v4 = netip.AddrFrom4(octets); embed(p, v4) == v6 { // no bits but those of the two
			return v4, true
		}
	}
	return netip.Addr{}, false
}

// IsExcluded reports whether an AAAA record with this address counts as if it was not
// there.
func (t *Translator) IsExcluded(v6 netip.Addr) bool {
	for _, p := range t.cfg.Exclude {
		if p.Contains(v6) {
			return true
		}
	}
	return false
}

// Ignores reports whether the AAAA records of name are passed over where there are A
// records.
func (t *Translator) Ignores(name dnsname.Name) bool {
	for _, top := range t.cfg.Ignore {
		if name.IsSubdomainOf(top) {
			return true
		}
	}
	return false
}

// special are IPv4 networks that are not global (RFC 6890), of those that an A record
// may well name.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("224.0.0.0/3"),
}

func isGlobal(v4 netip.Addr) bool {
	for _, p := range special {
		if p.Contains(v4) {
			return false
		}
	}
	return true
}
