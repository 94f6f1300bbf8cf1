package migrate

import (
	"net/netip"
	"path"
	"strconv"
	"strings"
)

// Knot reads a knot.conf and what it includes. The error says what cannot be read
// at all; everything else is in the notes.
func Knot(file string, source Source) (*Result, error) {
	r := &reader{source: source, result: &Result{}}
	k := &knot{reader: r, folder: path.Dir(file), byID: map[string]map[string]*item{}}
	var items []item
	if err := k.parse(file, &items); err != nil {
		return nil, err
	}
	k.index(items)
	for i := range items {
		it := &items[i]
		switch it.section {
		case "server":
			k.server(it)
		case "key":
			k.key(it)
		}
	}
	k.modules()
	for i := range items {
		switch it := &items[i]; it.section {
		case "zone":
			k.zone(it)
		case "server", "key", "remote", "remotes", "acl", "template", "mod-rrl", "mod-cookies":
		default:
			for j := range it.settings {
				if s := &it.settings[j]; s.name != "id" || len(it.settings) == 1 {
					k.note(s.place, it.section+": "+s.String(), "%s", reason(knotReasons, it.section))
				}
			}
		}
	}
	return r.finish(file), nil
}

// knot is a knot.conf while it is read.
type knot struct {
	*reader
	folder       string
	ca           string                      // authorities that are believed
	byID         map[string]map[string]*item // section, id
	automaticACL bool
	said         bool // a note that is made once
}

// index finds items by their ids, and notes what the ones that zones refer to have
// that is not carried over.
func (k *knot) index(items []item) {
	known := map[string]string{"key": "id algorithm secret", "remote": "id address key tls quic cert-key cert-hostname", "remotes": "id remote", "acl": "id address key remote action deny protocol cert-key cert-hostname update-owner update-owner-match update-owner-name update-type", "mod-rrl": "id rate-limit whitelist", "mod-cookies": "id secret"}
	for i := range items {
		it := &items[i]
		if len(it.settings) == 0 {
			continue
		}
		if k.byID[it.section] == nil {
			k.byID[it.section] = map[string]*item{}
		}
		if id := it.one("id"); id != "" {
			k.byID[it.section][id] = it
		}
		takes, listed := known[it.section]
		for j := range it.settings {
			s := &it.settings[j]
			if listed && !strings.Contains(" "+takes+" ", " "+s.name+" ") {
				k.note(s.place, it.section+" "+it.one("id")+": "+s.String(), "%s", reason(knotReasons, s.name))
			}
		}
	}
}

