package filter

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"pharos/internal/proxy/token"
)

// chainWith is chainOf with means.
func chainWith(t testing.TB, means Means, prev *Book, steps ...Step) (*Chain, *Book) {
	t.Helper()
	book, errs := Compile([]Set{{Name: "s", Steps: steps}}, means, prev)
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	c, err := book.Chain([]string{"s"}, false)
	if err != nil {
		t.Fatal(err)
	}
	return c, book
}

func bcryptOf(t testing.TB, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

func argonOf(password string) string {
	salt := []byte("saltsalt")
	b64 := base64.RawStdEncoding.EncodeToString
	return "$argon2id$v=19$m=64,t=1,p=1$" + b64(salt) + "$" + b64(argon2.IDKey([]byte(password), salt, 1, 64, 1, 32))
}

// userMeans has the users of a text.
func userMeans(t testing.TB, text *string) Means {
	return Means{Users: func(string) (func() *Users, error) {
		if _, err := ParseUsers([]byte(*text)); err != nil {
			return nil, err
		}
		return func() *Users {
			u, err := ParseUsers([]byte(*text))
			if err != nil {
				t.Error(err)
			}
			return u
		}, nil
	}}
}

func withPassword(name, password string) *request {
	return &request{fields: map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))}}
}

func TestBasic(t *testing.T) {
	text := "# users\nalice:" + bcryptOf(t, "secret") + "\nbob:" + argonOf("pass:word") + "\n"
	c, _ := chainWith(t, userMeans(t, &text), nil, Step{Basic: &Basic{Users: "f", Realm: "office", Field: "X-User"}})
	for _, e := range []struct {
		r    *request
		want int
	}{
		{withPassword("alice", "secret"), 0}, {withPassword("alice", "secret"), 0}, {withPassword("bob", "pass:word"), 0},
		{withPassword("alice", "Secret"), 401}, {withPassword("alice", "pass:word"), 401}, {withPassword("carol", "secret"), 401}, {withPassword("", ""), 401},
		{&request{}, 401}, {&request{fields: map[string]string{"Authorization": "Bearer x"}}, 401}, {&request{fields: map[string]string{"Authorization": "Basic !"}}, 401},
		{&request{fields: map[string]string{"Authorization": "Basic " + strings.Repeat("A", 2000)}}, 401},
	} {
		p := passOf(t, e.r)
		v := c.Decide(p, nil)
		if v.Status != e.want {
			t.Errorf("%v: %+v, want %d", e.r.fields, v, e.want)
		}
		if e.want == 401 && string(v.Lines) != "WWW-Authenticate: Basic realm=\"office\", charset=\"UTF-8\"\r\n" {
			t.Errorf("asked with %q", v.Lines)
		}
		if got := string(c.AppendRequest(nil, p, nil)); (e.want == 0) != strings.HasPrefix(got, "X-User: ") {
			t.Errorf("the origin server gets %q", got)
		}
	}
	if !c.DropsRequest([]byte("x-user")) || !c.DropsRequest([]byte("authorization")) {
		t.Error("a client can say its name, or its password goes on")
	}
}

// A password that was right is not worked out again; one that was changed or taken away does
// not count any more, whatever is remembered.
func TestBasicRemembers(t *testing.T) {
	text := "alice:" + bcryptOf(t, "secret") + "\nbob:" + bcryptOf(t, "other") + "\n"
	c, _ := chainWith(t, userMeans(t, &text), nil, Step{Basic: &Basic{Users: "f"}})
	b := c.steps[0].(*basic)
	for range 3 * triesPerMinute { // more than may be worked out
		if v := c.Decide(passOf(t, withPassword("alice", "secret")), nil); !v.Passes() {
			t.Fatalf("%+v", v)
		}
	}
	if got := b.tries.Look(began, b.client.of(passOf(t, &request{})), b.bound); got.Left != triesPerMinute-1 {
		t.Errorf("%d tries are left, want all but one", got.Left)
	}
	text = "alice:" + bcryptOf(t, "changed") + "\nbob:" + bcryptOf(t, "other") + "\n"
	if v := c.Decide(passOf(t, withPassword("alice", "secret")), nil); v.Status != 401 {
		t.Errorf("a password that was changed: %+v", v)
	}
	text = "bob:" + bcryptOf(t, "other") + "\n"
	if v := c.Decide(passOf(t, withPassword("alice", "secret")), nil); v.Status != 401 {
		t.Errorf("a user who was taken away: %+v", v)
	}
	// What is remembered of one name and password is not that of another that reads the same.
	if b.known.sum("ab", "c", "h") == b.known.sum("a", "bc", "h") {
		t.Error("names and passwords run into each other")
	}
}

