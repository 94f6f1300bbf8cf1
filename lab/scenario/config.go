package scenario

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
)

// config reads the lines up to CONFIG_END as settings and decides the dialect: a
// file with a "server:" or "stub-zone:" clause is Unbound's.
func (p *parser) config() error {
	clause, block := "", 0
	s := p.scenario
	s.Dialect = Deckard
	for {
		if p.at >= len(p.lines) {
			return p.errorf(p.at, "the file has no CONFIG_END")
		}
		text := strings.TrimSpace(p.lines[p.at])
		p.at++
		switch word, _, _ := strings.Cut(text, " "); word {
		case "CONFIG_END":
			return nil
		case "TEMPFILE_CONTENTS":
			if clause == "rpz" {
				s.Settings = append(s.Settings, Setting{clause, block, word, p.readFile(), p.at})
				continue
			}
			if clause == "auth-zone" {
				s.Settings = append(s.Settings, Setting{clause, block, text, p.readFile(), p.at})
				continue
			}
			fallthrough
		case "AUTOTRUST_FILE":
			s.Settings = append(s.Settings, Setting{Key: word, Value: text, Line: p.at})
			p.skipFile()
			continue
		case "TEMPFILE_NAME":
			continue
		}
		if strings.HasPrefix(text, "SCENARIO_BEGIN") { // CONFIG_END may be missing
			p.at--
			return nil
		}
		for _, part := range partSettings(text) {
			key, value, ok := splitSetting(part)
			switch {
			case !ok, key == "zonefile" && (clause == "rpz" || clause == "auth-zone"):
			case value == "":
				clause, block = key, block+1
				s.Dialect = Unbound
			default:
				s.Settings = append(s.Settings, Setting{clause, block, key, value, p.at})
			}
		}
	}
}

// partSettings parts a line with a whole clause, "forward-zone: name: x ...".
func partSettings(text string) []string {
	rest, isClause := strings.CutPrefix(text, "forward-zone:")
	if !isClause {
		return []string{text}
	}
	parts := []string{"forward-zone:"}
	for words := strings.Fields(rest); len(words) >= 2; words = words[2:] {
		parts = append(parts, words[0]+" "+words[1])
	}
	return parts
}

// skipFile passes over the contents of a file that Unbound is to read.
func (p *parser) skipFile() {
	for p.at < len(p.lines) {
		word := strings.TrimSpace(p.lines[p.at])
		p.at++
		if word == "TEMPFILE_END" || word == "AUTOTRUST_END" {
			return
		}
	}
}

// readFile returns the contents of a file that Unbound is to read.
func (p *parser) readFile() string {
	begin := p.at
	p.skipFile()
	return strings.Join(p.lines[begin:max(begin, p.at-1)], "\n") + "\n"
}

// splitSetting reads "key: value", value perhaps in quotes, perhaps with a
// comment behind it. ok is false for lines that set nothing.
func splitSetting(text string) (key, value string, ok bool) {
	if text == "" || text[0] == ';' || text[0] == '#' {
		return "", "", false
	}
	key, value, ok = strings.Cut(text, ":")
	if !ok {
		return "", "", false
	}
	value = strings.TrimSpace(value)
	if value != "" && (value[0] == '"' || value[0] == '\'') {
		end := strings.IndexByte(value[1:], value[0])
		if rest := strings.TrimSpace(value[end+2:]); end >= 0 && (rest == "" || rest[0] == '#' || rest[0] == ';') {
			return key, strings.TrimSpace(value[1 : 1+end]), true
		}
	}
	if cut := strings.IndexAny(value, "#;"); cut >= 0 {
		value = strings.TrimSpace(value[:cut])
	}
	return key, value, true
}

