package arch

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// policy says what each package may import of this module. A name that ends in
// /... stands for every package below; the packages above a line are drawn from
// the lines below it. A package that is not listed fails: the wall has to be
// drawn before the room is used.
//
// Reading it from the left: the language of DNS knows nothing else; what decides
// about names knows the language; drivers know what they drive and never each
// other; node joins them.
const policy = `
internal/clock:
internal/shortid:
internal/diskfile:
internal/hugepages:              internal/authority/zone
internal/parking:
internal/program:
internal/spare:

internal/dns/dnsname:
internal/dns/rdata:             internal/dns/dnsname
internal/dns/dnswire:           internal/dns/dnsname internal/dns/rdata
internal/dns/zonefile:          internal/dns/dnsname internal/dns/rdata
internal/dns/tsig:              internal/dns/dnsname internal/dns/rdata
internal/dns/dnssec:            internal/dns/dnsname internal/dns/rdata internal/dns/dnswire
internal/dns/zonemd:            internal/dns/dnsname internal/dns/rdata internal/dns/dnssec

internal/authority/zone:        internal/dns/...
internal/authority/live:        internal/dns/... internal/authority/sign
internal/authority/answer:      internal/dns/... internal/authority/zone internal/authority/live
internal/authority/byname:      internal/dns/dnsname
internal/authority/emptyzone:   internal/dns/... internal/authority/zone
internal/authority/designated:  internal/dns/... internal/authority/zone
internal/authority/reports:     internal/dns/...
internal/authority/journal:     internal/dns/... internal/authority/zone
internal/authority/compact:     internal/dns/... internal/authority/zone internal/authority/journal
internal/authority/alias:       internal/dns/... internal/authority/zone internal/authority/journal
internal/authority/aliases:     internal/dns/... internal/authority/zone internal/authority/journal internal/authority/alias internal/authority/answer internal/diskfile
internal/authority/masterfile:  internal/dns/... internal/authority/zone internal/diskfile internal/hugepages internal/spare
internal/authority/steered:     internal/dns/... internal/authority/zone internal/authority/answer internal/authority/live internal/traffic/steer internal/traffic/decisions
internal/authority/exports:     internal/dns/dnsname internal/dns/rdata internal/authority/alias internal/authority/journal internal/authority/steered internal/diskfile
internal/authority/gate:        internal/dns/... internal/authority/zone internal/authority/journal
internal/authority/transfer:    internal/dns/... internal/authority/zone internal/authority/journal
internal/authority/refresh:     internal/dns/rdata
internal/authority/sign:        internal/dns/... internal/authority/zone
internal/authority/update:      internal/dns/... internal/authority/zone
internal/authority/catalog:     internal/dns/... internal/authority/zone
internal/authority/catalogs:    internal/dns/... internal/authority/zone internal/authority/journal internal/authority/update internal/authority/catalog internal/diskfile
internal/authority/nameservers: internal/dns/... internal/authority/zone
internal/authority/bootstrap:   internal/dns/... internal/authority/zone internal/authority/journal
internal/authority/childkeys:   internal/dns/...
internal/authority/parentnotify: internal/dns/... internal/clock
internal/authority/children:    internal/dns/... internal/authority/zone internal/authority/journal internal/authority/update internal/authority/bootstrap internal/authority/childkeys internal/diskfile
internal/authority/kasp:        internal/dns/...
internal/authority/skr:         internal/dns/... internal/authority/sign
internal/authority/signer:      internal/dns/... internal/authority/zone internal/authority/compact internal/authority/journal internal/authority/kasp internal/authority/sign internal/authority/skr internal/diskfile internal/spare
internal/authority/xfr:         internal/dns/... internal/authority/... internal/diskfile internal/spare
internal/authority/serials:     internal/dns/dnsname internal/dns/rdata internal/authority/journal internal/diskfile
internal/authority/edits:       internal/dns/... internal/authority/zone internal/authority/journal internal/authority/update
internal/authority/ledger:      internal/dns/... internal/authority/zone internal/authority/journal internal/authority/compact internal/authority/update internal/diskfile internal/spare

internal/resolver/rrcache:      internal/dns/...
internal/resolver/offheap:
internal/resolver/owncut:       internal/dns/... internal/authority/zone internal/resolver/rrcache
internal/resolver/cachefile:
internal/resolver/warmstart:    internal/dns/... internal/resolver/rrcache internal/resolver/iterate internal/resolver/cachefile internal/diskfile
internal/resolver/iterate:      internal/dns/... internal/resolver/rrcache internal/resolver/seats internal/shortid
internal/resolver/seats:
internal/resolver/anchor:       internal/dns/...
internal/resolver/fairness:
internal/resolver/failures:     internal/dns/... internal/resolver/iterate
internal/resolver/custody:      internal/dns/... internal/resolver/anchor internal/resolver/iterate internal/resolver/rrcache internal/diskfile
internal/resolver/bulk:         internal/dns/... internal/resolver/iterate
internal/resolver/footing:      internal/dns/... internal/diskfile
internal/resolver/localroot:    internal/dns/... internal/authority/zone internal/authority/answer
internal/resolver/rootcopy:     internal/dns/... internal/clock internal/authority/zone internal/authority/masterfile internal/authority/xfr internal/resolver/localroot
internal/resolver/outbound:     internal/dns/... internal/resolver/iterate internal/resolver/rrcache internal/resolver/fairness internal/resolver/seats internal/parking

internal/resolver/designation:  internal/dns/... internal/resolver/iterate
internal/resolver/upgrade:      internal/dns/... internal/resolver/designation internal/resolver/iterate internal/resolver/outbound internal/resolver/rrcache internal/proxy/tlscert
internal/resolver/policy:       internal/dns/... internal/authority/zone
internal/resolver/localdata:    internal/dns/... internal/authority/zone internal/resolver/policy
internal/resolver/dns64:        internal/dns/dnsname
internal/resolver/rulebook:     internal/dns/... internal/authority/zone internal/diskfile internal/resolver/policy internal/resolver/localdata internal/resolver/dns64 internal/resolver/rewrite internal/resolver/rrcache
internal/resolver/rewrite:      internal/dns/... internal/resolver/policy internal/resolver/localdata internal/resolver/dns64 internal/resolver/iterate internal/resolver/rrcache

internal/traffic/health:
internal/traffic/consistent:
internal/traffic/outlier:       internal/traffic/health
internal/traffic/passive:       internal/traffic/health internal/traffic/outlier internal/traffic/pool
internal/traffic/pool:          internal/traffic/health internal/traffic/consistent internal/traffic/outlier
internal/traffic/balance:       internal/traffic/pool internal/traffic/health internal/traffic/consistent
internal/traffic/affinity:      internal/traffic/pool internal/traffic/health internal/traffic/consistent
internal/traffic/steer:         internal/dns/dnsname internal/dns/rdata internal/traffic/pool internal/traffic/health internal/serve/admission
internal/traffic/decisions:     internal/shortid internal/traffic/health internal/traffic/pool internal/traffic/steer
internal/traffic/roundtrips:    internal/diskfile internal/traffic/steer
internal/traffic/geoip:         internal/diskfile internal/traffic/steer internal/traffic/pool
internal/traffic/checkspec:     internal/cluster/state internal/traffic/health
internal/traffic/poolspec:      internal/cluster/state internal/dns/dnsname internal/dns/rdata internal/traffic/affinity internal/traffic/checkspec internal/traffic/health internal/traffic/outlier internal/traffic/pool internal/traffic/steer
internal/traffic/sim:           internal/cluster/state internal/cluster/document internal/dns/dnsname internal/dns/rdata internal/traffic/...
internal/traffic/override:      internal/cluster/state internal/traffic/pool
internal/traffic/overrides:     internal/diskfile internal/cluster/state internal/traffic/override internal/traffic/pool
internal/traffic/scale:         internal/traffic/health
internal/traffic/fleet:         internal/program internal/diskfile internal/cluster/state internal/traffic/health internal/traffic/pool internal/traffic/roster internal/traffic/scale
internal/traffic/wheel:
internal/traffic/roster:        internal/dns/rdata internal/traffic/pool
internal/traffic/discover:      internal/dns/... internal/diskfile internal/cluster/state internal/traffic/pool internal/traffic/roster
internal/traffic/probe:         internal/dns/... internal/diskfile internal/program internal/traffic/health internal/traffic/pool internal/traffic/wheel

internal/proxy/http1:
internal/proxy/section:
internal/proxy/quota:
internal/proxy/requestid:
internal/proxy/http2:           internal/proxy/section internal/proxy/quota
internal/proxy/http3:           internal/proxy/quota internal/proxy/section
internal/proxy/route:           internal/proxy/http1
internal/proxy/logline:
internal/proxy/linesink:
internal/proxy/places:
internal/proxy/holding:
internal/proxy/bygone:
internal/proxy/histogram:
internal/proxy/token:
internal/proxy/vouch:           internal/proxy/compress internal/proxy/filter internal/proxy/pages internal/proxy/token internal/clock
internal/proxy/pages:           internal/proxy/compress internal/proxy/encoders
internal/proxy/queue:
internal/proxy/breaker:         internal/proxy/queue
internal/proxy/mirror:
internal/proxy/terms:
internal/proxy/stamp:
internal/proxy/pairs:
internal/proxy/limits:          internal/proxy/http1 internal/proxy/http2
internal/proxy/filter:          internal/proxy/queue internal/proxy/pages internal/proxy/route internal/proxy/token internal/serve/admission internal/serve/ratelimit
internal/proxy/routespec:       internal/proxy/route internal/proxy/mirror internal/proxy/terms internal/proxy/origins internal/proxy/breaker internal/proxy/queue internal/cluster/state internal/proxy/pages internal/proxy/filter internal/proxy/served internal/proxy/l4proxy internal/traffic/affinity internal/traffic/pool internal/diskfile internal/proxy/h2origin internal/proxy/tlscert internal/serve/proxyheader
internal/proxy/tracecontext:     internal/proxy/bygone
internal/proxy/compress:
internal/proxy/encoders:        internal/proxy/compress
internal/proxy/otlp:            internal/proxy/tracecontext
internal/proxy/h2origin:        internal/proxy/http1
internal/proxy/quicdoor:        internal/proxy/doorway
internal/proxy/h3conn:          internal/proxy/http3 internal/proxy/quota
internal/proxy/tlscert:         internal/diskfile
internal/proxy/origins:         internal/proxy/tlsconn internal/traffic/pool
internal/proxy/served:          internal/proxy/breaker internal/proxy/filter internal/proxy/histogram internal/proxy/holding internal/proxy/mirror internal/proxy/origins internal/proxy/pages internal/proxy/route internal/proxy/terms internal/traffic/affinity internal/traffic/pool
internal/proxy/httpproxy:       internal/proxy/quota internal/proxy/served internal/proxy/holding internal/proxy/places internal/proxy/mirror internal/proxy/terms internal/proxy/stamp internal/proxy/pairs internal/proxy/limits internal/proxy/origins internal/proxy/breaker internal/proxy/histogram internal/proxy/linesink internal/diskfile internal/parking internal/proxy/pages internal/proxy/filter internal/proxy/http1 internal/proxy/http2 internal/proxy/http3 internal/proxy/h3conn internal/proxy/requestid internal/proxy/logline internal/proxy/tracecontext internal/proxy/route internal/traffic/balance internal/traffic/affinity internal/traffic/consistent internal/traffic/pool internal/traffic/health internal/proxy/compress internal/proxy/encoders internal/proxy/tlsconn
internal/proxy/tlsconn:
internal/proxy/l4route:
internal/proxy/l4proxy:         internal/proxy/bygone internal/proxy/holding internal/shortid internal/proxy/places internal/proxy/l4route internal/proxy/tlsconn internal/traffic/affinity internal/traffic/balance internal/traffic/consistent internal/traffic/health internal/traffic/pool internal/proxy/linesink
internal/proxy/doorway:         internal/proxy/tlsconn internal/serve/proxyheader

internal/cluster/document:      internal/dns/dnsname
internal/cluster/state:         internal/cluster/document internal/dns/dnsname internal/dns/rdata internal/proxy/filter internal/proxy/pages internal/proxy/route internal/proxy/terms internal/proxy/token internal/traffic/scale internal/traffic/steer
internal/cluster/snapshot:      internal/diskfile
internal/cluster/store:         internal/cluster/state internal/cluster/document

internal/serve/admission:
internal/serve/cookie:
internal/serve/ratelimit:        internal/dns/dnswire
internal/serve/proxyheader:
internal/serve/querytap:        internal/dns/...
internal/serve/querywatch:      internal/clock internal/dns/... internal/serve/admission internal/serve/dnsserver internal/serve/querytap
internal/serve/ednsoptions:     internal/dns/... internal/serve/cookie internal/serve/dnsserver
internal/serve/dnsserver:       internal/dns/... internal/serve/proxyheader internal/parking internal/spare

internal/serve/doh:             internal/dns/... internal/serve/dnsserver internal/proxy/http1 internal/proxy/http2 internal/proxy/stamp
internal/serve/doq:             internal/dns/... internal/serve/dnsserver
internal/serve/outgoing:        internal/dns/... internal/authority/journal internal/authority/transfer internal/authority/zone internal/serve/dnsserver
internal/serve/updates:         internal/dns/... internal/authority/update internal/authority/zone internal/serve/dnsserver
internal/serve/entrances:       internal/serve/dnsserver internal/serve/doh internal/serve/doq

internal/admin/config:          internal/proxy/compress internal/proxy/otlp internal/admin/syslog internal/proxy/logline internal/dns/dnsname internal/dns/rdata internal/cluster/document internal/cluster/state internal/diskfile
internal/admin/logfile:         internal/clock
internal/admin/syslog:          internal/clock
internal/admin/accesslog:       internal/admin/config internal/admin/logfile internal/admin/syslog internal/proxy/logline
internal/admin/problems:        internal/admin/api
internal/admin/explain:         internal/authority/answer internal/authority/zone internal/dns/... internal/resolver/iterate internal/authority/steered internal/traffic/...
internal/admin/telemetry:
internal/admin/metrics:         internal/proxy/quota internal/proxy/holding internal/proxy/breaker internal/proxy/l4proxy internal/cluster/state internal/authority/ledger internal/authority/children internal/authority/parentnotify internal/authority/signer internal/authority/xfr internal/clock internal/dns/dnswire internal/admin/telemetry internal/proxy/doorway internal/proxy/served internal/proxy/httpproxy internal/proxy/histogram internal/proxy/otlp internal/resolver/iterate internal/resolver/outbound internal/resolver/rrcache internal/resolver/upgrade internal/serve/dnsserver internal/serve/outgoing internal/serve/querytap internal/serve/ratelimit internal/serve/updates internal/traffic/...
internal/admin/api:             internal/admin/explain internal/admin/telemetry internal/traffic/scale
internal/admin/trafficdesk:     internal/proxy/holding internal/admin/api internal/admin/explain internal/admin/metrics internal/admin/telemetry internal/proxy/served internal/cluster/document internal/cluster/state internal/traffic/...
internal/admin/routedesk:       internal/admin/api internal/admin/config internal/admin/explain internal/admin/problems internal/clock internal/cluster/state internal/proxy/... internal/traffic/pool
internal/admin/desk:            internal/dns/... internal/authority/... internal/admin/api internal/admin/config
internal/admin/resolverdesk:    internal/dns/... internal/resolver/anchor internal/resolver/custody internal/resolver/iterate internal/resolver/rrcache internal/resolver/upgrade internal/admin/api
internal/admin/versions:        internal/dns/... internal/authority/... internal/admin/config internal/admin/settings internal/clock internal/diskfile internal/traffic/steer
internal/admin/certdesk:        internal/admin/api internal/admin/config internal/admin/problems internal/admin/settings internal/proxy/tlscert
internal/admin/migrate:         internal/dns/dnsname internal/dns/rdata
internal/admin/stubconf:        internal/dns/dnsname
internal/admin/settings:        internal/cluster/state internal/traffic/pool internal/traffic/poolspec internal/serve/admission internal/dns/... internal/admin/config internal/authority/... internal/resolver/... internal/serve/ratelimit internal/proxy/... internal/cluster/state internal/traffic/steer
internal/admin/cli:             internal/proxy/l4proxy internal/traffic/decisions internal/admin/stubconf internal/dns/... internal/authority/zone internal/authority/sign internal/authority/skr internal/authority/journal internal/authority/gate internal/authority/masterfile internal/resolver/outbound internal/resolver/iterate internal/resolver/anchor internal/resolver/bulk internal/resolver/rrcache internal/admin/api internal/admin/explain internal/admin/migrate internal/cluster/document internal/cluster/state internal/admin/config internal/traffic/sim internal/traffic/pool internal/diskfile internal/resolver/offheap

internal/node:                  internal/...
internal/arch:

lab/simnet:                     internal/dns/... internal/resolver/... internal/authority/...
lab/scenario:                   internal/dns/... internal/resolver/... internal/authority/... lab/simnet
lab/scenarios:                  internal/dns/... lab/scenario
lab/judges:                     internal/dns/... internal/authority/... lab/simnet
lab/defences:
lab/demo:                       internal/...
lab/peers:
lab/tools:
lab/testca:
lab/zonetest:                   internal/dns/... internal/authority/zone internal/authority/sign
cmd/pharos:                     internal/admin/cli internal/admin/routedesk internal/node lab/demo
bench:                          internal/dns/... bench/... internal/traffic/... lab/peers
`

