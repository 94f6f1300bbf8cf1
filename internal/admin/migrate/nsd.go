package migrate

import (
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"
)

// NSD reads an nsd.conf, what it includes, and the list of zones that nsd-control
// has added. The error says what cannot be read at all; everything else is in the
// notes.
func NSD(file string, source Source) (*Result, error) {
	r := &reader{source: source, result: &Result{}}
	n := &nsd{reader: r, folder: path.Dir(file), zonesDir: path.Dir(file), patterns: map[string]*clause{}, auths: map[string]*clause{}, port: 53, tlsPort: 853}
	clauses, err := n.parse(file)
	if err != nil {
		return nil, err
	}
	for i := range clauses {
		c := &clauses[i]
		switch c.name {
		case "server":
			n.server(c)
		case "key":
			n.key(c)
		case "pattern":
			n.patterns[c.value("name")] = c
			n.order = append(n.order, c)
		case "tls-auth":
			n.auths[c.value("name")] = c
		}
	}
	n.listenDefault()
	n.serviceTLS()
	for i := range clauses {
		switch c := &clauses[i]; c.name {
		case "zone":
			n.zone(c.value("name"), c)
		case "server", "key", "pattern", "tls-auth":
		default:
			n.note(c.place, c.name, "%s", reason(nsdReasons, c.name))
		}
	}
	n.zoneList(file)
	return r.finish(file), nil
}

// nsd is an nsd.conf while it is read.
type nsd struct {
	*reader
	folder   string
	zonesDir string
	zoneFile place  // of zonelistfile
	zones    string // zonelistfile
	port     uint16
	listen   []attribute
	patterns map[string]*clause
	order    []*clause // patterns, as they stand in the file
	auths    map[string]*clause
	blocked  []Rule // of the zone that is read: from transfers
	unasked  []Rule // and from asking

	inTemplate bool // the pattern of members of a catalog is read

	tlsPort           uint16
	bundle            string    // authorities that are believed
	serviceKey        attribute // of TLS
	servicePEM        attribute
	transfersNeedAuth bool
}

// clause is a section with its attributes.
type clause struct {
	place
	name       string
	attributes []attribute
}

type attribute struct {
	place
	name, value string
}

func (c *clause) value(name string) string {
	for _, a := range c.attributes {
		if a.name == name {
			return a.value
		}
	}
	return ""
}

// nsdSections begin a clause.
var nsdSections = map[string]bool{"server": true, "zone": true, "pattern": true, "key": true, "remote-control": true, "verify": true, "dnstap": true, "tls-auth": true, "xdp": true}

// parse reads a file: "attribute: value" with blanks, comments and line ends
// anywhere between; include: names other files.
func (n *nsd) parse(file string) ([]clause, error) {
	var all []clause
	if err := n.parseInto(file, &all); err != nil {
		return nil, err
	}
	return all, nil
}

func (n *nsd) parseInto(file string, all *[]clause) error {
	text, err := n.read(file)
	if err != nil {
		return err
	}
	n.open = append(n.open, file)
	defer func() { n.open = n.open[:len(n.open)-1] }()
	number := 0
	for line := range strings.Lines(text) {
		number++
		at := place{file, number}
		words, err := nsdWords(line)
		if err != nil {
			return at.errorf("%w", err)
		}
		if err := n.parseLine(at, words, all); err != nil {
			return err
		}
	}
	return nil
}

// parseLine takes the words of a line: attributes with all words up to the next
// one that ends in a colon.
func (n *nsd) parseLine(at place, words []string, all *[]clause) error {
	for len(words) > 0 {
		name, ok := strings.CutSuffix(words[0], ":")
		if !ok || name == "" {
			return at.errorf("%q is no attribute; want NAME: VALUE", clip(words[0]))
		}
		end := 1
		for end < len(words) && !isAttribute(words[end]) {
			end++
		}
		value := strings.Join(unquoteAll(words[1:end]), " ")
		words = words[end:]
		switch {
		case name == "include":
			files, err := n.expand(below(n.folder, value))
			if err != nil {
				return at.errorf("include: %w", err)
			}
			for _, file := range files {
				if err := n.parseInto(file, all); err != nil {
					return at.errorf("include: %w", err)
				}
			}
		case nsdSections[name] && value == "":
			*all = append(*all, clause{place: at, name: name})
		case len(*all) == 0:
			return at.errorf("%s: stands in no section; begin with server:, zone: or another", name)
		default:
			c := &(*all)[len(*all)-1]
			c.attributes = append(c.attributes, attribute{at, name, value})
		}
	}
	return nil
}

