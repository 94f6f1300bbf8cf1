package settings

import (
	"fmt"
	"strings"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/proxy/tlscert"
)

// mostUncovered is how many hosts are named that no certificate is good for; arbitrary.
const mostUncovered = 5

// CertificateRemarks says what of the certificates serves nobody: those that have ended, and
// hosts of routes over TLS that none is good for, whose clients would turn away.
func CertificateRemarks(cfg *config.Config, store *tlscert.Store, now time.Time) (remarks []string) {
	for _, s := range store.Status() {
		if !s.Until.After(now) {
			remarks = append(remarks, fmt.Sprintf("certificate %s has ended; renew it", s.Certificate))
		}
	}
	if len(cfg.Listen.HTTPS) == 0 || len(cfg.TLS.Certificates) == 0 {
		return remarks
	}
	var hosts []string
	known := map[string]bool{}
	for _, r := range cfg.Resources.Routes {
		host := strings.TrimSuffix(strings.ToLower(r.Host), ".")
		if host == "" || strings.ContainsAny(host, "*~[") || known[host] || r.When.Scheme == "http" {
			continue
		}
		known[host] = true
		if !store.Covers(host, host) {
			hosts = append(hosts, host)
		}
	}
	if n := len(hosts); n > mostUncovered {
		hosts = append(hosts[:mostUncovered], fmt.Sprintf("and %d more", n-mostUncovered))
	}
	if len(hosts) > 0 {
		remarks = append(remarks, "no certificate is good for "+strings.Join(hosts, ", ")+", which routes over TLS are for (listen.https); add one under tls.certificates, or when: {scheme: http} to the route")
	}
	return remarks
}
