package migrate

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

// BIND reads a named.conf and what it includes. The error says what cannot be
// read at all; everything else is in the notes.
func BIND(file string, source Source) (*Result, error) {
	r := &reader{source: source, result: &Result{}}
	list, err := r.parseBIND(file)
	if err != nil {
		return nil, err
	}
	b := &bind{reader: r, main: place{file, 0}, directory: path.Dir(file), acls: map[string][]statement{}, lists: map[string]*statement{}, servers: map[netip.Addr]string{}, seen: map[string]bool{}, tls: map[string]*statement{}, http: map[string]*statement{}}
	b.result.Plan.Resolver = true // RFC 1034 servers and resolvers in one: named's default
	b.collect(list)
	global := scope{}
	for i := range list {
		if s := &list[i]; s.word(0) == "options" {
			b.options(s, &global)
		}
	}
	b.defaults(&global)
	for i := range list {
		b.statement(&list[i], global)
	}
	b.inherited(global)
	b.leftCatalogs()
	if global.forwarders != nil {
		b.route(global.forwarders, ".", global.forwarders, global.forward, false)
	}
	return b.finish(file), nil
}

// bind is a named.conf while it is read.
type bind struct {
	*reader
	main      place
	directory string
	port      uint16
	acls      map[string][]statement
	lists     map[string]*statement // primaries lists by name
	servers   map[netip.Addr]string // keys of server statements
	seen      map[string]bool       // notes that are made once
	tls, http map[string]*statement // by name
	wanted    []catalogWanted       // by catalog-zones
	found     []*statement          // of them, those that are zones
}

// scope is what zones inherit from options and view.
type scope struct {
	transfer, notifyTo, query *statement
	notify                    *statement
	listens                   bool // there is a listen-on
	recursion                 *statement
	policy                    *statement
	catalogs                  map[string]*statement // zones that are catalogs
	limits                    [3]*statement         // as limitsOf
	forwarders, forward       *statement            // of options
}

// collect finds what other statements refer to by name, wherever it stands.
func (b *bind) collect(list []statement) {
	for i := range list {
		s := &list[i]
		block, _ := s.block()
		switch s.word(0) {
		case "options":
			for j := range block {
				switch block[j].word(0) {
				case "directory":
					b.directory = block[j].word(1)
				case "port":
					b.port = b.portOf(&block[j], block[j].word(1), 0)
				}
			}
		case "acl":
			b.acls[s.word(1)] = block
		case "primaries", "masters", "remote-servers", "parental-agents":
			b.lists[s.word(1)] = s
		case "key":
			b.key(s, block)
		case "server":
			b.server(s, block)
		case "tls":
			b.tls[s.word(1)] = s
		case "http":
			b.http[s.word(1)] = s
		case "view":
			b.collect(block)
		}
	}
}

// key takes a TSIG key.
func (b *bind) key(s *statement, block []statement) {
	k := Key{}
	var err error
	if k.Name, err = zoneName(s.word(1)); err != nil {
		b.note(s.place, s.String(), "its name: %v", err)
		return
	}
	for i := range block {
		switch block[i].word(0) {
		case "algorithm":
			word, truncated, _ := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(strings.ToLower(block[i].word(1)), "."), "hmac-"), "-")
			k.Algorithm = algorithms[word]
			if truncated != "" {
				b.note(block[i].place, block[i].String(), "signatures are sent whole, not of %s bits", clip(truncated))
			}
			if k.Algorithm == "" {
				b.note(s.place, s.String(), "algorithm %s is not taken; make a new key with hmac-sha256 on both sides", clip(block[i].word(1)))
				return
			}
		case "secret":
			k.Secret = strings.Join(strings.Fields(block[i].word(1)), "")
		default:
			b.note(block[i].place, block[i].String(), "unknown in a key")
		}
	}
	b.addKey(k, s.place)
}

// addKey adds a key whose secret can be used.
func (r *reader) addKey(k Key, at place) {
	switch {
	case r.result.Plan.hasKey(k.Name):
		r.note(at, "key "+k.Name, "there is a key of this name already; the first one was taken")
	case k.Algorithm == "":
		r.note(at, "key "+k.Name, "it has no algorithm")
	case k.File == "" && !isBase64(k.Secret):
		r.note(at, "key "+k.Name, "its secret is not base64")
	default:
		r.result.Plan.Keys = append(r.result.Plan.Keys, k)
	}
}

