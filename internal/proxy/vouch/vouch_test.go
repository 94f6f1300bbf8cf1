package vouch

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pharos/internal/proxy/filter"
	"pharos/internal/proxy/token"
)

func newDesk() *Desk { return New(slog.New(slog.DiscardHandler)) }

// keySet returns a JWK set of one key.
func keySet(t *testing.T, kid string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"keys":[{"kty":"RSA","kid":%q,"n":%q,"e":"AQAB"}]}`, kid, base64.RawURLEncoding.EncodeToString(key.N.Bytes()))
}

// TestUsers: a file that is not there refuses the configuration; one that is damaged later
// does not take the users away that there were.
func TestUsers(t *testing.T) {
	d, file := newDesk(), filepath.Join(t.TempDir(), "users")
	if _, err := d.usersOf(file); err == nil || !os.IsNotExist(err) {
		t.Errorf("a file that is not there: %v", err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("alice:{SHA}x\n")
	if _, err := d.usersOf(file); err == nil || !strings.Contains(err.Error(), "neither of bcrypt nor of Argon2id") {
		t.Errorf("an old hash: %v", err)
	}
	const hash = "$2a$04$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
	write("alice:" + hash + "\n")
	get, err := d.usersOf(file)
	if err != nil {
		t.Fatal(err)
	}
	before := get()
	s := d.users[file]
	write("damaged")
	<-s.start()
	if get() != before {
		t.Error("a damaged file takes the users away")
	}
	write("bob:" + hash + "\n")
	<-s.start()
	if get() == before {
		t.Error("a file that has changed is not taken")
	}
}

// TestKeys: keys are fetched anew for a token that names another key, not more often than they
// may be, and what there was counts while they cannot be had.
func TestKeys(t *testing.T) {
	var asked atomic.Int64
	var fails atomic.Bool
	first, second := keySet(t, "1"), keySet(t, "2")
	answer := atomic.Pointer[string]{}
	answer.Store(&first)
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.client = &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) {
			asked.Add(1)
			w := httptest.NewRecorder()
			if fails.Load() {
				w.WriteHeader(500)
			}
			w.WriteString(*answer.Load())
			return w.Result(), nil
		})}
		keys, err := d.keysOf("https://id.example/keys", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		one := keys.Keys()
		if one.Len() != 1 || asked.Load() != 1 {
			t.Fatalf("%d keys after asking %d times", one.Len(), asked.Load())
		}
		answer.Store(&second)
		for range 100 {
			keys.Renewed(one) // a flood of tokens that name other keys
		}
		if asked.Load() != 1 {
			t.Errorf("asked %d times within %v, want once", asked.Load(), keysLeast)
		}
		time.Sleep(keysLeast)
		two := keys.Renewed(one)
		if two == one || asked.Load() != 2 {
			t.Errorf("keys are not fetched for a token that names another (asked %d times)", asked.Load())
		}
		fails.Store(true)
		time.Sleep(time.Minute)
		keys.Keys()
		synctest.Wait()
		if keys.Keys() != two || asked.Load() != 3 {
			t.Errorf("what there was does not count any more (asked %d times)", asked.Load())
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A set that anybody can fetch has no secrets: one in it is not taken.
func TestKeysWithSecrets(t *testing.T) {
	set := `{"keys":[{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString(make([]byte, 32)) + `"}]}`
	d := newDesk()
	d.client = &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		w.WriteString(set)
		return w.Result(), nil
	})}
	if keys, err := d.readKeys(t.Context(), "https://id.example/keys", true); err == nil {
		t.Errorf("%d keys", keys.Len())
	}
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(set), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := d.keysOf(file, 0)
	if err != nil || keys.Keys().Len() != 1 {
		t.Errorf("from a file: %v", err)
	}
	if _, err := d.keysOf(file+"x", 0); err == nil {
		t.Error("a file that is not there is taken")
	}
	var none *token.Keys
	if none.Len() != 0 {
		t.Error("no keys have keys")
	}
}

// TestAsk: redirects are not followed, and more questions than there are places for are not
// asked.
func TestAsk(t *testing.T) {
	release := make(chan struct{})
	var inside atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if inside.Add(1); r.URL.Path == "/hang" {
			<-release
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(302)
	}))
	defer server.Close()
	d := newDesk()
	ask, err := d.asks(&filter.Ask{URL: server.URL, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	q := &filter.Question{Spec: &filter.Ask{URL: server.URL + "/"}}
	if a, err := ask(q); err != nil || a.Status != 302 || len(a.Field("Location")) != 1 || inside.Load() != 1 {
		t.Errorf("%+v %v, asked %d times", a, err, inside.Load())
	}
	hang := &filter.Question{Spec: &filter.Ask{URL: server.URL + "/hang"}}
	results := make(chan error)
	for range mostAsked + 1 {
		go func() { // ends when it is answered
			_, err := ask(hang)
			results <- err
		}()
	}
	if err := <-results; err != errBusy {
		t.Errorf("%v, want that one is refused", err)
	}
	close(release)
	for range mostAsked {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if _, err := d.asks(&filter.Ask{CA: filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("authorities that are not there are taken")
	}
}
