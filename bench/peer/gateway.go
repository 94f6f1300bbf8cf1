package peer

import (
	"fmt"
	"net"
	"strings"
)

// Gateways. All have one thread, keep connections alive on both sides, choose
// among the same routes, probe the origin server once a second where they can,
// leave a line for each request in a file, and count what they carry for metrics.

// Hosts are routed by; each has two paths.
var Hosts = []string{"www.bench.example", "shop.bench.example", "api.bench.example", "img.bench.example", "blog.bench.example"}

// Paths of every host.
var Paths = []string{"/", "/api"}

// PharosGateway is Pharos as a gateway.
func PharosGateway(binary string) Program {
	return Pharos(binary, func(j Job) string {
		var b strings.Builder
		scheme := "http"
		if j.TLS != nil {
			scheme = "https"
			fmt.Fprintf(&b, "tls: {certificates: [{certificate: %q, key: %q}]}\n", j.TLS.Certificate, j.TLS.Key)
		}
		fmt.Fprintf(&b, pharosCommon+`listen:
  dns: []
  %s: ["127.0.0.1:%d"]
  admin: "127.0.0.1:%d"
resolver: {allow: []}
gateway: {accessLog: access.log, http3: {enabled: %t}}
pools:
`, scheme, j.Port, j.Admin, j.HTTP3)
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
				fmt.Fprintf(&b, "    server {\n        listen 127.0.0.1:%d;\n        server_name %s;\n", j.Port, host)
				for p, path := range Paths {
					fmt.Fprintf(&b, "        location %s { proxy_pass http://pool%d; }\n", path, p)
				}
				b.WriteString("    }\n")
			}
			fmt.Fprintf(&b, "    server { listen 127.0.0.1:%d; location /metrics { stub_status; } }\n}\n", j.Admin)
			text := b.String()
			listen := fmt.Sprintf("listen 127.0.0.1:%d;", j.Port)
			switch {
			case j.HTTP2:
				text = strings.ReplaceAll(text, listen, strings.TrimSuffix(listen, ";")+" http2;")
			case j.TLS != nil:
				text = strings.ReplaceAll(text, listen, strings.TrimSuffix(listen, ";")+" ssl http2;")
				text = strings.Replace(text, "http {\n", fmt.Sprintf("http {\n    ssl_protocols TLSv1.2 TLSv1.3;\n    ssl_certificate %s;\n    ssl_certificate_key %s;\n", j.TLS.Certificate, j.TLS.Key), 1)
			default:
				text = strings.Replace(text, listen, strings.TrimSuffix(listen, ";")+" backlog=4096;", 1) // may stand once for an address
			}
			return map[string]string{"nginx.conf": text}, []string{"-p", j.Dir, "-c", j.Dir + "/nginx.conf"}
		},
	}
}

// NginxBoth is nginx that speaks HTTP/1.1 at its port, and HTTP/2 in the clear in the place of its
// metrics: it does not speak both at one.
func NginxBoth() Program {
	p := Nginx()
	usual := p.Files
	p.Files = func(j Job) (map[string]string, []string) {
		files, args := usual(j)
		text := files["nginx.conf"]
		text = strings.Replace(text, fmt.Sprintf("    server { listen 127.0.0.1:%d; location /metrics { stub_status; } }\n", j.Admin), "", 1)
		files["nginx.conf"] = strings.ReplaceAll(text, "        server_name ", fmt.Sprintf("        listen 127.0.0.1:%d http2;\n        server_name ", j.Admin))
		return files, args
	}
	return p
}

// HAProxy returns HAProxy.
func HAProxy() Program {
	return Program{
		Name: "HAProxy", Binary: "haproxy", Version: []string{"-v"},
		Files: func(j Job) (map[string]string, []string) {
			var b strings.Builder
			host, port, _ := net.SplitHostPort(j.Target)
			bind := ""
			switch {
			case j.HTTP2:
				bind = " proto h2"
			case j.TLS != nil:
				bind = " ssl crt " + j.TLS.Certificate + " alpn h2,http/1.1" // its key is beside it
			}
			fmt.Fprintf(&b, `global
    nbthread 1
    maxconn 8192
    ssl-load-extra-del-ext
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
`, j.Port, bind)
			for _, h := range Hosts {
				for p := len(Paths) - 1; p >= 0; p-- { // the longer path first
					fmt.Fprintf(&b, "    use_backend pool%d if { hdr(host) %s } { path_beg %s }\n", p, h, Paths[p])
				}
			}
			for p := range Paths {
				fmt.Fprintf(&b, "backend pool%d\n    option httpchk GET /health\n    server origin %s:%s check inter 1s\n", p, host, port)
			}
			fmt.Fprintf(&b, "frontend metrics\n    bind 127.0.0.1:%d\n    no log\n    http-request use-service prometheus-exporter if { path /metrics }\n", j.Admin)
			return map[string]string{"haproxy.cfg": b.String()}, []string{"-db", "-f", "haproxy.cfg"}
		},
	}
}
