package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// issuer has a key of each kind.
type issuer struct {
	rsa    *rsa.PrivateKey
	ec     *ecdsa.PrivateKey
	ed     ed25519.PrivateKey
	secret []byte
	keys   *Keys
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{secret: []byte("0123456789abcdef0123456789abcdef")}
	var errs [3]error
	i.rsa, errs[0] = rsa.GenerateKey(rand.Reader, 2048)
	i.ec, errs[1] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, i.ed, errs[2] = ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	point, err := i.ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	set := fmt.Sprintf(`{"keys":[{"kty":"RSA","kid":"r","n":"%s","e":"AQAB"},{"kty":"EC","kid":"e","crv":"P-256","x":"%s","y":"%s"},
		{"kty":"OKP","kid":"d","crv":"Ed25519","x":"%s"},{"kty":"oct","kid":"s","k":"%s"},{"kty":"RSA","kid":"enc","use":"enc","n":"AQAB","e":"AQAB"}]}`,
		b64(i.rsa.N.Bytes()), b64(point[1:33]), b64(point[33:]), b64(i.ed.Public().(ed25519.PublicKey)), b64(i.secret))
	if i.keys, err = ParseKeys([]byte(set), true); err != nil || i.keys.Len() != 4 {
		t.Fatal(i.keys, err)
	}
	return i
}

// sign makes a token.
func sign(t testing.TB, method jwt.SigningMethod, key any, kid string, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func usual() jwt.MapClaims {
	return jwt.MapClaims{"iss": "https://id.example", "aud": []string{"shop"}, "sub": "alice", "exp": now.Add(time.Hour).Unix(), "nbf": now.Add(-time.Hour).Unix()}
}

// TestVerify: what is signed with a key of the set, by an algorithm that is taken, counts.
func TestVerify(t *testing.T) {
	i := newIssuer(t)
	r := &Rule{Algorithms: []string{"RS256", "PS256", "ES256", "EdDSA", "HS256"}, Issuer: "https://id.example", Audience: []string{"shop", "office"}}
	for _, c := range []struct {
		method jwt.SigningMethod
		key    any
		kid    string
	}{
		{jwt.SigningMethodRS256, i.rsa, "r"}, {jwt.SigningMethodPS256, i.rsa, "r"}, {jwt.SigningMethodES256, i.ec, "e"}, {jwt.SigningMethodEdDSA, i.ed, "d"},
		{jwt.SigningMethodHS256, i.secret, "s"}, {jwt.SigningMethodRS256, i.rsa, ""},
	} {
		claims, until, err := r.Verify(sign(t, c.method, c.key, c.kid, usual()), i.keys, now)
		if err != nil || claims["sub"] != "alice" || !until.Equal(now.Add(time.Hour)) {
			t.Errorf("%s, kid %q: %v %v %v", c.method.Alg(), c.kid, claims, until, err)
		}
	}
}

// TestConfusion: a token cannot choose how it is verified (RFC 8725 §2.1).
func TestConfusion(t *testing.T) {
	i := newIssuer(t)
	der, err := x509.MarshalPKIXPublicKey(&i.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	none := sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "r", usual())
	good := sign(t, jwt.SigningMethodRS256, i.rsa, "r", usual())
	parts := strings.Split(good, ".")
	crit := jwt.NewWithClaims(jwt.SigningMethodRS256, usual())
	crit.Header["crit"] = []string{"b64"}
	withCrit, err := crit.SignedString(i.rsa)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"RS256", "ES256", "HS256"}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		token string
		algs  []string
	}{
		"none":                           {none, all},
		"NONE":                           {strings.Replace(none, strings.Split(none, ".")[0], base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"NONE","kid":"r"}`)), 1), all},
		"no signature":                   {parts[0] + "." + parts[1] + ".", all},
		"HMAC under the RSA key, PEM":    {sign(t, jwt.SigningMethodHS256, public, "r", usual()), all},
		"HMAC under the RSA key, DER":    {sign(t, jwt.SigningMethodHS256, der, "r", usual()), all},
		"HMAC under the RSA modulus":     {sign(t, jwt.SigningMethodHS256, i.rsa.N.Bytes(), "r", usual()), all},
		"HMAC without kid":               {sign(t, jwt.SigningMethodHS256, public, "", usual()), all},
		"an algorithm that is not taken": {sign(t, jwt.SigningMethodHS256, i.secret, "s", usual()), []string{"RS256"}},
		"the kid of another key":         {sign(t, jwt.SigningMethodES256, i.ec, "r", usual()), all},
		"a key that nobody knows":        {sign(t, jwt.SigningMethodRS256, other, "x", usual()), all},
		"another key of that name":       {sign(t, jwt.SigningMethodRS256, other, "r", usual()), all},
		"other claims":                   {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"root","exp":9999999999}`)) + "." + parts[2], all},
		"critical extensions":            {withCrit, all},
		"two tokens":                     {good + "." + good, all},
		"nothing":                        {"", all},
		"too long":                       {good + strings.Repeat("A", MaxLen), all},
	} {
		if claims, _, err := (&Rule{Algorithms: c.algs}).Verify(c.token, i.keys, now); err == nil {
			t.Errorf("%s: counts, with %v", name, claims)
		}
	}
}

