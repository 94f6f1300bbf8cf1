// Package stubconf makes the configuration of a stub: a caching forwarder for one machine
// or container, which takes what it needs to know from where the system keeps it.
//
//	resolv.conf ─ Parse ─► servers ─┐
//	command line ─► Settings ───────┴─ Config ─► a configuration file, as text
//
// It owns what of resolv.conf(5) a forwarder heeds, which servers would lead it to ask
// itself, and what a stub's configuration says. It does not read files, and does not own
// what the configuration means (package config).
//
// Entry points: Parse, ParseUpstream, ParseSplit; Settings.Config.
//
// Concurrency: everything is a value or a function of its arguments.
package stubconf

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"pharos/internal/dns/dnsname"
)

// mostServers is how many servers of a list are heeded: 13, what a route takes. The C
// library heeds three.
const mostServers = 13

// ResolvConf is what a resolv.conf says.
type ResolvConf struct {
	Servers []netip.AddrPort
	// Search and Options are for programs that complete names themselves before they
	// ask. To a forwarder names are always whole: it has no use for them.
	Search  []string
	Options []string
}

// Parse reads the text of a resolv.conf. Lines that nobody understands are passed over,
// as the C library does.
func Parse(text []byte) ResolvConf {
	var conf ResolvConf
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || strings.HasPrefix(words[0], "#") || strings.HasPrefix(words[0], ";") {
			continue
		}
		switch words[0] {
		case "nameserver":
			if at, ok := nameserver(words[1]); ok && len(conf.Servers) < mostServers && !slices.Contains(conf.Servers, at) {
				conf.Servers = append(conf.Servers, at)
			}
		case "search", "domain":
			conf.Search = words[1:] // the last one counts
		case "options":
			conf.Options = append(conf.Options, words[1:]...)
		}
	}
	return conf
}

// nameserver reads an address, which may be one of a link (fe80::1%eth0), or, as OpenBSD
// has it, [address]:port.
func nameserver(text string) (netip.AddrPort, bool) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(addr, 53), true
	}
	if host, port, ok := strings.Cut(strings.TrimPrefix(text, "["), "]:"); ok {
		addr, err := netip.ParseAddr(host)
		number, portErr := strconv.ParseUint(port, 10, 16)
		return netip.AddrPortFrom(addr, uint16(number)), err == nil && portErr == nil && number > 0
	}
	return netip.AddrPort{}, false
}

// Upstream is a server that questions go to.
type Upstream struct {
	Address   netip.AddrPort
	Transport string // "", "dot", "doh" or "doq"
	Name      string // of the server's certificate
	Path      string // of the URI that DoH has
}

// ParseUpstream reads a server: 192.0.2.1, 192.0.2.1:5353, tls://192.0.2.1#dns.example,
// quic://192.0.2.1#dns.example or https://192.0.2.1/dns-query#dns.example. What comes
// after # is the name that the server has to prove.
func ParseUpstream(text string) (Upstream, error) {
	scheme, _, encrypted := strings.Cut(text, "://")
	if !encrypted {
		at, err := address(text, 53)
		return Upstream{Address: at}, err
	}
	u, err := url.Parse(text)
	if err != nil {
		return Upstream{}, fmt.Errorf("%q: %w", text, err)
	}
	out := Upstream{Transport: map[string]string{"tls": "dot", "https": "doh", "quic": "doq"}[scheme], Name: u.Fragment}
	port := uint16(853)
	if out.Transport == "doh" {
		port = 443
		if out.Path = u.Path; out.Path == "" {
			out.Path = "/dns-query"
		}
	}
	if out.Transport == "" || u.RawQuery != "" || u.User != nil || out.Transport != "doh" && u.Path != "" {
		return out, fmt.Errorf("%q: want ADDRESS, tls://ADDRESS#NAME, quic://ADDRESS#NAME or https://ADDRESS/PATH#NAME", text)
	}
	if out.Name == "" {
		return out, fmt.Errorf("%q: say after # what name the server has to prove, as in tls://192.0.2.1#dns.example", text)
	}
	if _, err := dnsname.Parse(out.Name); err != nil {
		return out, fmt.Errorf("%q: %w", text, err)
	}
	out.Address, err = address(u.Host, port)
	return out, err
}

// address reads an address with or without a port.
func address(text string, port uint16) (netip.AddrPort, error) {
	if at, err := netip.ParseAddrPort(text); err == nil {
		return at, nil
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no address of a server, with or without a port; a name could not be looked up without it", text)
	}
	return netip.AddrPortFrom(addr, port), nil
}

// Split is a domain with servers of its own.
type Split struct {
	Domain  dnsname.Name
	Servers []netip.AddrPort
}

// ParseSplit reads DOMAIN=ADDRESS[,ADDRESS...].
func ParseSplit(text string) (s Split, err error) {
	domain, servers, ok := strings.Cut(text, "=")
	if !ok {
		return s, fmt.Errorf("%q: want DOMAIN=ADDRESS, as in corp.example=192.0.2.1", text)
	}
	if s.Domain, err = dnsname.Parse(domain); err != nil {
		return s, fmt.Errorf("%q: %w", text, err)
	}
	for server := range strings.SplitSeq(servers, ",") {
		at, err := address(server, 53)
		if err != nil {
			return s, err
		}
		s.Servers = append(s.Servers, at)
	}
	return s, nil
}