// World is what a scenario's settings mean to the resolver.
type World struct {
	Roots          []netip.Addr // addresses of the root servers in the hints
	NoIPv4, NoIPv6 bool
	Aggressive     bool          // RFC 8198
	StaleAfter     time.Duration // see iterate.Limits
	Minimise       bool          // QNAME minimisation (RFC 9156)
	MixCase        bool          // names in mixed case
	Routes         []iterate.Route
	Subnets        iterate.Subnets // whose servers are told of clients' networks (RFC 7871)
	Sends          int             // outgoing queries that one question may cost; 0 is the standard
	Cache          rrcache.Limits
	Anchors        []rdata.Record // trust anchors; validation is on if there are any
	Insecure       []dnsname.Name // names at and below which nothing is validated
	own            []*ownZone     // zones of this server
	Begin          time.Time      // when the scenario begins, by its signatures; zero: any time
	Prefetch       bool           // answers are fetched again before they expire
	Policies       Policies       // what is said in place of what servers say
}

// harmless are settings that change how Unbound works inside, how it writes its
// log, or how it arranges an answer, but not what a client has to be told.
var harmless = map[string]bool{
	"target-fetch-policy": true, "minimal-responses": true, "rrset-roundrobin": true,
	"trust-anchor-signaling": true, "fake-sha1": true, "fake-dsa": true, "verbosity": true,
	"log-servfail": true, "log-time-ascii": true, "log-queries": true, "log-replies": true,
	"iter-scrub-promiscuous": true,
	"harden-referral-path":   true, "harden-unknown-additional": true, "harden-below-nxdomain": true,
	"num-queries-per-thread": true, "discard-timeout": true, "outbound-msg-retry": true,
	"name":                 true,
	"infra-cache-numhosts": true, "msg-cache-size": true,
	"do-not-query-localhost": true, "do-not-query-address": true, "ede": true,
	"infra-host-ttl": true, "zonemd-permissive-mode": true, "jostle-timeout": true, "val-log-level": true,
	"edns-buffer-size": true, "unblock-lan-zones": true, "stub-prime": true, "stub-first": true,
	"val-max-restart": true, "prefetch-key": true, "msg-cache-slabs": true, "rrset-cache-slabs": true, "rrset-cache-size": true,
}

// mapped are modules of Unbound whose settings have counterparts.
var mapped = map[string]bool{"iterator": true, "validator": true, "respip": true, "dns64": true}

// needs are settings of abilities that are another part's or not there yet: the
// class and the ability.
var needs = map[string][2]string{
	"harden-dnssec-stripped": {"policy", "believing a signed zone without its keys (harden-dnssec-stripped: no)"},
	"trust-anchor-file":      {"whitebox", "a trust anchor file made for Unbound"},
	"AUTOTRUST_FILE":         {"whitebox", "a trust anchor file made for Unbound (RFC 5011)"},
	"TEMPFILE_CONTENTS":      {"whitebox", "a file made for Unbound"},
	"forward-host":           {"forward", "a forwarder by its name"},
	"stub-host":              {"forward", "a stub zone's server by its name"},
	"forward-tcp-upstream":   {"forward", "forwarding over TCP only"},
	"harden-unverified-glue": {"policy", "looking up the address of a sibling name server before it is used (harden-unverified-glue)"},
	"iter-scrub-ns":          {"policy", "cutting NS RRsets to a number of the operator's"},
	"iter-scrub-cname":       {"policy", "cutting CNAME chains to a number of the operator's"},
	"features":               {"config", "features of Knot Resolver"},
	"feature-list":           {"config", "modules of Knot Resolver"},
}

