package peer

import (
	"fmt"
	"net"
	"strings"
)

// Resolvers. All have one thread, no validation, and a cache that holds the whole
// work; what they do not know they ask the job's target, which is root server and
// name server of everything.

// PharosResolver is Pharos as a recursive resolver.
func PharosResolver(binary string) Program {
	p := Pharos(binary, func(j Job) string {
		_, port, _ := net.SplitHostPort(j.Target)
		return fmt.Sprintf(pharosCommon+"listen:\n  dns: [\"127.0.0.1:%d\"]\n  admin: \"127.0.0.1:%d\"\ndns: {udpWorkers: 1}\nresolver: {rootHints: root.hints, port: %s, validate: false}\n",
			j.Port, j.Admin, port)
	})
	files := p.Files
	p.Files = func(j Job) (map[string]string, []string) {
		f, args := files(j)
		host, _, _ := net.SplitHostPort(j.Target)
		f["root.hints"] = ". 3600000 NS ns.root-bench.\nns.root-bench. 3600000 A " + host + "\n"
		return f, args
	}
	return p
}

// Unbound returns NLnet Labs' resolver.
func Unbound() Program {
	return Program{
		Name: "Unbound", Binary: "unbound", Version: []string{"-V"},
		Files: func(j Job) (map[string]string, []string) {
			host, port, _ := net.SplitHostPort(j.Target)
			return map[string]string{"unbound.conf": fmt.Sprintf(`server:
    num-threads: 1
    interface: 127.0.0.1
    port: %[2]d
    do-ip6: no
    do-daemonize: no
    username: ""
    chroot: ""
    directory: %[1]q
    pidfile: ""
    use-syslog: no
    verbosity: 0
    module-config: "iterator"
    do-not-query-localhost: no
    msg-cache-size: 64m
    rrset-cache-size: 128m
    msg-cache-slabs: 1
    rrset-cache-slabs: 1
    infra-cache-slabs: 1
    key-cache-slabs: 1
    so-rcvbuf: 1m
    minimal-responses: yes
    serve-expired: yes
    serve-expired-ttl: 86400
    serve-expired-client-timeout: 1800
stub-zone:
    name: "."
    stub-addr: %[3]s@%[4]s
remote-control:
    control-enable: no
`, j.Dir, j.Port, host, port)}, []string{"-d", "-c", "unbound.conf"}
		},
	}
}

// Recursor returns PowerDNS's resolver.
func Recursor() Program {
	return Program{
		Name: "PowerDNS", Binary: "pdns_recursor", Version: []string{"--version"},
		Files: func(j Job) (map[string]string, []string) {
			return map[string]string{"recursor.conf": fmt.Sprintf(`local-address=127.0.0.1
local-port=%[2]d
threads=1
pdns-distributes-queries=no
socket-dir=%[1]s
daemon=no
write-pid=no
dnssec=off
disable-packetcache=no
max-cache-entries=1000000
max-packetcache-entries=500000
security-poll-suffix=
dont-query=
forward-zones=.=%[3]s
loglevel=3
quiet=yes
`, j.Dir, j.Port, j.Target)}, []string{"--config-dir=" + j.Dir}
		},
	}
}

// Keeping has Pharos keep a cache of half a million RRsets on disk, written when it ends.
func Keeping(p Program) Program {
	files := p.Files
	p.Files = func(j Job) (map[string]string, []string) {
		f, args := files(j)
		for name, text := range f {
			f[name] = strings.ReplaceAll(text, "resolver: {", "resolver: {cacheSize: 256MiB, saveCache: 1h, ")
		}
		return f, args
	}
	return p
}

// Roomy gives a resolver a cache that holds a million RRsets and the answers made of them.
func Roomy(p Program) Program {
	files := p.Files
	p.Files = func(j Job) (map[string]string, []string) {
		f, args := files(j)
		for name, text := range f {
			text = strings.ReplaceAll(text, "resolver: {", "resolver: {cacheSize: 512MiB, saveCache: 0s, ")
			text = strings.ReplaceAll(text, "msg-cache-size: 64m", "msg-cache-size: 1g")
			f[name] = strings.ReplaceAll(text, "rrset-cache-size: 128m", "rrset-cache-size: 2g")
		}
		return f, args
	}
	return p
}