const module = "pharos/"

// pure packages decide. They take the time as an argument, and touch no clock,
// network, file, goroutine or log.
var pure = []string{
	"internal/dns/dnsname", "internal/dns/rdata", "internal/dns/dnswire", "internal/dns/zonefile", "internal/dns/tsig", "internal/dns/dnssec", "internal/dns/zonemd",
	"internal/authority/zone", "internal/authority/alias", "internal/authority/answer", "internal/authority/byname", "internal/authority/compact", "internal/authority/emptyzone", "internal/authority/designated", "internal/authority/reports", "internal/authority/journal", "internal/authority/edits", "internal/authority/transfer", "internal/authority/refresh", "internal/authority/sign",
	"internal/authority/update", "internal/authority/catalog", "internal/authority/live",
	"internal/authority/gate", "internal/admin/migrate", "internal/admin/stubconf",
	"internal/authority/steered", "internal/authority/kasp", "internal/authority/skr", "internal/authority/bootstrap", "internal/authority/childkeys",
	"internal/resolver/rrcache", "internal/resolver/cachefile", "internal/resolver/iterate", "internal/resolver/fairness", "internal/resolver/seats", "internal/resolver/anchor", "internal/resolver/localroot", "internal/resolver/failures",
	"internal/resolver/owncut", "internal/resolver/designation", "internal/resolver/policy", "internal/resolver/localdata", "internal/resolver/dns64", "internal/resolver/rewrite",
	"internal/traffic/health", "internal/traffic/outlier", "internal/traffic/scale", "internal/traffic/checkspec", "internal/traffic/wheel", "internal/traffic/roster", "internal/traffic/poolspec", "internal/traffic/consistent", "internal/traffic/pool", "internal/traffic/balance", "internal/traffic/affinity", "internal/traffic/steer", "internal/traffic/sim", "internal/traffic/override", "internal/traffic/decisions",
	"internal/proxy/http1", "internal/proxy/section", "internal/proxy/quota", "internal/proxy/places", "internal/proxy/bygone", "internal/proxy/http2", "internal/proxy/http3", "internal/proxy/route", "internal/proxy/l4route", "internal/proxy/logline", "internal/proxy/histogram", "internal/proxy/filter", "internal/proxy/token", "internal/proxy/tracecontext", "internal/proxy/compress", "internal/proxy/encoders", "internal/proxy/limits", "internal/proxy/pairs", "internal/proxy/stamp", "internal/proxy/terms", "internal/proxy/mirror", "internal/proxy/breaker", "internal/proxy/queue", "internal/proxy/pages",
	"internal/cluster/document", "internal/cluster/state",
	"internal/shortid",
	"internal/serve/admission", "internal/serve/cookie", "internal/serve/ratelimit", "internal/serve/proxyheader",
}