// knotReasons say why a setting is not carried over, by section or by name.
var knotReasons = map[string]string{
	"log": "the log goes to standard error; see log.level", "control": "commands go to listen.admin", "statistics": "metrics are at listen.admin",
	"database": "state is kept in the data folder", "keystore": "private keys are kept in the data folder", "policy": "write a policy under dnssec.policies",
	"submission": "see dnssec.policies", "dnskey-sync": "see dnssec.policies", "external": "see zones[].gate", "xdp": "no counterpart here",
	"rundir": "not needed", "user": "the service manager chooses the user", "pidfile": "not needed: the service manager knows the process",
	"udp-workers": "see dns.udpWorkers", "tcp-workers": "one goroutine for each connection", "background-workers": "all cores are used",
	"async-start": "zones that are not there yet are answered SERVFAIL", "tcp-idle-timeout": "see dns.tcpIdle", "tcp-io-timeout": "see dns.tcpIdle",
	"tcp-remote-io-timeout": "see transfers.maxTime", "tcp-reuseport": "each core has its own socket always", "udp-max-payload": "1232 octets",
	"udp-max-payload-ipv4": "1232 octets", "udp-max-payload-ipv6": "1232 octets", "edns-client-subnet": "see docs/CONFIG.md about client subnets",
	"answer-rotation": "records of an answer are rotated", "identity": "CHAOS queries are refused", "version": "CHAOS queries are refused",
	"listen-xdp": "no counterpart here", "proxy-allowlist": "see dns.proxy", "socket-affinity": "each core has its own socket always",
	"via": "the system chooses the source address", "block-notify-after-transfer": "no counterpart here", "no-edns": "no counterpart here",
	"semantic-checks": "see zones[].gate", "journal-content": "differences between versions are kept always; see transfers.journal", "journal-max-usage": "see transfers.journal",
	"journal-max-depth": "see transfers.journal", "journal-db": "state is kept in the data folder", "zonefile-sync": "master files are never written", "zonefile-load": "master files are watched always",
	"zonefile-skip": "no counterpart here", "ixfr-benevolent": "a transfer that does not fit is refused", "ixfr-by-one": "no counterpart here", "ixfr-from-axfr": "no counterpart here",
	"provide-ixfr": "IXFR is given when the differences are known", "max-zone-size": "see transfers.maxSize", "adjust-threads": "all cores are used", "dnssec-validation": "see zones[].gate",
	"dnssec-signing": "not before its keys are here, or the chain of trust breaks: see docs/MOVING-FROM-KNOT.md", "dnssec-policy": "write a policy under dnssec.policies, and let the zone name it",
	"ds-push": "see dnssec.policies", "zonemd-verify": "see zones[].gate", "zonemd-generate": "see dnssec.policies", "serial-policy": "see zones[].serial", "serial-modulo": "see zones[].serial",
	"reverse-generate": "no counterpart here: write the reverse zone", "include-from": "no counterpart here", "refresh-min-interval": "the SOA record's REFRESH counts",
	"refresh-max-interval": "the SOA record's REFRESH counts", "retry-min-interval": "the SOA record's RETRY counts", "retry-max-interval": "the SOA record's RETRY counts",
	"expire-min-interval": "the SOA record's EXPIRE counts", "expire-max-interval": "the SOA record's EXPIRE counts", "master-pin-tolerance": "primaries are asked in their order",
	"catalog-template": "the zone is no catalog", "catalog-zone": "the zone is no member", "catalog-group": "the zone is no member",
	"ddns-master": "see docs/CONFIG.md about updates", "unixsock": "no counterpart here", "protocol": "a rule for one transport only", "slip": "every second answer slips",
	"rate-limit": "see dns.rateLimit", "module": "no counterpart here", "global-module": "no counterpart here", "disable-any": "ANY over UDP gets one RRset", "dns-cookies": "cookies are answered always",
	"quic":        "zones are asked for over TLS, not over QUIC: have the server listen for TLS",
	"default-ttl": "write $TTL into the zone file", "tcp-fastopen": "the system chooses", "dbus-event": "see the metrics at listen.admin", "dbus-init-delay": "not needed",
	"remote-pool-limit": "each transfer has its own connection", "remote-pool-timeout": "each transfer has its own connection", "remote-retry-delay": "the SOA record's RETRY counts",
	"quic-max-clients": "see listen.doq", "tcp-max-clients": "see dns.tcpConnections"}

func (k *knot) server(it *item) {
	p := &k.result.Plan
	for i := range it.settings {
		s := &it.settings[i]
		switch s.name {
		case "listen":
			for _, v := range s.values {
				addr, err := addressAt(v, 53)
				if err != nil {
					k.note(s.place, "listen: "+v, "%v", err)
					continue
				}
				p.Listen = unique(append(p.Listen, addr))
			}
		case "listen-tls":
			k.listenTLS(it, s, &p.Encrypted.DoT)
		case "listen-quic":
			k.listenTLS(it, s, &p.Encrypted.DoQ)
		case "cert-file", "key-file": // with the listeners
		case "ca-file":
			if v := it.one(s.name); v != "" { // "": those of the system
				k.ca = below(k.folder, v)
			}
		case "nsid":
			v := it.one("nsid")
			if strings.HasPrefix(v, "0x") {
				v = "" // octets in hexadecimal
			}
			k.setNSID(s.place, v)
		case "tcp-max-clients":
			n, err := strconv.Atoi(it.one(s.name))
			if err == nil && n > 0 && n <= 1_000_000 {
				p.TCPConnections = n
			} else {
				k.note(s.place, s.String(), "want a number from 1 to 1000000")
			}
		case "automatic-acl":
			k.automaticACL = it.one(s.name) == "on"
		default:
			k.note(s.place, "server: "+s.String(), "%s", reason(knotReasons, s.name))
		}
	}
}