// World maps the settings. An *Unsupported error names the first that has no
// counterpart here.
func (s *Scenario) World() (World, error) {
	w := World{}
	zones := s.blockNames()
	for _, set := range s.Settings {
		handled, err := set.Clause == "auth-zone", error(nil)
		if handled {
			err = w.applyOwn(set, zones)
		} else {
			handled, err = w.Policies.apply(set, zones)
		}
		if err == nil && !handled {
			err = s.apply(&w, set, zones)
		}
		if err != nil {
			return w, err
		}
	}
	for _, r := range w.Policies.forwards {
		*w.route(r.Zone.String(), "forward-zone") = r
	}
	w.finishOwn()
	if len(w.Roots) == 0 && len(w.Routes) > 0 { // nobody is to be asked but those of the routes
		w.Roots = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 0})}
	}
	if len(w.Roots) == 0 && len(w.Policies.Local) > 0 { // all is local data
		w.Roots = []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 0})}
	}
	if len(w.Roots) == 0 && s.Dialect == Unbound {
		return w, &Unsupported{"config", "no address of a root server", 0}
	}
	return w, nil
}

// blockNames returns the name of each block that has one: the zone of stub-zone.
func (s *Scenario) blockNames() map[int]string {
	names := map[int]string{}
	for _, set := range s.Settings {
		if set.Key == "name" {
			names[set.Block] = set.Value
		}
	}
	return names
}

func (s *Scenario) apply(w *World, set Setting, zones map[int]string) error {
	yes := strings.EqualFold(set.Value, "yes") || strings.EqualFold(set.Value, "true")
	no := strings.EqualFold(set.Value, "no")
	switch set.Key {
	case "stub-addr", "forward-addr":
		return s.applyServer(w, set, zones)
	case "prefetch":
		w.Prefetch, w.Cache.PrefetchAsks = yes, 1 // Unbound asks for nothing more
	case "cache-min-ttl", "cache-min-negative-ttl":
		w.Cache.MinTTL = parseTTL(set.Value)
	case "aggressive-nsec":
		w.Aggressive = yes
	case "serve-expired":
		if yes && w.Cache.Stale == 0 {
			w.Cache.Stale = 24 * time.Hour
		}
	case "serve-expired-ttl":
		seconds, _ := strconv.Atoi(set.Value)
		w.Cache.Stale = time.Duration(seconds) * time.Second
	case "serve-expired-reply-ttl":
		w.Cache.StaleTTL = parseTTL(set.Value)
	case "serve-expired-client-timeout":
		ms, _ := strconv.Atoi(set.Value)
		if w.StaleAfter = time.Duration(ms) * time.Millisecond; ms == 0 {
			w.StaleAfter = -1
		}
	case "ede-serve-expired", "serve-expired-ttl-reset":
	case "forward-first", "stub-first":
		w.route(zones[set.Block], set.Clause).First = yes
	case "stub-name": // of the server at stub-addr
	case "do-ip4":
		w.NoIPv4 = !yes
	case "do-ip6":
		w.NoIPv6 = !yes
	case "qname-minimisation", "query-minimization":
		w.Minimise = yes || strings.EqualFold(set.Value, "on")
	case "use-caps-for-id":
		w.MixCase = yes
	case "max-global-quota":
		w.Sends, _ = strconv.Atoi(set.Value)
	case "client-subnet-zone":
		name, err := dnsname.Parse(set.Value)
		if err != nil {
			return fmt.Errorf("line %d: client-subnet-zone: %w", set.Line, err)
		}
		w.Subnets = iterate.Subnets{Zones: append(w.Subnets.Zones, name), Bits4: 24, Bits6: 56}
	case "cache-max-ttl":
		w.Cache.MaxTTL = parseTTL(set.Value)
		if w.Cache.MaxNegativeTTL == 0 {
			w.Cache.MaxNegativeTTL = w.Cache.MaxTTL
		}
	case "cache-max-negative-ttl":
		w.Cache.MaxNegativeTTL = parseTTL(set.Value)
	case "trust-anchor":
		record, err := ParseRecord(strings.ReplaceAll(strings.ReplaceAll(set.Value, "(", ""), ")", ""), ".", 0)
		if err != nil {
			return fmt.Errorf("line %d: trust-anchor: %w", set.Line, err)
		}
		w.Anchors = append(w.Anchors, record)
	case "domain-insecure":
		name, err := dnsname.Parse(set.Value)
		if err != nil {
			return fmt.Errorf("line %d: domain-insecure: %w", set.Line, err)
		}
		w.Insecure = append(w.Insecure, name)
	case "val-override-date", "val-override-timestamp":
		return s.applyTime(w, set)
	case "access-control":
		if !strings.HasSuffix(set.Value, " allow_snoop") && !strings.HasSuffix(set.Value, " allow") {
			return &Unsupported{"config", "access-control " + set.Value, set.Line}
		}
	case "harden-glue":
		if no {
			return &Unsupported{"policy", "believing addresses from out of the zone (harden-glue: no)", set.Line}
		}
	case "module-config":
		modules := strings.Fields(set.Value)
		if !slices.Contains(modules, "iterator") || slices.ContainsFunc(modules, func(m string) bool { return !mapped[m] }) {
			return &Unsupported{"config", "module-config " + set.Value, set.Line}
		}
	default:
		if need, ok := needs[set.Key]; ok && (!no || set.Key == "harden-dnssec-stripped") {
			return &Unsupported{need[0], need[1], set.Line}
		} else if !ok && !harmless[set.Key] && !no {
			return &Unsupported{"config", "setting " + set.Key, set.Line}
		}
	}
	return nil
}

