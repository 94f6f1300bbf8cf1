// Package vouch gets for filters what they verify credentials by: users of files, keys of
// issuers of tokens from files and URLs, and the answers of servers that decide; and the
// files that routes answer with.
//
// It owns reading and asking. It does not own what follows from what was read (packages
// filter and token).
//
// What was read is in memory, and read anew beside the requests that it is used for, at most
// so often as its interval says; what cannot be read anew counts on as it last was. Requests
// never wait for a file. For keys they wait when the issuer may have newer ones, and for
// servers that decide.
//
// Entry points: New, Desk.Means.
//
// Concurrency: a Desk may be used by any number of goroutines. Each source reads in one
// goroutine at a time, which ends by itself within its time limit.
package vouch

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/clock"
	"pharos/internal/proxy/filter"
	"pharos/internal/proxy/pages"
	"pharos/internal/proxy/token"
)

// Limits of reading.
const (
	// fileEach is how often a file is read again that is in use.
	fileEach = 2 * time.Second
	// keysLeast is how long after keys were fetched they are not fetched again because a token
	// names another: anybody can send such tokens.
	keysLeast = 10 * time.Second
	// fetchWithin is how long fetching keys may take, and how long a request waits for it.
	fetchWithin = 5 * time.Second
	// mostText is the largest file and the largest answer, in octets.
	mostText = 1 << 20
)

// Desk keeps what was read. Sources that nothing refers to any more stay: they are few, as the
// files and URLs that a configuration has had, and read nothing while nobody uses them.
type Desk struct {
	secret []byte
	log    *slog.Logger
	client *http.Client // for keys

	mu    sync.Mutex
	users map[string]*source[filter.Users]
	keys  map[string]*source[token.Keys]
	files map[string]*source[pages.File]
}

// New returns an empty Desk.
func New(log *slog.Logger) *Desk {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	return &Desk{
		secret: secret, log: log, client: client(nil, fetchWithin),
		users: map[string]*source[filter.Users]{}, keys: map[string]*source[token.Keys]{}, files: map[string]*source[pages.File]{},
	}
}

// client returns one that follows no redirects: where credentials go is what is configured.
func client(roots *x509.CertPool, timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: mostAsked, MaxConnsPerHost: mostAsked,
			IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10, ResponseHeaderTimeout: timeout, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Means returns what filters need of d.
func (d *Desk) Means() filter.Means {
	return filter.Means{Secret: d.secret, Users: d.usersOf, Keys: d.keysOf, Ask: d.asks, File: d.fileOf}
}

func (d *Desk) usersOf(file string) (func() *filter.Users, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.users[file]
	if s == nil {
		s = &source[filter.Users]{from: file, each: fileEach, log: d.log, read: func(context.Context) (*filter.Users, error) {
			text, err := readFile(file)
			if err != nil {
				return nil, err
			}
			users, err := filter.ParseUsers(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			return users, nil
		}}
	}
	if err := s.readNow(); err != nil {
		return nil, err
	}
	d.users[file] = s
	return s.get, nil
}

// keysOf returns the keys of an issuer. A file has to be there; a URL is asked for soon.
func (d *Desk) keysOf(from string, refresh time.Duration) (filter.KeySource, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	isURL := strings.Contains(from, "://")
	s := d.keys[from]
	if s == nil {
		s = &source[token.Keys]{from: from, log: d.log, read: func(ctx context.Context) (*token.Keys, error) { return d.readKeys(ctx, from, isURL) }}
		d.keys[from] = s
	}
	s.mu.Lock()
	if s.each = fileEach; isURL {
		s.each = refresh
	}
	s.mu.Unlock()
	if isURL {
		s.start()
		return (*keySource)(s), nil
	}
	return (*keySource)(s), s.readNow()
}

func (d *Desk) readKeys(ctx context.Context, from string, isURL bool) (*token.Keys, error) {
	var text []byte
	var err error
	if isURL {
		text, err = d.fetch(ctx, from)
	} else {
		text, err = readFile(from)
	}
	if err != nil {
		return nil, err
	}
	keys, err := token.ParseKeys(text, !isURL)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return keys, nil
}

func (d *Desk) fetch(ctx context.Context, from string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d", from, resp.StatusCode)
	}
	return readAll(resp.Body, from)
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, name)
}

func readAll(r io.Reader, name string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, mostText+1))
	if err == nil && len(text) > mostText {
		err = fmt.Errorf("%s: larger than %d octets", name, mostText)
	}
	return text, err
}

// source is something that is read again and again.
type source[V any] struct {
	// Constant.
	from string
	log  *slog.Logger
	read func(context.Context) (*V, error)

	value atomic.Pointer[V] // nil: it was never read
	due   atomic.Int64      // when it is read again, in nanoseconds since 1970; 0: as soon as it is used

	// Guarded by mu.
	mu      sync.Mutex
	each    time.Duration
	reading chan struct{} // closed when it was read; nil: it is not being read
	began   time.Time     // to read it last
	failed  bool          // the last time
}

// get returns the value, and has it read again if that is due.
func (s *source[V]) get() *V {
	if clock.Now().UnixNano() >= s.due.Load() {
		s.start()
	}
	return s.value.Load()
}

// start has the value read, unless it is being read, and returns what is closed when it was.
func (s *source[V]) start() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading == nil {
		s.reading, s.began = make(chan struct{}), clock.Now()
		go func() { // ends within fetchWithin
			ctx, cancel := context.WithTimeout(context.Background(), fetchWithin)
			defer cancel()
			s.take(s.read(ctx))
		}()
	}
	return s.reading
}

// readNow reads the value and waits for it.
func (s *source[V]) readNow() error {
	ctx, cancel := context.WithTimeout(context.Background(), fetchWithin)
	defer cancel()
	v, err := s.read(ctx)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.value.Store(v)
		s.due.Store(clock.Now().Add(s.each).UnixNano())
	}
	return err
}

// take takes what was read. What cannot be read counts on as it last was, and is tried again
// soon.
func (s *source[V]) take(v *V, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.each
	if err != nil {
		next = min(next, keysLeast)
	} else {
		s.value.Store(v)
	}
	if failed := err != nil; failed != s.failed {
		if s.failed = failed; failed {
			s.log.Warn("what filters and routes go by cannot be read; what was read before counts on", "from", s.from, "error", err)
		} else {
			s.log.Info("what filters and routes go by can be read again", "from", s.from)
		}
	}
	s.due.Store(clock.Now().Add(next).UnixNano())
	close(s.reading)
	s.reading = nil
}

// keySource is the keys of an issuer as filters get at them.
type keySource source[token.Keys]

// Keys implements filter.KeySource.
func (k *keySource) Keys() *token.Keys { return (*source[token.Keys])(k).get() }

// Renewed implements filter.KeySource. Keys are fetched again for it, but not within keysLeast
// of the last time.
func (k *keySource) Renewed(before *token.Keys) *token.Keys {
	s := (*source[token.Keys])(k)
	if now := s.value.Load(); now != before {
		return now
	}
	s.mu.Lock()
	reading, late := s.reading, clock.Since(s.began) >= keysLeast
	s.mu.Unlock()
	switch {
	case reading != nil:
		await(reading)
	case late:
		await(s.start())
	}
	return s.value.Load()
}

func await(done <-chan struct{}) {
	end := time.NewTimer(fetchWithin)
	defer end.Stop()
	select {
	case <-done:
	case <-end.C:
	}
}

var errBusy = errors.New("too many requests wait for the server that decides")
