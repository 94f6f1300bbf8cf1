// Package certdesk keeps the certificates that listeners show as the configuration has them,
// and tells operators how they are.
//
//	file, tick, reload -> Desk.Follow -> tlscert.Store -> each TLS handshake
//	                                  -> problems
//
// It owns when they are read again and what is said of them. How they are read, chosen and
// made is package tlscert's.
//
// Entry points: Load, Check, List, Desk.Follow.
//
// Concurrency: functions without shared state; a Store may be used meanwhile.
package certdesk

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/settings"
	"pharos/internal/proxy/tlscert"
)

// Load reads what encrypted listeners show, at a start.
func Load(cfg *config.Config, store *tlscert.Store, now time.Time) error {
	if !cfg.HasTLS() {
		return nil
	}
	if err := store.Load(settings.Certificates(cfg), now); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	return nil
}

// Check reads the certificates as a start does, but makes none.
func Check(cfg *config.Config, now time.Time, report io.Writer) error {
	var store tlscert.Store
	w := settings.Certificates(cfg)
	if err := errors.Join(store.Set(w.Sources), store.SetAuthorities(w.Authorities)); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	for _, s := range store.Status() {
		fmt.Fprintf(report, "certificate %s: for %s, until %s\n", s.Certificate, strings.Join(s.Names, ", "), s.Until.UTC().Format(time.DateTime))
	}
	for _, text := range settings.CertificateRemarks(cfg, &store, now) {
		fmt.Fprintf(report, "warning: %s\n", text)
	}
	return nil
}

// List returns the certificates for status.
func List(store *tlscert.Store) []api.Certificate {
	var all []api.Certificate
	for _, s := range store.Status() {
		if s.Key == "" {
			continue // authorities, of clients
		}
		all = append(all, api.Certificate{
			File: s.Certificate, Names: s.Names, Until: s.Until, Fingerprint: s.Fingerprint, Pin: s.Pin,
		})
	}
	return all
}

// Desk is what Follow needs.
type Desk struct {
	Store   *tlscert.Store
	Problem func(c problems.Code, about, text string) // text is empty where there is none
	Keep    func(c problems.Code, about []string)     // problems about others are over
	Log     *slog.Logger
}

// Follow reads certificates again when reload says so, or when it is due; and reports how
// they are.
func (d Desk) Follow(cfg *config.Config, now time.Time, reload bool) {
	if !cfg.HasTLS() {
		return
	}
	var failed error
	if w := settings.Certificates(cfg); reload || d.Store.IsDue(w, now) {
		failed = d.Store.Load(w, now)
		d.Log.Info("certificates read", "ok", failed == nil)
	}
	var about []string
	for _, s := range d.Store.Status() {
		about = append(about, s.Certificate)
		d.Problem(problems.CertificateRefused, s.Certificate, s.Problem)
		d.Problem(problems.CertificateEnding, s.Certificate, s.Ending(now))
	}
	if len(about) == 0 && failed != nil {
		about = append(about, "tls")
		d.Problem(problems.CertificateRefused, "tls", failed.Error())
	}
	d.Keep(problems.CertificateRefused, about)
	d.Keep(problems.CertificateEnding, about)
}
