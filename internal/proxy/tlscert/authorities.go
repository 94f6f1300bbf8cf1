package tlscert

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"pharos/internal/diskfile"
)

// roots are the authorities of a file.
type roots struct {
	stamp   diskfile.Stamp
	pool    *x509.CertPool // nil: never readable
	problem string
}

// SetAuthorities reads files with the authorities that sign certificates of clients, those
// that have changed again. Of a file that cannot be read, what was read before is kept. It
// is called by the goroutine that calls Set, after it.
func (s *Store) SetAuthorities(files []string) error {
	var before set
	if current := s.current.Load(); current != nil {
		before = *current
	}
	next := before
	next.roots = map[string]*roots{}
	var errs []error
	for _, file := range files {
		r := before.roots[file]
		if r == nil || r.stamp != diskfile.StampOf(file) {
			r = readRoots(file, r)
		}
		if next.roots[file] = r; r.problem != "" {
			errs = append(errs, errors.New(r.problem))
		}
	}
	s.current.Store(&next)
	return errors.Join(errs...)
}

func readRoots(file string, old *roots) *roots {
	r := &roots{stamp: diskfile.StampOf(file)}
	pool, err := ReadAuthorities(file)
	if err == nil {
		r.pool = pool
		return r
	}
	r.problem = fmt.Sprintf("authorities: %v", err)
	if old != nil && old.pool != nil {
		r.pool = old.pool
		r.problem += "; those before are believed on"
	}
	return r
}

// Authorities returns those of a file; nil if none could be read. It is another pool
// when the file has changed.
func (s *Store) Authorities(file string) *x509.CertPool {
	if current := s.current.Load(); current != nil && current.roots[file] != nil {
		return current.roots[file].pool
	}
	return nil
}

func (s *set) rootsStatus() []Status {
	var all []Status
	for file, r := range s.roots {
		if r.problem != "" {
			all = append(all, Status{Source: Source{Certificate: file}, Problem: r.problem})
		}
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.Certificate, b.Certificate) })
	return all
}
