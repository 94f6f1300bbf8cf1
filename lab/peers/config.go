package peers

import (
	"fmt"
	"strings"
)

// namedConfig returns the configuration of BIND. Its own delays are taken out, as
// a test waits for what they delay.
func namedConfig(o Options) string {
	var b strings.Builder
	secure, overTLS := "", ""
	if t := o.TLS; t != nil {
		overTLS = " tls peer"
		if t.Listen.IsValid() {
			secure = fmt.Sprintf(" listen-on port %d tls peer { %s; };", t.Listen.Port(), t.Listen.Addr())
		}
	}
	fmt.Fprintf(&b, `options {
  directory %q; pid-file none; session-keyfile none; lock-file none;
  listen-on port %d { %s; }; listen-on-v6 { none; };%s
  recursion no; dnssec-validation no; notify explicit; notify-delay 0;
  min-refresh-time 1; min-retry-time 1; allow-transfer { 127.0.0.1; };
`, o.Folder, o.Address.Port(), o.Address.Addr(), secure)
	for _, z := range o.Zones {
		if z.Consume {
			fmt.Fprintf(&b, "  catalog-zones { zone %q default-primaries { %s port %d; } in-memory yes min-update-interval 0; };\n", z.Name, z.Primary.Addr(), z.Primary.Port())
		}
	}
	b.WriteString("};\ncontrols { };\n")
	if t := o.TLS; t != nil {
		fmt.Fprintf(&b, "tls peer { cert-file %q; key-file %q;", t.Certificate, t.Key)
		if t.CA != "" {
			fmt.Fprintf(&b, " ca-file %q;", t.CA)
		}
		if t.Name != "" {
			fmt.Fprintf(&b, " remote-hostname %q;", t.Name)
		}
		b.WriteString(" };\n")
	}
	sign := ""
	if k := o.Key; k != nil {
		fmt.Fprintf(&b, "key %q { algorithm %s; secret %q; };\n", k.Name, k.Algorithm, k.Secret)
		sign = fmt.Sprintf(" key %q", k.Name)
	}
	for _, z := range o.Zones {
		fmt.Fprintf(&b, "zone %q {\n  file %q;\n", z.Name, z.file())
		if z.Text != "" {
			b.WriteString("  type primary; ixfr-from-differences yes;\n")
			if z.Updates {
				b.WriteString("  allow-update { 127.0.0.1; }; check-integrity no;\n")
			}
		} else {
			fmt.Fprintf(&b, "  type secondary; masterfile-format text; primaries { %s port %d%s%s; };\n", z.Primary.Addr(), z.Primary.Port(), sign, overTLS)
		}
		if z.Notify.IsValid() {
			fmt.Fprintf(&b, "  also-notify { %s port %d%s; };\n", z.Notify.Addr(), z.Notify.Port(), sign)
		}
		if o.Key != nil && z.Text != "" {
			fmt.Fprintf(&b, "  allow-transfer {%s; };\n", sign)
		}
		b.WriteString("};\n")
	}
	return b.String()
}

