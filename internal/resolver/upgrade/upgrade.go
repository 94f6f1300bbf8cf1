// Package upgrade finds out how plain servers can be asked encrypted, and whether that
// still works: the driver of discovery of designated resolvers (RFC 9462).
//
//	Set(sources) --> a goroutine each --> ask --> package designation --> try --> OnChange
//	                     ^   wait: the check, the TTL, the retry                  Known
//	                     +----------------------------------------+
//
// A plain server is believed only about where to look. Who is found there counts when the
// certificate names the plain server's address and a question is answered; or, if it is not
// strict, at the server's own private address, by the key that it showed when it was found.
// What was found is asked itself whether anything has changed, so that nobody on the path
// can take it back by forging plain answers; only by letting nothing through.
//
// Entry points: New, Driver.Set, Wait, Known, States, Close.
//
// Concurrency: every method may be called from any goroutine. Each source has one
// goroutine, which Set and Close end. OnChange is called from them, and must not call Set
// or Close while it waits for something that calls these.
package upgrade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/designation"
	"pharos/internal/resolver/iterate"
)

// Times of a source. Chosen, not derived.
const (
	checkEvery = 30 * time.Second // what is found is asked that often whether it is there
	retryAfter = 30 * time.Second // after something has failed
	emptyAfter = 10 * time.Minute // while nothing is designated
	lostFor    = time.Hour        // that nothing is designated any more is thought to be forged
	askTimeout = 5 * time.Second  // of one question
	maxAliases = 3                // that are followed; a circle ends there too
)

// Source is a plain server. Two that are equal are one.
type Source struct {
	Server netip.AddrPort
	Strict bool   // only what proves to be designated by its certificate
	CA     string // PEM file with authorities; empty: those of the system
}

// Found is how a server can be asked encrypted.
type Found struct {
	At   netip.AddrPort
	Over iterate.Transport
	Path string // of DoH
	Name string // in its certificate: the plain server's address; empty: see Pin
	Pin  string // SHA-256 of its public key, as it was found, in base64
}

// State is what is known of a source.
type State struct {
	Source  Source
	Found   Found     // the zero Found: nothing
	Checked time.Time // when it was last asked
	Next    time.Time // when it is asked next
	Problem string    // why it is not asked encrypted, or what does not work; empty: all is well
}

// Asker asks a server: the plain one, or, with a Found that is not zero, that. seen is the
// pin of a certificate that nothing was known of.
type Asker func(ctx context.Context, s Source, via Found, name dnsname.Name, t rdata.Type) (records []rdata.Record, seen string, err error)

// Config is what a Driver needs.
type Config struct {
	Ask      Asker // nil: with a resolver of package outbound
	OnChange func(State)
	Log      *slog.Logger
}

// Driver follows sources. Make it with New.
type Driver struct {
	// Constant after New.
	c      Config
	ctx    context.Context // done when Close is called
	cancel context.CancelFunc

	running sync.WaitGroup

	mu      sync.Mutex // guards all below; not held during a call
	sources map[Source]*follower
}

// follower follows one source.
type follower struct {
	cancel context.CancelFunc
	state  State // guarded by Driver.mu
	shown  State // guarded by Driver.mu; state, when OnChange has returned

	// Owned by its goroutine.
	seen   chan struct{} // closed when it was looked at for the first time
	until  time.Time     // when the designation ends
	lost   error         // why the last one that was found could not be used any more
	lostAt time.Time
}

// New returns a Driver without sources. Close it when done.
func New(c Config) *Driver {
	if c.Ask == nil {
		c.Ask = ask
	}
	d := &Driver{c: c, sources: make(map[Source]*follower)}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Close ends all following.
func (d *Driver) Close() {
	d.cancel()
	d.running.Wait()
}

// Set makes sources what is followed. What is known of those that stay stays.
func (d *Driver) Set(sources []Source) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() != nil {
		return
	}
	old := d.sources
	d.sources = make(map[Source]*follower, len(sources))
	for _, s := range sources {
		if d.sources[s] != nil {
			continue
		}
		f := old[s]
		if f == nil {
			f = &follower{state: State{Source: s}, shown: State{Source: s}, seen: make(chan struct{})}
			var ctx context.Context
			ctx, f.cancel = context.WithCancel(d.ctx)
			d.running.Go(func() { d.follow(ctx, f) })
		}
		delete(old, s)
		d.sources[s] = f
	}
	for _, f := range old {
		f.cancel()
	}
}

