package filter

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Security is the fields that have browsers be careful with what the route serves. What the
// origin server says itself of one of them counts over this, but for HSTS, which is the
// gateway's, as TLS is.
type Security struct {
	HSTS       time.Duration // 0: not said; only ever said over TLS (RFC 6797 §7.2)
	Subdomains bool          // includeSubDomains
	Preload    bool
	Frame      string // DENY, SAMEORIGIN or empty: not said
	Referrer   string // of Referrer-Policy; empty: not said
	Policy     string // of Content-Security-Policy; empty: not said
}

// preloadLeast is the shortest time with which a host is taken into the lists of browsers
// (https://hstspreload.org).
const preloadLeast = 365 * 24 * time.Hour

func (s *Security) compile() ([]change, error) {
	out := []change{}
	field := func(name, value string, absent bool) error {
		c, err := compileField(Field{name, strings.ReplaceAll(value, "{", "{{")}, false)
		c.absent, c.drops = absent, !absent
		out = append(out, c)
		return err
	}
	switch {
	case s.Preload && (!s.Subdomains || s.HSTS < preloadLeast):
		return nil, fmt.Errorf("security: browsers take a host into their lists with subdomains and a year or more only")
	case s.HSTS == 0 && s.Subdomains:
		return nil, fmt.Errorf("security: subdomains without hsts says nothing")
	}
	if s.HSTS > 0 {
		value := "max-age=" + strconv.FormatInt(int64(s.HSTS/time.Second), 10)
		if s.Subdomains {
			value += "; includeSubDomains"
		}
		if s.Preload {
			value += "; preload"
		}
		if err := field("Strict-Transport-Security", value, false); err != nil {
			return nil, err
		}
		out[0].secure = true
	}
	for _, f := range []Field{{"X-Content-Type-Options", "nosniff"}, {"X-Frame-Options", s.Frame}, {"Referrer-Policy", s.Referrer}, {"Content-Security-Policy", s.Policy}} {
		if f.Value == "" {
			continue
		}
		if err := field(f.Name, f.Value, true); err != nil {
			return nil, err
		}
	}
	return out, nil
}
