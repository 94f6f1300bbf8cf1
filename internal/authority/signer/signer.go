// Package signer keeps zones signed: it makes and keeps their keys, signs what comes
// from their sources, renews signatures before they end, and carries rollovers
// through as far as the zone's servers and its parent are seen to follow.
//
// It owns keys and signed versions on disk, the timers, and the cores that sign.
// What is to be published when is decided by package kasp, what a signature is by
// package sign. Whom to ask about other servers and the parent, and what becomes of
// a version, is the caller's (package node).
//
//	Offer(source) ─┐
//	timer, watch ──┼─> kasp.Step ─> keys made ─> state (fsync) ─> sign: Plan or Update
//	operator ──────┘                             ─> copy (fsync) ─> Publish ─> Version
//
// The serial of a signed version is that of its source, if that is ahead of the
// version before it; else one more than that version's. So signatures can be
// renewed while the source stays, serials only go forward, and where nothing but
// the source changes both have the same (as BIND's inline-signing and Knot do it).
//
// Times are those of a clock that does not believe in sudden jumps, see clock.go.
//
// Entry points: New, Signers.Set, Signers.Offer, Signers.Start, Signers.Close; for
// operators Signers.State, Roll, Import, Submitted; for a KSK elsewhere ImportOffline,
// KeyRequest, TakeSigned.
//
// Concurrency: all methods may be called from anywhere. A zone has at most one
// goroutine that works on it and one that watches its servers and its parent; they
// end by themselves, and Close waits for them. Publish and Trouble are called
// without a lock held. Lock order: entry.work, then Signers.mu.
package signer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"pharos/internal/authority/compact"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/kasp"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/skr"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Config is what New needs.
type Config struct {
	Folder string // for keys and signed versions, made when needed
	// Sealer returns what encrypts private keys; it is called when one is used.
	Sealer func() (*Sealer, error)
	// Publish is called when a zone has a new signed version.
	Publish func(dnsname.Name)
	// Trouble is called when what an operator should know may have changed; see
	// State.
	Trouble func(dnsname.Name)
	// Servers returns which serial each server of the zone shows, this node's own
	// first.
	Servers func(context.Context, dnsname.Name) []Server
	// Parent returns what the parent's servers show, those listed or those that can be
	// found; ok is false if nobody can be asked.
	Parent func(context.Context, dnsname.Name, []netip.AddrPort) (p kasp.Parent, ok bool, err error)
	Log    *slog.Logger
	// Images keeps signed versions as they lie in memory; nil: nothing does.
	Images Images
}

// Images are zones as they lie in memory, by what tells one copy from all others. They may
// be lost at any time.
type Images interface {
	Take(name dnsname.Name, key []byte) *zone.Zone // nil: there is none
	Put(z *zone.Zone, key []byte)                  // returns at once
}

// Server is what one server of a zone shows.
type Server struct {
	Address string
	Serial  rdata.Serial
	Err     error
}

// Settings is how a zone is signed.
type Settings struct {
	Policy kasp.Policy `json:"policy"`
	NSEC3  *sign.NSEC3 `json:"nsec3,omitempty"`
	Live   bool        `json:"live,omitempty"` // nothing but the keys is signed on disk
	// Exported: the zone has the present answers for its steered names.
	Exported bool          `json:"exported,omitempty"`
	ZONEMD   []uint8       `json:"zonemd,omitempty"` // the hash algorithms of digests of the zone
	KeyTTL   rdata.TTL     `json:"keyTTL"`
	Life     time.Duration `json:"life"`
	Jitter   time.Duration `json:"jitter"`
	Renew    time.Duration `json:"renew"`
	// Parents are the servers of the parent to be asked; none: whoever can be found.
	Parents []netip.AddrPort `json:"parents,omitempty"`
	// ParentEvery is how often they are.
	ParentEvery time.Duration `json:"parentEvery"`
}

// Signers are the zones that a node signs.
type Signers struct {
	// Constant after New.
	config   Config
	ctx      context.Context
	cancel   context.CancelFunc
	slots    chan struct{}   // one for each zone being signed
	compacts chan struct{}   // one for the zone that is built anew
	kept     map[string]bool // folders of zones that there were at the start
	wait     sync.WaitGroup
	clock    *wallClock
	atOnce   int           // saveAtOnce, but in tests
	delay    time.Duration // saveDelay, likewise

	mu      sync.Mutex // guards what follows, and entries as they say
	entries map[dnsname.Name]*entry
	started bool
	closed  bool
	counts  Counts
}

// Counts are the signatures of all zones, since the start, and how many zones were built
// anew beside their versions.
type Counts struct{ Made, Kept, Versions, Failed, Compacted uint64 }

