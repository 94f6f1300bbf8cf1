package peer

import (
	"fmt"
	"net"
	"strings"
)

// Gateways. All have one thread, keep connections alive on both sides, choose
// among the same routes, probe the origin server once a second where they can,
// and leave a line for each request in a file.

// Hosts are routed by; each has two paths.
var Hosts = []string{"www.bench.example", "shop.bench.example", "api.bench.example", "img.bench.example", "blog.bench.example"}

// Paths of every host.
var Paths = []string{"/", "/api"}

// PharosGateway is Pharos as a gateway.
func PharosGateway(binary string) Program {
	return Pharos(binary, func(j Job) string {
		var b strings.Builder
		fmt.Fprintf(&b, pharosCommon+`listen:
  dns: []
  http: ["127.0.0.1:%d"]
  admin: "127.0.0.1:%d"
resolver: {allow: []}
gateway: {accessLog: access.log}
pools:
`, j.Port, j.Admin)
		for p := range Paths {
			fmt.Fprintf(&b, "  - {name: pool%d, check: {type: http, path: /health, interval: 1s}, members: [{name: origin, address: %q}]}\n", p, j.Target)
		}
		b.WriteString("routes:\n")
		for _, host := range Hosts {
			for p, path := range Paths {
				fmt.Fprintf(&b, "  - {host: %s, path: %s, pool: pool%d}\n", host, path, p)
			}
		}
		return b.String()
	})
}

// Nginx returns nginx.
func Nginx() Program {
	return Program{
		Name: "nginx", Binary: "nginx", Version: []string{"-v"},
		Files: func(j Job) (map[string]string, []string) {
			var b strings.Builder
			fmt.Fprintf(&b, `daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
user root;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 16384; }
http {
    access_log access.log combined buffer=64k flush=1s;
    client_body_temp_path tmp_body; proxy_temp_path tmp_proxy; fastcgi_temp_path tmp_fastcgi; uwsgi_temp_path tmp_uwsgi; scgi_temp_path tmp_scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 60s;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
`)
			for p := range Paths {
				fmt.Fprintf(&b, "    upstream pool%d { server %s; keepalive 1024; keepalive_requests 1000000000; }\n", p, j.Target)
			}
			for _, host := range Hosts {
				fmt.Fprintf(&b, "    server {\n        listen 127.0.0.1:%d backlog=4096;\n        server_name %s;\n", j.Port, host)
				for p, path := range Paths {
					fmt.Fprintf(&b, "        location %s { proxy_pass http://pool%d; }\n", path, p)
				}
				b.WriteString("    }\n")
			}
			b.WriteString("}\n")
			// "backlog" may stand once for an address.
			text := strings.ReplaceAll(b.String(), " backlog=4096", "")
			if j.HTTP2 {
				text = strings.ReplaceAll(text, fmt.Sprintf("listen 127.0.0.1:%d;", j.Port), fmt.Sprintf("listen 127.0.0.1:%d http2;", j.Port))
				return map[string]string{"nginx.conf": text}, []string{"-p", j.Dir, "-c", j.Dir + "/nginx.conf"}
			}
			text = strings.Replace(text, fmt.Sprintf("listen 127.0.0.1:%d;", j.Port), fmt.Sprintf("listen 127.0.0.1:%d backlog=4096;", j.Port), 1)
			return map[string]string{"nginx.conf": text}, []string{"-p", j.Dir, "-c", j.Dir + "/nginx.conf"}
		},
	}
}

// HAProxy returns HAProxy.
func HAProxy() Program {
	return Program{
		Name: "HAProxy", Binary: "haproxy", Version: []string{"-v"},
		Files: func(j Job) (map[string]string, []string) {
			var b strings.Builder
			host, port, _ := net.SplitHostPort(j.Target)
			fmt.Fprintf(&b, `global
    nbthread 1
    maxconn 8192
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    option http-keep-alive
    option forwardfor
    http-reuse always
    timeout connect 1s
    timeout client 60s
    timeout server 30s
    timeout http-keep-alive 60s
frontend gateway
    bind 127.0.0.1:%d backlog 4096%s
`, j.Port, map[bool]string{true: " proto h2"}[j.HTTP2])
			for _, h := range Hosts {
				for p := len(Paths) - 1; p >= 0; p-- { // the longer path first
					fmt.Fprintf(&b, "    use_backend pool%d if { hdr(host) %s } { path_beg %s }\n", p, h, Paths[p])
				}
			}
			for p := range Paths {
				fmt.Fprintf(&b, "backend pool%d\n    option httpchk GET /health\n    server origin %s:%s check inter 1s\n", p, host, port)
			}
			return map[string]string{"haproxy.cfg": b.String()}, []string{"-db", "-f", "haproxy.cfg"}
		},
	}
}
