// Package ledger keeps the versions of zones on disk: what a zone is now, every
// change that led to it, when and by whom. Changes are durable before they are
// acknowledged, each is there whole or not at all, and any version that is kept can
// be had again.
//
// It owns the files of a zone and the order in which they are written, the queue of
// changes, and which versions are kept. What a change is, and which serial comes
// next, is decided by package update; the form of the files by package journal;
// what is done with a version by package node.
//
//	Change -> queue -> commit: decide, zone.Edit -> commit log (fdatasync)
//	       -> Publish -> acknowledged
//	commit log full -> checkpoint: entries -> log of each zone (fdatasync)
//	                -> zone's log full -> fold: new base, oldest entries dropped
//	                -> commit log removed
//
//	FOLDER/commit-N.log   entries of all zones, since the last checkpoint
//	FOLDER/ZONE.log       entries of one zone: its history
//	FOLDER/ZONE.base      one version whole, from which a start goes on by the log
//
// All changes that are waiting are written with one fdatasync, of however many zones
// they are. docs/formats/zone-ledger.md has the octets and why no crash can tear
// them; docs/decisions/0013 why zones have a log of their own.
//
// Entry points: Open, Ledger.Set, Ledger.Version, Ledger.Change, Ledger.Replace,
// Ledger.Rollback, Ledger.History, Ledger.At, Ledger.State; Journals.
//
// Concurrency: all methods may be called from anywhere. One goroutine commits, one
// publishes, at most one checkpoints; Close ends them. Publish, Check, Problem and
// Failing are called without a lock held. Lock order: entry.files, then Ledger.mu.
//
// Sources: RFC 1982 (serials), RFC 1995 §5 (what a journal may forget), RFC 2136 §3.5
// (stable storage before the answer).
package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"pharos/internal/authority/compact"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Limits of a ledger.
const (
	maxWaiting  = 4096    // changes in the queue; more callers wait. Arbitrary: some seconds of work
	maxBatch    = 1024    // changes made durable at once, so that the first of them is not kept waiting for long
	batchOctets = 8 << 20 // likewise, octets
	entryRoom   = 4096    // octets of an entry beside its records: names, SOA records, who
	commitLimit = 8       // times limits.checkpoint: if checkpoints fail, changes are refused beyond it
	commitFiles = 8       // commit logs after which there is a checkpoint: each start makes one
)

// limits are those that tests make smaller.
type limits struct {
	checkpoint int64         // octets of commit logs after which entries go to the logs of their zones; also what a start reads
	entry      int           // octets of the records in one entry, which with a batch must fit a frame; a larger Replace becomes a new base, without history
	fold       int64         // octets of entries behind a base that are never worth a new base
	retry      time.Duration // how long after a failed checkpoint the next is tried
}

var defaultLimits = limits{checkpoint: 16 << 20, entry: 48 << 20, fold: 1 << 20, retry: 2 * time.Second}

// Errors of changes. What is wrong in detail is wrapped around them.
var (
	ErrNoZone    = errors.New("the zone has no ledger here")
	ErrNoVersion = errors.New("the zone has no content yet")
	ErrRefused   = errors.New("the change is refused")
	ErrNotKept   = errors.New("the change cannot be kept on disk, so it is not made")
	ErrClosed    = errors.New("the node is stopping")
	ErrNoHistory = errors.New("no such version is kept")
)

// Config is what Open needs.
type Config struct {
	Folder  string // for the files; made when needed
	Journal int    // octets of memory for the differences of each zone, for IXFR
	// Publish is called when a zone has a new version, before the changes in it are
	// acknowledged. It may be called once for several versions.
	Publish func(name dnsname.Name)
	// Check says why a version must not be, before it is made durable. d leads to it
	// from old; both are nil if it is the first. Check may be nil.
	Check func(old, now *zone.Zone, d *journal.Difference) error
	// Problem is told what of a zone's versions cannot be read, or of all if name is
	// zero; an empty text takes it back. It may be nil.
	Problem func(name dnsname.Name, text string)
	// Failing is told why changes cannot be kept, and with an empty text that they can.
	// It may be nil.
	Failing func(text string)
	// Images has bases as they lie in memory; nil: all are read record by record.
	Images Images
	Log    *slog.Logger

	disk   disk // nil: the operating system's
	limits limits
}