// thirdParty says which modules from outside the pure packages may use, over
// golang.org/x.
var thirdParty = map[string][]string{
	"internal/dns/rdata":   {"github.com/miekg/dns"},
	"internal/proxy/token": {"github.com/golang-jwt/jwt/v5"},           // signatures of tokens are not ours to read
	"internal/dns/dnssec":  {"github.com/cloudflare/circl/sign/ed448"}, // the standard library lacks it

	"internal/proxy/encoders": {"github.com/andybalholm/brotli", "github.com/klauspost/compress/gzip", "github.com/klauspost/compress/zstd"}, // computation alone

	"internal/proxy/http3": {"github.com/quic-go/qpack", "github.com/quic-go/quic-go/quicvarint"}, // computation alone

	"internal/traffic/roster": {"go.yaml.in/yaml/v3"}, // Prometheus' lists of targets are JSON or YAML

	"internal/authority/sign": {"github.com/cloudflare/circl/sign/ed448"},
}

func parsePolicy(t *testing.T) map[string][]string {
	rules := map[string][]string{}
	for line := range strings.Lines(policy) {
		name, allowed, ok := strings.Cut(strings.TrimSpace(line), ":")
		if name == "" {
			continue
		}
		if _, again := rules[name]; !ok || again {
			t.Fatalf("policy: cannot read %q", line)
		}
		rules[name] = strings.Fields(allowed)
	}
	return rules
}

