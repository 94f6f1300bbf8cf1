package peer

import (
	"fmt"
	"strings"
)

// Balancing is one way to choose among members, as each gateway has it. A gateway without it has "".
type Balancing struct {
	Pharos  string // lines of a pool
	Nginx   string // lines of an upstream
	HAProxy string // lines of a backend
	Weights []int  // of the members; nil: all alike
}

func (b *Balancing) weight(i int) int {
	if b.Weights == nil {
		return 1
	}
	return b.Weights[i]
}

// Balancers are the gateways that have b, over the members that a Job's Target names with commas between
// them. All probe them each second where they can, ask another one when a connection fails, and
// keep no log.
func Balancers(binary string, b Balancing) (own Program, peers []Program) {
	own = Pharos(binary, func(j Job) string {
		var s strings.Builder
		fmt.Fprintf(&s, pharosCommon+"listen:\n  dns: []\n  http: [\"127.0.0.1:%d\"]\n  admin: \"127.0.0.1:%d\"\nresolver: {allow: []}\nstore: {enabled: false}\n"+
			"pools:\n  - name: members\n    check: {type: http, path: /health, interval: 1s}\n    %s\n    members:\n", j.Port, j.Admin, b.Pharos)
		for i, address := range strings.Split(j.Target, ",") {
			fmt.Fprintf(&s, "      - {name: m%d, address: %q, weight: %d}\n", i, address, b.weight(i))
		}
		s.WriteString("routes: [{path: /, pool: members}]\n")
		return s.String()
	})
	nginx := Nginx()
	nginx.Files = func(j Job) (map[string]string, []string) {
		var s strings.Builder
		fmt.Fprintf(&s, "daemon off;\nworker_processes 1;\nuser root;\npid nginx.pid;\nerror_log stderr crit;\nevents { worker_connections 8192; }\nhttp {\n    access_log off;\n"+
			"    client_body_temp_path tmp_body; proxy_temp_path tmp_proxy; fastcgi_temp_path tmp_fastcgi; uwsgi_temp_path tmp_uwsgi; scgi_temp_path tmp_scgi;\n"+
			"    proxy_http_version 1.1;\n    proxy_set_header Connection \"\";\n    upstream members {\n        %s\n", b.Nginx)
		for i, address := range strings.Split(j.Target, ",") {
			fmt.Fprintf(&s, "        server %s weight=%d;\n", address, b.weight(i))
		}
		fmt.Fprintf(&s, "        keepalive 256;\n    }\n    server {\n        listen 127.0.0.1:%d;\n        location / { proxy_pass http://members; }\n    }\n}\n", j.Port)
		return map[string]string{"nginx.conf": s.String()}, []string{"-p", j.Dir, "-c", j.Dir + "/nginx.conf"}
	}
	haproxy := HAProxy()
	haproxy.Files = func(j Job) (map[string]string, []string) {
		var s strings.Builder
		fmt.Fprintf(&s, "global\n    nbthread 1\n    maxconn 8192\ndefaults\n    mode http\n    http-reuse always\n    retries 3\n    option redispatch 1\n    retry-on conn-failure empty-response\n"+
			"    timeout connect 1s\n    timeout client 60s\n    timeout server 30s\n    timeout http-keep-alive 60s\n"+
			"frontend gateway\n    bind 127.0.0.1:%d\n    default_backend members\nbackend members\n    option httpchk GET /health\n    %s\n", j.Port, b.HAProxy)
		for i, address := range strings.Split(j.Target, ",") {
			fmt.Fprintf(&s, "    server m%d %s check inter 1s weight %d\n", i, address, b.weight(i))
		}
		return map[string]string{"haproxy.cfg": s.String()}, []string{"-db", "-f", "haproxy.cfg"}
	}
	if b.Nginx != "" {
		peers = append(peers, nginx)
	}
	if b.HAProxy != "" {
		peers = append(peers, haproxy)
	}
	return own, peers
}