// Images are zones as they lie in memory, by the header of their base, whose checksum is
// over all records. They may be lost at any time.
type Images interface {
	Take(name dnsname.Name, header []byte) *zone.Zone // nil: there is none
	Put(z *zone.Zone, header []byte)                  // returns at once
}

// Keep says how much history a zone has. A version is dropped when it is neither
// among the newest Versions nor younger than For, or when the zone's log would take
// more than Size octets.
type Keep struct {
	Versions int
	For      time.Duration
	Size     int64
}

// Zone is a zone whose versions are in the ledger.
type Zone struct {
	Name   dnsname.Name
	Serial update.SerialPolicy
	Keep   Keep
	// Initial is asked for the first version when there is none on disk. It may be
	// nil, and may return nil.
	Initial func() (*zone.Zone, error)
}

// Ledger is the versions of all zones of a node that are changed at run time.
type Ledger struct {
	// Constant after Open.
	config   Config
	disk     disk
	lock     *folderLock
	requests chan *request
	done     chan committed // closed by the committing goroutine
	closing  chan struct{}  // closed by Close
	ended    chan struct{}  // closed when all that was committed is published, and nothing more will be
	work     sync.WaitGroup // checkpoints, and zones being compacted
	compacts chan struct{}  // has room for one zone being compacted
	close    func() error

	// Owned by the goroutine that commits.
	commits commitLog
	retryAt time.Time // before which no checkpoint is begun
	refused string    // why nothing can be written; what Problem was told

	mu      sync.Mutex // guards what follows, and what entries say it guards
	zones   map[dnsname.Name]*entry
	running chan struct{} // closed when the checkpoint under way ends; nil: there is none
	removed []oldCommits  // by the last checkpoints, still in the account of commits
	counts  Counts
}

// Counts are the changes of all zones.
type Counts struct {
	Changes, Commits, Refused, Failed, Checkpoints, Folds, Compacted uint64
}

// Plus returns the sum of both.
func (c Counts) Plus(o Counts) Counts {
	return Counts{c.Changes + o.Changes, c.Commits + o.Commits, c.Refused + o.Refused, c.Failed + o.Failed, c.Checkpoints + o.Checkpoints, c.Folds + o.Folds, c.Compacted + o.Compacted}
}

// entry is one zone.
type entry struct {
	name dnsname.Name

	files sync.Mutex // held by who reads or writes the zone's files; guards log
	log   zoneLog

	twin compact.Twin // of the goroutine that commits

	// Guarded by Ledger.mu. What makes up a version is only replaced by the goroutine
	// that commits, after load.
	settings  Zone
	isSet     bool // Set has named it
	isLoaded  bool
	zone      *zone.Zone // nil: none yet
	journal   *journal.Journal
	version   uint64
	sum       uint64
	changed   time.Time
	by        string
	pending   []kept // entries that are in the commit logs only, oldest first
	baseSize  int64
	mustFold  bool // the files do not lead to zone: nothing is committed before a fold
	problem   string
	tailOctet int64 // octets of entries behind the base
}

// kept is one entry in its encoded form.
type kept struct {
	version uint64
	payload []byte
}

// Open reads what was committed last and returns a ledger without zones. The folder
// is this process's until Close.
func Open(c Config) (*Ledger, error) {
	l := &Ledger{
		config: c, disk: c.disk, zones: map[dnsname.Name]*entry{},
		requests: make(chan *request, maxWaiting), done: make(chan committed, 1),
		closing: make(chan struct{}), ended: make(chan struct{}), compacts: make(chan struct{}, 1),
	}
	if l.disk == nil {
		l.disk = osDisk{}
	}
	if l.config.limits == (limits{}) {
		l.config.limits = defaultLimits
	}
	if l.config.Log == nil {
		l.config.Log = slog.New(slog.DiscardHandler)
	}
	if l.config.Problem == nil {
		l.config.Problem = func(dnsname.Name, string) {}
	}
	if l.config.Failing == nil {
		l.config.Failing = func(string) {}
	}
	if l.config.Publish == nil {
		l.config.Publish = func(dnsname.Name) {}
	}
	var err error
	if l.lock, err = lockFolder(c.Folder); err != nil {
		return nil, err
	}
	l.commits = commitLog{disk: l.disk, folder: c.Folder}
	if err := l.recover(); err != nil {
		l.lock.release()
		return nil, err
	}
	go l.publish()    // ends when done is closed; closes ended
	go l.commitLoop() // ends when closing is closed; closes done
	l.close = sync.OnceValue(l.shut)
	return l, nil
}

