package masterfile

import (
	"sync"

	"pharos/internal/authority/zone"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
)

// Watched is one zone's file that is read again when it changes. Origin and Path are
// constant; without Path there is no file. Its methods may be called from any goroutine.
type Watched struct {
	Origin dnsname.Name
	Path   string

	mu      sync.Mutex // guards all below
	stamps  []diskfile.Stamp
	problem string
}

// HasChanged reports whether there is a file that is another one than was read.
func (w *Watched) HasChanged() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Path != "" && diskfile.Changed(w.stamps)
}

// Read returns the zone; nil if it cannot be read, see Problem.
func (w *Watched) Read() *zone.Zone {
	s, err := Load(w.Origin, w.Path, Limits{})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stamps, w.problem = s.Stamps, ""; err != nil {
		w.problem = err.Error()
	}
	return s.Zone
}

// Problem returns why the file could not be read last, nothing if it could.
func (w *Watched) Problem() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.problem
}