// Whoever tries passwords is stopped before they cost a processor; others are not.
func TestBasicFlood(t *testing.T) {
	text := "alice:" + bcryptOf(t, "secret") + "\n"
	means := userMeans(t, &text)
	c, book := chainWith(t, means, nil, Step{Basic: &Basic{Users: "f"}})
	for i := range triesPerMinute {
		if v := c.Decide(passOf(t, withPassword("alice", fmt.Sprint(i))), nil); v.Status != 401 {
			t.Fatalf("%+v", v)
		}
	}
	v := c.Decide(passOf(t, withPassword("alice", "secret")), nil)
	if v.Status != 429 || v.After != 6 {
		t.Errorf("after %d tries: %+v, want 429", triesPerMinute, v)
	}
	c, _ = chainWith(t, means, book, Step{Basic: &Basic{Users: "f", Realm: "another"}})
	if v := c.Decide(passOf(t, withPassword("alice", "secret")), nil); v.Status != 429 {
		t.Errorf("after a reload: %+v, want 429", v)
	}
	other := withPassword("alice", "secret")
	other.client = "198.51.100.9"
	if v := c.Decide(passOf(t, other), nil); !v.Passes() {
		t.Errorf("another client: %+v", v)
	}
}

// Names that nobody has cost as much as others do.
func TestBasicUnknownNames(t *testing.T) {
	u, err := ParseUsers([]byte("alice:" + bcryptOf(t, "secret")))
	if err != nil {
		t.Fatal(err)
	}
	if cost, err := bcrypt.Cost([]byte(u.other)); err != nil || cost != bcrypt.MinCost {
		t.Errorf("for names that nobody has a hash of cost %d is worked out (%v)", cost, err)
	}
}