func (b *bind) server(s *statement, block []statement) {
	addr, err := netip.ParseAddr(s.word(1))
	for i := range block {
		key := block[i].word(1)
		if inner, ok := block[i].block(); ok && len(inner) > 0 {
			key = inner[0].word(0)
		}
		name, nameErr := zoneName(key)
		if block[i].word(0) != "keys" && block[i].word(0) != "key" || err != nil || nameErr != nil {
			b.note(block[i].place, "server "+s.word(1)+": "+block[i].String(), "no counterpart: only the key of a single server is taken")
			continue
		}
		b.servers[addr] = name
	}
}

// statement takes one statement outside of options.
func (b *bind) statement(s *statement, from scope) {
	block, _ := s.block()
	switch s.word(0) {
	case "options", "acl", "primaries", "masters", "remote-servers", "key", "server", "tls", "http":
	case "zone":
		b.zone(s, block, from, "")
	case "view":
		b.view(s, block, from)
	default:
		b.note(s.place, s.String(), "%s", reason(bindReasons, s.word(0)))
	}
}

func reason(reasons map[string]string, word string) string {
	if why := reasons[word]; why != "" {
		return why
	}
	return "no counterpart here"
}

// bindReasons say why a setting is not carried over, for those that most
// configurations have.
var bindReasons = map[string]string{
	"logging":                     "the log goes to standard error; see log.level and log.format",
	"controls":                    "commands go to listen.admin",
	"statistics-channels":         "metrics are at listen.admin, under /metrics",
	"trust-anchors":               "write them under resolver.trustAnchors",
	"managed-keys":                "write them under resolver.trustAnchors",
	"trusted-keys":                "write them under resolver.trustAnchors",
	"dnssec-policy":               "not before its keys are here, or the chain of trust breaks: see docs/MOVING-FROM-BIND.md, then write dnssec: default or another policy",
	"key-directory":               "private keys are kept in the data folder",
	"inline-signing":              "a zone with a policy is signed beside its source always; BIND serves it with serials ahead of the file's, see docs/MOVING-FROM-BIND.md",
	"auto-dnssec":                 "write a policy under dnssec.policies, and let the zone name it",
	"forwarders":                  "write a route under resolver.routes",
	"forward":                     "see first of resolver.routes",
	"pid-file":                    "not needed: the service manager knows the process",
	"session-keyfile":             "not needed",
	"dump-file":                   "not needed: see pharos explain",
	"statistics-file":             "not needed: metrics are at listen.admin",
	"memstatistics-file":          "not needed: metrics are at listen.admin",
	"secroots-file":               "not needed",
	"recursing-file":              "not needed",
	"managed-keys-directory":      "not needed: see resolver.trustAnchors",
	"bindkeys-file":               "not needed: the root's anchors are built in",
	"geoip-directory":             "no counterpart here",
	"version":                     "CHAOS queries are refused",
	"hostname":                    "CHAOS queries are refused",
	"allow-update":                "who may update a zone is written under zones[].updates; see docs/MOVING-FROM-BIND.md",
	"update-policy":               "who may update a zone is written under zones[].updates; see docs/MOVING-FROM-BIND.md",
	"allow-update-forwarding":     "see docs/MOVING-FROM-BIND.md about updates",
	"allow-notify":                "NOTIFY is heard from the primaries, their addresses and keys, and from nobody else",
	"allow-query-cache":           "who may use the resolver may use its cache",
	"allow-query-on":              "not limited by the address that was asked; see listen.dns",
	"notify-source":               "the system chooses the source address",
	"notify-source-v6":            "the system chooses the source address",
	"transfer-source":             "the system chooses the source address",
	"transfer-source-v6":          "the system chooses the source address",
	"query-source":                "the system chooses the source address, and a random port",
	"masterfile-format":           "zone files are text",
	"journal":                     "differences are kept by the node; see transfers.journal",
	"max-journal-size":            "see transfers.journal",
	"ixfr-from-differences":       "differences are found always",
	"provide-ixfr":                "IXFR is given when the differences are known",
	"request-ixfr":                "IXFR is asked for always, AXFR if that fails",
	"check-names":                 "names are not limited to letters, digits and hyphens",
	"check-integrity":             "see zones[].gate",
	"zone-statistics":             "see the metrics at listen.admin",
	"max-cache-size":              "see resolver.cacheSize",
	"minimal-responses":           "responses are minimal always",
	"minimal-any":                 "ANY over UDP gets one RRset always",
	"empty-zones-enable":          "names of private addresses are answered here: see resolver.specialNames",
	"disable-empty-zone":          "names of private addresses are answered here: see resolver.specialNames",
	"auth-nxdomain":               "AA is set as RFC 1035 says",
	"interface-interval":          "listen.dns names the addresses",
	"min-refresh-time":            "the SOA record's REFRESH counts",
	"max-refresh-time":            "the SOA record's REFRESH counts",
	"min-retry-time":              "the SOA record's RETRY counts",
	"max-retry-time":              "the SOA record's RETRY counts",
	"use-alt-transfer-source":     "the system chooses the source address",
	"max-transfer-time-in":        "see transfers.maxTime",
	"max-transfer-idle-in":        "30 s between two messages",
	"transfer-format":             "messages are filled always",
	"serial-query-rate":           "see transfers.incoming",
	"startup-notify-rate":         "see transfers",
	"notify-delay":                "NOTIFY is sent at once",
	"notify-to-soa":               "notify names who is told",
	"dialup":                      "no counterpart here",
	"blackhole":                   "no counterpart here: drop these clients in the firewall",
	"response-policy":             "write the zones under resolver.policies",
	"sortlist":                    "no counterpart here",
	"rrset-order":                 "records of an answer are rotated",
	"automatic-interface-scan":    "listen.dns names the addresses",
	"also-notify":                 "nobody is notified (notify no)",
	"avoid-v4-udp-ports":          "source ports are random",
	"dnssec-update-mode":          "see dnssec.policies",
	"sig-validity-interval":       "see dnssec.policies",
	"dnssec-dnskey-kskonly":       "see dnssec.policies",
	"update-check-ksk":            "see dnssec.policies",
	"dnssec-loadkeys-interval":    "see dnssec.policies",
	"parental-agents":             "see dnssec.policies",
	"checkds":                     "see dnssec.policies",
	"nsec3-test-zone":             "no counterpart here",
	"serial-update-method":        "see zones[].serial",
	"tcp-idle-timeout":            "see dns.tcpIdle",
	"tcp-initial-timeout":         "see dns.tcpIdle",
	"tcp-keepalive-timeout":       "see dns.tcpIdle",
	"tcp-advertised-timeout":      "see dns.tcpIdle",
	"edns-udp-size":               "1232 octets",
	"max-udp-size":                "1232 octets",
	"nocookie-udp-size":           "see dns.rateLimit",
	"require-server-cookie":       "see dns.rateLimit: a good cookie lifts the limit",
	"answer-cookie":               "cookies are answered always",
	"send-cookie":                 "not needed",
	"lame-ttl":                    "not needed",
	"dnssec-enable":               "signatures are served always",
	"dnssec-lookaside":            "it has ended",
	"attach-cache":                "each view has a cache of its own",
	"recursive-clients":           "bounded by the node itself",
	"resolver-query-timeout":      "see resolver.timeout",
	"qname-minimization":          "see resolver.minimise",
	"querylog":                    "see log",
	"stale-answer-enable":         "see resolver.serveStale",
	"max-ncache-ttl":              "see resolver.maxNegativeTTL",
	"max-cache-ttl":               "see resolver.maxTTL",
	"prefetch":                    "see resolver.prefetch",
	"zero-no-soa-ttl":             "the SOA record's own TTL counts",
	"multi-master":                "no counterpart here",
	"try-tcp-refresh":             "TCP is used when UDP does not answer",
	"root-key-sentinel":           "no counterpart here",
	"deny-answer-addresses":       "see resolver.rebinding",
	"validate-except":             "write the names under resolver.negativeTrustAnchors",
	"dnssec-must-be-secure":       "no counterpart here",
	"dnssec-accept-expired":       "expired signatures are bogus",
	"synth-from-dnssec":           "see resolver.aggressive",
	"fetches-per-server":          "bounded by the node itself",
	"fetches-per-zone":            "bounded by the node itself",
	"max-recursion-depth":         "bounded by the node itself",
	"max-recursion-queries":       "bounded by the node itself",
	"reserved-sockets":            "not needed",
	"flush-zones-on-shutdown":     "changes are on disk before they are acknowledged",
	"acache-enable":               "it has ended",
	"additional-from-auth":        "it has ended",
	"cleaning-interval":           "not needed",
	"match-mapped-addresses":      "IPv4-mapped addresses are IPv4 always",
	"heartbeat-interval":          "no counterpart here",
	"preferred-glue":              "all glue that fits is sent",
	"keep-response-order":         "answers over TCP may come in any order (RFC 7766 §6.2.1.1)",
	"max-zone-ttl":                "no counterpart here",
	"allow-new-zones":             "zones are in the configuration file; an .nzf file of named can be imported by itself",
	"new-zones-directory":         "zones are in the configuration file",
	"dyndb":                       "no counterpart here",
	"dlz":                         "no counterpart here",
	"plugin":                      "no counterpart here",
	"server-addresses":            "no counterpart here",
	"max-rsa-exponent-size":       "not needed",
	"message-compression":         "names are compressed always",
	"servfail-ttl":                "bounded by the node itself",
	"tkey-gssapi-keytab":          "no counterpart here: GSS-TSIG is not taken",
	"tkey-gssapi-credential":      "no counterpart here: GSS-TSIG is not taken",
	"tkey-domain":                 "no counterpart here",
	"tkey-dhkey":                  "no counterpart here",
	"ipv4only-enable":             "no counterpart here",
	"dns64":                       "see resolver.dns64",
	"fstrm-set-buffer-hint":       "no counterpart here",
	"dnstap":                      "see log",
	"dnstap-output":               "see log",
	"dnstap-identity":             "see log",
	"dnstap-version":              "see log",
	"nta-lifetime":                "resolver.negativeTrustAnchors hold until they are removed",
	"transfers-in-per-ns":         "see transfers.incomingPerPrimary",
	"files":                       "raise it in the service manager",
	"datasize":                    "set it in the service manager",
	"stacksize":                   "set it in the service manager",
	"coresize":                    "set it in the service manager",
	"tcp-listen-queue":            "not needed",
	"dscp":                        "no counterpart here",
	"dual-stack-servers":          "no counterpart here",
	"treat-cr-as-space":           "it has ended",
	"dnskey-sig-validity":         "see dnssec.policies",
	"sig-signing-nodes":           "not needed",
	"sig-signing-signatures":      "not needed",
	"sig-signing-type":            "not needed",
	"max-ixfr-ratio":              "IXFR is given while it is smaller than the zone",
	"max-clients-per-query":       "bounded by the node itself",
	"clients-per-query":           "bounded by the node itself",
	"dnssec-secure-to-insecure":   "see dnssec.policies",
	"sig0checks-quota":            "SIG(0) is not taken",
	"responselog":                 "see log",
	"reuseport":                   "each core has its own socket always",
	"update-quota":                "bounded by the node itself",
	"tcp-receive-buffer":          "the system chooses",
	"udp-receive-buffer":          "the system chooses",
	"allow-proxy":                 "see dns.proxy",
	"allow-proxy-on":              "see dns.proxy",
	"sig0key-checks-limit":        "SIG(0) is not taken",
	"sig0message-checks-limit":    "SIG(0) is not taken",
	"alt-transfer-source":         "the system chooses the source address",
	"alt-transfer-source-v6":      "the system chooses the source address",
	"allow-transfer":              "see zones[].transfer",
	"check-mx":                    "see zones[].gate",
	"check-mx-cname":              "see zones[].gate",
	"check-srv-cname":             "see zones[].gate",
	"check-sibling":               "see zones[].gate",
	"check-spf":                   "SPF records are served as they are",
	"check-wildcard":              "wildcards are served as RFC 4592 says",
	"check-dup-records":           "duplicates are left out, and said",
	"check-svcb":                  "malformed SVCB records are refused always",
	"query-source-v6":             "the system chooses the source address, and a random port",
	"parental-source":             "the system chooses the source address",
	"parental-source-v6":          "the system chooses the source address",
	"http-port":                   "write the listener under listen",
	"https-port":                  "write the listener under listen",
	"tls-port":                    "write the listener under listen",
	"http-listener-clients":       "bounded by the node itself",
	"http-streams-per-connection": "bounded by the node itself",
}