// applyServer takes the address of a root server, or of one of a route.
func (s *Scenario) applyServer(w *World, set Setting, zones map[int]string) error {
	text, _, _ := strings.Cut(set.Value, "@")
	a, err := netip.ParseAddr(text)
	if err != nil {
		return &Unsupported{"config", set.Key + " " + set.Value, set.Line}
	}
	if set.Key == "stub-addr" && (s.Dialect == Deckard || strings.TrimSuffix(zones[set.Block], ".") == "") {
		w.Roots = append(w.Roots, a)
		return nil
	}
	r := w.route(zones[set.Block], set.Clause)
	r.Servers = append(r.Servers, netip.AddrPortFrom(a, 53))
	return nil
}

// route returns the route of a zone, made if need be.
func (w *World) route(zone, clause string) *iterate.Route {
	name, err := dnsname.Parse(zone)
	if err != nil {
		name = dnsname.Root
	}
	for i := range w.Routes {
		if w.Routes[i].Zone == name {
			return &w.Routes[i]
		}
	}
	w.Routes = append(w.Routes, iterate.Route{Zone: name, Forward: clause == "forward-zone" || clause == ""})
	return &w.Routes[len(w.Routes)-1]
}

// applyTime reads YYYYMMDDhhmmss, or the seconds since 1970.
func (s *Scenario) applyTime(w *World, set Setting) error {
	begin, err := time.Parse("20060102150405", set.Value)
	if seconds, notNumber := strconv.ParseInt(set.Value, 10, 64); err != nil && notNumber == nil {
		begin, err = time.Unix(seconds, 0), nil
	}
	if err != nil {
		return fmt.Errorf("line %d: %s: %w", set.Line, set.Key, err)
	}
	if begin.Unix() < 0 { // -1: dates do not count; so any at which the signatures are valid
		begin = s.lastInception().Add(time.Minute)
	}
	w.Begin = begin.UTC()
	return nil
}

// lastInception returns the moment from which on all signatures of the servers'
// messages are valid, expired ones aside.
func (s *Scenario) lastInception() time.Time {
	var last int64
	for _, r := range s.Ranges {
		for _, e := range r.Entries {
			for _, records := range [...][]rdata.Record{e.Message.Answer, e.Message.Authority} {
				for _, record := range records {
					if sig, ok := dnssec.ParseSignature(record.Data); ok && record.Type == rdata.TypeRRSIG {
						last = max(last, int64(sig.Inception))
					}
				}
			}
		}
	}
	return time.Unix(last, 0)
}

func parseTTL(text string) rdata.TTL {
	n, _ := strconv.ParseUint(text, 10, 31)
	return rdata.TTL(n)
}