func TestBadUsers(t *testing.T) {
	good := bcryptOf(t, "a")
	for text, want := range map[string]string{
		"": "no users", "alice": "want name:hash", ":" + good: "want name:hash", "a:" + good + "\na:" + good: "twice",
		"a:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=": "neither", "a:$apr1$x$y": "neither", "a:secret": "neither", "a:$2a$04$short": "hash",
		"a:$2a$15$" + good[7:]: "a cost of 15", "a:$argon2id$v=19$m=99999999,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA": "at most",
		"a:$argon2id$v=16$m=64,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA": "version", "a:$argon2id$v=19$m=64,t=1,p=1$!$!": "base64",
	} {
		if _, err := ParseUsers([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// fixedKeys are keys that can be renewed once.
type fixedKeys struct{ now, next *token.Keys }

func (k *fixedKeys) Keys() *token.Keys { return k.now }
func (k *fixedKeys) Renewed(*token.Keys) *token.Keys {
	if k.next != nil {
		k.now = k.next
	}
	return k.now
}

func secretKeys(t testing.TB, kid, secret string) *token.Keys {
	t.Helper()
	keys, err := token.ParseKeys(fmt.Appendf(nil, `{"keys":[{"kty":"oct","kid":%q,"k":%q}]}`, kid, base64.RawURLEncoding.EncodeToString([]byte(secret))), true)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

const secret1, secret2 = "11111111111111111111111111111111", "22222222222222222222222222222222"

func withToken(t testing.TB, kid, secret string, claims jwt.MapClaims) *request {
	t.Helper()
	made := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	made.Header["kid"] = kid
	text, err := made.SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return &request{fields: map[string]string{"Authorization": "Bearer " + text}}
}

// TestJWT: a token that counts lets requests pass and says who they are of; one that does not
// is refused as RFC 6750 §3 has it.
func TestJWT(t *testing.T) {
	keys := &fixedKeys{now: secretKeys(t, "1", secret1)}
	spec := &JWT{
		Keys: "f", Rule: token.Rule{Algorithms: []string{"HS256"}}, Fields: []ClaimField{{"sub", "X-User"}, {"realm.roles", "X-Roles"}},
		Require: []ClaimRule{{"scope", []string{"orders"}}},
	}
	means := Means{Keys: func(string, time.Duration) (KeySource, error) { return keys, nil }}
	c, _ := chainWith(t, means, nil, Step{JWT: spec}, Step{Rate: &Rate{Key: []string{"claim:sub"}, Requests: 3, Per: time.Hour}})
	claims := func(sub, scope string) jwt.MapClaims {
		return jwt.MapClaims{"sub": sub, "scope": scope, "exp": began.Add(time.Hour).Unix(), "realm": map[string]any{"roles": []string{"a", "b"}}}
	}
	alice := withToken(t, "1", secret1, claims("alice", "read orders"))
	for i, e := range []struct {
		r          *request
		want       int
		line, sent string
	}{
		{alice, 0, "", "X-User: alice\r\nX-Roles: a,b\r\n"}, {alice, 0, "", "X-User: alice\r\nX-Roles: a,b\r\n"},
		{&request{}, 401, "WWW-Authenticate: Bearer\r\n", ""},
		{withToken(t, "1", secret2, claims("root", "orders")), 401, "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n", ""},
		{withToken(t, "2", secret2, claims("root", "orders")), 401, "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n", ""},
		{withToken(t, "1", secret1, claims("bob", "read")), 403, "WWW-Authenticate: Bearer error=\"insufficient_scope\"\r\n", ""},
		{withToken(t, "1", secret1, claims("eve\r\nX-Admin: 1", "orders")), 403, "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n", ""},
		{alice, 0, "", "X-User: alice\r\nX-Roles: a,b\r\n"}, {alice, 429, "", "X-User: alice\r\nX-Roles: a,b\r\n"},
	} {
		p := passOf(t, e.r)
		v := c.Decide(p, nil)
		if v.Status != e.want || string(v.Lines) != e.line || string(p.lines) != e.sent {
			t.Errorf("%d: %+v sent %q, want %d %q %q", i, v, p.lines, e.want, e.line, e.sent)
		}
	}
	for _, name := range []string{"x-user", "X-Roles", "Authorization"} {
		if !c.DropsRequest([]byte(name)) {
			t.Errorf("%s of the client goes on", name)
		}
	}
	// A newer key is looked for when a token names one that is not known, and what was
	// verified by keys that are gone does not count any more.
	keys.next = secretKeys(t, "2", secret2)
	if v := c.Decide(passOf(t, withToken(t, "2", secret2, claims("carol", "orders"))), nil); !v.Passes() {
		t.Errorf("a newer key: %+v", v)
	}
	if v := c.Decide(passOf(t, alice), nil); v.Status != 401 {
		t.Errorf("a key that is gone: %+v", v)
	}
	// What is remembered of a token ends with it.
	p := passOf(t, withToken(t, "2", secret2, claims("carol", "orders")))
	p.Now = began.Add(2 * time.Hour)
	if v := c.Decide(p, nil); v.Status != 401 {
		t.Errorf("a token that has expired: %+v", v)
	}
	keys.now, keys.next = nil, nil
	if v := c.Decide(passOf(t, alice), nil); v.Status != 503 {
		t.Errorf("without keys: %+v", v)
	}
}

// TestAsk: who cannot be asked has not said yes; what the client says of itself does not count.
func TestAsk(t *testing.T) {
	var asked *Question
	answer, failed := &Answer{}, error(nil)
	means := Means{Ask: func(*Ask) (func(*Question) (*Answer, error), error) {
		return func(q *Question) (*Answer, error) { asked = q; return answer, failed }, nil
	}}
	c, _ := chainWith(t, means, nil, Step{Ask: &Ask{URL: "http://127.0.0.1:9/check", Send: []string{"Cookie", "X-None"}, Copy: []string{"X-User"}}})
	header := map[string][]string{"X-User": {"alice"}, "X-Other": {"1"}, "Location": {"/login"}, "Set-Cookie": {"a=b", "c=d\r\nX: y"}}
	field := func(name string) []string { return header[name] }
	r := &request{method: "POST", path: "/a", query: "?b", fields: map[string]string{"Cookie": "k=v", "X-Forwarded-For": "198.51.100.1", "X-Forwarded-User": "root"}}
	for i, e := range []struct {
		status int
		err    error
		want   int
		sent   string
		lines  string
	}{
		{200, nil, 0, "X-User: alice\r\n", ""}, {204, nil, 0, "X-User: alice\r\n", ""},
		{302, nil, 302, "", "Location: /login\r\nSet-Cookie: a=b\r\n"}, {401, nil, 401, "", "Location: /login\r\nSet-Cookie: a=b\r\n"},
		{500, nil, 503, "", ""}, {199, nil, 503, "", ""}, {0, errors.New("refused"), 503, "", ""},
	} {
		*answer, failed = Answer{Status: e.status, Field: field, Content: []byte("no")}, e.err
		p := passOf(t, r)
		v := c.Decide(p, nil)
		if v.Status != e.want || string(p.lines) != e.sent || string(v.Lines) != e.lines {
			t.Errorf("%d: %+v sent %q, want %+v", i, v, p.lines, e)
		}
	}
	want := []Field{{"X-Forwarded-Method", "POST"}, {"X-Forwarded-Proto", "http"}, {"X-Forwarded-Host", "www.example.com"}, {"X-Forwarded-Uri", "/a?b"},
		{"X-Forwarded-For", "192.0.2.7"}, {"X-Request-Id", "the-id"}, {"Cookie", "k=v"}}
	if !slices.Equal(asked.Fields, want) {
		t.Errorf("asked with %q", asked.Fields)
	}
	if !c.DropsRequest([]byte("X-User")) {
		t.Error("a client can say its name")
	}
	header["X-User"] = []string{"eve\r\nX-Admin: 1"}
	*answer, failed = Answer{Status: 200, Field: field}, nil
	if v := c.Decide(passOf(t, r), nil); v.Status != 503 {
		t.Errorf("a field that ends its line: %+v", v)
	}
}

func TestBadAuth(t *testing.T) {
	rule := token.Rule{Algorithms: []string{"RS256"}}
	for _, c := range []struct {
		step Step
		want string
	}{
		{Step{Basic: &Basic{Users: "f", Realm: "a\"b"}}, "realm"}, {Step{Basic: &Basic{Users: "f", Field: "X_User"}}, `write "X-User"`},
		{Step{JWT: &JWT{Keys: "f"}}, "none is taken"}, {Step{JWT: &JWT{Keys: "f", Rule: token.Rule{Algorithms: []string{"none"}}}}, `"none" is none that can be verified`},
		{Step{JWT: &JWT{Keys: "http://id.example/keys", Rule: rule}}, "want https"},
		{Step{JWT: &JWT{Keys: "https://id.example/keys", Rule: token.Rule{Algorithms: []string{"HS256"}}}}, "into a file"},
		{Step{JWT: &JWT{Keys: "f", Rule: rule, Fields: []ClaimField{{"sub", "Content-Length"}}}}, "writes it itself"},
		{Step{Ask: &Ask{URL: "/check"}}, "want the URL"}, {Step{Ask: &Ask{URL: "http://a:b@c/"}}, "want the URL"}, {Step{Ask: &Ask{URL: "http://c/", Copy: []string{"Connection"}}}, "writes it itself"},
	} {
		errs := Check(&Set{Name: "s", Steps: []Step{c.step}})
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.step, errs, c.want)
		}
	}
}