// Close ends the ledger. Changes that were acknowledged are on disk with or without
// it; it only makes the next start quicker.
func (l *Ledger) Close() error { return l.close() }

func (l *Ledger) shut() error {
	close(l.closing)
	<-l.ended
	l.work.Wait()
	l.mu.Lock()
	dirty := len(l.dirtyLocked())
	l.mu.Unlock()
	var err error
	if dirty > 0 || l.commits.files() > 0 {
		if err = l.checkpoint(); err == nil {
			err = l.commits.removeAll()
		}
	}
	l.commits.close()
	return errors.Join(err, l.lock.release())
}

// Set says which zones there are and what is kept of them. The files of others stay
// on disk; what is known of them stays in memory until Close, for a change of one may
// be on its way to the disk.
func (l *Ledger) Set(zones []Zone) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.zones {
		e.isSet = false
	}
	for _, z := range zones {
		e := l.entryLocked(z.Name.Clone())
		e.settings, e.isSet = z, true
	}
}

func (l *Ledger) entryLocked(name dnsname.Name) *entry {
	e := l.zones[name]
	if e == nil {
		e = &entry{name: name}
		l.zones[name] = e
	}
	return e
}

// find returns the entry of a zone that Set has named, read from disk.
func (l *Ledger) find(name dnsname.Name) *entry {
	l.mu.Lock()
	e := l.zones[name]
	if e == nil || !e.isSet {
		l.mu.Unlock()
		return nil
	}
	loaded := e.isLoaded
	l.mu.Unlock()
	if !loaded {
		l.load(e)
	}
	return e
}

// Version returns the newest version of a zone and what led to it.
func (l *Ledger) Version(name dnsname.Name) journal.Version {
	e := l.find(name)
	if e == nil {
		return journal.Version{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return journal.Version{Zone: e.zone, Journal: e.journal}
}

// State is how a zone in the ledger is.
type State struct {
	Present  bool
	Serial   rdata.Serial
	Version  uint64
	Changed  time.Time // when the version was made
	By       string    // by whom
	Pending  int       // versions in the commit log only
	LogSize  int64     // octets of the zone's log
	BaseSize int64     // octets of its base
	Problem  string
}

// State returns how a zone is; ok is false if it is none of the ledger's.
func (l *Ledger) State(name dnsname.Name) (s State, ok bool) {
	e := l.find(name)
	if e == nil {
		return State{}, false
	}
	e.files.Lock()
	size := e.log.end
	e.files.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	s = State{Present: e.zone != nil, Version: e.version, Changed: e.changed, By: e.by, Pending: len(e.pending), LogSize: size, BaseSize: e.baseSize, Problem: e.problem}
	if e.zone != nil {
		s.Serial = e.zone.Serial()
	}
	return s, true
}

// Counts returns the changes since Open.
func (l *Ledger) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// say tells of a problem with a zone, or that there is none any more.
func (l *Ledger) say(e *entry, text string) {
	l.mu.Lock()
	news := e.problem != text
	e.problem = text
	l.mu.Unlock()
	if news {
		l.config.Problem(e.name, text)
	}
}

// wait hands a request over and waits for what becomes of it.
func (l *Ledger) wait(ctx context.Context, r *request) (Receipt, error) {
	r.done = make(chan struct{})
	select {
	case l.requests <- r:
	case <-ctx.Done():
		return Receipt{}, fmt.Errorf("the change was not begun: %w", ctx.Err())
	case <-l.closing:
		return Receipt{}, ErrClosed
	}
	select {
	case <-r.done:
		return r.receipt, r.err
	case <-ctx.Done():
		return Receipt{}, fmt.Errorf("nobody waits for the change any more, it may be made or not: %w", ctx.Err())
	case <-l.ended:
		select {
		case <-r.done:
			return r.receipt, r.err
		default:
			return Receipt{}, ErrClosed
		}
	}
}
