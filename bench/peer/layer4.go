package peer

import "fmt"

// Carriers of connections as they are. All have one thread, one server behind them, which
// they check once a second where they can, and leave a line for each connection in a file.

// StreamModule is where Debian has the part of nginx that carries connections.
const StreamModule = "/usr/lib/nginx/modules/ngx_stream_module.so"

// HasStreamModule reports whether it is installed.
func HasStreamModule() bool { return exists(StreamModule) }

// PharosStreams is Pharos as one.
func PharosStreams(binary string) Program {
	return Pharos(binary, func(j Job) string {
		return fmt.Sprintf(`data: data
log: {level: warn, connections: connections.log}
store: {enabled: false}
listen: {dns: [], admin: "127.0.0.1:%d"}
resolver: {allow: []}
pools: [{name: pool, check: {type: tcp, interval: 1s}, members: [{name: origin, address: %q}]}]
streams: [{name: carried, listen: ["127.0.0.1:%d"], pool: pool}]
`, j.Admin, j.Target, j.Port)
	})
}

// NginxStreams is nginx as one.
func NginxStreams() Program {
	return Program{
		Name: "nginx", Binary: "nginx", Version: []string{"-v"},
		Files: func(j Job) (map[string]string, []string) {
			text := fmt.Sprintf(`load_module %s;
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
user root;
pid nginx.pid;
error_log stderr error;
events { worker_connections 16384; }
stream {
    log_format usual '$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received $session_time $upstream_addr';
    access_log connections.log usual buffer=64k flush=1s;
    upstream pool { server %s; }
    server { listen 127.0.0.1:%d backlog=4096; proxy_pass pool; }
}
`, StreamModule, j.Target, j.Port)
			return map[string]string{"nginx.conf": text}, []string{"-p", j.Dir, "-c", j.Dir + "/nginx.conf"}
		},
	}
}

// HAProxyStreams is HAProxy as one, which splices where that seems worth it.
func HAProxyStreams() Program {
	return Program{
		Name: "HAProxy", Binary: "haproxy", Version: []string{"-v"},
		Files: func(j Job) (map[string]string, []string) {
			text := fmt.Sprintf(`global
    nbthread 1
    maxconn 2000
    log stdout format raw local0
defaults
    mode tcp
    log global
    option tcplog
    option splice-auto
    timeout connect 3s
    timeout client 1h
    timeout server 1h
listen carried
    bind 127.0.0.1:%d backlog 4096
    server origin %s check inter 1s
`, j.Port, j.Target)
			return map[string]string{"haproxy.cfg": text}, []string{"-db", "-f", "haproxy.cfg"}
		},
	}
}