// isAttribute reports whether a word ends in a colon; quoted ones keep their quotes
// up to here, and an IPv6 address does not end so but for "::".
func isAttribute(word string) bool {
	return strings.HasSuffix(word, ":") && !strings.HasSuffix(word, "::") && !strings.HasPrefix(word, `"`)
}

// nsdWords splits a line at blanks; quoted words keep their quotation marks. A colon
// needs no blank behind it when a quoted value follows.
func nsdWords(line string) ([]string, error) {
	var words []string
	for i := 0; i < len(line); {
		switch c := line[i]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			i++
		case c == '#':
			return words, nil
		case c == '"':
			end := strings.IndexByte(line[i+1:], '"')
			if end < 0 {
				return nil, fmt.Errorf("a string without its closing quotation mark")
			}
			words = append(words, line[i:i+end+2])
			i += end + 2
		default:
			end := strings.IndexAny(line[i:], " \t\r\n\"")
			if end < 0 {
				end = len(line) - i
			}
			words = append(words, line[i:i+end])
			i += end
		}
	}
	return words, nil
}

func unquoteAll(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strings.Trim(w, `"`)
	}
	return out
}

// nsdReasons say why a setting is not carried over.
var nsdReasons = map[string]string{
	"remote-control": "commands go to listen.admin", "verify": "see zones[].gate", "dnstap": "see log", "xdp": "no counterpart here",
	"server-count": "see dns.udpWorkers", "username": "the service manager chooses the user", "chroot": "the service manager confines the process",
	"pidfile": "not needed: the service manager knows the process", "database": "it has ended", "logfile": "the log goes to standard error",
	"verbosity": "see log.level", "xfrdfile": "state is kept in the data folder", "xfrdir": "state is kept in the data folder",
	"hide-version": "CHAOS queries are refused", "hide-identity": "CHAOS queries are refused", "version": "CHAOS queries are refused", "identity": "CHAOS queries are refused",
	"zonefiles-check": "zone files are watched always", "zonefiles-write": "secondary zones are kept in the data folder",
	"tcp-timeout": "see dns.tcpIdle", "tcp-mss": "the system chooses", "outgoing-tcp-mss": "the system chooses",
	"ipv4-edns-size": "1232 octets", "ipv6-edns-size": "1232 octets", "minimal-responses": "responses are minimal always",
	"refuse-any": "ANY over UDP gets one RRset", "do-ip4": "listen.dns names the addresses", "do-ip6": "listen.dns names the addresses",
	"reuseport": "each core has its own socket always", "confine-to-zone": "records of other zones are not added",
	"answer-cookie": "cookies are answered always", "cookie-secret-file": "write the secret under dns.cookieSecret",
	"xfrd-tcp-max": "see transfers.incoming", "xfrd-tcp-pipeline": "see transfers.incoming", "log-time-ascii": "see log.format", "round-robin": "records of an answer are rotated",
	"rrl-size": "the table has a fixed size", "rrl-slip": "every second answer slips", "rrl-ipv4-prefix-length": "networks of /24", "rrl-ipv6-prefix-length": "networks of /56",
	"rrl-whitelist-ratelimit": "write exempt networks under dns.rateLimitExempt", "rrl-whitelist": "write exempt networks under dns.rateLimitExempt",
	"tls-service-ocsp": "no counterpart here", "tls-auth-port": "certificates of clients are wanted for transfers only, at every TLS port: see zones[].transfer[].tls",
	"allow-notify": "NOTIFY is heard from the primaries, their addresses and keys, and from nobody else", "outgoing-interface": "the system chooses the source address",
	"notify-retry": "a server that does not answer is told again for about a minute", "allow-axfr-fallback": "AXFR is asked for when IXFR fails",
	"size-limit-xfr": "see transfers.maxSize", "zonestats": "see the metrics at listen.admin", "max-refresh-time": "the SOA record's REFRESH counts",
	"min-refresh-time": "the SOA record's REFRESH counts", "max-retry-time": "the SOA record's RETRY counts", "min-retry-time": "the SOA record's RETRY counts",
	"min-expire-time": "the SOA record's EXPIRE counts", "store-ixfr": "see transfers.journal", "ixfr-size": "see transfers.journal", "ixfr-number": "see transfers.journal",
	"create-ixfr": "differences between versions are kept always", "multi-primary-check": "see pharos zone check", "multi-master-check": "see pharos zone check",
	"verify-zone": "see zones[].gate", "verifier": "see zones[].gate", "catalog-member-pattern": "the zone is no catalog",
	"rrl-whitelist-zone":    "the limit is the same for all zones",
	"zonefiles-incremental": "not needed", "difffile": "it has ended", "ip-transparent": "no counterpart here", "ip-freebind": "no counterpart here",
	"send-buffer-size": "the system chooses", "receive-buffer-size": "the system chooses", "log-only-syslog": "the log goes to standard error", "debug-mode": "see pharos serve",
	"cpu-affinity": "set it in the service manager", "statistics": "see the metrics at listen.admin", "drop-updates": "updates are refused unless zones[].updates lets them in",
}