// portOf reads a port; without one it is otherwise.
func (b *bind) portOf(s *statement, word string, otherwise uint16) uint16 {
	if word == "" {
		return otherwise
	}
	port, err := strconv.ParseUint(word, 10, 16)
	if err != nil || port == 0 {
		b.note(s.place, s.String(), "%q is no port", word)
		return otherwise
	}
	return uint16(port)
}

// defaults are what named does where the file says nothing, and we do not.
func (b *bind) defaults(global *scope) {
	if b.port == 0 {
		b.port = 53
	}
	if !global.listens {
		b.result.Plan.Listen = []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), b.port), netip.AddrPortFrom(netip.IPv6Unspecified(), b.port)}
	}
	if b.result.Plan.Resolver && global.recursion == nil {
		b.note(b.main, "", "named gives recursion to the networks of its interfaces unless told otherwise; here only to this machine: see resolver.allow")
	}
}

// inherited notes what named does for all zones by default, and we do not.
func (b *bind) inherited(global scope) {
	if len(b.result.Plan.Zones) == 0 {
		return
	}
	if global.notify == nil {
		b.note(b.main, "", "named notifies all name servers in a zone's NS records unless told otherwise; here those under zones[].notify: add the secondaries that are not there")
	}
	if global.transfer == nil {
		b.note(b.main, "", "named up to 9.18 gives a zone to everybody unless allow-transfer says otherwise; here to those under zones[].transfer")
	}
}

