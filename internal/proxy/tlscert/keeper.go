package tlscert

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"
)

// Wanted is which certificates a Store is to have.
type Wanted struct {
	Sources []Source
	// SelfSigned is the folder of one that nobody else has signed, for this machine and
	// Addrs; empty: there is none.
	SelfSigned string
	Addrs      []netip.Addr
	// Authorities are files with those that sign certificates of clients.
	Authorities []string
}

// Load reads what is wanted, and makes the self-signed one if it has to be made. The
// error says what could not be used.
func (s *Store) Load(w Wanted, now time.Time) error {
	sources := slices.Clip(w.Sources)
	var selfErr error
	if w.SelfSigned != "" {
		var self Source
		if self, selfErr = SelfSigned(w.SelfSigned, ownNames(), ownAddrs(w.Addrs), now); selfErr == nil {
			sources = append(sources, self)
		}
	}
	return errors.Join(s.Set(sources), s.SetAuthorities(w.Authorities), selfErr)
}

// IsDue reports whether Load has to be called again: the files have changed, or the
// self-signed one is about to end.
func (s *Store) IsDue(w Wanted, now time.Time) bool {
	ending := w.SelfSigned != "" && slices.ContainsFunc(s.Status(), func(st Status) bool { return st.Key != "" && st.Until.Sub(now) < RenewBefore })
	return ending || s.Changed()
}

// ownNames and ownAddrs are what a self-signed certificate is made out to.
func ownNames() []string {
	names := []string{"localhost"}
	if host, err := os.Hostname(); err == nil && host != "localhost" {
		names = append(names, host)
	}
	return names
}

func ownAddrs(listening []netip.Addr) []netip.Addr {
	addrs := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	for _, a := range listening {
		addrs = append(addrs, a.Unmap().WithZone(""))
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.DeleteFunc(slices.Compact(addrs), netip.Addr.IsUnspecified)
}

// Ending says that the certificate is near its end, or past it; nothing if it is not.
func (s Status) Ending(now time.Time) string {
	left, until := s.Until.Sub(now), s.Until.UTC().Format(time.DateTime)
	switch {
	case s.Until.IsZero() || left >= RenewBefore:
		return ""
	case left < 0:
		return fmt.Sprintf("certificate %s has ended at %s: clients refuse it; put a new one in its place", s.Certificate, until)
	}
	return fmt.Sprintf("certificate %s ends at %s; put a new one in its place", s.Certificate, until)
}