func (n *nsd) server(c *clause) {
	p := &n.result.Plan
	for _, a := range c.attributes {
		switch a.name {
		case "ip-address", "interface":
			n.listen = append(n.listen, a)
		case "port":
			if port, err := strconv.ParseUint(a.value, 10, 16); err == nil && port > 0 {
				n.port = uint16(port)
			}
		case "zonesdir":
			n.zonesDir = a.value
		case "zonelistfile":
			n.zones, n.zoneFile = a.value, a.place
		case "nsid":
			text, _ := strings.CutPrefix(a.value, "ascii_")
			if text == a.value {
				text = "" // octets in hexadecimal
			}
			n.setNSID(a.place, text)
		case "tcp-count":
			p.TCPConnections = n.number(a, 1, 1_000_000)
		case "rrl-ratelimit":
			p.RateLimit = n.number(a, 0, 1_000_000)
		case "cookie-secret":
			n.setCookieSecret(a.place, a.value)
		case "tcp-query-count":
			p.TCPQueries = n.number(a, 0, 1_000_000_000)
		case "tls-port":
			n.tlsPort = uint16(n.number(a, 1, 65535))
		case "tls-service-key":
			n.serviceKey = a
		case "tls-service-pem":
			n.servicePEM = a
		case "tls-cert-bundle":
			n.bundle = below(n.folder, a.value)
		case "tls-auth-xfr-only":
			n.transfersNeedAuth = a.value == "yes"
		default:
			n.note(a.place, a.name+": "+a.value, "%s", reason(nsdReasons, a.name))
		}
	}
}

func (n *nsd) number(a attribute, least, most int) int {
	v, err := strconv.Atoi(a.value)
	if err != nil || v < least || v > most {
		n.note(a.place, a.name+": "+a.value, "want a number from %d to %d", least, most)
		return 0
	}
	return v
}

// listenDefault takes the addresses once the port is known; NSD without any listens
// on all.
func (n *nsd) listenDefault() {
	p := &n.result.Plan
	if len(n.listen) == 0 {
		p.Listen = []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), n.port), netip.AddrPortFrom(netip.IPv6Unspecified(), n.port)}
	}
	for _, a := range n.listen {
		first, more, _ := strings.Cut(a.value, " ")
		addr, err := addressAt(first, n.port)
		if err != nil {
			n.note(a.place, a.name+": "+a.value, "%v", err)
			continue
		}
		if more != "" {
			n.note(a.place, a.name+": "+a.value, "%s is left out: each core serves every address", more)
		}
		if addr.Port() == n.tlsPort && n.serviceKey.value != "" {
			p.Encrypted.DoT = append(p.Encrypted.DoT, addr)
			continue
		}
		p.Listen = append(p.Listen, addr)
	}
	p.Listen = unique(p.Listen)
}

