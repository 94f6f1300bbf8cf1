// Package parentnotify tells the parents of zones that are signed here that their CDS and CDNSKEY
// records have changed: by NOTIFY(CDS), sent to where the parent's DSYNC record says (RFC 9859).
// A parent that takes it looks at the child at once, and a rollover does not wait for its next
// round.
//
// It owns whom it has told of what. When there is something to tell is the caller's (package
// node): when a parent does not show what it is asked for, and all servers of the child show that.
//
//	Wanted ─> find (DSYNC by the resolver) ─> addresses of the target ─> NOTIFY, again with pauses
//
// It is a hint and nothing more: whoever does not get it, or lies about it, changes nothing but how
// long a parent takes. So a parent without a DSYNC record is not asked again for the same keys,
// and one that does not answer some times only.
//
// Entry points: New, Driver.Wanted, Driver.Notice, Driver.Counts, Driver.Close.
//
// Concurrency: all methods may be called from anywhere. A zone whose parent is being told has one
// goroutine, which ends by itself; Close waits for them.
//
// Source: RFC 9859.
package parentnotify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

const (
	// tries and firstPause: RFC 9859 §4.3 leaves them to us. The pauses double, so that a parent's
	// server that is down for a quarter of an hour is told.
	tries      = 6
	firstPause = 30 * time.Second
	// atOnce bounds how many parents are looked for, and told, at a time; others wait.
	atOnce = 16
	// mostTargets bounds the DSYNC records of a parent that are tried, mostAddresses the addresses
	// of each target: who writes them is not us.
	mostTargets   = 4
	mostAddresses = 8
)

// Config is what New needs.
type Config struct {
	// Resolve returns the records of an RRset, or the zone that says that there are none.
	Resolve func(ctx context.Context, name dnsname.Name, t rdata.Type) (Found, error)
	// Notify sends NOTIFY(CDS) of child to a server, and returns why it was not taken.
	Notify func(ctx context.Context, server netip.AddrPort, child dnsname.Name) error
	Log    *slog.Logger
}

// Found is an answer of a resolver.
type Found struct {
	Data [][]byte     // of the records of the name and type that were asked for
	Zone dnsname.Name // of a negative answer: the owner of its SOA record; else the zero Name
}

// Notice is what became of telling the parent of a zone.
type Notice struct {
	To    string // the target of the DSYNC record, with its port; empty: none was found yet
	Tries int
	Done  bool      // the parent's server has answered, or we have given up: then Error says why
	At    time.Time // of the last try
	Error string    // of the last try
}

// Counts are how often parents were told, and in vain, since the start.
type Counts struct{ Told, Failed, Without uint64 }

// Plus returns the sum of both.
func (c Counts) Plus(o Counts) Counts {
	return Counts{c.Told + o.Told, c.Failed + o.Failed, c.Without + o.Without}
}

// Driver tells parents.
type Driver struct {
	// Constant after New.
	config Config
	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{}
	work   sync.WaitGroup

	mu     sync.Mutex // guards what follows
	closed bool
	zones  map[dnsname.Name]*telling
	counts Counts
}

// telling is a Notice and what it is about.
type telling struct {
	Notice
	keys    string // that the parent is told of
	abandon context.CancelFunc
}

