// Package xfr gets secondary zones from their primaries, keeps them on disk, and
// tells secondaries of changes.
//
// It owns connections to other servers, their timers, and the copies in the data
// folder. When to ask is decided by package refresh, what to believe by packages
// transfer and tsig; what is done with a version is the caller's (package node).
//
//	Secondaries  timer, NOTIFY, operator -> refresh.Step -> check: SOA, IXFR, AXFR
//	             -> saveCopy, or changeLog.append (fsync) -> Publish
//	Notifier     Announce -> NOTIFY to each server, again until it answers
//
// A version is on disk before it is published, and a copy is replaced at once or
// not at all: a crash at any instant leaves the old version or the new one.
//
// Entry points: New, Secondaries.Set, Secondaries.Version, Secondaries.Notified,
// Secondaries.Refresh, Secondaries.State; NewNotifier, Notifier.Announce.
//
// Concurrency: all methods may be called from anywhere. A zone has one timer, and
// one goroutine while its primaries are asked; Config.Turns bounds how many do so at a
// time. Publish is called without a lock held.
//
// Sources: RFC 1034 §4.3.5, RFC 1995, RFC 1996, RFC 5936, RFC 8945, RFC 9103.
package xfr

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"pharos/internal/authority/compact"
	"pharos/internal/authority/refresh"
	"pharos/internal/authority/transfer"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Config is what New needs.
type Config struct {
	Folder string // for the copies; made when needed
	Turns  *Turns // who may ask at a time
	Limits Limits // of each transfer
	// Publish is called when a zone has a new version, or, having expired, none.
	Publish func(name dnsname.Name)
	// Trouble is called when what an operator should know of a zone may have
	// changed; see State.
	Trouble func(name dnsname.Name)
	// Images has copies as they lie in memory; nil: all are read record by record.
	Images Images
	Log    *slog.Logger
}

// Images are zones as they lie in memory, by the header of their copy, whose checksum is
// over all records. They may be lost at any time.
type Images interface {
	Take(name dnsname.Name, header []byte) *zone.Zone // nil: there is none
	Put(z *zone.Zone, header []byte)                  // returns at once
}

// Zone is a secondary zone.
type Zone struct {
	Name      dnsname.Name
	Primaries []Peer
	Records   int // how many it may have, if it comes whole; 0: any number
}

// State is how a secondary zone is.
type State struct {
	Serial    rdata.Serial // of the version served, if Present
	Present   bool
	Checking  bool
	Last      Result    // of the last transfer that brought a version, by this process
	LastAt    time.Time // its time
	Confirmed time.Time // when a primary last confirmed the version
	NextCheck time.Time
	Expires   time.Time
	Failures  int    // checks in a row
	Problem   string // why the last check failed, or the copy could not be used
}

// Counts are the checks and transfers of all zones.
type Counts struct {
	Whole, Incremental, UpToDate, Failed, Expired uint64
	Compacted                                     uint64 // zones built anew beside their changes
}

// Plus returns the sum.
func (c Counts) Plus(d Counts) Counts {
	return Counts{c.Whole + d.Whole, c.Incremental + d.Incremental, c.UpToDate + d.UpToDate, c.Failed + d.Failed, c.Expired + d.Expired, c.Compacted + d.Compacted}
}

// Secondaries are the secondary zones of a node.
type Secondaries struct {
	// Constant after New.
	config Config
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	kept   kept // connections to primaries
	// compacts has one place, for the zone that is built anew.
	compacts chan struct{}

	mu     sync.Mutex // guards what follows, and all entries
	zones  map[dnsname.Name]*entry
	counts Counts
	closed bool
}