// knotConfig returns the configuration of Knot.
func knotConfig(o Options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "server:\n  rundir: %q\n  listen: %s@%d\n", o.Folder, o.Address.Addr(), o.Address.Port())
	fmt.Fprintf(&b, "  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\ndatabase:\n  storage: %q\n", o.Folder)
	b.WriteString("log:\n  - target: stderr\n    any: info\n")
	sign := ""
	if k := o.Key; k != nil {
		fmt.Fprintf(&b, "key:\n  - id: %s\n    algorithm: %s\n    secret: %s\n", k.Name, k.Algorithm, k.Secret)
		sign = "    key: " + k.Name + "\n"
	}
	b.WriteString("remote:\n")
	for i, z := range o.Zones {
		if z.Primary.IsValid() {
			fmt.Fprintf(&b, "  - id: primary%d\n    address: %s@%d\n%s", i, z.Primary.Addr(), z.Primary.Port(), sign)
		}
		if z.Notify.IsValid() {
			fmt.Fprintf(&b, "  - id: notify%d\n    address: %s@%d\n%s", i, z.Notify.Addr(), z.Notify.Port(), sign)
		}
	}
	// Transfers are for tests to look with, signed or not; what a primary gives is
	// signed if there is a key.
	b.WriteString("acl:\n  - id: signed\n    address: 127.0.0.1\n    action: [transfer, notify]\n" + sign)
	b.WriteString("  - id: change\n    address: 127.0.0.1\n    action: [transfer, update]\n" + sign)
	b.WriteString("  - id: look\n    address: 127.0.0.1\n    action: transfer\n")
	for i, z := range o.Zones {
		if z.Consume {
			fmt.Fprintf(&b, "template:\n  - id: members\n    storage: %q\n    master: primary%d\n    acl: [signed, look]\n    refresh-min-interval: 2\n    retry-min-interval: 1\n", o.Folder, i)
		}
	}
	b.WriteString("zone:\n")
	for i, z := range o.Zones {
		fmt.Fprintf(&b, "  - domain: %s\n    storage: %q\n    file: %q\n    semantic-checks: off\n", z.Name, o.Folder, z.file())
		if z.Consume {
			b.WriteString("    catalog-role: interpret\n    catalog-template: members\n")
		}
		if z.CatalogZone != "" {
			fmt.Fprintf(&b, "    catalog-role: member\n    catalog-zone: %s\n", z.CatalogZone)
		}
		if z.Group != "" {
			fmt.Fprintf(&b, "    catalog-group: %s\n", z.Group)
		}
		if z.Generate {
			b.WriteString("    catalog-role: generate\n    acl: signed\n")
		} else if z.Updates {
			b.WriteString("    zonefile-load: whole\n    zonefile-sync: -1\n    acl: change\n")
		} else if z.Text != "" {
			b.WriteString("    zonefile-load: difference\n    acl: signed\n")
		} else {
			fmt.Fprintf(&b, "    master: primary%d\n    acl: [signed, look]\n    refresh-min-interval: 2\n    retry-min-interval: 1\n", i)
		}
		if z.Notify.IsValid() {
			fmt.Fprintf(&b, "    notify: notify%d\n", i)
		}
	}
	return b.String()
}

// nsdConfig returns the configuration of NSD.
func nsdConfig(o Options) string {
	var b strings.Builder
	bundle := ""
	if o.TLS != nil {
		bundle = fmt.Sprintf("  tls-cert-bundle: %q\n", o.TLS.CA)
	}
	fmt.Fprintf(&b, `server:
  ip-address: %s@%d
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: %q
  database: ""
  pidfile: ""
  zonelistfile: %q
  xfrdfile: %q
  xfrdir: %q
  verbosity: 2
  xfrd-reload-timeout: 0
  zonefiles-check: yes
%sremote-control:
  control-enable: no
`, o.Address.Addr(), o.Address.Port(), o.Folder, o.Folder+"/zone.list", o.Folder+"/xfrd.state", o.Folder, bundle)
	key, overTLS := "NOKEY", ""
	if t := o.TLS; t != nil {
		fmt.Fprintf(&b, "tls-auth:\n  name: peer\n  auth-domain-name: %q\n  client-cert: %q\n  client-key: %q\n", t.Name, t.Certificate, t.Key)
		overTLS = " peer"
	}
	if k := o.Key; k != nil {
		fmt.Fprintf(&b, "key:\n  name: %q\n  algorithm: %s\n  secret: %q\n", k.Name, k.Algorithm, k.Secret)
		key = k.Name
	}
	for _, z := range o.Zones {
		fmt.Fprintf(&b, "zone:\n  name: %q\n  zonefile: %q\n", strings.TrimSuffix(z.Name, "."), z.file())
		if z.Text != "" {
			fmt.Fprintf(&b, "  provide-xfr: 127.0.0.1 %s\n  create-ixfr: yes\n", key)
		} else {
			fmt.Fprintf(&b, "  request-xfr: %s@%d %s%s\n  allow-notify: 127.0.0.1 %s\n  provide-xfr: 127.0.0.1 NOKEY\n  min-refresh-time: 1\n  min-retry-time: 1\n", z.Primary.Addr(), z.Primary.Port(), key, overTLS, key)
		}
		if z.Notify.IsValid() {
			fmt.Fprintf(&b, "  notify: %s@%d %s\n  notify-retry: 5\n", z.Notify.Addr(), z.Notify.Port(), key)
		}
	}
	return b.String()
}
