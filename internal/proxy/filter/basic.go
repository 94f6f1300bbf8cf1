package filter

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"pharos/internal/serve/ratelimit"
)

// Basic asks for a name and a password (RFC 7617).
type Basic struct {
	Users   string // file of names and hashes
	Realm   string
	Field   string // that the origin server gets the name in; empty: in none
	Forward bool   // it gets the name and the password, too
}

// Users are names and the hashes of their passwords.
type Users struct {
	hashes map[string]string
	// other is a hash that is worked out for names that nobody has, so that an answer takes as
	// long for them.
	other string
}

// maxUsers is the largest number of users of a file; arbitrary, for it is read whole.
const maxUsers = 100_000

// ParseUsers reads lines of name:hash, as htpasswd -B and others write them. Hashes are of
// bcrypt ($2y$...) or Argon2id ($argon2id$v=19$m=65536,t=3,p=1$salt$hash); older ones are
// refused, as they are found out by trying.
func ParseUsers(text []byte) (*Users, error) {
	u := &Users{hashes: map[string]string{}}
	for n, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, hash, found := strings.Cut(line, ":")
		switch {
		case !found || name == "":
			return nil, fmt.Errorf("line %d: want name:hash", n+1)
		case u.hashes[name] != "":
			return nil, fmt.Errorf("line %d: %q is there twice", n+1, name)
		case len(u.hashes) == maxUsers:
			return nil, fmt.Errorf("line %d: more than %d users", n+1, maxUsers)
		}
		if err := checkHash(hash); err != nil {
			return nil, fmt.Errorf("line %d: the hash of %q: %w", n+1, name, err)
		}
		if u.hashes[name] = hash; u.other == "" {
			u.other = hash
		}
	}
	if len(u.hashes) == 0 {
		return nil, fmt.Errorf("it has no users; add one with htpasswd -B")
	}
	return u, nil
}

// Costs of hashes; what is dearer would let few requests keep a processor busy.
const (
	mostBcrypt = 14      // about a second
	mostMemory = 1 << 18 // of Argon2, in KiB: 256 MiB
	mostTime   = 16
)