// Wait waits until every source has been looked at once, or until ctx is over.
func (d *Driver) Wait(ctx context.Context) {
	d.mu.Lock()
	var all []*follower
	for _, f := range d.sources {
		all = append(all, f)
	}
	d.mu.Unlock()
	for _, f := range all {
		select {
		case <-f.seen:
		case <-ctx.Done():
			return
		}
	}
}

// Known returns how a server can be asked encrypted.
func (d *Driver) Known(s Source) (Found, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.sources[s]; f != nil && f.state.Found != (Found{}) {
		return f.state.Found, true
	}
	return Found{}, false
}

// States returns what is known of all sources, by server, as soon as it is in force: when
// OnChange has returned.
func (d *Driver) States() []State {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]State, 0, len(d.sources))
	for _, f := range d.sources {
		all = append(all, f.shown)
	}
	slices.SortFunc(all, func(a, b State) int {
		return cmp.Or(a.Source.Server.Compare(b.Source.Server), cmp.Compare(a.Source.CA, b.Source.CA))
	})
	return all
}

// follow looks at one source until ctx ends.
func (d *Driver) follow(ctx context.Context, f *follower) {
	for {
		wait := d.look(ctx, f)
		select {
		case <-f.seen:
		default:
			close(f.seen)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// look looks at one source once, tells what has changed, and returns how long to wait.
func (d *Driver) look(ctx context.Context, f *follower) time.Duration {
	d.mu.Lock()
	next := f.state
	d.mu.Unlock()
	before := next
	found, wait, err := d.find(ctx, next.Source, before.Found, f)
	if ctx.Err() != nil {
		return 0
	}
	next.Found, next.Problem = found, ""
	if err != nil {
		next.Problem = fmt.Sprintf("server %v: %v", next.Source.Server, err)
	}
	now := clock.Now()
	next.Checked, next.Next = now, now.Add(wait)
	d.mu.Lock()
	f.state = next
	d.mu.Unlock()
	if next.Found != before.Found || next.Problem != before.Problem {
		d.tell(before, next)
	}
	d.mu.Lock()
	f.shown = next
	d.mu.Unlock()
	return wait
}

// tell has what has changed take effect, and says so.
func (d *Driver) tell(before, next State) {
	d.c.OnChange(next)
	switch {
	case next.Found == before.Found:
	case next.Found == (Found{}):
		d.c.Log.Warn("a server is asked in the clear again: its designated resolver cannot be used", "server", next.Source.Server.String(), "error", next.Problem)
	default:
		d.c.Log.Info("a server is asked encrypted from now on, at the resolver that it designates",
			"server", next.Source.Server.String(), "at", next.Found.At.String(), "over", next.Found.Over.String(), "verified", next.Found.Name != "")
	}
}

// errNone: a server designates nobody, which is no problem if plain is good enough.
var errNone = errors.New("it designates no encrypted resolver")

// find returns how to ask s from now on, and when to look again. was is how it was asked.
func (d *Driver) find(ctx context.Context, s Source, was Found, f *follower) (Found, time.Duration, error) {
	var lost error
	if was != (Found{}) {
		records, _, err := d.ask(ctx, s, was, designation.Name, rdata.TypeSVCB)
		switch {
		case err != nil:
			lost = fmt.Errorf("the designated resolver at %v: %w", was.At, err)
		case clock.Now().Before(f.until):
			return was, checkEvery, nil
		default: // RFC 9462 §4: until the TTL ends
			reading, err := d.services(ctx, s, was, records)
			f.until = clock.Now().Add(reading.TTL)
			if err == nil {
				if found, err := d.try(ctx, s, was, reading); err == nil {
					return found, checkEvery, nil
				}
			}
			return was, checkEvery, nil // it answers, and proves who it is
		}
	}
	reading, err := d.plain(ctx, s)
	if err == nil {
		var found Found
		if found, err = d.try(ctx, s, Found{}, reading); err == nil {
			f.until = clock.Now().Add(reading.TTL)
			return found, checkEvery, nil
		}
	}
	if s.Strict { // who was found may come back, and nobody else is asked
		return was, retryAfter, cmp.Or(lost, err)
	}
	now := clock.Now()
	if lost != nil {
		f.lost, f.lostAt = lost, now
	}
	switch {
	case !errors.Is(err, errNone):
		return Found{}, retryAfter, cmp.Or(lost, err)
	case f.lost != nil && now.Sub(f.lostAt) < lostFor:
		return Found{}, retryAfter, f.lost
	}
	return Found{}, emptyAfter, nil
}

// plain asks the plain server whom it designates.
func (d *Driver) plain(ctx context.Context, s Source) (designation.Reading, error) {
	records, _, err := d.ask(ctx, s, Found{}, designation.Name, rdata.TypeSVCB)
	if err != nil {
		return designation.Reading{}, err
	}
	return d.services(ctx, s, Found{}, records)
}

// services reads an answer, and follows its aliases.
func (d *Driver) services(ctx context.Context, s Source, via Found, records []rdata.Record) (designation.Reading, error) {
	r := designation.Read(designation.Name, records)
	for aliases := 0; len(r.Services) == 0 && !r.Alias.IsZero(); aliases++ {
		if aliases == maxAliases {
			return r, fmt.Errorf("its SVCB records are more than %d aliases, or a circle of them", maxAliases)
		}
		owner, ttl := r.Alias, r.TTL
		var err error
		if records, _, err = d.ask(ctx, s, via, owner, rdata.TypeSVCB); err != nil {
			return r, err
		}
		r = designation.Read(owner, records)
		r.TTL = min(r.TTL, ttl)
	}
	switch {
	case len(r.Services) > 0:
		return r, nil
	case r.Left != "":
		return r, fmt.Errorf("none of its SVCB records can be used: %s", r.Left)
	}
	return r, errNone
}

// try returns the first of the designated resolvers that answers and is the right one.
func (d *Driver) try(ctx context.Context, s Source, via Found, r designation.Reading) (Found, error) {
	all, left := designation.Candidates(s.Server.Addr(), r.Services, func(name dnsname.Name) (addrs []netip.Addr) {
		for _, t := range []rdata.Type{rdata.TypeA, rdata.TypeAAAA} {
			records, _, err := d.ask(ctx, s, via, name, t)
			for _, record := range records {
				if addr, ok := netip.AddrFromSlice(record.Data); ok && err == nil && record.Type == t {
					addrs = append(addrs, addr)
				}
			}
		}
		return addrs
	})
	err := errors.New(cmp.Or(left, "the resolvers that it designates have no address"))
	for _, c := range all {
		// RFC 9462 §4.2: the certificate has to name the address of the plain server;
		// and no name is sent (§6.3), as addresses are none in TLS.
		found := Found{At: c.At, Over: c.Over, Path: c.Path, Name: s.Server.Addr().Unmap().WithZone("").String()}
		var failed error
		if _, _, failed = d.ask(ctx, s, found, designation.Name, rdata.TypeSVCB); failed == nil {
			return found, nil
		}
		err = fmt.Errorf("the designated resolver at %v (%v): %w", c.At, c.Over, failed)
		if !c.Local || s.Strict {
			continue
		}
		found.Name = ""
		if _, found.Pin, failed = d.ask(ctx, s, found, designation.Name, rdata.TypeSVCB); failed == nil && found.Pin != "" {
			return found, nil
		}
	}
	return Found{}, err
}

func (d *Driver) ask(ctx context.Context, s Source, via Found, name dnsname.Name, t rdata.Type) ([]rdata.Record, string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return d.c.Ask(ctx, s, via, name, t)
}
