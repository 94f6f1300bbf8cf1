// Package aliases keeps the addresses of ALIAS records up to date: it finds the
// records in versions of zones, asks for their targets in the background, and makes
// the versions in which the addresses stand.
//
//	version -> Stage: records found, addresses filled in as far as they are known
//	run     -> target due -> Names: zones of ours, or the resolver -> Book.Answered
//	        -> what was learned on disk -> Config.Changed -> Stage
//
// Nobody waits for a target: a zone is served with what is known of it. What was good
// stays good while a target fails, and over a restart.
//
// It owns goroutines, timers and one file. When a target is due and what is done with
// the records is decided by package alias; which zones there are, and who resolves, is
// the node's (Names).
//
// Entry points: Open; Driver.Start, Stage, Retain, Steered, Close.
//
// Concurrency: a Driver may be used by many goroutines. It calls the functions of
// Config without a lock of its own held.
package aliases

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"pharos/internal/authority/alias"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Config is what a Driver is made from.
type Config struct {
	File  string // what is kept across restarts
	Terms Terms

	// Names returns the names as they are now; nil if nobody needs them any more.
	Names func() Names
	// Changed is told of each zone that has another version now.
	Changed func(zone dnsname.Name)
	// Steering is told that Steered returns something else now.
	Steering func()
	// Problem is told what is wrong with the records of a zone; nothing if all is well.
	Problem func(zone dnsname.Name, text string)

	Log *slog.Logger
}

// Terms are what an operator says about ALIAS records.
type Terms struct {
	Limits     alias.Limits
	MaxPerZone int            // records; those beyond it are not resolved
	Keep       bool           // the records stay in the zone, beside the addresses
	Refuse     []netip.Prefix // that no address may be in
}

// Driver has the ALIAS records of some zones, whose names are different.
type Driver struct {
	// Constant after Open.
	config Config
	wake   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	saving sync.Mutex // before mu; so that what is written last is what was known last

	mu      sync.Mutex // guards what follows
	book    *alias.Book
	zones   map[dnsname.Name]*followed
	asking  int
	started bool
	saved   kept
}

// followed is a zone that has, or once had, ALIAS records, or may soon.
type followed struct {
	source  *zone.Zone // that records were found in
	records []alias.Record
	result  journal.Version // of source; nothing if stale
	stale   bool            // an address has changed since
	serial  rdata.Serial    // of the last result, if there was one
	from    rdata.Serial    // the serial of its source
	served  bool            // serial and from are set
}

// Open returns a Driver that knows what an earlier one has kept. It asks for nothing
// before Start.
func Open(c Config) *Driver {
	d := &Driver{config: c, wake: make(chan struct{}, 1), book: alias.NewBook(c.Terms.Limits), zones: map[dnsname.Name]*followed{}}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.load()
	return d
}

// Start begins to ask for targets; twice does no harm.
func (d *Driver) Start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.started {
		d.started = true
		d.work.Go(d.run) // ended by Close
	}
}

// Close ends all work and waits for it; twice does no harm.
func (d *Driver) Close() {
	d.cancel()
	d.work.Wait()
}