// Settings are what a stub is made from.
type Settings struct {
	Listen    []netip.AddrPort
	Admin     netip.AddrPort
	Data      string
	CacheSize string // as the configuration writes sizes
	Hosts     string // file; empty: none
	Upstreams []Upstream
	Splits    []Split
	Validate  bool
	// File is where Resolv comes from, when there are no Upstreams.
	File   string
	Resolv ResolvConf
}

// ErrLoop: every server leads back to the stub.
var ErrLoop = errors.New("no server is left to ask")

// Config returns the configuration of the stub as the text of a file.
func (s Settings) Config() (string, error) {
	upstreams, passed, err := s.upstreams()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("# A caching stub. \"pharos serve\" with this file is the same, but does not follow resolv.conf.\n")
	fmt.Fprintf(&b, "data: %q\nstore: {enabled: false}\n", s.Data)
	fmt.Fprintf(&b, "listen: {dns: [%s], admin: %q}\n", quoted(s.Listen), s.Admin)
	b.WriteString("resolver:\n")
	fmt.Fprintf(&b, "  cacheSize: %s\n  validate: %v\n  minimise: false # a forwarder is shown the whole name\n", s.CacheSize, s.Validate)
	if s.Hosts != "" {
		fmt.Fprintf(&b, "  localData: {hosts: [%q]}\n", s.Hosts)
	}
	if len(s.Resolv.Search) > 0 {
		fmt.Fprintf(&b, "  # search %s: programs complete names before they ask; a forwarder has no use for it\n", comment(s.Resolv.Search))
	}
	b.WriteString("  routes:\n")
	for _, split := range s.Splits {
		fmt.Fprintf(&b, "    - {zone: %q, kind: forward, validate: false, servers: [%s]}\n", split.Domain, quoted(split.Servers))
	}
	for _, at := range passed {
		fmt.Fprintf(&b, "    # %v of %s is this stub itself\n", at.Addr(), s.File)
	}
	fmt.Fprintf(&b, "    - zone: .\n      kind: forward\n      validate: %v\n", s.Validate)
	if upstreams[0].Transport == "" {
		var all []netip.AddrPort
		for _, u := range upstreams {
			all = append(all, u.Address)
		}
		fmt.Fprintf(&b, "      servers: [%s]\n", quoted(all))
		return b.String(), nil
	}
	b.WriteString("      encrypted:\n")
	for _, u := range upstreams {
		fmt.Fprintf(&b, "        - {address: %q, transport: %s, tls: {name: %q}", u.Address, u.Transport, u.Name)
		if u.Path != "" {
			fmt.Fprintf(&b, ", path: %q", u.Path)
		}
		b.WriteString("}\n")
	}
	return b.String(), nil
}

// upstreams returns the servers for all names, and those that were passed over because
// they are the stub itself.
func (s Settings) upstreams() (all []Upstream, passed []netip.AddrPort, err error) {
	for _, u := range s.Upstreams {
		if s.isSelf(u.Address) {
			return nil, nil, fmt.Errorf("upstream %v is the address that the stub listens on: %w", u.Address, ErrLoop)
		}
		if (u.Transport == "") != (s.Upstreams[0].Transport == "") {
			return nil, nil, fmt.Errorf("upstreams %v and %v: one is encrypted and the other is not, so the encryption would hide nothing; choose", s.Upstreams[0].Address, u.Address)
		}
	}
	for _, split := range s.Splits {
		if slices.ContainsFunc(split.Servers, s.isSelf) {
			return nil, nil, fmt.Errorf("the servers of %v include the address that the stub listens on: %w", split.Domain, ErrLoop)
		}
	}
	if len(s.Upstreams) > 0 {
		return s.Upstreams, nil, nil
	}
	for _, at := range s.Resolv.Servers {
		if s.isSelf(at) {
			passed = append(passed, at)
			continue
		}
		all = append(all, Upstream{Address: at})
	}
	if len(all) == 0 {
		why := "names no server"
		if len(passed) > 0 {
			why = "names only this stub itself"
		}
		return nil, passed, fmt.Errorf("%s %s: %w; name servers with --upstream, or with --resolv-conf the file in which the network's are kept", s.File, why, ErrLoop)
	}
	return all, passed, nil
}

// isSelf reports whether a server is the stub, also by the address that stands for
// "this machine" (RFC 1122 §3.2.1.3), and one that it listens on at every address.
func (s Settings) isSelf(at netip.AddrPort) bool {
	return slices.ContainsFunc(s.Listen, func(l netip.AddrPort) bool {
		if l.Port() != at.Port() {
			return false
		}
		local := at.Addr().Unmap()
		return l.Addr().Unmap() == local || local.IsUnspecified() || l.Addr().IsUnspecified() && local.IsLoopback()
	})
}

func quoted[T fmt.Stringer](list []T) string {
	var out []string
	for _, x := range list {
		out = append(out, fmt.Sprintf("%q", x.String()))
	}
	return strings.Join(out, ", ")
}

// comment keeps text of a file that others write on the line of its comment.
func comment(words []string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, strings.Join(words, " "))
}
