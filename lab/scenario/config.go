package scenario

import (
	"net/netip"
	"strings"
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
		case "AUTOTRUST_FILE", "TEMPFILE_NAME", "TEMPFILE_CONTENTS":
			return &Unsupported{"whitebox", word + ": a file made for Unbound", p.at}
		}
		if strings.HasPrefix(text, "SCENARIO_BEGIN") { // CONFIG_END may be missing
			p.at--
			return nil
		}
		key, value, ok := splitSetting(text)
		switch {
		case !ok:
		case value == "":
			clause, block = key, block+1
			s.Dialect = Unbound
		default:
			s.Settings = append(s.Settings, Setting{clause, block, key, value, p.at})
		}
	}
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
		if end := strings.IndexByte(value[1:], value[0]); end >= 0 {
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
	Minimise       bool // the file asks for QNAME minimisation (RFC 9156)
}

// harmless are settings that change how Unbound works inside, how it writes its
// log, or how it arranges an answer, but not what a client has to be told.
var harmless = map[string]bool{
	"target-fetch-policy": true, "minimal-responses": true, "rrset-roundrobin": true,
	"trust-anchor-signaling": true, "fake-sha1": true, "fake-dsa": true, "verbosity": true,
	"log-servfail": true, "log-time-ascii": true, "log-queries": true, "log-replies": true,
	"iter-scrub-promiscuous": true, "iter-scrub-ns": true, "iter-scrub-cname": true,
	"harden-referral-path": true, "harden-glue": true, "harden-unverified-glue": true,
	"harden-unknown-additional": true, "harden-below-nxdomain": true,
	"num-queries-per-thread": true, "discard-timeout": true, "val-override-date": true,
	"val-override-timestamp": true, "aggressive-nsec": true, "outbound-msg-retry": true,
	"max-global-quota": true, "prefetch": true, "query-minimization": true, "name": true,
	"use-caps-for-id": true, "infra-cache-numhosts": true, "msg-cache-size": true,
	"do-not-query-localhost": true, "do-not-query-address": true, "ede": true,
	"infra-host-ttl": true, "jostle-timeout": true, "val-log-level": true,
	"serve-expired": false, "edns-buffer-size": true, "unblock-lan-zones": true,
}

// needs are settings of abilities that are another part's or not there yet.
var needs = map[string][2]string{
	"trust-anchor":           {"dnssec", "DNSSEC validation"},
	"trust-anchor-file":      {"dnssec", "DNSSEC validation"},
	"domain-insecure":        {"dnssec", "DNSSEC validation"},
	"serve-expired":          {"stale", "answers from expired records (RFC 8767)"},
	"serve-original-ttl":     {"config", "serving the original TTL"},
	"access-control":         {"config", "Unbound's access lists, with tags and views"},
	"local-zone":             {"config", "local zones"},
	"local-data":             {"config", "local zones"},
	"response-ip":            {"config", "rewriting of addresses in responses"},
	"dns64-prefix":           {"config", "DNS64"},
	"do-nat64":               {"config", "NAT64"},
	"cache-max-ttl":          {"config", "a lower bound of the cache's TTLs in the file"},
	"cache-min-ttl":          {"config", "a least TTL in the cache"},
	"features":               {"config", "features of Knot Resolver"},
	"feature-list":           {"config", "modules of Knot Resolver"},
	"forward-addr":           {"forward", "forwarding"},
	"nsid":                   {"config", "NSID"},
	"edns-client-string":     {"config", "a client string in outgoing queries"},
	"access-control-view":    {"config", "views"},
	"define-tag":             {"config", "tags"},
	"cache-max-negative-ttl": {"config", "the negative cache's bound in the file"},
}

// World maps the settings. An *Unsupported error names the first that has no
// counterpart here.
func (s *Scenario) World() (World, error) {
	w := World{}
	zones := s.blockNames()
	for _, set := range s.Settings {
		switch {
		case set.Clause == "rpz":
			return w, &Unsupported{"rpz", "response policy zones", set.Line}
		case set.Clause == "auth-zone":
			return w, &Unsupported{"config", "the resolver's own copy of a zone (auth-zone)", set.Line}
		case set.Clause == "forward-zone":
			return w, &Unsupported{"forward", "forwarding", set.Line}
		case set.Clause == "view":
			return w, &Unsupported{"config", "views", set.Line}
		}
		if err := s.apply(&w, set, zones); err != nil {
			return w, err
		}
	}
	if len(w.Roots) == 0 {
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
	switch set.Key {
	case "stub-addr":
		zone := strings.TrimSuffix(zones[set.Block], ".")
		if s.Dialect == Unbound && zone != "" {
			return &Unsupported{"stub", "a stub zone below the root: " + zone, set.Line}
		}
		text, _, _ := strings.Cut(set.Value, "@")
		a, err := netip.ParseAddr(text)
		if err != nil {
			return &Unsupported{"config", "stub-addr " + set.Value, set.Line}
		}
		w.Roots = append(w.Roots, a)
		return nil
	case "stub-prime", "stub-first":
		return nil
	case "do-ip4":
		w.NoIPv4 = !yes
		return nil
	case "do-ip6":
		w.NoIPv6 = !yes
		return nil
	case "qname-minimisation", "query-minimization":
		w.Minimise = yes
		return nil
	case "module-config":
		if strings.Trim(strings.ReplaceAll(set.Value, "validator", ""), " ") != "iterator" {
			return &Unsupported{"config", "module-config " + set.Value, set.Line}
		}
		return nil
	}
	if need, ok := needs[set.Key]; ok && (yes || !strings.EqualFold(set.Value, "no")) {
		return &Unsupported{need[0], need[1] + " (" + set.Key + ")", set.Line}
	}
	if _, ok := needs[set.Key]; ok || harmless[set.Key] {
		return nil
	}
	return &Unsupported{"config", "setting " + set.Key, set.Line}
}