// options takes the options statement.
func (b *bind) options(s *statement, global *scope) {
	block, _ := s.block()
	for i := range block {
		o := &block[i]
		if !b.inherit(o, global) {
			b.option(o, global)
		}
	}
}

// inherit takes an option that views and zones may also have.
func (b *bind) inherit(o *statement, to *scope) bool {
	switch o.word(0) {
	case "allow-transfer":
		to.transfer = o
	case "also-notify":
		to.notifyTo = o
	case "notify":
		to.notify = o
		if w := o.word(1); w == "yes" || w == "true" || w == "1" || w == "primary-only" || w == "master-only" {
			b.note(o.place, o.String(), "named then tells all name servers in the NS records; here those under zones[].notify are told: add the secondaries that are not there")
		}
	case "allow-query":
		to.query = o
	case "dnssec-policy":
		to.policy = o
	case "catalog-zones":
		b.catalogZones(o, to)
	case "max-records", "max-records-per-type", "max-types-per-name":
		to.limit(o)
	default:
		return false
	}
	return true
}

// option takes an option of the server as a whole.
func (b *bind) option(o *statement, global *scope) {
	p := &b.result.Plan
	list, _ := o.block()
	switch o.word(0) {
	case "directory", "port":
	case "listen-on":
		global.listens = true
		b.listen(o, list, netip.IPv4Unspecified())
	case "listen-on-v6":
		global.listens = true
		b.listen(o, list, netip.IPv6Unspecified())
	case "recursion":
		global.recursion = o
		p.Resolver = o.word(1) == "yes" || o.word(1) == "true" || o.word(1) == "1"
	case "allow-recursion":
		if global.recursion == nil {
			global.recursion = o
		}
		p.Recursion, _ = b.networks(list, o, "may use the resolver")
		if len(p.Recursion) == 0 {
			p.Resolver = false
		}
	case "dnssec-validation":
		p.NoValidation = o.word(1) == "no" || o.word(1) == "false" || o.word(1) == "0"
	case "server-id":
		if o.parts[len(o.parts)-1].quoted {
			b.setNSID(o.place, o.word(1))
		} else if o.word(1) != "none" {
			b.note(o.place, o.String(), "write the name itself under dns.nsid")
		}
	case "cookie-secret":
		b.setCookieSecret(o.place, o.word(1))
	case "cookie-algorithm":
		if o.word(1) != "siphash24" {
			b.note(o.place, o.String(), "cookies are made with siphash24 (RFC 9018)")
		}
	case "tcp-clients":
		p.TCPConnections = b.number(o, 1, 1_000_000)
	case "transfers-in":
		p.Incoming = b.number(o, 1, 10_000)
	case "transfers-out":
		p.Outgoing = b.number(o, 1, 10_000)
	case "transfers-per-ns":
		p.PerPrimary = b.number(o, 1, 10_000)
	case "forwarders":
		global.forwarders = o
	case "forward":
		global.forward = o
	case "rate-limit":
		b.rateLimit(list)
	case "disable-empty-zone", "empty-zones-enable":
		if !b.seen["empty"] {
			b.seen["empty"] = true
			b.note(o.place, o.String(), "%s", bindReasons["empty-zones-enable"])
		}
	default:
		b.note(o.place, o.String(), "%s", reason(bindReasons, o.word(0)))
	}
}

