// Package discover follows lists of servers that others keep: DNS names, files, and
// HTTP servers. It owns the asking, the times, and what is remembered: the last good
// list of each source, also over a restart. What a list means is package roster's; what
// follows from it is decided by whoever is told (OnChange).
//
//	Set(sources) --> a goroutine each --> fetch --> roster --> last good list --> OnChange
//	                     ^   wait: the TTL, the interval, a file that changes      Found
//	                     +--------------------+
//
// A source that fails keeps its last good list, and so does one whose list is suddenly
// empty, unless it may be. Both are said by Status, with the cause.
//
// Entry points: New, Set, Found, Status, Close.
//
// Concurrency: every method may be called from any goroutine. Each source has one
// goroutine, which Set and Close end. OnChange is called from them, one call at a time.
package discover

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"pharos/internal/clock"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/roster"
)

// Kind is where a list comes from.
type Kind string

// The kinds of sources, as the configuration writes them.
const (
	DNS  Kind = "dns"  // A and AAAA records
	SRV  Kind = "srv"  // SRV records, and the addresses of their targets
	File Kind = "file" // file_sd of Prometheus
	HTTP Kind = "http" // http_sd of Prometheus
)

// Source is one list. Two that are equal are one: what is known of it stays.
type Source struct {
	Pool     string        `json:"pool"` // whose members the list names
	Number   int           `json:"number"`
	Kind     Kind          `json:"kind"`
	Name     string        `json:"name,omitempty"`   // of DNS
	Families string        `json:"family,omitempty"` // "ipv4", "ipv6", or both
	Port     uint16        `json:"port,omitempty"`   // of addresses that have none
	File     string        `json:"file,omitempty"`
	URL      string        `json:"url,omitempty"`
	CA       string        `json:"ca,omitempty"`
	Interval time.Duration `json:"interval"` // from one reading to the next; of DNS the shortest, whatever the TTL
	Linger   time.Duration `json:"linger,omitempty"`
	Most     int           `json:"most"`
	Empty    bool          `json:"empty,omitempty"`    // the list may become empty
	Networks string        `json:"networks,omitempty"` // prefixes parted by commas
}

// String names s for people: "dns www.example.com".
func (s Source) String() string {
	return string(s.Kind) + " " + cmp.Or(s.Name, s.File, s.URL)
}

// State is what is known of a source.
type State struct {
	Source  Source
	Members []pool.MemberSpec
	Read    time.Time // when the list was read last, with success
	Problem string    // why there is no newer list, or what was left out of it; empty: all is well
}

// Config is what a Driver needs.
type Config struct {
	// Lookup returns the records of a name: the answer, with the aliases that lead to it.
	// No records and no error: the name has none.
	Lookup func(ctx context.Context, name dnsname.Name, t rdata.Type) ([]rdata.Record, error)
	// OnChange is called when the members or the problem of a source have changed. It may
	// call Found and Status, and must not call Set or Close.
	OnChange func(Source)
	// Keep is the file for the last good lists; empty: they are not kept.
	Keep string
	Log  *slog.Logger
}

// Times of reading.
const (
	fetchTimeout = 10 * time.Second // of one reading; arbitrary
	filePoll     = time.Second      // how often a file is looked at; a rename takes that long to be seen
	maxTTL       = time.Hour        // a list is not believed for longer, whatever its TTL
	jitterPart   = 10               // an interval is at most so much shorter, so that sources do not go in step
)

// Driver follows sources. Make it with New.
type Driver struct {
	// Constant after New.
	c      Config
	ctx    context.Context // done when Close is called
	cancel context.CancelFunc

	running sync.WaitGroup
	telling sync.Mutex // held during a call of OnChange
	saving  sync.Mutex // held while the lists are saved

	mu      sync.Mutex // guards all below; not held during a call
	sources map[Source]*follower
	kept    map[Source]kept // of the run before, until their source is set
}

// follower follows one source.
type follower struct {
	source Source
	cancel context.CancelFunc

	// Guarded by Driver.mu.
	seen    []roster.Seen
	read    time.Time
	problem string

	// Owned by its goroutine.
	fetcher fetcher
}

// kept is a source's list on disk.
type kept struct {
	Source Source        `json:"source"`
	Seen   []roster.Seen `json:"seen"`
	Read   time.Time     `json:"read"`
}

// New returns a Driver without sources. Close it when done.
func New(c Config) *Driver {
	d := &Driver{c: c, sources: make(map[Source]*follower), kept: make(map[Source]kept)}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	if c.Keep != "" {
		var all []kept
		if err := diskfile.LoadJSON(c.Keep, &all); err != nil {
			c.Log.Warn("last known servers not read; pools begin without those that are discovered", "error", err)
		}
		for _, k := range all {
			d.kept[k.Source] = k
		}
	}
	return d
}

// Close ends all following.
func (d *Driver) Close() {
	d.cancel()
	d.running.Wait()
}

// Set makes sources what is followed. What is known of those that stay stays; of those
// that the run before has followed its last good lists are known.
func (d *Driver) Set(sources []Source) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() != nil {
		return
	}
	old := d.sources
	d.sources = make(map[Source]*follower, len(sources))
	for _, s := range sources {
		f := old[s]
		if delete(old, s); f == nil && d.sources[s] == nil {
			f = d.follow(s)
		}
		if f != nil {
			d.sources[s] = f
		}
	}
	for _, f := range old {
		f.cancel()
	}
}