// New returns a Driver.
func New(c Config) *Driver {
	d := &Driver{config: c, slots: make(chan struct{}, atOnce), zones: map[dnsname.Name]*telling{}}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Wanted says what the parent of child is to be told of: what keys stand for is the caller's, as
// long as other keys are another string. Empty: nothing, or nothing any more. The same keys again
// change nothing.
func (d *Driver) Wanted(child dnsname.Name, keys string) {
	if child.IsRoot() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.zones[child]
	switch {
	case d.closed || t != nil && t.keys == keys || t == nil && keys == "":
		return
	case t != nil:
		t.abandon()
		if keys == "" {
			// What was done is still shown; the same keys may be asked for once more later.
			t.keys = ""
			return
		}
	}
	child = child.Clone()
	ctx, cancel := context.WithCancel(d.ctx)
	t = &telling{keys: keys, abandon: cancel}
	d.zones[child] = t
	d.work.Go(func() { // ends with the answer, after tries, or when Wanted, Forget or Close abandons it
		defer cancel()
		d.tell(ctx, child, t)
	})
}

// Forget drops the zones that are not kept.
func (d *Driver) Forget(keep func(dnsname.Name) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, t := range d.zones {
		if !keep(name) {
			t.abandon()
			delete(d.zones, name)
		}
	}
}

// Notice returns what became of telling the parent of child; ok is false if there was nothing to
// tell since the start.
func (d *Driver) Notice(child dnsname.Name) (n Notice, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.zones[child]
	if t == nil {
		return n, false
	}
	return t.Notice, true
}

// Counts returns what was done since the start.
func (d *Driver) Counts() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts
}

// Close ends all work, and returns when it has ended.
func (d *Driver) Close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	d.work.Wait()
}

// errNone is why a parent cannot be told.
var errNone = errors.New("it has no DSYNC record for NOTIFY of CDS, so it looks by itself, if at all")

// tell tells the parent of child until it answers.
func (d *Driver) tell(ctx context.Context, child dnsname.Name, t *telling) {
	for try, pause := 1, firstPause; ; try, pause = try+1, 2*pause {
		to, err := d.tellOnce(ctx, child)
		if ctx.Err() != nil {
			return
		}
		if d.note(t, to, try, err) {
			d.log(child, t.Notice)
			return
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return
		}
	}
}

// note keeps what became of a try, and reports whether it was the last.
func (d *Driver) note(t *telling, to string, try int, err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	t.To, t.Tries, t.At, t.Error = to, try, clock.Now(), ""
	if err != nil {
		t.Error = err.Error()
	}
	switch {
	case err == nil:
		d.counts.Told++
	case errors.Is(err, errNone):
		d.counts.Without++
	case try == tries:
		d.counts.Failed++
	default:
		return false
	}
	t.Done = true
	return true
}

func (d *Driver) log(child dnsname.Name, n Notice) {
	switch {
	case n.Error == "":
		d.config.Log.Info("parent told of new CDS records", "zone", child.String(), "server", n.To, "tries", n.Tries)
	case n.To == "":
		d.config.Log.Debug("parent not told of new CDS records", "zone", child.String(), "error", n.Error)
	default:
		d.config.Log.Warn("parent not told of new CDS records", "zone", child.String(), "server", n.To, "tries", n.Tries, "error", n.Error)
	}
}

// tellOnce finds the parent's targets and tells the first that takes it.
func (d *Driver) tellOnce(ctx context.Context, child dnsname.Name) (to string, err error) {
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	targets, err := d.find(ctx, child)
	if err != nil {
		return "", err
	}
	var last error
	for _, at := range targets[:min(len(targets), mostTargets)] {
		to = fmt.Sprintf("%s port %d", at.host, at.port)
		if last = d.tellTarget(ctx, at, child); last == nil {
			return to, nil
		}
	}
	return to, last
}

// tellTarget tells the first address of a target that takes it.
func (d *Driver) tellTarget(ctx context.Context, at target, child dnsname.Name) error {
	var last error
	var addrs []netip.Addr
	for _, t := range []rdata.Type{rdata.TypeAAAA, rdata.TypeA} {
		found, err := d.config.Resolve(ctx, at.host, t)
		if err != nil {
			last = err
		}
		for _, data := range found.Data {
			if addr, ok := netip.AddrFromSlice(data); ok && len(addrs) < mostAddresses {
				addrs = append(addrs, addr)
			}
		}
	}
	if len(addrs) == 0 {
		return errors.Join(fmt.Errorf("%s, of its DSYNC record, has no address", at.host), last)
	}
	for _, addr := range addrs {
		server := netip.AddrPortFrom(addr, at.port)
		if err := d.config.Notify(ctx, server, child); err != nil {
			last = fmt.Errorf("%s: %w", server, err)
			continue
		}
		return nil
	}
	return last
}