func (k *knot) key(it *item) {
	if len(it.settings) == 0 {
		return
	}
	name, err := zoneName(it.one("id"))
	if err != nil || it.one("id") == "" {
		k.note(it.place, "key "+it.one("id"), "it has no good name")
		return
	}
	algorithm := strings.ToLower(it.one("algorithm"))
	if algorithms[algorithm] == "" {
		k.note(it.place, "key "+name, "algorithm %s is not taken; make a new key with hmac-sha256 on both sides", clip(algorithm))
		return
	}
	k.addKey(Key{Name: name, Algorithm: algorithms[algorithm], Secret: it.one("secret")}, it.place)
}

// modules takes the limits that the default template's modules set for all zones.
func (k *knot) modules() {
	s := k.byID["template"]["default"].get("global-module")
	if s == nil {
		return
	}
	for _, v := range s.values {
		module, id, _ := strings.Cut(v, "/")
		it := k.byID[module][id]
		switch {
		case module == "mod-rrl" && it != nil:
			n, err := strconv.Atoi(it.one("rate-limit"))
			if err != nil || n < 0 || n > 1_000_000 {
				k.note(it.place, "mod-rrl rate-limit", "want a number up to 1000000")
				continue
			}
			k.result.Plan.RateLimit = n
			if w := it.get("whitelist"); w != nil {
				for _, text := range w.values {
					nets, err := networksOf(text)
					if err != nil {
						k.note(w.place, "mod-rrl whitelist", "%v", err)
						continue
					}
					k.result.Plan.RateLimitExempt = append(k.result.Plan.RateLimitExempt, nets...)
				}
			}
		case module == "mod-cookies":
			if secret := it.one("secret"); secret != "" {
				k.setCookieSecret(s.place, secret)
			}
		default:
			k.note(s.place, "global-module: "+v, "%s", reason(knotReasons, module))
		}
	}
}

// zone takes a zone with what its template says besides.
func (k *knot) zone(it *item) {
	text := it.one("domain")
	if len(it.settings) == 0 {
		return
	}
	name, err := zoneName(text)
	if err != nil || text == "" {
		k.note(it.place, "zone "+text, "it has no good name")
		return
	}
	templateName := it.one("template")
	if templateName == "" {
		templateName = "default"
	}
	template := k.byID["template"][templateName]
	if template == nil && templateName != "default" {
		k.note(it.place, "zone "+name+": template: "+templateName, "there is no such template")
	}
	get := func(setting string) *setting {
		if s := it.get(setting); s != nil {
			return s
		}
		return template.get(setting)
	}
	z := Zone{Name: name, Kind: "file"}
	storage, file := "/var/lib/knot", "%s.zone"
	if s := get("storage"); s != nil && len(s.values) > 0 {
		storage = s.values[0]
	}
	if s := get("file"); s != nil && len(s.values) > 0 {
		file = s.values[0]
	}
	z.File = below(knotFile(storage, name), knotFile(file, name))
	if s := get("master"); s != nil && len(s.values) > 0 {
		z.Kind, z.File = "secondary", ""
		z.Primaries = k.peers(s, name, true)
	}
	if s := get("notify"); s != nil {
		z.Notify = k.peers(s, name, false)
		if k.automaticACL {
			for _, p := range z.Notify {
				z.Transfer = append(z.Transfer, Rule{Network: netip.PrefixFrom(p.Address.Addr(), p.Address.Addr().BitLen()), Key: p.Key})
			}
		}
	}
	if s := get("acl"); s != nil {
		z.Transfer = append(z.Transfer, k.rules(s, name, "transfer")...)
		k.updates(&z, s)
	}
	isCatalog, isMember := k.catalog(&z, get)
	k.leftOut(name, it, template, isCatalog, isMember)
	k.addZone(z, it.place)
}