// Know returns the members that the last good lists of sources name, also of the run
// before and of sources that are not set yet: a first snapshot is compiled before
// anything can be asked.
func (d *Driver) Know(sources []Source) []pool.MemberSpec {
	d.mu.Lock()
	defer d.mu.Unlock()
	var members []pool.MemberSpec
	for _, s := range sources {
		if f := d.sources[s]; f != nil {
			members = append(members, roster.Members(f.seen)...)
		} else if k, ok := d.kept[s]; ok {
			members = append(members, roster.Members(k.Seen)...)
		}
	}
	return members
}

// follow starts a follower. mu is held.
func (d *Driver) follow(s Source) *follower {
	ctx, cancel := context.WithCancel(d.ctx)
	f := &follower{source: s, cancel: cancel, fetcher: newFetcher(s, d.c.Lookup)}
	if k, ok := d.kept[s]; ok {
		f.seen, f.read = k.Seen, k.Read
	}
	d.running.Go(func() { d.run(ctx, f) })
	return f
}

// State returns what is known of a source.
func (d *Driver) State(s Source) State {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.sources[s]
	if f == nil {
		return State{Source: s}
	}
	return State{Source: s, Members: roster.Members(f.seen), Read: f.read, Problem: f.problem}
}

// run reads the list of f until ctx is done.
func (d *Driver) run(ctx context.Context, f *follower) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(d.step(ctx, f))
	}
}

// step reads the list of f once, and returns how long to wait.
func (d *Driver) step(ctx context.Context, f *follower) time.Duration {
	within, cancel := context.WithTimeout(ctx, fetchTimeout)
	list, err := f.fetcher.fetch(within)
	cancel()
	if ctx.Err() != nil {
		return time.Hour // run sees it, too
	}
	now := clock.Now()
	d.take(f, list, err, now)
	wait := f.source.Interval
	if f.source.Kind == DNS || f.source.Kind == SRV {
		wait = min(max(list.ttl, wait), maxTTL)
	}
	wait -= time.Duration(rand.Int64N(int64(wait/jitterPart) + 1))
	if f.source.Kind == File {
		wait = filePoll
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if forget := roster.Forgets(f.seen, now, f.source.Linger); !forget.IsZero() {
		wait = min(wait, max(forget.Sub(now), 0)+time.Millisecond)
	}
	return wait
}

// take takes in a list, or why there is none.
func (d *Driver) take(f *follower, list list, err error, now time.Time) {
	d.mu.Lock()
	before, problem := roster.Members(f.seen), f.problem
	f.problem = ""
	switch {
	case err != nil:
		f.problem = fmt.Sprintf("%v: %v%s", f.source, err, staying(f.seen))
	case list.unchanged:
		f.read, f.problem = now, problem
		list.members = nil
		f.seen = d.still(f, now)
	default:
		members, faults := roster.Filter(list.members, f.source.networks(), f.source.Most)
		if text := cmp.Or(list.faults, faults.String()); text != "" {
			f.problem = fmt.Sprintf("%v: %s", f.source, text)
		}
		if len(members) == 0 && !f.source.Empty && len(f.seen) > 0 {
			f.problem = fmt.Sprintf("%v: the list is empty%s", f.source, staying(f.seen))
			break
		}
		if len(members) == 0 && !f.source.Empty && f.problem == "" {
			f.problem = fmt.Sprintf("%v: the list is empty", f.source)
		}
		f.seen, f.read = roster.Linger(f.seen, members, now, f.source.Linger), now
	}
	changed := !slices.Equal(before, roster.Members(f.seen))
	told := changed || problem != f.problem
	d.mu.Unlock()
	if told {
		d.telling.Lock()
		d.c.OnChange(f.source)
		d.telling.Unlock()
	}
	if changed {
		d.save()
	}
}

// still returns what is known when the list is as it was: those that it had last, and
// those that it has forgotten a short while ago. mu is held.
func (d *Driver) still(f *follower, now time.Time) []roster.Seen {
	var newest time.Time
	for _, s := range f.seen {
		if s.At.After(newest) {
			newest = s.At
		}
	}
	var listed []pool.MemberSpec
	for _, s := range f.seen {
		if s.At.Equal(newest) {
			listed = append(listed, s.Member)
		}
	}
	return roster.Linger(f.seen, listed, now, f.source.Linger)
}

func staying(seen []roster.Seen) string {
	if len(seen) == 0 {
		return ""
	}
	if len(seen) == 1 {
		return "; the server known before stays"
	}
	return fmt.Sprintf("; the %d servers known before stay", len(seen))
}

// networks are the prefixes of Networks. The configuration has checked them.
func (s Source) networks() (all []netip.Prefix) {
	for _, text := range splitList(s.Networks) {
		if p, err := netip.ParsePrefix(text); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// save writes the last good lists.
func (d *Driver) save() {
	if d.c.Keep == "" {
		return
	}
	d.saving.Lock()
	defer d.saving.Unlock()
	d.mu.Lock()
	all := []kept{}
	for s, f := range d.sources {
		if !f.read.IsZero() {
			all = append(all, kept{s, f.seen, f.read})
		}
	}
	d.mu.Unlock()
	slices.SortFunc(all, func(a, b kept) int {
		return cmp.Or(cmp.Compare(a.Source.Pool, b.Source.Pool), cmp.Compare(a.Source.Number, b.Source.Number))
	})
	if err := diskfile.SaveJSON(d.c.Keep, all); err != nil {
		d.c.Log.Warn("last known servers not saved; a start would begin without them", "error", err)
	}
}