// addressAt reads 192.0.2.1@53, as NSD and Knot write an address with a port.
func addressAt(text string, port uint16) (netip.AddrPort, error) {
	head, tail, ok := strings.Cut(text, "@")
	addr, err := netip.ParseAddr(head)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no IP address", clip(head))
	}
	if ok {
		p, err := strconv.ParseUint(tail, 10, 16)
		if err != nil || p == 0 {
			return netip.AddrPort{}, fmt.Errorf("%q is no port", clip(tail))
		}
		port = uint16(p)
	}
	return netip.AddrPortFrom(addr.Unmap(), port), nil
}

func (n *nsd) key(c *clause) {
	name, err := zoneName(c.value("name"))
	if err != nil || c.value("name") == "" {
		n.note(c.place, "key: "+c.value("name"), "it has no good name")
		return
	}
	algorithm := strings.ToLower(c.value("algorithm"))
	if algorithms[algorithm] == "" {
		n.note(c.place, "key "+name, "algorithm %s is not taken; make a new key with hmac-sha256 on both sides", clip(algorithm))
		return
	}
	for _, a := range c.attributes {
		if a.name != "name" && a.name != "algorithm" && a.name != "secret" {
			n.note(a.place, "key "+name+": "+a.name, "unknown in a key")
		}
	}
	n.addKey(Key{Name: name, Algorithm: algorithms[algorithm], Secret: c.value("secret")}, c.place)
}

// zone takes a zone with the attributes of c and of the patterns it includes.
func (n *nsd) zone(text string, c *clause) {
	name, err := zoneName(text)
	if err != nil || text == "" {
		n.note(c.place, "zone: "+text, "it has no good name")
		return
	}
	z := Zone{Name: name, Kind: "file"}
	n.blocked, n.unasked = nil, nil
	n.apply(&z, text, c, nil)
	if z.Kind == "secondary" || z.Kind == "catalog" {
		z.File = ""
	}
	z.Transfer = n.withoutBlocked(z.Transfer, n.blocked, c, "zone "+z.Name+": provide-xfr")
	if len(z.Query)+len(n.unasked) > 0 {
		if len(z.Query) == 0 { // NSD: who is not blocked may ask
			z.Query = []Rule{{Network: everybody[0]}, {Network: everybody[1]}}
		}
		if z.Query = n.withoutBlocked(z.Query, n.unasked, c, "zone "+z.Name+": allow-query"); len(z.Query) == 0 {
			n.note(c.place, "zone "+z.Name, "nobody is left of those whom allow-query lets in")
			return
		}
	}
	n.addZone(z, c.place)
}

// withoutBlocked takes networks that are BLOCKED out of rules.
func (n *nsd) withoutBlocked(rules, blocked []Rule, c *clause, what string) []Rule {
	var left []Rule
	for _, rule := range rules {
		parts, ok := rule.without(blocked)
		if !ok {
			n.note(c.place, what+": "+rule.Network.String(), "parts of it are BLOCKED, and the rest takes too many networks: write them by hand")
		}
		left = append(left, parts...)
	}
	return left
}

// apply takes the attributes of a zone, or of a pattern for it. within are the
// patterns that include it.
func (n *nsd) apply(z *Zone, name string, c *clause, within []*clause) {
	if len(within) >= maxNested {
		n.note(c.place, "include-pattern", "patterns that include each other")
		return
	}
	for _, a := range c.attributes {
		what := "zone " + z.Name + ": " + a.name + ": " + a.value
		switch a.name {
		case "name":
		case "include-pattern":
			p := n.patterns[a.value]
			if p == nil {
				n.note(a.place, what, "there is no such pattern")
				continue
			}
			n.apply(z, name, p, append(within, c))
		case "zonefile":
			z.File = below(n.zonesDir, nsdFile(a.value, name))
		case "request-xfr":
			z.Kind = "secondary"
			n.peer(&z.Primaries, a, what, true)
		case "notify":
			n.peer(&z.Notify, a, what, false)
		case "provide-xfr":
			z.Transfer = append(z.Transfer, n.rule(a, what, &n.blocked)...)
		case "allow-query":
			z.Query = append(z.Query, n.rule(a, what, &n.unasked)...)
		case "catalog", "catalog-member-pattern":
			n.catalog(z, a, c, what)
		case "catalog-producer-zone":
			n.member(z, a, c, what)
		case "zonestats":
		default:
			n.note(a.place, what, "%s", reason(nsdReasons, a.name))
		}
	}
}