func checkHash(hash string) error {
	if strings.HasPrefix(hash, "$argon2id$") {
		_, err := parseArgon(hash)
		return err
	}
	if !strings.HasPrefix(hash, "$2") {
		return fmt.Errorf("it is neither of bcrypt nor of Argon2id; make one with htpasswd -B")
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil {
		return err
	}
	if cost > mostBcrypt {
		return fmt.Errorf("a cost of %d, more than %d", cost, mostBcrypt)
	}
	return nil
}

// argon is a hash of Argon2id.
type argon struct {
	memory, time uint32
	threads      uint8
	salt, sum    []byte
}

func parseArgon(hash string) (a argon, err error) {
	var version int
	parts := strings.Split(hash, "$")
	if len(parts) != 6 {
		return a, fmt.Errorf("want $argon2id$v=19$m=MEMORY,t=TIME,p=THREADS$SALT$HASH")
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return a, fmt.Errorf("of another version of Argon2 than %d", argon2.Version)
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &a.memory, &a.time, &a.threads); err != nil || a.memory == 0 || a.memory > mostMemory || a.time == 0 || a.time > mostTime || a.threads == 0 {
		return a, fmt.Errorf("parameters %q; at most m=%d,t=%d", parts[3], mostMemory, mostTime)
	}
	var errs [2]error
	a.salt, errs[0] = base64.RawStdEncoding.DecodeString(parts[4])
	a.sum, errs[1] = base64.RawStdEncoding.DecodeString(parts[5])
	if errs[0] != nil || errs[1] != nil || len(a.salt) < 8 || len(a.sum) < 16 || len(a.sum) > 64 {
		return a, fmt.Errorf("a salt or a hash that is not in base64, or too short")
	}
	return a, nil
}

// isPassword works out whether a password has that hash, in a time that the password does not
// change.
func isPassword(hash, password string) bool {
	if !strings.HasPrefix(hash, "$argon2id$") {
		return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	}
	a, err := parseArgon(hash)
	if err != nil {
		return false
	}
	return subtle.ConstantTimeCompare(argon2.IDKey([]byte(password), a.salt, a.time, a.memory, a.threads, uint32(len(a.sum))), a.sum) == 1
}

// basic is a compiled Basic.
type basic struct {
	spec      *Basic
	users     func() *Users // as they are now; nil: they were never read
	challenge []byte
	known     *memory[string] // the names that were shown with their passwords
	tries     *ratelimit.Buckets
	client    keyer
	bound     ratelimit.Bound
	working   chan struct{} // a place for each hash that is worked out
	waiting   atomic.Int64
}

// Limits of trying passwords. A hash takes a tenth of a second of a processor, so that
// whoever makes us work it out for nothing is bounded: by client, and all together.
const (
	triesPerMinute = 10
	mostWorking    = 2
	mostWaiting    = 64
	// knownFor is how long a password that was right is not worked out again. What the file
	// says of the user counts at once: its hash is part of what is remembered.
	knownFor  = 15 * time.Minute
	mostKnown = 10_000
	// mostCredentials is the longest field that is looked at, in octets; bcrypt takes 72.
	mostCredentials = 1024
)

func (b *Basic) compile(set string, means Means, prev step) (*basic, error) {
	out := &basic{spec: b, working: make(chan struct{}, mostWorking), tries: ratelimit.NewBuckets(1 << 14), known: newMemory[string](mostKnown, means.Secret)}
	var err error
	if out.bound, err = ratelimit.BoundOf(triesPerMinute, time.Minute, triesPerMinute); err != nil {
		return nil, err
	}
	if strings.ContainsFunc(b.Realm, func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' }) {
		return nil, fmt.Errorf("basicAuth: the realm %q has a character that it cannot have", b.Realm)
	}
	realm := b.Realm
	if realm == "" {
		realm = set
	}
	if b.Field != "" {
		if err := checkName(b.Field, true, false); err != nil {
			return nil, fmt.Errorf("basicAuth: %w", err)
		}
	}
	out.challenge = fmt.Appendf(nil, "WWW-Authenticate: Basic realm=\"%s\", charset=\"UTF-8\"\r\n", realm)
	if means.Users != nil {
		if out.users, err = means.Users(b.Users); err != nil {
			return nil, fmt.Errorf("basicAuth: %w", err)
		}
	}
	if out.client, err = compileKey([]string{"client"}); err != nil {
		return nil, err
	}
	if old, is := prev.(*basic); is {
		out.known, out.tries, out.client = old.known, old.tries, old.client // a reload is no reset
	}
	return out, nil
}

// changes are the fields that a filter with credentials takes out of requests.
func (b *basic) changes() (out []change) {
	if b.spec.Field != "" {
		out = append(out, change{name: b.spec.Field, drops: true})
	}
	if !b.spec.Forward {
		out = append(out, change{name: "Authorization", drops: true})
	}
	return out
}

func (b *basic) decide(p *Pass) Verdict {
	name, password, ok := credentialsOf(p.Request.Field("Authorization"))
	if !ok {
		return b.unknown("a name and a password are asked for")
	}
	if b.users == nil {
		p.note("the file of users is not looked at")
		return Verdict{}
	}
	users := b.users()
	if users == nil {
		return Verdict{Status: 503, Kind: "proxy_internal_error", Text: "nobody's password can be checked now"}
	}
	hash, isUser := users.hashes[name]
	key := b.known.sum(name, password, hash)
	if known, has := b.known.get(key, p.Now); has && isUser && known == name {
		return b.let(p, name)
	}
	if p.explains {
		p.note("the password would be checked")
		return Verdict{}
	}
	if v := b.mayTry(p); !v.Passes() {
		return v
	}
	defer func() { <-b.working }()
	if !isUser {
		hash = users.other
	}
	if !isPassword(hash, password) || !isUser {
		return b.unknown("the name or the password is wrong")
	}
	b.known.put(key, name, p.Now.Add(knownFor))
	return b.let(p, name)
}

// mayTry takes a place among those whose passwords are worked out, which the caller gives
// back.
func (b *basic) mayTry(p *Pass) Verdict {
	if t := b.tries.Take(p.Now, b.client.of(p), b.bound); !t.OK {
		return Verdict{Status: 429, Kind: "http_request_denied", Text: "too many passwords were tried", After: seconds(t.Wait)}
	}
	if b.waiting.Add(1) > mostWaiting {
		b.waiting.Add(-1)
		return Verdict{Status: 503, Kind: "connection_limit_reached", Text: "too many passwords are being checked", After: 1}
	}
	b.working <- struct{}{}
	b.waiting.Add(-1)
	return Verdict{}
}

func (b *basic) unknown(text string) Verdict {
	return Verdict{Status: 401, Kind: "http_request_denied", Text: text, Lines: b.challenge}
}

func (b *basic) let(p *Pass, name string) Verdict {
	p.user = name
	p.note("the user is %s", name)
	if b.spec.Field != "" && !p.appendLine(b.spec.Field, name) {
		return Verdict{Status: 403, Kind: "http_request_denied", Text: "the user's name cannot be written into a field"}
	}
	return Verdict{}
}

// credentialsOf reads the field Authorization (RFC 7617 §2).
func credentialsOf(field []byte) (name, password string, ok bool) {
	const scheme = "basic "
	if len(field) <= len(scheme) || len(field) > mostCredentials || !equalFold(field[:len(scheme)], scheme) {
		return "", "", false
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(field[len(scheme):])))
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(text), ":")
}

// appendLine adds a field line for the origin server, unless the value would end it.
func (p *Pass) appendLine(name, value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' || c == 0x7f {
			return false
		}
	}
	if len(value) > maxValue {
		return false
	}
	p.lines = append(append(append(append(p.lines, name...), ": "...), value...), '\r', '\n')
	return true
}