func allows(allowed []string, pkg string) bool {
	return slices.ContainsFunc(allowed, func(a string) bool {
		if prefix, ok := strings.CutSuffix(a, "..."); ok {
			return strings.HasPrefix(pkg, prefix)
		}
		return a == pkg
	})
}

func TestImports(t *testing.T) {
	rules := parsePolicy(t)
	seen := map[string]bool{}
	for _, s := range sources(t) {
		seen[s.pkg()] = true
		allowed, listed := rules[s.pkg()]
		if !listed && !strings.HasPrefix(s.pkg(), "bench/") {
			t.Errorf("%s: package %s has no line in the policy of internal/arch/imports_test.go", s.path, s.pkg())
			continue
		}
		if s.test {
			continue // a test may look at anything
		}
		for _, spec := range s.file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			if path == module+"internal/clock" && !slices.Contains(pure, s.pkg()) {
				continue // whatever decides by the time has it from there
			}
			if own, ok := strings.CutPrefix(path, module); ok && !allows(allowed, own) && !strings.HasPrefix(s.pkg(), "bench/") {
				t.Errorf("%s: %s must not import %s", s.at(spec.Pos()), s.pkg(), own)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		if !seen[name] {
			t.Errorf("policy names %s, which does not exist", name)
		}
	}
}

// TestPackageNamesAreUnique: a name that stands for two packages has to be looked
// up every time it is read.
func TestPackageNamesAreUnique(t *testing.T) {
	folders := map[string]string{}
	for _, s := range sources(t) {
		name := strings.TrimSuffix(s.file.Name.Name, "_test")
		if other, ok := folders[name]; ok && other != s.pkg() && name != "main" {
			t.Errorf("package name %s is used by %s and %s", name, other, s.pkg())
		}
		folders[name] = s.pkg()
	}
	for _, bad := range []string{"util", "utils", "common", "helpers", "models", "types", "mocks", "pkg", "misc", "base"} {
		if where, ok := folders[bad]; ok {
			t.Errorf("package name %s (%s) says nothing", bad, where)
		}
	}
}