// leftOut notes the settings of a zone and its template that are not carried over.
func (k *knot) leftOut(name string, zone, template *item, isCatalog, isMember bool) {
	for _, it := range []*item{zone, template} {
		if it == nil {
			continue
		}
		for i := range it.settings {
			s := &it.settings[i]
			if isCatalog && s.name == "catalog-template" || isMember && (s.name == "catalog-zone" || s.name == "catalog-group") {
				continue
			}
			switch s.name {
			case "id", "domain", "template", "storage", "file", "master", "notify", "acl", "global-module", "catalog-role":
			case "dnssec-signing":
				if it.one(s.name) == "on" {
					k.note(s.place, "zone "+name+": "+s.String(), "%s", knotReasons[s.name])
				}
			default:
				k.note(s.place, "zone "+name+": "+s.String(), "%s", reason(knotReasons, s.name))
			}
		}
	}
}

// knotFile fills in the name of a file: %s is the zone, %c[N-M] its characters from
// the N-th to the M-th, %l[N] its N-th label from the right, %% a percent sign; all
// count from 0.
func knotFile(pattern, zone string) string {
	name := strings.TrimSuffix(zone, ".")
	labels := strings.Split(name, ".")
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '%' || i+1 == len(pattern) {
			b.WriteByte(pattern[i])
			continue
		}
		i++
		switch pattern[i] {
		case '%':
			b.WriteByte('%')
		case 's':
			b.WriteString(strings.ReplaceAll(name, "/", "_"))
		case 'c', 'l':
			kind := pattern[i]
			from, to, length := bracket(pattern[i+1:])
			i += length
			for n := from; n <= to; n++ {
				if kind == 'c' && n < len(name) {
					b.WriteByte(name[n])
				}
				if kind == 'l' && n < len(labels) {
					b.WriteString(labels[len(labels)-1-n])
				}
			}
		default:
			b.WriteByte('%')
			b.WriteByte(pattern[i])
		}
	}
	return b.String()
}

// bracket reads [N] or [N-M] and returns how long it is; from is above to if there is
// none.
func bracket(text string) (from, to, length int) {
	inner, _, ok := strings.Cut(text, "]")
	if !ok || !strings.HasPrefix(inner, "[") {
		return 1, 0, 0
	}
	first, last, isRange := strings.Cut(inner[1:], "-")
	if !isRange {
		last = first
	}
	from, err := strconv.Atoi(first)
	to, lastErr := strconv.Atoi(last)
	if err != nil || lastErr != nil || from < 0 || to > 255 {
		return 1, 0, len(inner) + 1
	}
	return from, to, len(inner) + 1
}

// remotes returns the remote servers of that id: one, or those of a group.
func (k *knot) remotes(id string) []*item {
	if it := k.byID["remote"][id]; it != nil {
		return []*item{it}
	}
	var all []*item
	if group := k.byID["remotes"][id].get("remote"); group != nil {
		for _, id := range group.values {
			if it := k.byID["remote"][id]; it != nil {
				all = append(all, it)
			}
		}
	}
	return all
}

// keyName returns the name of the key of a remote or rule; ok is false if its name is no good.
func (k *knot) keyName(text string) (name string, ok bool) {
	if text == "" {
		return "", true
	}
	name, err := zoneName(text)
	return name, err == nil
}

// peers returns the servers that master or notify names, those with TLS if mayTLS.
func (k *knot) peers(s *setting, zone string, mayTLS bool) []Peer {
	var all []Peer
	for _, id := range s.values {
		what := "zone " + zone + ": " + s.name + ": " + id
		remotes := k.remotes(id)
		if len(remotes) == 0 {
			k.note(s.place, what, "there is no such remote")
		}
		for _, it := range remotes {
			key, ok := k.keyName(it.one("key"))
			if !ok {
				k.note(it.place, what, "its key %s has no good name", clip(it.one("key")))
				continue
			}
			tls, port, ok := k.peerTLS(it, what, mayTLS)
			if !ok {
				continue
			}
			if a := it.get("address"); a != nil {
				for _, text := range a.values {
					addr, err := addressAt(text, port)
					if err != nil {
						k.note(a.place, what, "%v", err)
						continue
					}
					all = append(all, Peer{Address: addr, Key: key, TLS: tls})
				}
			}
		}
	}
	return all
}