// entry is one zone. Its fields are guarded by Secondaries.mu, but zone is only
// replaced by the check under way.
type entry struct {
	name      dnsname.Name
	primaries []Peer
	records   int        // as in Zone
	log       *changeLog // what is on disk; of the check under way
	twin      compact.Twin
	machine   *refresh.Machine
	timer     *clock.Timer
	zone      *zone.Zone // the version there is; nil: none
	force     bool       // the next check transfers whatever the serial
	started   bool       // Set has seen it
	removed   bool
	loaded    time.Time // when the copy was confirmed, before started
	stale     bool      // it had expired when it was loaded
	state     State
	abandon   context.CancelFunc // of the check under way
}

// New returns without any zone.
func New(c Config) *Secondaries {
	s := &Secondaries{config: c, compacts: make(chan struct{}, 1), zones: map[dnsname.Name]*entry{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Version returns the version of a zone to serve, or nil. If the zone is new, its
// copy is read from disk.
func (s *Secondaries) Version(name dnsname.Name) *zone.Zone {
	e := s.entry(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.served()
}

func (e *entry) served() *zone.Zone {
	if e.started && !e.machine.Present() || !e.started && e.stale {
		return nil
	}
	return e.zone
}

// entry returns the entry of a zone, made from its copy if it is new. The copy is
// read without the lock, which a NOTIFY on a listener's loop waits for.
func (s *Secondaries) entry(name dnsname.Name) *entry {
	s.mu.Lock()
	e := s.zones[name]
	s.mu.Unlock()
	if e != nil {
		return e
	}
	made := s.load(name.Clone())
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.zones[name]; e != nil {
		return e
	}
	s.zones[made.name] = made
	return made
}

// load makes the entry of a zone from its copy, if there is one.
func (s *Secondaries) load(name dnsname.Name) *entry {
	e := &entry{name: name, log: new(changeLog), machine: refresh.New(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))}
	l, err := loadCopy(s.config.Folder, name, s.config.Images)
	switch {
	case err == nil:
		e.zone, e.loaded, *e.log = l.zone, l.confirmed, l.changeLog
		e.stale = clock.Now().After(l.confirmed.Add(soaOf(l.zone).Expire))
		if l.damage != nil {
			path := changesPath(s.config.Folder, name)
			e.state.Problem = fmt.Sprintf("%v; it is kept as %s.damaged, and serial %d is served until the primaries have sent a newer version", l.damage, path, l.zone.Serial())
			s.config.Log.Warn("changes of a secondary zone cannot be used", "zone", name.String(), "file", path, "error", l.damage)
			os.Rename(path, path+".damaged")
			e.log.zone = nil // the next version is written whole
		}
	case errors.Is(err, fs.ErrNotExist):
	default:
		path := copyPath(s.config.Folder, name)
		e.state.Problem = fmt.Sprintf("%s: %v; it is kept as %s.damaged, and the zone is transferred anew", path, err, path)
		s.config.Log.Warn("copy of a secondary zone cannot be used", "zone", name.String(), "file", path, "error", err)
		os.Rename(path, path+".damaged")
	}
	return e
}

// soaOf returns what package refresh needs of z.
func soaOf(z *zone.Zone) refresh.SOA {
	data := transfer.SOA(z).Data
	numbers := data[len(data)-20:]
	seconds := func(at int) time.Duration { return time.Duration(binary.BigEndian.Uint32(numbers[at:])) * time.Second }
	return refresh.SOA{Serial: z.Serial(), Refresh: seconds(4), Retry: seconds(8), Expire: seconds(12)}
}

// Set says which zones there are. New ones are asked for at once, those that are
// not among zones are forgotten; their copies stay on disk.
func (s *Secondaries) Set(zones []Zone) {
	for _, z := range zones {
		s.entry(z.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := map[dnsname.Name]bool{}
	now := clock.Now()
	for _, z := range zones {
		wanted[z.Name] = true
		e := s.zones[z.Name]
		if e == nil {
			continue // another Set has just removed it
		}
		moved := e.started && !slices.EqualFunc(e.primaries, z.Primaries, samePeer)
		e.primaries, e.records = z.Primaries, z.Records
		switch {
		case !e.started:
			e.started = true
			if e.zone != nil {
				s.stepLocked(e, now, refresh.Loaded{SOA: soaOf(e.zone), Confirmed: e.loaded})
			} else {
				s.stepLocked(e, now, refresh.Started{})
			}
		case moved:
			s.stepLocked(e, now, refresh.Asked{})
		}
	}
	for name, e := range s.zones {
		if !wanted[name] {
			s.removeLocked(e)
		}
	}
}

func samePeer(a, b Peer) bool {
	if a.Address != b.Address || a.TLSID != b.TLSID || (a.Key == nil) != (b.Key == nil) {
		return false
	}
	return a.Key == nil || a.Key.Name == b.Key.Name && a.Key.Algorithm == b.Key.Algorithm && string(a.Key.Secret) == string(b.Key.Secret)
}

func (s *Secondaries) removeLocked(e *entry) {
	e.removed = true
	if e.timer != nil {
		e.timer.Stop()
	}
	if e.abandon != nil {
		e.abandon()
	}
	delete(s.zones, e.name)
}

// SetAside forgets a zone, and keeps its copy under another name: whoever has a zone
// of that name later begins anew.
func (s *Secondaries) SetAside(name dnsname.Name) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.zones[name]; e != nil {
		s.removeLocked(e)
	}
	path := copyPath(s.config.Folder, name)
	if err := os.Rename(path, path+".removed"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	os.Remove(changesPath(s.config.Folder, name)) // they say nothing without their copy
	return nil
}

// Notified takes a NOTIFY for a zone. It does not wait.
func (s *Secondaries) Notified(name dnsname.Name, serial rdata.Serial, hasSerial bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.zones[name]; e != nil && e.started {
		s.stepLocked(e, clock.Now(), refresh.Notified{Serial: serial, HasSerial: hasSerial})
	}
}

// Refresh has the primaries of a zone asked now. With force the whole zone is
// transferred, whatever its serial. It reports whether there is such a zone.
func (s *Secondaries) Refresh(name dnsname.Name, force bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.zones[name]
	if e == nil || !e.started {
		return false
	}
	e.force = e.force || force
	s.stepLocked(e, clock.Now(), refresh.Asked{})
	return true
}

// State returns how a zone is.
func (s *Secondaries) State(name dnsname.Name) (State, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.zones[name]
	if e == nil {
		return State{}, false
	}
	st := e.state
	if st.Present = e.served() != nil; st.Present {
		st.Serial = e.zone.Serial()
	}
	st.Checking, st.Failures = e.machine.Checking(), e.machine.Failures()
	st.Confirmed, st.NextCheck, st.Expires = e.machine.Confirmed(), e.machine.NextCheck(), e.machine.Expires()
	return st, true
}

// Counts returns what has been counted.
func (s *Secondaries) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Close ends all checks and timers, and waits for them.
func (s *Secondaries) Close() {
	s.mu.Lock()
	s.closed = true
	for _, e := range s.zones {
		if e.timer != nil {
			e.timer.Stop()
		}
	}
	s.mu.Unlock()
	s.cancel()
	s.work.Wait()
	s.kept.close()
}

// stepLocked gives an event to a zone's machine, performs its actions and sets its
// timer.
func (s *Secondaries) stepLocked(e *entry, now time.Time, ev refresh.Event) {
	if s.closed || e.removed {
		return
	}
	var room [2]refresh.Action
	for _, action := range e.machine.Step(now, ev, room[:0]) {
		switch action {
		case refresh.Check:
			ctx, cancel := context.WithCancel(s.ctx)
			e.abandon = cancel
			q := inquiry{e.name, e.primaries, e.records, e.zone, e.force, e.log, &e.twin}
			e.force = false
			s.work.Go(func() { // ends with the check, or when Close or Set abandons it
				defer cancel()
				s.check(ctx, e, q)
			})
		case refresh.Expire:
			s.counts.Expired++
			s.config.Log.Error("secondary zone has expired: it is not served any more", "zone", e.name.String(), "confirmed", e.machine.Confirmed())
			s.work.Go(func() { s.config.Publish(e.name) }) // ends when it is published
		}
	}
	next := e.machine.Next()
	if next.IsZero() {
		return // a check is under way
	}
	if e.timer == nil {
		e.timer = clock.AfterFunc(next.Sub(now), func() { s.tick(e) })
	} else {
		e.timer.Reset(next.Sub(now))
	}
}

func (s *Secondaries) tick(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stepLocked(e, clock.Now(), refresh.Tick{})
}

// check asks the primaries of a zone and takes over what comes of it.
func (s *Secondaries) check(ctx context.Context, e *entry, q inquiry) {
	r, err := s.ask(ctx, q)
	if ctx.Err() != nil { // closed, or not our zone any more
		return
	}
	s.ended(e, r, q.old, err, clock.Now())
}

// errNotKept means that it is not for the primaries that there is no new version.
var errNotKept = errors.New("the new version is not published, for it cannot be kept")

// keep puts what a check found on disk, for as old as it is.
func (s *Secondaries) keep(r Result, q inquiry) error {
	now := clock.Now().Add(-ageOf(r))
	if r.Zone == q.old {
		if err := confirmCopy(s.config.Folder, r.Zone.Origin(), now); err == nil {
			return nil
		} // it is not there any more: write it again
	}
	if r.Form == transfer.Incremental && r.Zone != q.old {
		if err := q.log.append(s.config.Folder, q.old, r.Zone, r.changes, now); err == nil {
			return nil
		} // or it is written whole
	}
	if err := saveCopy(s.config.Folder, r.Zone, now, s.config.Images, q.log); err != nil {
		return fmt.Errorf("%w: %w; free space on the disk of %s and see that the folder can be written", errNotKept, err, s.config.Folder)
	}
	return nil
}

// ended takes over the end of a check.
func (s *Secondaries) ended(e *entry, r Result, old *zone.Zone, err error, now time.Time) {
	s.mu.Lock()
	wasPresent := e.machine.Present()
	ev := refresh.Ended{Failed: err != nil}
	e.state.Problem = ""
	switch {
	case err != nil:
		s.counts.Failed++
		e.state.Problem = err.Error()
	case r.Zone == old:
		s.counts.UpToDate++
	default:
		if s.counts.Whole++; r.Form == transfer.Incremental {
			s.counts.Whole--
			s.counts.Incremental++
		}
		e.zone, e.state.Last, e.state.LastAt = r.Zone, r, now
		e.state.Last.Zone, e.state.Last.changes = nil, nil
	}
	if err == nil {
		ev.SOA, ev.Age = soaOf(r.Zone), ageOf(r)
	}
	s.stepLocked(e, now, ev)
	s.mu.Unlock()
	s.logEnd(e.name, r, old, err)
	if err == nil && (r.Zone != old || !wasPresent) {
		s.config.Publish(e.name)
	}
	s.config.Trouble(e.name)
}

// ageOf returns for how long the server that confirmed a version has not heard of its
// own primary: what is missing of EXPIRE in the time that it has left (RFC 7314 §4).
func ageOf(r Result) time.Duration {
	if r.Expires < 0 {
		return 0
	}
	return max(0, soaOf(r.Zone).Expire-r.Expires)
}

func (s *Secondaries) logEnd(name dnsname.Name, r Result, old *zone.Zone, err error) {
	switch {
	case err != nil:
		s.config.Log.Warn("secondary zone not refreshed", "zone", name.String(), "error", err)
	case r.Zone == old:
		s.config.Log.Debug("secondary zone is up to date", "zone", name.String(), "serial", uint32(r.Zone.Serial()), "primary", r.From.String())
	default:
		s.config.Log.Info("secondary zone received", "zone", name.String(), "serial", uint32(r.Zone.Serial()), "form", r.Form.String(),
			"primary", r.From.String(), "records", r.Records, "octets", r.Octets, "took", r.Took)
	}
}
