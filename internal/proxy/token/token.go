// Package token verifies JSON Web Tokens (RFC 7519) that are signed (RFC 7515): it decides by
// keys, a rule and the time.
//
// It owns which key may verify which algorithm, and what of a token has to be so. It does not
// own where keys come from, nor which requests have tokens.
//
// The algorithm is never the token's choice: it has to be one that the rule lists, and of the
// kind of the key, whatever the token says. So nobody signs with "none", nor with HMAC under
// a public key (RFC 8725 §2.1, §3.1).
//
// Entry points: ParseKeys, Rule.Verify.
//
// Concurrency: Keys and a Rule are immutable.
//
// Sources: RFC 7515, RFC 7517 (JWK sets), RFC 7518 (algorithms), RFC 7519, RFC 8037
// (Ed25519), RFC 8725 (what went wrong with tokens).
package token

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Rule is what a token has to be.
type Rule struct {
	Algorithms []string // that are taken; see Algorithms
	Issuer     string   // empty: any
	Audience   []string // one of them has to be among the token's; empty: any
	Leeway     time.Duration
}

// Algorithms are those that there are, with the kind of the key.
var Algorithms = map[string]string{
	"RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "PS256": "RSA", "PS384": "RSA", "PS512": "RSA",
	"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519",
	"HS256": "oct", "HS384": "oct", "HS512": "oct",
}

// MaxLen is the longest token that is looked at, in octets: fields are shorter in general.
const MaxLen = 16 << 10

// maxTries is how many keys are tried for a token that does not name its key.
const maxTries = 4

// Check returns what is wrong with r.
func (r *Rule) Check() error {
	if len(r.Algorithms) == 0 {
		return fmt.Errorf("algorithms: none is taken; list those that the issuer signs with, as in [RS256]")
	}
	for _, a := range r.Algorithms {
		if Algorithms[a] == "" {
			return fmt.Errorf("algorithms: %q is none that can be verified; there are RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, HS256, HS384 and HS512", a)
		}
	}
	return nil
}

// ErrUnknownKey says that no key of the set has the name that the token gives: the issuer may
// have a newer one.
var ErrUnknownKey = errors.New("the token is signed with a key that is not known")

// Claims are what a token says.
type Claims = jwt.MapClaims

// Verify returns what a token says, and until when it does; the error says why it does not
// count.
func (r *Rule) Verify(text string, keys *Keys, now time.Time) (Claims, time.Time, error) {
	if len(text) > MaxLen {
		return nil, time.Time{}, fmt.Errorf("the token is longer than %d octets", MaxLen)
	}
	parser := jwt.NewParser(jwt.WithValidMethods(r.Algorithms), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding())
	unverified, _, err := parser.ParseUnverified(text, jwt.MapClaims{})
	if err != nil {
		return nil, time.Time{}, errors.New("it is no token")
	}
	candidates, err := keys.forToken(unverified.Header, r.Algorithms)
	if err != nil {
		return nil, time.Time{}, err
	}
	err = errors.New("the signature is wrong")
	for _, k := range candidates[:min(len(candidates), maxTries)] {
		claims := jwt.MapClaims{}
		if _, bad := parser.ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return k.public, nil }); bad != nil {
			continue
		}
		until, err := r.checkClaims(claims, now)
		return claims, until, err
	}
	return nil, time.Time{}, err
}

// checkClaims checks the time, the issuer and the audience. A token without an end is not
// taken: it could never be taken back.
func (r *Rule) checkClaims(claims jwt.MapClaims, now time.Time) (time.Time, error) {
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil {
		return time.Time{}, errors.New("the token has no end (exp)")
	}
	until := expires.Add(r.Leeway)
	if !now.Before(until) {
		return until, errors.New("the token has expired")
	}
	for _, get := range []func() (*jwt.NumericDate, error){claims.GetNotBefore, claims.GetIssuedAt} {
		if from, err := get(); err != nil || from != nil && now.Before(from.Add(-r.Leeway)) {
			return until, errors.New("the token is of the future")
		}
	}
	if issuer, err := claims.GetIssuer(); r.Issuer != "" && (err != nil || issuer != r.Issuer) {
		return until, errors.New("the token is of another issuer")
	}
	if audience, err := claims.GetAudience(); len(r.Audience) > 0 && (err != nil || !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(r.Audience, a) })) {
		return until, errors.New("the token is for somebody else")
	}
	return until, nil
}

// Text returns a claim as text: a string, a number, true or false, or a list of them with
// commas between; false if it is none of these, or not there. Dots lead into objects.
func Text(c Claims, path string) (string, bool) {
	value, has := at(c, path)
	if !has {
		return "", false
	}
	if list, is := value.([]any); is {
		var parts []string
		for _, item := range list {
			text, ok := scalar(item)
			if !ok || strings.Contains(text, ",") {
				return "", false
			}
			parts = append(parts, text)
		}
		return strings.Join(parts, ","), true
	}
	return scalar(value)
}

// Has reports whether a claim is one of values, a list that has one, or words of which one is
// (scope, RFC 8693 §4.2).
func Has(c Claims, path string, values []string) bool {
	value, has := at(c, path)
	if !has {
		return false
	}
	list, is := value.([]any)
	if !is {
		list = []any{value}
	}
	for _, item := range list {
		text, ok := scalar(item)
		if ok && (slices.Contains(values, text) || !is && slices.ContainsFunc(strings.Fields(text), func(word string) bool { return slices.Contains(values, word) })) {
			return true
		}
	}
	return false
}

// at returns the claim of that very name, or what dots lead to.
func at(c map[string]any, path string) (any, bool) {
	if value, has := c[path]; has {
		return value, true
	}
	name, rest, more := strings.Cut(path, ".")
	inner, is := c[name].(map[string]any)
	if !more || !is {
		return nil, false
	}
	return at(inner, rest)
}

func scalar(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case bool:
		return fmt.Sprint(v), true
	case float64:
		if v == float64(int64(v)) {
			return fmt.Sprint(int64(v)), true
		}
		return fmt.Sprint(v), true
	}
	return "", false
}