// Stage returns the version of a zone with addresses, to be served in the place of v.
// It is quick.
func (d *Driver) Stage(name dnsname.Name, v journal.Version) (journal.Version, error) {
	if v.Zone == nil {
		return v, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	z := d.zones[name]
	if z == nil {
		z = &followed{}
	}
	if z.source != v.Zone {
		d.follow(z, v)
	}
	// A zone without ALIAS records is remembered too if its differences are known: else
	// every change would be a look at the whole zone.
	if len(z.records) > 0 || z.served || v.Journal != nil {
		d.zones[name] = z
	}
	if len(z.records) == 0 && !z.served {
		return v, nil
	}
	if v.Zone.IsSigned() {
		if len(z.records) > 0 {
			return v, errors.New("ALIAS records in a zone that is signed already: the addresses could not be signed; have it signed here (zones[].dnssec), or remove the signatures")
		}
		return v, nil
	}
	if z.result.Zone == nil || z.stale {
		if err := d.fill(z, v); err != nil {
			return v, err
		}
	}
	return z.result, nil
}

// follow takes over a new version of the source.
func (d *Driver) follow(z *followed, v journal.Version) {
	before := z.records
	if list, ok := differences(z.source, v); ok {
		z.records = alias.Follow(before, list)
	} else {
		z.records = alias.Find(v.Zone)
	}
	now := clock.Now()
	for _, r := range d.resolved(z.records) {
		d.book.Want(now, r.Target)
	}
	for _, r := range d.resolved(before) {
		d.book.Release(r.Target)
	}
	z.source, z.result = v.Zone, journal.Version{}
	d.poke()
}

// resolved returns those records of a zone whose targets are asked for.
func (d *Driver) resolved(records []alias.Record) []alias.Record {
	return records[:min(len(records), d.config.Terms.MaxPerZone)]
}

// differences returns those that lead from a version to a later one, if they are known.
func differences(from *zone.Zone, v journal.Version) ([]*journal.Difference, bool) {
	if from == nil || v.Journal == nil {
		return nil, false
	}
	return v.Journal.Since(from.Serial())
}

// fill makes the result of a version of the source.
func (d *Driver) fill(z *followed, v journal.Version) error {
	// After a restart, what was served before it is served again under its serial.
	again := z.served && !z.stale && z.result.Zone == nil && z.from == v.Zone.Serial() && d.saved.holds(z, d.book)
	serial := z.serial
	if !again {
		serial = alias.NextSerial(v.Zone.Serial(), z.serial, z.served)
	}
	filled, err := alias.Fill(v.Zone, z.records, alias.Terms{Known: d.book.Known, Keep: d.config.Terms.Keep, Serial: serial})
	if err != nil {
		return err
	}
	z.result = journal.Version{Zone: filled}
	z.serial, z.from, z.served, z.stale = serial, v.Zone.Serial(), true, false
	return nil
}

// Retain forgets the zones that there are no more.
func (d *Driver) Retain(isThere func(dnsname.Name) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, z := range d.zones {
		if isThere(name) {
			continue
		}
		for _, r := range d.resolved(z.records) {
			d.book.Release(r.Target)
		}
		delete(d.zones, name)
	}
}

// Steered is a name whose target is a steered name of ours: it is steered likewise, so
// that it is answered from the pool as it is at the time.
type Steered struct {
	Owner, Like dnsname.Name
}

// Steered returns all such names, by their owners.
func (d *Driver) Steered() []Steered {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []Steered
	for _, z := range d.zones {
		for i, r := range z.records {
			if to, ok := d.book.Steered(r.Target); ok && (i == 0 || z.records[i-1].Owner != r.Owner) {
				all = append(all, Steered{r.Owner, to})
			}
		}
	}
	slices.SortFunc(all, func(x, y Steered) int { return x.Owner.Compare(y.Owner) })
	return all
}

// report says what is wrong with the records of a zone.
func (d *Driver) report(name dnsname.Name) {
	d.mu.Lock()
	text, more := "", 0
	if z := d.zones[name]; z != nil {
		for i, r := range z.records {
			problem := d.book.Problem(r.Target)
			if i >= d.config.Terms.MaxPerZone {
				problem = fmt.Sprintf("beyond alias.maxPerZone, %d", d.config.Terms.MaxPerZone)
			}
			if problem == "" {
				continue
			}
			if text != "" {
				more++
				continue
			}
			then := "it is answered SERVFAIL until there are addresses"
			if _, known := d.book.Known(r.Target); known {
				then = "its last good addresses are served on"
			}
			text = fmt.Sprintf("%s ALIAS %s: %s; %s", r.Owner, r.Target, problem, then)
		}
	}
	d.mu.Unlock()
	if more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	d.config.Problem(name, text)
}
