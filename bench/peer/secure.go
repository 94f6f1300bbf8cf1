package peer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// TLSFiles are what a server shows over TLS.
type TLSFiles struct {
	Port             int // on 127.0.0.1
	Certificate, Key string
}

// Secure returns p with DNS over TLS at a port of its own, beside UDP and TCP. It
// panics for a program that has none.
func Secure(p Program, t TLSFiles) Program {
	edits := map[string]func(string) string{
		"pharos.yaml": func(c string) string {
			return strings.Replace(c, "listen:\n", fmt.Sprintf("tls: {certificates: [{certificate: %q, key: %q}]}\nlisten:\n  dot: [\"127.0.0.1:%d\"]\n", t.Certificate, t.Key, t.Port), 1)
		},
		"nsd.conf": func(c string) string {
			return strings.Replace(c, "server:\n", fmt.Sprintf("server:\n    ip-address: 127.0.0.1@%d\n    tls-port: %d\n    tls-service-key: %q\n    tls-service-pem: %q\n", t.Port, t.Port, t.Key, t.Certificate), 1)
		},
		"named.conf": func(c string) string {
			return fmt.Sprintf("tls bench { cert-file %q; key-file %q; };\n", t.Certificate, t.Key) +
				strings.Replace(c, "options {\n", fmt.Sprintf("options {\n    listen-on port %d tls bench { 127.0.0.1; };\n", t.Port), 1)
		},
		"unbound.conf": func(c string) string {
			return strings.Replace(c, "server:\n", fmt.Sprintf("server:\n    interface: 127.0.0.1@%d\n    tls-port: %d\n    tls-service-key: %q\n    tls-service-pem: %q\n    incoming-num-tcp: 100\n", t.Port, t.Port, t.Key, t.Certificate), 1)
		},
	}
	return edited(p, edits)
}

// OverHTTPS returns p with DNS over HTTPS at a port of its own, beside UDP and TCP, at the
// path /dns-query. It panics for a program that has none.
func OverHTTPS(p Program, t TLSFiles) Program {
	return edited(p, map[string]func(string) string{
		"pharos.yaml": func(c string) string {
			return strings.Replace(c, "listen:\n", fmt.Sprintf("tls: {certificates: [{certificate: %q, key: %q}]}\nlisten:\n  doh: [\"127.0.0.1:%d\"]\n", t.Certificate, t.Key, t.Port), 1)
		},
		"named.conf": func(c string) string {
			return fmt.Sprintf("tls bench { cert-file %q; key-file %q; };\nhttp bench { endpoints { \"/dns-query\"; }; listener-clients 1000; streams-per-connection 100; };\n", t.Certificate, t.Key) +
				strings.Replace(c, "options {\n", fmt.Sprintf("options {\n    listen-on port %d tls bench http bench { 127.0.0.1; };\n", t.Port), 1)
		},
		"unbound.conf": func(c string) string {
			return strings.Replace(c, "server:\n", fmt.Sprintf("server:\n    interface: 127.0.0.1@%d\n    https-port: %d\n    tls-service-key: %q\n    tls-service-pem: %q\n    incoming-num-tcp: 100\n", t.Port, t.Port, t.Key, t.Certificate), 1)
		},
	})
}

// OverQUIC returns p with DNS over QUIC at a port of its own, beside UDP and TCP. It panics
// for a program that has none.
func OverQUIC(p Program, t TLSFiles) Program {
	return edited(p, map[string]func(string) string{
		"pharos.yaml": func(c string) string {
			return strings.Replace(c, "listen:\n", fmt.Sprintf("tls: {certificates: [{certificate: %q, key: %q}]}\nlisten:\n  doq: [\"127.0.0.1:%d\"]\n", t.Certificate, t.Key, t.Port), 1)
		},
	})
}

// edited returns p with a change to the one of its files that there is a change for.
func edited(p Program, edits map[string]func(string) string) Program {
	plain := p.Files
	p.Files = func(j Job) (map[string]string, []string) {
		files, args := plain(j)
		for _, name := range slices.Collect(maps.Keys(files)) {
			if edit := edits[name]; edit != nil {
				files[name] = edit(files[name])
				return files, args
			}
		}
		panic("BUG: " + p.Name + " has no such listener here")
	}
	return p
}