func (b *bind) number(o *statement, least, most int) int {
	n, err := strconv.Atoi(o.word(1))
	if err != nil || n < least || n > most {
		b.note(o.place, o.String(), "want a number from %d to %d", least, most)
		return 0
	}
	return n
}

func (b *bind) rateLimit(list []statement) {
	p := &b.result.Plan
	for i := range list {
		switch o := &list[i]; o.word(0) {
		case "responses-per-second":
			p.RateLimit = b.number(o, 0, 1_000_000)
		case "exempt-clients":
			block, _ := o.block()
			p.RateLimitExempt, _ = b.networks(block, o, "has no rate limit")
		default:
			b.note(o.place, "rate-limit: "+o.String(), "fixed here: networks of /24 and /56, every second answer slips")
		}
	}
}

// listen takes the addresses of listen-on; wildcard is what any stands for.
func (b *bind) listen(o *statement, list []statement, wildcard netip.Addr) {
	if o.after("proxy") != "" {
		b.note(o.place, o.String(), "a listener with PROXY headers: write it under listen, and the proxies under dns.proxy.trusted")
		return
	}
	if tls := o.after("tls"); tls != "" && tls != "none" || o.after("http") != "" {
		b.listenTLS(o, list, wildcard)
		return
	}
	port := b.port
	if port == 0 {
		port = 53
	}
	port = b.portOf(o, o.after("port"), port)
	for _, add := range b.listenAddresses(o, list, wildcard) {
		if at := netip.AddrPortFrom(add, port); !slices.Contains(b.result.Plan.Listen, at) {
			b.result.Plan.Listen = append(b.result.Plan.Listen, at)
		}
	}
}