// TestClaims: the time, who it is of and whom it is for.
func TestClaims(t *testing.T) {
	i := newIssuer(t)
	r := &Rule{Algorithms: []string{"HS256"}, Issuer: "https://id.example", Audience: []string{"shop"}, Leeway: 10 * time.Second}
	with := func(change ...any) jwt.MapClaims {
		c := usual()
		for n := 0; n < len(change); n += 2 {
			if c[change[n].(string)] = change[n+1]; change[n+1] == nil {
				delete(c, change[n].(string))
			}
		}
		return c
	}
	for _, c := range []struct {
		claims jwt.MapClaims
		want   string
	}{
		{usual(), ""}, {with("aud", "shop"), ""}, {with("aud", []string{"a", "shop"}), ""}, {with("exp", now.Add(-9*time.Second).Unix()), ""}, {with("nbf", now.Add(9*time.Second).Unix()), ""},
		{with("exp", now.Add(-10*time.Second).Unix()), "expired"}, {with("exp", nil), "no end"}, {with("exp", "soon"), "no end"},
		{with("nbf", now.Add(11*time.Second).Unix()), "future"}, {with("iat", now.Add(time.Minute).Unix()), "future"},
		{with("iss", "https://id.example.evil"), "another issuer"}, {with("iss", nil), "another issuer"},
		{with("aud", "shopper"), "somebody else"}, {with("aud", nil), "somebody else"}, {with("aud", []string{}), "somebody else"},
	} {
		_, _, err := r.Verify(sign(t, jwt.SigningMethodHS256, i.secret, "s", c.claims), i.keys, now)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.claims, err, c.want)
		}
	}
}

func TestBadKeys(t *testing.T) {
	b64 := base64.RawURLEncoding.EncodeToString
	short := b64(new(big.Int).Lsh(big.NewInt(1), 1023).Bytes())
	for text, want := range map[string]string{
		`[]`: "no JWK set", `{}`: "no key", `{"keys":[{"kty":"oct","k":"` + b64(make([]byte, 32)) + `"}]}`: "no key",
		`{"keys":[{"kty":"RSA","n":"` + short + `","e":"AQAB"}]}`:                                                       "1024 bits",
		`{"keys":[{"kty":"RSA","n":"!","e":"AQAB"}]}`:                                                                   "base64url",
		`{"keys":[{"kty":"RSA","n":"` + short + `","e":"AA"}]}`:                                                         "exponent",
		`{"keys":[{"kty":"EC","crv":"P-256","x":"` + b64(make([]byte, 32)) + `","y":"` + b64(make([]byte, 32)) + `"}]}`: "not on P-256",
		`{"keys":[{"kty":"EC","crv":"secp256k1"}]}`:                                                                     "curve",
		`{"keys":[{"kty":"OKP","crv":"X25519"}]}`:                                                                       "Ed25519",
		`{"keys":[` + strings.Repeat(`{"kty":"x"},`, 100) + `{}]}`:                                                      "more than 100",
	} {
		if _, err := ParseKeys([]byte(text), false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}

func TestText(t *testing.T) {
	c := Claims{"s": "a b", "n": 7.0, "f": 1.5, "b": true, "l": []any{"x", "y"}, "o": map[string]any{"r": []any{"admin"}, "n": map[string]any{}}, "a.b": "dot", "c": []any{"x,y"}}
	for path, want := range map[string]string{"s": "a b", "n": "7", "f": "1.5", "b": "true", "l": "x,y", "o.r": "admin", "a.b": "dot", "o": "", "o.n": "", "x": "", "s.x": "", "c": ""} {
		if got, ok := Text(c, path); got != want || ok != (want != "") {
			t.Errorf("%s: %q %t, want %q", path, got, ok, want)
		}
	}
	for _, e := range []struct {
		path, value string
		want        bool
	}{{"s", "a", true}, {"s", "a b", true}, {"s", "c", false}, {"l", "y", true}, {"o.r", "admin", true}, {"o.r", "adm", false}, {"x", "", false}} {
		if got := Has(c, e.path, []string{e.value}); got != e.want {
			t.Errorf("%s has %s: %t", e.path, e.value, got)
		}
	}
}

func FuzzVerify(f *testing.F) {
	i := newIssuer(f)
	r := &Rule{Algorithms: []string{"RS256", "ES256", "EdDSA", "HS256"}}
	good := sign(f, jwt.SigningMethodHS256, i.secret, "s", usual())
	f.Add(good)
	f.Fuzz(func(t *testing.T, text string) {
		if claims, _, err := r.Verify(text, i.keys, now); err == nil && text != good {
			t.Errorf("%q counts, with %v", text, claims)
		}
	})
}

// TestKeysForTokens: which keys may have signed a token follows from what the rule takes and
// what each key is for, before any signature is looked at.
func TestKeysForTokens(t *testing.T) {
	keys := newIssuer(t).keys
	all := []string{"RS256", "ES256", "HS256"}
	for name, c := range map[string]struct {
		algorithm, id string
		taken         []string
		kind          string // of the keys; empty: there are none
	}{
		"its own":                          {"RS256", "r", all, "RSA"},
		"an algorithm that is not taken":   {"RS256", "r", []string{"ES256", "HS256"}, ""},
		"HMAC by the name of a public key": {"HS256", "r", all, ""},
		"another kind of signature":        {"ES256", "r", all, ""},
		"none":                             {"none", "r", all, ""},
	} {
		got, err := keys.forToken(map[string]any{"alg": c.algorithm, "kid": c.id}, c.taken)
		if (err == nil) != (c.kind != "") || slices.ContainsFunc(got, func(k *Key) bool { return k.kind != c.kind }) {
			t.Errorf("%s: %d keys, %v", name, len(got), err)
		}
	}
}
