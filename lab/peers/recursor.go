package peers

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
)

// Programs that resolve for others.
const (
	Unbound Kind = "unbound"
	Kresd   Kind = "kresd"
	Dnsdist Kind = "dnsdist"
)

// Recursor says what a resolver is to be: one that asks a single server for
// everything, and never anybody else.
type Recursor struct {
	Address netip.AddrPort // over UDP and TCP
	Folder  string         // exists, and is the server's own
	From    netip.AddrPort // who has the answers
	// TLS has the files of DoT, DoH being with the same; the addresses are where each
	// is answered, the zero address: not at all. Kresd has no DoH here.
	Certificate, Key string
	DoT, DoH         netip.AddrPort
}

// StartRecursor runs a resolver until Stop, or until ctx ends: Named, Unbound,
// Kresd, or Dnsdist, which balances. It does not wait for it to answer.
func StartRecursor(ctx context.Context, kind Kind, r Recursor) (*Server, error) {
	config := map[Kind]func(Recursor) string{Named: namedRecursor, Unbound: unboundConfig, Kresd: kresdConfig, Dnsdist: dnsdistConfig}[kind](r)
	return StartWith(ctx, kind, r.Address, r.Folder, config)
}

func namedRecursor(r Recursor) string {
	var b strings.Builder
	fmt.Fprintf(&b, "tls recursor { cert-file %q; key-file %q; };\nhttp recursor { endpoints { \"/dns-query\"; }; };\noptions {\n", r.Certificate, r.Key)
	fmt.Fprintf(&b, "  directory %q; pid-file none; session-keyfile none; lock-file none;\n", r.Folder)
	fmt.Fprintf(&b, "  listen-on port %d { %s; }; listen-on-v6 { none; };\n", r.Address.Port(), r.Address.Addr())
	if r.DoT.IsValid() {
		fmt.Fprintf(&b, "  listen-on port %d tls recursor { %s; };\n", r.DoT.Port(), r.DoT.Addr())
	}
	if r.DoH.IsValid() {
		fmt.Fprintf(&b, "  listen-on port %d tls recursor http recursor { %s; };\n", r.DoH.Port(), r.DoH.Addr())
	}
	fmt.Fprintf(&b, "  recursion yes; dnssec-validation no; forward only; forwarders { %s port %d; };\n  empty-zones-enable no;\n};\ncontrols { };\n", r.From.Addr(), r.From.Port())
	return b.String()
}

func unboundConfig(r Recursor) string {
	var b strings.Builder
	fmt.Fprintf(&b, `server:
  directory: %q
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  num-threads: 1
  module-config: "iterator"
  do-not-query-localhost: no
  interface: %s@%d
`, r.Folder, r.Address.Addr(), r.Address.Port())
	fmt.Fprintf(&b, "  tls-service-pem: %q\n  tls-service-key: %q\n", r.Certificate, r.Key)
	if r.DoT.IsValid() {
		fmt.Fprintf(&b, "  tls-port: %d\n  interface: %s@%d\n", r.DoT.Port(), r.DoT.Addr(), r.DoT.Port())
	}
	if r.DoH.IsValid() {
		fmt.Fprintf(&b, "  https-port: %d\n  interface: %s@%d\n", r.DoH.Port(), r.DoH.Addr(), r.DoH.Port())
	}
	fmt.Fprintf(&b, "remote-control:\n  control-enable: no\nforward-zone:\n  name: \".\"\n  forward-addr: %s@%d\n", r.From.Addr(), r.From.Port())
	return b.String()
}

func kresdConfig(r Recursor) string {
	var b strings.Builder
	for _, module := range []string{"ta_update", "ta_signal_query", "priming", "detect_time_skew"} { // they ask on their own
		fmt.Fprintf(&b, "modules.unload('%s')\n", module)
	}
	b.WriteString("trust_anchors.remove('.')\n")
	fmt.Fprintf(&b, "net.listen('%s', %d, { kind = 'dns' })\n", r.Address.Addr(), r.Address.Port())
	if r.DoT.IsValid() {
		fmt.Fprintf(&b, "net.tls(%q, %q)\nnet.listen('%s', %d, { kind = 'tls' })\n", r.Certificate, r.Key, r.DoT.Addr(), r.DoT.Port())
	}
	fmt.Fprintf(&b, "policy.add(policy.all(policy.STUB({'%s@%d'})))\n", r.From.Addr(), r.From.Port())
	return b.String()
}

func dnsdistConfig(r Recursor) string {
	var b strings.Builder
	fmt.Fprintf(&b, "setLocal('%s')\naddACL('127.0.0.0/8')\nsetSecurityPollSuffix('')\nnewServer({address='%s', healthCheckMode='up'})\n", r.Address, r.From)
	if r.DoT.IsValid() {
		fmt.Fprintf(&b, "addTLSLocal('%s', '%s', '%s')\n", r.DoT, r.Certificate, r.Key)
	}
	if r.DoH.IsValid() {
		fmt.Fprintf(&b, "addDOHLocal('%s', '%s', '%s', '/dns-query')\n", r.DoH, r.Certificate, r.Key)
	}
	return b.String()
}
