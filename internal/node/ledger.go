package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/admin/metrics"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/settings"
	"pharos/internal/admin/telemetry"
	"pharos/internal/admin/versions"
	"pharos/internal/authority/gate"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/ledger"
	"pharos/internal/authority/masterfile"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
)

// This file joins the zones of kind store with their ledger:
//
//	UPDATE, command -> ledger.Change -> checkVersion (the gate) -> on disk
//	                -> zoneChanged (versions.go) -> acknowledged

// setLedger tells the ledger which zones it has, and opens it with the first. n.mu is
// held, or nobody else has n yet.
func (k *keeping) setLedger(cfg *config.Config) error {
	var zones []ledger.Zone
	for i := range cfg.Zones {
		if c := &cfg.Zones[i]; c.Kind == "store" {
			zones = append(zones, ledgerZone(c))
		}
	}
	l := k.ledger.Load()
	if l == nil && len(zones) == 0 {
		return nil
	}
	if l == nil {
		var err error
		l, err = ledger.Open(ledger.Config{
			Folder: filepath.Join(folderOf(cfg.Data, k.view), "ledger"), Journal: int(cfg.Transfers.Journal), Log: k.n.log,
			Publish: k.changed, Check: k.checkVersion, Problem: k.ledgerProblem,
			Failing: func(text string) { k.n.problem(problems.ChangesFailed, k.view, text) }, Images: k.n.images.Of("ledger " + k.view),
		})
		if err != nil {
			return err
		}
		k.ledger.Store(l)
	}
	l.Set(zones)
	return nil
}

func ledgerZone(c *config.Zone) ledger.Zone {
	policy, err := update.ParseSerialPolicy(c.Serial)
	if err != nil {
		panic("BUG: " + err.Error()) // the configuration has checked it
	}
	z := ledger.Zone{
		Name: c.Name, Serial: policy,
		Keep: ledger.Keep{Versions: c.History.Versions, For: time.Duration(c.History.For), Size: int64(c.History.Size)},
	}
	if c.File != "" {
		z.Initial = func() (*zone.Zone, error) {
			read, err := masterfile.Load(c.Name, c.File, settings.Reading(c))
			if err != nil {
				return nil, fmt.Errorf("zone %s: %w", c.Name, err)
			}
			return read.Zone, nil
		}
	}
	return z
}

// changeInLedger makes a change for a client of DNS: what it is told has nothing of
// this machine in it.
func (k *keeping) changeInLedger(ctx context.Context, name dnsname.Name, by string, decide func(now *zone.Zone) (update.Change, error)) (changed bool, err error) {
	l := k.ledger.Load()
	if l == nil {
		return false, ledger.ErrNoZone
	}
	receipt, err := l.Change(ctx, name, by, decide)
	switch {
	case errors.Is(err, ledger.ErrRefused):
		return false, &update.Refusal{Rcode: dnswire.RcodeRefused, EDE: dnswire.EDEProhibited, Why: err.Error()}
	case errors.Is(err, ledger.ErrNotKept):
		return false, &update.Refusal{Rcode: dnswire.RcodeServFail, EDE: dnswire.EDENotReady, Why: "the change cannot be kept on disk now, so nothing has changed"}
	}
	return receipt.Changed, err
}

// checkVersion asks the gate about a version before it is kept: who has made the
// change is told, rather than everybody who reads problems.
func (k *keeping) checkVersion(old, now *zone.Zone, d *journal.Difference) error {
	s, a := k.apex(now.Origin())
	if s == nil {
		return nil // the first snapshot asks by itself
	}
	if a == nil {
		return errors.New("the zone has just been taken out of the configuration")
	}
	var differences []*journal.Difference
	if d != nil {
		differences = append(differences, d)
	}
	return gate.Refusals(gate.Check(old, now, differences, settings.Gate(a.config), clock.Now()))
}

// sampleLedger gives the counters of the zones of kind store, of all views.
func (n *Node) sampleLedger(emit func(telemetry.Sample)) {
	var c ledger.Counts
	open := false
	n.everyKeeping(func(k *keeping) {
		if l := k.ledger.Load(); l != nil {
			open = true
			c = c.Plus(l.Counts())
		}
	})
	if open {
		metrics.Ledger(c, emit)
	}
}

// ledgerProblem says what is lost of a zone's versions, or of all.
func (k *keeping) ledgerProblem(name dnsname.Name, text string) {
	about := k.view
	if !name.IsZero() {
		about = versions.ID(k.view, name)
	}
	k.n.problem(problems.VersionsLost, about, text)
}