// updates takes who may change a zone. Knot hands updates of a secondary zone on to
// its primary.
func (k *knot) updates(z *Zone, s *setting) {
	all := k.updateRules(s, z.Name)
	switch {
	case len(all) == 0:
	case z.Kind == "secondary":
		z.Forward = true
	default:
		z.Kind, z.Updates = "store", all
		if !k.said {
			k.said = true
			k.note(s.place, "zone "+z.Name+": updates", "the file is the first version of the zone: have Knot write it with knotc zone-flush +outdir before it is read, for with zonefile-sync -1 nothing else has the updates; see docs/MOVING-FROM-KNOT.md")
		}
	}
}

// rules returns who may do something with a zone. As the first ACL that matches
// counts, what stands behind one that denies the same is left out.
func (k *knot) rules(s *setting, zone, action string) (rules []Rule) {
	k.eachRule(s, zone, action, func(_ *item, rule Rule) { rules = append(rules, rule) })
	return rules
}

// eachRule calls allow for who may do something with a zone by which ACL.
func (k *knot) eachRule(s *setting, zone, action string, allow func(acl *item, rule Rule)) {
	var denied []Rule
	for _, id := range s.values {
		what := "zone " + zone + ": acl: " + id
		it := k.byID["acl"][id]
		if it == nil {
			if action == "transfer" { // said once
				k.note(s.place, what, "there is no such acl")
			}
			continue
		}
		actions := ""
		if a := it.get("action"); a != nil {
			actions = " " + strings.Join(a.values, " ") + " "
		}
		isDeny := it.one("deny") == "on"
		if !strings.Contains(actions, " "+action+" ") && !(isDeny && strings.TrimSpace(actions) == "") {
			continue
		}
		tls, ok := k.ruleTLS(it, what, action, isDeny)
		if !ok {
			continue
		}
		for _, rule := range k.ruleOf(it, what) {
			switch {
			case isDeny:
				denied = append(denied, rule)
			default:
				left, ok := rule.without(denied)
				if !ok {
					k.note(it.place, what, "an acl with deny stands before it, which rules that only let in cannot say")
				}
				for _, rule := range left {
					rule.TLS = tls
					allow(it, rule)
				}
			}
		}
	}
}

// ruleOf returns the addresses and keys of an ACL, of which both must hold.
func (k *knot) ruleOf(it *item, what string) []Rule {
	var rules []Rule
	nets := everybody
	if a := it.get("address"); a != nil {
		nets = nil
		for _, text := range a.values {
			list, err := networksOf(text)
			if err != nil {
				k.note(a.place, what, "%v", err)
				continue
			}
			nets = append(nets, list...)
		}
	}
	keys := []string{""}
	if s := it.get("key"); s != nil {
		keys = nil
		for _, text := range s.values {
			if name, ok := k.keyName(text); ok {
				keys = append(keys, name)
			} else {
				k.note(s.place, what, "key %s has no good name", clip(text))
			}
		}
	}
	if s := it.get("remote"); s != nil {
		for _, id := range s.values {
			for _, p := range k.peers(&setting{s.place, "remote", []string{id}}, strings.TrimPrefix(what, "zone "), true) {
				rules = append(rules, Rule{Network: netip.PrefixFrom(p.Address.Addr(), p.Address.Addr().BitLen()), Key: p.Key})
			}
		}
		return rules
	}
	for _, key := range keys {
		if it.get("address") == nil && key != "" {
			rules = append(rules, Rule{Key: key})
			continue
		}
		for _, network := range nets {
			rules = append(rules, Rule{Network: network, Key: key})
		}
	}
	return rules
}