// Plus returns the sum of both.
func (c Counts) Plus(o Counts) Counts {
	return Counts{c.Made + o.Made, c.Kept + o.Kept, c.Versions + o.Versions, c.Failed + o.Failed, c.Compacted + o.Compacted}
}

// entry is one zone.
type entry struct {
	name   dnsname.Name // constant
	folder string       // constant

	// work is held by whoever uses machine, record and keys, and writes files.
	work    sync.Mutex
	machine *kasp.Machine
	record  *record
	disk    string // the record as it is on disk, but for what time alone changes
	savedAt time.Time
	keys    map[kasp.ID]*sign.Key
	book    *skr.Book // what keys elsewhere have signed
	fresh   time.Time // when newer ones of that begin; zero: none do
	last    time.Time // of the last step, with a monotonic reading
	signed  signed    // the version signed last
	twin    compact.Twin
	due     time.Time     // when a signature has to be renewed
	unsaved time.Time     // since when signed is not on disk; zero: it is
	saving  bool          // a goroutine writes a signed version
	written chan struct{} // closed when what is being saved is written
	unkept  error         // why the last could not be saved; it is tried again
	stale   bool          // versions that were published after signed are lost

	// Guarded by Signers.mu.
	settings Settings
	source   journal.Version // the last offered
	offered  bool
	version  journal.Version // the signed version to serve; Zone nil: none
	managed  bool            // the zone has, or had, keys: its source must not be served as it is
	wanted   bool            // the configuration has it
	running  bool            // a goroutine works
	again    bool            // and shall do so once more
	watching bool
	force    bool // the next watch asks the parent, whenever it last did
	timer    *clock.Timer
	look     *clock.Timer // of the next watch
	looks    int          // in a row that found servers behind
	facts    facts
	state    State
	live     []*sign.Key // of the version served, which sign its data
}

// signed is a signed version and what it was made of.
type signed struct {
	zone       *zone.Zone
	journal    *journal.Journal
	from       *zone.Zone // its source; nil: one that was read from disk
	sum        uint64     // of its source, if from is nil
	steered    []string
	setup      string
	generation uint64
	dataTTL    time.Duration
}

// facts are what the last watch found out.
type facts struct {
	servers []Server
	parent  *kasp.Parent
	at      time.Time
}

// New returns without any zone.
func New(c Config) *Signers {
	s := &Signers{config: c, slots: make(chan struct{}, max(1, runtime.NumCPU()/2)), compacts: make(chan struct{}, 1), kept: map[string]bool{}, entries: map[dnsname.Name]*entry{}, clock: newClock(), atOnce: saveAtOnce, delay: saveDelay}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	folders, err := os.ReadDir(c.Folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.Log.Error("the keys of signed zones cannot be read", "folder", c.Folder, "error", err)
	}
	for _, f := range folders {
		s.kept[f.Name()] = f.IsDir()
	}
	return s
}

// Start begins to sign, to watch and to publish: before, zones are served with the
// signatures that there are.
func (s *Signers) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	for _, e := range s.entries {
		s.kickLocked(e)
	}
}

// Close ends all work. What was signed and is not on disk yet is written.
func (s *Signers) Close() {
	s.mu.Lock()
	s.closed = true
	s.cancel()
	var all []*entry
	for _, e := range s.entries {
		s.stopLocked(e)
		all = append(all, e)
	}
	s.mu.Unlock()
	s.wait.Wait()
	for _, e := range all {
		e.work.Lock()
		if err := s.saveSigned(e); err != nil {
			s.config.Log.Error("a signed version could not be kept", "zone", e.name.String(), "error", err)
		}
		e.work.Unlock()
	}
}

func (s *Signers) stopLocked(e *entry) {
	for _, t := range []*clock.Timer{e.timer, e.look} {
		if t != nil {
			t.Stop()
		}
	}
}

// Has reports whether keys of the zone are kept.
func (s *Signers) Has(name dnsname.Name) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[name] != nil || s.kept[filepath.Base(folderOf("", name))]
}

// Set says which zones there are. Nothing is done for the others any more; their
// files stay.
func (s *Signers) Set(has func(dnsname.Name) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, e := range s.entries {
		if !has(name) {
			e.wanted, e.offered = false, false
			s.stopLocked(e)
		}
	}
}