// nsdFile fills in a zone file's name: %s is the zone, %1 %2 %3 its first
// characters, %z %y %x its last labels.
func nsdFile(pattern, name string) string {
	name = strings.TrimSuffix(name, ".")
	labels := strings.Split(name, ".")
	char := func(i int) string {
		if i < len(name) {
			return name[i : i+1]
		}
		return "."
	}
	label := func(fromEnd int) string {
		if len(labels) >= fromEnd {
			return labels[len(labels)-fromEnd]
		}
		return "."
	}
	return strings.NewReplacer("%s", name, "%1", char(0), "%2", char(1), "%3", char(2), "%z", label(1), "%y", label(2), "%x", label(3)).Replace(pattern)
}

// peer takes "[AXFR|UDP] address[@port] key [tls-auth]", the last if mayTLS.
func (n *nsd) peer(to *[]Peer, a attribute, what string, mayTLS bool) {
	words := strings.Fields(a.value)
	if len(words) > 0 && (words[0] == "AXFR" || words[0] == "UDP") {
		n.note(a.place, what, "%s is left out: IXFR is asked for over TCP, AXFR if that fails", words[0])
		words = words[1:]
	}
	var tls PeerTLS
	port := uint16(53)
	if len(words) == 3 && mayTLS {
		var ok bool
		if tls, ok = n.peerTLS(words[2], a, what); !ok {
			return
		}
		port = 853
	} else if len(words) != 2 {
		n.note(a.place, what, "want an address and a key")
		return
	}
	addr, err := addressAt(words[0], port)
	if err != nil {
		n.note(a.place, what, "%v", err)
		return
	}
	key, ok := n.keyOf(words[1], a, what)
	if ok {
		*to = append(*to, Peer{Address: addr, Key: key, TLS: tls})
	}
}

// keyOf returns a key's name, "" for NOKEY; ok is false for what is neither.
func (n *nsd) keyOf(word string, a attribute, what string) (string, bool) {
	if word == "NOKEY" {
		return "", true
	}
	name, err := zoneName(word)
	if err != nil || word == "BLOCKED" {
		n.note(a.place, what, "%s is no key", clip(word))
		return "", false
	}
	return name, true
}

// rule takes "network key [tls-auth]" of provide-xfr, or "network key" of allow-query; who
// is BLOCKED goes to blocked.
func (n *nsd) rule(a attribute, what string, blocked *[]Rule) []Rule {
	words := strings.Fields(a.value)
	var tls RuleTLS
	switch {
	case len(words) == 3 && blocked == &n.blocked:
		var ok bool
		if tls, ok = n.ruleTLS(words[2], a, what); !ok {
			return nil
		}
	case len(words) != 2:
		n.note(a.place, what, "want a network and a key")
		return nil
	case n.transfersNeedAuth && blocked == &n.blocked && words[1] != "BLOCKED":
		if n.bundle == "" {
			n.note(a.place, what, "with tls-auth-xfr-only a certificate is wanted, and no tls-cert-bundle says of which authority: write it under tls.ca of the rule")
			return nil
		}
		tls.CA = n.bundle
	}
	nets, err := networksOf(words[0])
	if err != nil {
		n.note(a.place, what, "%v", err)
		nets = nil
	}
	if words[1] == "BLOCKED" {
		if nets == nil {
			nets = everybody // it cannot be told who is kept out
		}
		for _, network := range nets {
			*blocked = append(*blocked, Rule{Network: network})
		}
		return nil
	}
	key, ok := n.keyOf(words[1], a, what)
	if !ok {
		return nil
	}
	var rules []Rule
	for _, network := range nets {
		rules = append(rules, Rule{Network: network, Key: key, TLS: tls})
	}
	return rules
}

