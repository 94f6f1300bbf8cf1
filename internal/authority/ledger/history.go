package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Past is one version in the history of a zone.
type Past struct {
	Serial         rdata.Serial
	Version        uint64
	Time           time.Time // zero if it is not known, of the oldest
	By             string
	Deleted, Added int // records, against the version before; without SOA
}

// chain returns the newest version of a zone and the encoded entries that lead to it
// without a gap, oldest first.
func (l *Ledger) chain(name dnsname.Name) (*zone.Zone, []kept, error) {
	e := l.find(name)
	if e == nil {
		return nil, nil, fmt.Errorf("zone %s: %w", name, ErrNoZone)
	}
	l.mu.Lock()
	now, version, pending := e.zone, e.version, e.pending
	l.mu.Unlock()
	if now == nil {
		return nil, nil, fmt.Errorf("zone %s: %w", name, ErrNoVersion)
	}
	// The file is read after pending, so what has left pending is in the file.
	b, err := readFile(l.disk, l.path(e, ".log"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	var logged []kept
	if h, err := decodeHeader(b); err == nil {
		for _, payload := range journal.ScanFrames(b[logHeader:], h.salt).Payloads {
			if _, v, err := journal.PeekEntry(payload); err == nil && v <= version {
				logged = append(logged, kept{v, payload})
			}
		}
	}
	return now, chainTo(version, logged, pending), nil
}

// History returns the versions of a zone that are kept, newest first, and most of
// them at most; 0: all.
func (l *Ledger) History(name dnsname.Name, most int) ([]Past, error) {
	now, chain, err := l.chain(name)
	if err != nil {
		return nil, err
	}
	state, _ := l.State(name)
	var list []Past
	for i := len(chain) - 1; i >= 0; i-- {
		e, err := journal.DecodeEntry(chain[i].payload)
		if err != nil {
			return nil, fmt.Errorf("zone %s: version %d: %w", name, chain[i].version, err)
		}
		p := Past{Serial: e.Difference.To, Version: e.Version, Time: e.Time, By: e.By}
		p.Deleted, p.Added = e.Difference.Len()
		if list = append(list, p); len(list) == most {
			return list, nil
		}
		if i == 0 {
			list = append(list, Past{Serial: e.Difference.From, Version: e.Version - 1})
		}
	}
	if len(chain) == 0 {
		list = append(list, Past{Serial: now.Serial(), Version: state.Version, Time: state.Changed, By: state.By})
	}
	return list, nil
}

// At returns the version of a zone that had a serial: the newest, should several have
// had it.
func (l *Ledger) At(name dnsname.Name, serial rdata.Serial) (*zone.Zone, error) {
	now, chain, err := l.chain(name)
	if err != nil {
		return nil, err
	}
	if now.Serial() == serial {
		return now, nil
	}
	edit := now.Edit()
	for i := len(chain) - 1; i >= 0; i-- {
		e, err := journal.DecodeEntry(chain[i].payload)
		if err != nil {
			return nil, fmt.Errorf("zone %s: version %d: %w", name, chain[i].version, err)
		}
		if err := e.Difference.Revert(edit); err != nil {
			return nil, fmt.Errorf("zone %s: version %d: %w", name, e.Version, err)
		}
		if e.Difference.From == serial {
			z, problems := edit.Finish()
			if z == nil {
				return nil, fmt.Errorf("zone %s: serial %d: %w", name, serial, fatal(problems))
			}
			return z, nil
		}
	}
	return nil, fmt.Errorf("zone %s, serial %d: %w; see the others with: pharos zone history %s", name, serial, ErrNoHistory, name)
}

// Rollback makes a new version with the records of an old one, and a serial above
// all.
func (l *Ledger) Rollback(ctx context.Context, name dnsname.Name, by string, serial rdata.Serial) (Receipt, error) {
	old, err := l.At(name, serial)
	if err != nil {
		return Receipt{}, err
	}
	return l.Replace(ctx, name, by, old, true)
}

// Try returns what Change would do, and does nothing.
func (l *Ledger) Try(name dnsname.Name, decide Decide) (now, next *zone.Zone, err error) {
	e := l.find(name)
	if e == nil {
		return nil, nil, fmt.Errorf("zone %s: %w", name, ErrNoZone)
	}
	l.mu.Lock()
	now, policy := e.zone, e.settings.Serial
	l.mu.Unlock()
	if now == nil {
		return nil, nil, fmt.Errorf("zone %s: %w", name, ErrNoVersion)
	}
	change, err := decide(now)
	if err != nil {
		return nil, nil, err
	}
	next, difference, err := apply(now, change, policy, clock.Now())
	if err == nil && next != now {
		err = l.judge(now, next, difference)
	}
	return now, next, err
}

// TryReplace returns what Replace would do, and does nothing. now is nil if content
// would be the first version.
func (l *Ledger) TryReplace(name dnsname.Name, content *zone.Zone, raise bool) (now, next *zone.Zone, err error) {
	now, next, err = l.Try(name, func(now *zone.Zone) (update.Change, error) { return changeTo(now, content, raise), nil })
	if errors.Is(err, ErrNoVersion) {
		return nil, content, l.judge(nil, content, nil)
	}
	return now, next, err
}