// Offer takes the version of a zone's source, and returns the signed version to be
// served instead: that of an older source, while the new one is being signed. With
// settings nil, those before stay in force. An error says that there is nothing that
// may be served yet.
func (s *Signers) Offer(name dnsname.Name, settings *Settings, v journal.Version) (journal.Version, error) {
	e, err := s.entry(name, settings)
	if err != nil {
		return journal.Version{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if settings != nil && settings.Policy.Off && e.settings.Life != 0 {
		off := e.settings // the way out is at the times of the way in
		off.Policy.Off = true
		settings = &off
	}
	changed := !e.offered || e.source.Zone != v.Zone || settings != nil && !sameSettings(e.settings, *settings)
	e.source, e.offered, e.wanted = v, true, true
	if settings != nil {
		e.settings = *settings
	}
	if changed {
		s.kickLocked(e)
	}
	switch {
	case e.version.Zone != nil:
		return e.version, nil
	case !e.managed:
		return v, nil // not signed yet: the way in begins without signatures
	case e.state.Problem != "":
		return journal.Version{}, errors.New(e.state.Problem)
	}
	return journal.Version{}, fmt.Errorf("it has no signatures that could be used, and is being signed")
}

// entry returns the entry of a zone, read from disk if it is new here.
func (s *Signers) entry(name dnsname.Name, settings *Settings) (*entry, error) {
	s.mu.Lock()
	e := s.entries[name]
	s.mu.Unlock()
	if e != nil {
		return e, nil
	}
	e = &entry{name: name.Clone(), folder: folderOf(s.config.Folder, name), keys: map[kasp.ID]*sign.Key{}}
	if err := s.load(e, settings); err != nil {
		e.state.Problem = err.Error()
		e.managed = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.entries[name]; other != nil {
		return other, nil
	}
	s.entries[e.name] = e
	return e, nil
}

// load reads what is kept of a zone. Without a state there must be no keys either.
func (s *Signers) load(e *entry, settings *Settings) error {
	s.loadBook(e)
	r, err := loadRecord(e.folder, e.name)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist):
		if left := keyFiles(e.folder); len(left) > 0 {
			return fmt.Errorf("%s has keys such as %s, but no %s that says what they are for; put it back from a backup, or move the folder away to begin anew", e.folder, left[0], stateFile)
		}
		if settings == nil {
			return fmt.Errorf("nothing is known of how it was signed")
		}
		e.machine, e.settings, e.record = kasp.New(e.name, settings.Policy), *settings, &record{Format: stateFormat, Zone: e.name.String(), Saved: true}
		return nil
	default:
		s.loadSigned(e) // it is served on
		return err
	}
	e.settings = r.Settings
	if settings != nil && !settings.Policy.Off {
		e.settings = *settings
	}
	e.record, e.stale = r, !r.Saved
	e.disk = "as read"
	if e.machine, err = kasp.Restore(e.name, e.settings.Policy, r.Memory); err != nil {
		s.loadSigned(e)
		return err
	}
	e.managed = r.Memory.Generation > 0
	s.loadSigned(e)
	return nil
}

// loadSigned reads the signed version, which is good to be served whatever else is
// wrong.
func (s *Signers) loadSigned(e *entry) {
	z, a, err := loadCopy(e.folder, e.name, s.config.Images)
	switch {
	case err == nil:
		e.signed = signed{zone: z, sum: a.Source, steered: a.Steered, setup: a.Setup, generation: a.Generation, dataTTL: a.DataTTL}
		e.version = journal.Version{Zone: z}
	case !errors.Is(err, fs.ErrNotExist):
		s.config.Log.Warn("a signed version cannot be used; the zone is signed anew", "zone", e.name.String(), "folder", e.folder, "error", err)
	}
}

func sameSettings(a, b Settings) bool {
	same := (a.NSEC3 == nil) == (b.NSEC3 == nil) && a.Live == b.Live
	if same && a.NSEC3 != nil {
		same = a.NSEC3.Iterations == b.NSEC3.Iterations && a.NSEC3.OptOut == b.NSEC3.OptOut && string(a.NSEC3.Salt) == string(b.NSEC3.Salt)
	}
	return same && slices.Equal(a.Parents, b.Parents) && slices.Equal(a.ZONEMD, b.ZONEMD) && a.Policy == b.Policy && a.KeyTTL == b.KeyTTL &&
		a.Life == b.Life && a.Jitter == b.Jitter && a.Renew == b.Renew && a.ParentEvery == b.ParentEvery
}

// kickLocked has the zone worked on, now or once more. s.mu is held.
func (s *Signers) kickLocked(e *entry) {
	if !s.started || s.closed || !e.offered {
		return
	}
	if e.running {
		e.again = true
		return
	}
	e.running = true
	s.wait.Go(func() { s.run(e) })
}

func (s *Signers) kick(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kickLocked(e)
}

// run works on a zone until there is nothing to be done.
func (s *Signers) run(e *entry) {
	for {
		next := s.pass(e)
		s.mu.Lock()
		if !e.again || s.closed {
			e.running = false
			if !s.closed && e.wanted && next > 0 {
				if e.timer != nil {
					e.timer.Stop()
				}
				e.timer = clock.AfterFunc(next, func() { s.kick(e) })
			}
			s.mu.Unlock()
			return
		}
		e.again = false
		s.mu.Unlock()
	}
}
