package filter

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"pharos/internal/proxy/token"
)

// JWT asks for a JSON Web Token (RFC 6750, RFC 7519).
type JWT struct {
	Keys     string // a file, or a URL, with the keys of the issuer (RFC 7517)
	Refresh  time.Duration
	Rule     token.Rule
	Cookie   string // that the token is in; empty: it is in Authorization
	Optional bool   // requests without a token pass, too
	Forward  bool   // the origin server gets the token
	Fields   []ClaimField
	Require  []ClaimRule
}

// ClaimField is a field that the origin server gets a claim in.
type ClaimField struct{ Claim, Field string }

// ClaimRule is what a claim has to be: one of the values.
type ClaimRule struct {
	Claim  string
	Values []string
}

// KeySource has the keys of an issuer.
type KeySource interface {
	// Keys returns those that there are; nil: there never were any.
	Keys() *token.Keys
	// Renewed returns keys that were read after those that did not have the one that is looked
	// for, if they can be had now. It may wait for them for a while.
	Renewed(before *token.Keys) *token.Keys
}

// bearer is a compiled JWT.
type bearer struct {
	spec  *JWT
	keys  KeySource // nil: they are not looked at
	known *memory[*verified]
}

// verified is a token that was verified.
type verified struct {
	keys   *token.Keys // by which
	claims token.Claims
}

// mostTokens is how many tokens are remembered, in each of two generations; arbitrary.
const mostTokens = 10_000

func (j *JWT) compile(means Means) (*bearer, error) {
	if err := j.Rule.Check(); err != nil {
		return nil, fmt.Errorf("jwt: %w", err)
	}
	isURL := strings.Contains(j.Keys, "://")
	if isURL && !isSafeURL(j.Keys) {
		return nil, fmt.Errorf("jwt: keys: %q: whoever is on the way could put keys of his own in; want https (http for addresses of this machine)", j.Keys)
	}
	if isURL && slices.ContainsFunc(j.Rule.Algorithms, func(a string) bool { return token.Algorithms[a] == "oct" }) {
		return nil, fmt.Errorf("jwt: algorithms: HS256 and its like have secrets, which are in no set that is fetched; put the key into a file")
	}
	for _, f := range j.Fields {
		if err := checkName(f.Field, true, false); err != nil {
			return nil, fmt.Errorf("jwt: %w", err)
		}
	}
	out := &bearer{spec: j, known: newMemory[*verified](mostTokens, means.Secret)}
	if means.Keys != nil {
		var err error
		if out.keys, err = means.Keys(j.Keys, j.Refresh); err != nil {
			return nil, fmt.Errorf("jwt: keys: %w", err)
		}
	}
	return out, nil
}

// isSafeURL reports whether what is fetched from a URL is what its owner has there.
func isSafeURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && err == nil && addr.IsLoopback()
}

func (b *bearer) changes() (out []change) {
	for _, f := range b.spec.Fields {
		out = append(out, change{name: f.Field, drops: true})
	}
	if !b.spec.Forward && b.spec.Cookie == "" {
		out = append(out, change{name: "Authorization", drops: true})
	}
	return out
}

func (b *bearer) decide(p *Pass) Verdict {
	text := b.tokenOf(p)
	switch {
	case text == "" && b.spec.Optional:
		p.note("there is no token")
		return Verdict{}
	case text == "":
		return refusedToken(401, "", "a token is asked for")
	case b.keys == nil:
		p.note("the keys are not looked at")
		return Verdict{}
	}
	claims, v := b.verify(p, text)
	if !v.Passes() {
		return v
	}
	for _, rule := range b.spec.Require {
		if !token.Has(claims, rule.Claim, rule.Values) {
			return refusedToken(403, "insufficient_scope", "the token does not allow this: "+rule.Claim)
		}
	}
	p.claims = claims
	p.user, _ = token.Text(claims, "sub") // RFC 7519 §4.1.2
	p.note("the token counts")
	for _, f := range b.spec.Fields {
		value, has := token.Text(claims, f.Claim)
		if has && !p.appendLine(f.Field, value) {
			return refusedToken(403, "invalid_token", "a claim cannot be written into a field: "+f.Claim)
		}
	}
	return Verdict{}
}

// verify returns what a token says, by what is remembered of it or by its signature.
func (b *bearer) verify(p *Pass, text string) (token.Claims, Verdict) {
	keys := b.keys.Keys()
	if keys == nil {
		if keys = b.keys.Renewed(nil); keys == nil {
			return nil, Verdict{Status: 503, Kind: "proxy_internal_error", Text: "the keys of the issuer of tokens could not be had", After: 5}
		}
	}
	key := b.known.sum(text)
	if k, has := b.known.get(key, p.Now); has && k.keys == keys {
		return k.claims, Verdict{}
	}
	claims, until, err := b.spec.Rule.Verify(text, keys, p.Now)
	if errors.Is(err, token.ErrUnknownKey) && !p.explains {
		if newer := b.keys.Renewed(keys); newer != nil && newer != keys {
			keys = newer
			claims, until, err = b.spec.Rule.Verify(text, keys, p.Now)
		}
	}
	if err != nil {
		return nil, refusedToken(401, "invalid_token", err.Error())
	}
	b.known.put(key, &verified{keys, claims}, until)
	return claims, Verdict{}
}

// tokenOf returns the token of a request; empty if it has none. It is never looked for in the
// query, which stands in logs (RFC 6750 §5.3).
func (b *bearer) tokenOf(p *Pass) string {
	if b.spec.Cookie != "" {
		return string(p.Request.Cookie(b.spec.Cookie))
	}
	const scheme = "bearer "
	field := p.Request.Field("Authorization")
	if len(field) <= len(scheme) || !equalFold(field[:len(scheme)], scheme) {
		return ""
	}
	return string(bytes.TrimSpace(field[len(scheme):]))
}

// refusedToken refuses as RFC 6750 §3 has it.
func refusedToken(status int, code, text string) Verdict {
	lines := []byte("WWW-Authenticate: Bearer")
	if code != "" {
		lines = fmt.Appendf(lines, " error=%q", code)
	}
	return Verdict{Status: status, Kind: "http_request_denied", Text: text, Lines: append(lines, '\r', '\n')}
}

// claim returns a claim of the token that was verified; nil if there is none.
func (p *Pass) claim(name string) []byte {
	if text, has := token.Text(p.claims, name); has {
		return []byte(text)
	}
	return nil
}