// listenAddresses returns the addresses that a listen-on names.
func (b *bind) listenAddresses(o *statement, list []statement, wildcard netip.Addr) (all []netip.Addr) {
	for _, e := range b.elements(list, o, 0) {
		add := wildcard
		switch {
		case e.text == "none":
			continue
		case e.negated:
			b.note(e.place, "listen-on "+e.text, "name the addresses themselves under listen.dns")
			continue
		case e.text == "any":
		case e.net.IsValid() && e.net.IsSingleIP() && e.net.Addr().Is4() == wildcard.Is4():
			add = e.net.Addr()
		case e.text == "localhost" && e.net.Addr().Is4() == wildcard.Is4():
			add = map[bool]netip.Addr{true: netip.MustParseAddr("127.0.0.1"), false: netip.IPv6Loopback()}[wildcard.Is4()]
		case e.text == "localhost":
			continue
		default:
			b.note(e.place, "listen-on "+e.text, "name the addresses themselves under listen.dns")
			continue
		}
		all = append(all, add)
	}
	return all
}

// view takes the zones of a view: into one of ours, or outside of views if it is for
// everybody.
func (b *bind) view(s *statement, block []statement, from scope) {
	limited, mine := "", View{}
	recursion := from.recursion
	for i := range block {
		o := &block[i]
		list, _ := o.block()
		switch word := o.word(0); {
		case word == "zone", word == "key", word == "acl", word == "server", word == "primaries", word == "masters":
		case word == "match-clients", word == "match-destinations", word == "match-recursive-only":
			switch {
			case word == "match-destinations" && b.isAny(list, o):
			case word != "match-clients" || b.result.Plan.hasView(viewName(s.word(1))):
				limited = fmt.Sprintf("view %s is for some clients only (%s)", s.word(1), o.String())
			default:
				v, everybody, why := b.clientsOf(viewName(s.word(1)), list, o)
				if limited = why; why == "" && !everybody {
					mine = v
				}
			}
		case word == "recursion":
			recursion = o
		case b.inherit(o, &from):
		default:
			b.note(o.place, "view "+s.word(1)+": "+o.String(), "%s", reason(bindReasons, word))
		}
	}
	if mine.Name != "" && limited == "" {
		if recursion != nil && recursion.word(1) == "no" {
			mine.Recursion = "off"
		}
		b.beginView(mine)
		defer b.endView()
	}
	for i := range block {
		if zone := &block[i]; zone.word(0) == "zone" {
			inner, _ := zone.block()
			b.zone(zone, inner, from, limited)
		}
	}
}
