// Package exports puts the present answers of steered names into the versions of zones that
// other servers get, and keeps them current there.
//
// It owns the serials of these versions, over restarts too, and how far they are apart. It
// does not own what the answers are (package steered), nor how a version becomes known to
// others: that is the way of every version (journal, NOTIFY, IXFR).
//
//	transition -> Poke -> (not too soon after the last) -> Changed -> Stage: answers in the zone
//
// Entry points: Open; Driver.Stage, Poke, Retain, Close.
//
// Concurrency: all methods may be called from anywhere. Poke does not wait. A timer for each
// zone whose version has to wait; Close ends them.
package exports

import (
	"log/slog"
	"sync"
	"time"

	"pharos/internal/authority/alias"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/steered"
	"pharos/internal/clock"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Times.
const (
	// saveDelay is how long after a version the serials are written: a second of them in one.
	saveDelay = time.Second
	// margin is by how many versions more than was written another one may have been
	// served before a kill: more than there are in saveDelay.
	margin = 64
)

// Config is what a Driver is made from.
type Config struct {
	File    string             // where serials are kept
	Changed func(dnsname.Name) // has Stage called again; without a lock held
	Log     *slog.Logger
}

// Driver has the zones of one view.
type Driver struct {
	// Constant after Open.
	config Config

	mu     sync.Mutex // guards what follows
	zones  map[dnsname.Name]*exported
	every  time.Duration // how far apart versions are
	saving *time.Timer   // nil: nothing waits
	closed bool
	work   sync.WaitGroup // calls of Changed under way
}

// exported is one zone.
type exported struct {
	source  journal.Version
	sum     uint64 // of the answers in the result
	result  journal.Version
	serial  rdata.Serial // of the last result
	from    rdata.Serial // the serial of its source
	made    time.Time    // when the last result was; zero: by the process before
	waiting *time.Timer  // until the next one may be made; nil: nothing waits
	served  bool         // serial and from are set
}

// kept is what the file has of a zone.
type kept struct {
	Serial rdata.Serial `json:"serial"`
	From   rdata.Serial `json:"from"`
	Sum    uint64       `json:"sum"`
}

// file is what is on disk.
type file struct {
	Clean bool            `json:"clean"` // nothing was served since it was written
	Zones map[string]kept `json:"zones"`
}

// Open returns a Driver that goes on with the serials of an earlier one.
func Open(c Config) *Driver {
	d := &Driver{config: c, zones: map[dnsname.Name]*exported{}}
	var f file
	if err := diskfile.LoadJSON(c.File, &f); err != nil {
		c.Log.Warn("serials of zones with answers of pools cannot be read; other servers may not follow before they are passed", "file", c.File, "error", err)
		return d
	}
	for name, k := range f.Zones {
		n, err := dnsname.Parse(name)
		if err != nil {
			continue
		}
		e := &exported{serial: k.Serial, from: k.From, sum: k.Sum, served: true}
		if !f.Clean {
			e.serial, e.sum = e.serial+margin, 0
		}
		d.zones[n] = e
	}
	return d
}

// Close ends what waits, and writes the serials; twice does no harm.
func (d *Driver) Close() {
	d.mu.Lock()
	already := d.closed
	d.closed = true
	for _, e := range d.zones {
		if e.waiting != nil {
			e.waiting.Stop()
		}
	}
	if d.saving != nil {
		d.saving.Stop()
	}
	d.mu.Unlock()
	d.work.Wait()
	if !already {
		d.save(true)
	}
}

// SetInterval says how far apart the versions of a zone are that follow from answers alone.
func (d *Driver) SetInterval(every time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.every = every
}

// Stage returns the version of a zone with the present answers, to be served in the place
// of v: at once if v is another one than before, else no sooner than the interval after the
// last. It is quick.
func (d *Driver) Stage(name dnsname.Name, v journal.Version, answers []steered.Present) (journal.Version, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.zones[name]
	if v.Zone == nil || v.Zone.IsSigned() || len(answers) == 0 && e == nil {
		return v, nil // of a zone that somebody else has signed, nothing can be changed
	}
	if e == nil {
		e = new(exported)
		d.zones[name] = e
	}
	sum, now := steered.Sum(answers), clock.Now()
	isSame := e.source.Zone == v.Zone && e.result.Zone != nil
	if isSame && e.sum == sum {
		return e.result, nil
	}
	if wait := e.made.Add(d.every).Sub(now); isSame && wait > 0 {
		d.wait(name, e, wait)
		return e.result, nil
	}
	serial := alias.NextSerial(v.Zone.Serial(), e.serial, e.served)
	if e.result.Zone == nil && e.served && e.from == v.Zone.Serial() && e.sum == sum {
		serial = e.serial // what was served before the start
	}
	z, err := steered.Export(v.Zone, answers, serial)
	if err != nil {
		return v, err
	}
	e.source, e.result, e.sum, e.made = v, journal.Version{Zone: z}, sum, now
	e.serial, e.from, e.served = serial, v.Zone.Serial(), true
	d.saveLater()
	return e.result, nil
}

// Poke says that the answers of a zone may have changed.
func (d *Driver) Poke(name dnsname.Name) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.zones[name]; e != nil {
		d.wait(name, e, e.made.Add(d.every).Sub(clock.Now()))
	}
}

// wait has Changed called after a while. d.mu is held.
func (d *Driver) wait(name dnsname.Name, e *exported, after time.Duration) {
	if e.waiting != nil || d.closed {
		return
	}
	e.waiting = time.AfterFunc(max(after, 0), func() {
		d.mu.Lock()
		e.waiting = nil
		if d.closed {
			d.mu.Unlock()
			return
		}
		d.work.Add(1)
		d.mu.Unlock()
		defer d.work.Done()
		d.config.Changed(name)
	})
}

// Retain forgets the zones that there are no more.
func (d *Driver) Retain(isThere func(dnsname.Name) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, e := range d.zones {
		if !isThere(name) {
			if e.waiting != nil {
				e.waiting.Stop()
			}
			delete(d.zones, name)
		}
	}
}

// saveLater has the serials written. d.mu is held.
func (d *Driver) saveLater() {
	if d.saving == nil && !d.closed {
		d.saving = time.AfterFunc(saveDelay, func() { d.save(false) })
	}
}

// save writes the serials.
func (d *Driver) save(clean bool) {
	d.mu.Lock()
	d.saving = nil
	f := file{Clean: clean, Zones: make(map[string]kept, len(d.zones))}
	for name, e := range d.zones {
		if e.served {
			f.Zones[name.String()] = kept{e.serial, e.from, e.sum}
		}
	}
	skip := d.closed && !clean || len(f.Zones) == 0
	d.mu.Unlock()
	if skip {
		return
	}
	if err := diskfile.SaveJSON(d.config.File, f); err != nil {
		d.config.Log.Warn("serials of zones with answers of pools not kept; after a restart other servers may not follow before they are passed", "file", d.config.File, "error", err)
	}
}