// networksOf reads an address, a prefix, a range "from-to", or "network&mask".
func networksOf(text string) ([]netip.Prefix, error) {
	if from, to, ok := strings.Cut(text, "-"); ok {
		return rangeOf(from, to)
	}
	if head, mask, ok := strings.Cut(text, "&"); ok {
		addr, err := netip.ParseAddr(head)
		m, maskErr := netip.ParseAddr(mask)
		if err != nil || maskErr != nil || addr.BitLen() != m.BitLen() {
			return nil, fmt.Errorf("%q is no network with a mask", clip(text))
		}
		bits := 0
		for _, octet := range m.AsSlice() {
			for b := 7; b >= 0 && octet&(1<<b) != 0; b-- {
				bits++
			}
		}
		p, _ := addr.Prefix(bits)
		if !isMask(m, bits) {
			return nil, fmt.Errorf("%q has a mask with holes", clip(text))
		}
		return []netip.Prefix{p}, nil
	}
	if p := parseNet(text); p.IsValid() {
		return []netip.Prefix{p.Masked()}, nil
	}
	return nil, fmt.Errorf("%q is neither an address nor a network", clip(text))
}

func isMask(m netip.Addr, bits int) bool {
	all := m.AsSlice()
	for i := range all {
		all[i] = 0xFF
	}
	ones, _ := netip.AddrFromSlice(all)
	want, err := ones.Prefix(bits)
	return err == nil && want.Addr() == m
}

// maxRange is how many networks a range of addresses may become.
const maxRange = 64

// rangeOf returns the networks that cover the addresses from one to another.
func rangeOf(from, to string) ([]netip.Prefix, error) {
	a, err := netip.ParseAddr(from)
	b, toErr := netip.ParseAddr(to)
	if err != nil || toErr != nil || a.BitLen() != b.BitLen() || b.Less(a) {
		return nil, fmt.Errorf("%q is no range of addresses", clip(from+"-"+to))
	}
	var nets []netip.Prefix
	for !b.Less(a) {
		if len(nets) == maxRange {
			return nil, fmt.Errorf("the range %s-%s takes more than %d networks; write them by hand", from, to, maxRange)
		}
		bits := a.BitLen()
		for bits > 0 { // the largest network that begins here and does not reach beyond
			p, _ := a.Prefix(bits - 1)
			if p.Addr() != a || b.Less(lastOf(p)) {
				break
			}
			bits--
		}
		p := netip.PrefixFrom(a, bits)
		nets = append(nets, p)
		if a = lastOf(p).Next(); !a.IsValid() {
			break
		}
	}
	return nets, nil
}

// lastOf returns the last address of a network.
func lastOf(p netip.Prefix) netip.Addr {
	octets := p.Addr().AsSlice()
	for i := range octets {
		for bit := range 8 {
			if i*8+bit >= p.Bits() {
				octets[i] |= 0x80 >> bit
			}
		}
	}
	addr, _ := netip.AddrFromSlice(octets)
	return addr
}

// zoneList takes the zones that nsd-control addzone has put into the zone list:
// lines "add NAME PATTERN".
func (n *nsd) zoneList(main string) {
	if n.zones == "" {
		return
	}
	file := below(n.folder, n.zones)
	text, err := n.read(file)
	if err != nil {
		n.note(n.zoneFile, "zonelistfile: "+n.zones, "it cannot be read, and the zones that nsd-control added are in it: %v", err)
		return
	}
	deleted := map[string]bool{}
	lines := strings.Split(text, "\n")
	for _, line := range lines {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "del" {
			deleted[f[1]] = true
		}
	}
	for i, line := range lines {
		f := strings.Fields(line)
		at := place{file, i + 1}
		switch {
		case len(f) == 0 || strings.HasPrefix(f[0], "#") || f[0] == "del":
		case len(f) == 3 && f[0] == "add" && deleted[f[1]]:
		case (len(f) == 3 || len(f) == 4) && f[0] == "add":
			n.zone(f[1], &clause{place: at, name: "zone", attributes: []attribute{{at, "include-pattern", f[2]}}})
		default:
			n.note(at, line, "want add NAME PATTERN")
		}
	}
}
