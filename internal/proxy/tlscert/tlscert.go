// Package tlscert has the certificates that encrypted listeners show: it reads
// them, picks one for each client by the name that it asks for, and takes new
// ones without a connection noticing.
//
//	files, self-signed -> Set -> one atomic set -> Get, for each TLS handshake
//
// A file that cannot be used leaves the certificate before it in place. It owns
// no timer: whoever holds a Store asks Changed and Status from time to time.
//
// Entry points: Store.Set, Store.Get, Store.Changed, Store.Status; Peer.Config.
//
// Concurrency: Set is called by one goroutine at a time, everything else by any.
//
// Sources: RFC 5280, RFC 6125 §6.4, RFC 6066 §3, RFC 7469 §2.4 (pins).
package tlscert

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"pharos/internal/diskfile"
)

// Source is where one certificate comes from.
type Source struct {
	Certificate string // PEM file: the server's own, and then those up to the root
	Key         string // PEM file
}

func (s Source) stamps() [2]diskfile.Stamp {
	return [2]diskfile.Stamp{diskfile.StampOf(s.Certificate), diskfile.StampOf(s.Key)}
}

// Store has the certificates of a node. The zero Store has none.
type Store struct {
	current atomic.Pointer[set]
}

// set is what is shown at a time. Constant after Set.
type set struct {
	loaded []*loaded
	byName map[string][]*loaded // lower case; "*.example.com" for a wildcard
	roots  map[string]*roots    // by file
}

// loaded is one certificate, or why there is none.
type loaded struct {
	source      Source
	stamps      [2]diskfile.Stamp
	certificate *tls.Certificate // nil: never usable
	problem     string
}

// Set reads the sources, those whose files have changed again. The first is shown
// to clients that ask for no name, or an unknown one. Of a source that cannot be
// read, what was read before is kept; the error has all there are.
func (s *Store) Set(sources []Source) error {
	before := s.current.Load()
	next := &set{byName: map[string][]*loaded{}}
	if before != nil {
		next.roots = before.roots
	}
	var errs []error
	for _, source := range sources {
		l := before.take(source)
		next.loaded = append(next.loaded, l)
		if l.problem != "" {
			errs = append(errs, errors.New(l.problem))
		}
		if l.certificate == nil {
			continue
		}
		for _, name := range l.certificate.Leaf.DNSNames {
			name = strings.ToLower(name)
			next.byName[name] = append(next.byName[name], l)
		}
	}
	s.current.Store(next)
	return errors.Join(errs...)
}

// take returns what a source has now.
func (s *set) take(source Source) *loaded {
	now := &loaded{source: source, stamps: source.stamps()}
	var old *loaded
	if s != nil {
		for _, l := range s.loaded {
			if l.source == source {
				old = l
			}
		}
	}
	if old != nil && old.stamps == now.stamps {
		return old
	}
	pair, err := tls.LoadX509KeyPair(source.Certificate, source.Key)
	if err == nil && pair.Leaf == nil {
		pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0])
	}
	if err == nil {
		now.certificate = &pair
		return now
	}
	now.problem = fmt.Sprintf("certificate %s with key %s: %v", source.Certificate, source.Key, err)
	if old != nil && old.certificate != nil {
		now.certificate = old.certificate
		now.problem += "; the one before it is shown on"
	}
	return now
}

// Changed reports whether a file is not what was last read.
func (s *Store) Changed() bool {
	current := s.current.Load()
	if current == nil {
		return false
	}
	for _, l := range current.loaded {
		if l.stamps != l.source.stamps() {
			return true
		}
	}
	for file, r := range current.roots {
		if r.stamp != diskfile.StampOf(file) {
			return true
		}
	}
	return false
}

var errNoCertificate = errors.New("tlscert: there is no certificate to show; see tls in the configuration")

// Get returns the certificate for a client: the GetCertificate of a tls.Config.
func (s *Store) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	current := s.current.Load()
	if current == nil {
		return nil, errNoCertificate
	}
	if c := choose(current.candidates(hello.ServerName), hello); c != nil {
		return c, nil
	}
	return nil, errNoCertificate
}

// candidates returns the certificates for a name that a client asks for.
func (s *set) candidates(name string) []*loaded {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if list := usable(s.byName[name]); len(list) > 0 {
		return list
	}
	if _, parent, ok := strings.Cut(name, "."); ok { // RFC 6125 §6.4.3: the whole leftmost label
		if list := usable(s.byName["*."+parent]); len(list) > 0 {
			return list
		}
	}
	// RFC 6066 §3 lets a server go on with a name that it does not know: whether the
	// certificate will do is the client's to say.
	return s.loaded
}

// usable returns list if something of it can be shown.
func usable(list []*loaded) []*loaded {
	for _, l := range list {
		if l.certificate != nil {
			return list
		}
	}
	return nil
}

// Covers reports whether what is shown to clients that ask for name is good for other,
// too: each certificate that may be shown then.
func (s *Store) Covers(name, other string) bool {
	current := s.current.Load()
	if current == nil {
		return false
	}
	covered := false
	for _, l := range current.candidates(name) {
		if l.certificate == nil {
			continue
		}
		if l.certificate.Leaf.VerifyHostname(other) != nil {
			return false
		}
		covered = true
	}
	return covered
}

// choose returns the first certificate whose kind of key the client understands,
// or else the first.
func choose(from []*loaded, hello *tls.ClientHelloInfo) *tls.Certificate {
	var first *tls.Certificate
	for _, l := range from {
		switch {
		case l.certificate == nil:
		case hello.SupportsCertificate(l.certificate) == nil:
			return l.certificate
		case first == nil:
			first = l.certificate
		}
	}
	return first
}

// Status is how one certificate is.
type Status struct {
	Source
	Names       []string
	Until       time.Time // zero: there is none
	Fingerprint string    // SHA-256 of the certificate, in hexadecimal digits
	Pin         string    // SHA-256 of its public key, in base64, as kdig and stubby take it
	Problem     string    // why its files could not be used; empty: they were
}

// Status returns how the certificates are, in the order of Set, and then the files of
// authorities that cannot be read, which have no Key.
func (s *Store) Status() []Status {
	current := s.current.Load()
	if current == nil {
		return nil
	}
	var all []Status
	for _, l := range current.loaded {
		st := Status{Source: l.source, Problem: l.problem}
		if l.certificate != nil {
			leaf := l.certificate.Leaf
			st.Until, st.Names = leaf.NotAfter, append([]string(nil), leaf.DNSNames...)
			for _, ip := range leaf.IPAddresses {
				st.Names = append(st.Names, ip.String())
			}
			whole, key := sha256.Sum256(leaf.Raw), sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
			st.Fingerprint, st.Pin = hex.EncodeToString(whole[:]), base64.StdEncoding.EncodeToString(key[:])
		}
		all = append(all, st)
	}
	return append(all, current.rootsStatus()...)
}
