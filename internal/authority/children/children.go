// Package children keeps the DS records of delegations as the children want them: it asks
// the name servers of each for CDS and CDNSKEY records, again and again, and has the zone
// changed as package childkeys decides.
//
//	Zones -> delegations -> addresses of their NS -> CDS, CDNSKEY, DNSKEY of every server
//	      -> childkeys.Decide -> Change: an edit of the zone like any other
//
// It owns goroutines, the times of asking and one file: since when what each child says is
// believed, so that a replay is known after a restart. Which zones there are, who resolves and
// how a zone is changed is the node's (Config).
//
// Entry points: Open; Driver.Run, Look, Notified, State, Counts.
//
// Concurrency: a Driver may be used by many goroutines. It calls the functions of Config
// without a lock of its own held, several at a time.
//
// Sources: RFC 7344 §6, RFC 9615 §4, RFC 9859 §3.
package children

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"pharos/internal/authority/childkeys"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

const (
	// lookInterval is how often it is seen whether the turn of a zone has come.
	lookInterval = time.Second
	// atOnce is how many children are asked at a time: so many, each for some 100 ms, are 80 a
	// second, and 10,000 in two minutes.
	atOnce = 8
	// perChild bounds what is asked of one child: each server three times, by UDP and TCP.
	perChild = 30 * time.Second
	// MaxChildren is how many delegations of a zone are looked after; of those beyond it,
	// in the order of the zone, nothing is known, which is said. It is arbitrary: a zone with
	// more has a registry behind it.
	MaxChildren = 10_000
	// maxServers bounds the addresses of one child: 13 names, each with two, are the most that
	// are in use.
	maxServers = 32
)

// Zone is a zone whose children are looked after.
type Zone struct {
	Name    dnsname.Name
	Version *zone.Zone // as its source has it; nil: there is none yet
	Every   time.Duration
	Rules   childkeys.Rules
}

// Config is what a Driver is made from.
type Config struct {
	File string // what is kept across restarts
	// Zones returns the zones as they are now.
	Zones func() []Zone
	// Addresses returns those of a name server.
	Addresses func(ctx context.Context, host dnsname.Name) []netip.AddrPort
	// Ask returns the answer of a server, with signatures.
	Ask func(ctx context.Context, server netip.AddrPort, name dnsname.Name, t rdata.Type) (*dnswire.Message, error)
	// Signal resolves a name, and says whether the answer is secure.
	Signal func(ctx context.Context, name dnsname.Name, t rdata.Type) (data [][]byte, secure bool, err error)
	// Change carries a change of a zone out, of its newest version.
	Change func(ctx context.Context, zone dnsname.Name, by string, decide func(now *zone.Zone) (update.Change, error)) error
	// Problem is told what is wrong with children of a zone; nothing if all is well.
	Problem func(zone dnsname.Name, text string)
	Log     *slog.Logger
}

// Child is how a child was when it was last asked.
type Child struct {
	Name    dnsname.Name
	Outcome childkeys.Outcome // Change and Remove: that was done then
	Why     string
	Asked   time.Time
	Changed time.Time // when its DS records last were; zero: not since the start

	since rdata.Serial
}

// Counts are since the start.
type Counts struct{ Asked, Changed, Refused, Notified uint64 }

// Driver looks after the children of some zones.
type Driver struct {
	// Constant after Open.
	config Config

	mu       sync.Mutex // guards what follows
	zones    map[dnsname.Name]*family
	since    map[string]map[string]uint32 // zone -> child -> childkeys.Child.Since, as on disk
	stale    bool                         // since is not as on disk
	notified map[dnsname.Name]time.Time   // children to be looked at, and from when on; at most mostNotified
	counts   Counts
}

// family is the children of a zone.
type family struct {
	began    time.Time // of the last round
	children map[dnsname.Name]*Child
}

// Open returns a driver. What cannot be read of its file is said and forgotten: then a replay
// of what children have said before is not known as one.
func Open(c Config) *Driver {
	d := &Driver{config: c, zones: map[dnsname.Name]*family{}, since: map[string]map[string]uint32{}, notified: map[dnsname.Name]time.Time{}}
	if err := diskfile.LoadJSON(c.File, &d.since); err != nil {
		c.Log.Warn("what children have said before is not known", "file", c.File, "error", err)
	}
	if d.since == nil {
		d.since = map[string]map[string]uint32{}
	}
	return d
}

// Run looks after children until ctx ends.
func (d *Driver) Run(ctx context.Context) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		for _, z := range d.due() {
			names, _ := children(z.Version)
			d.round(ctx, z, names)
		}
		d.lookNotified(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// due returns the zones whose turn it is, and forgets those that are none any more.
func (d *Driver) due() (list []Zone) {
	all := d.config.Zones()
	d.mu.Lock()
	var gone []dnsname.Name
	for name := range d.zones {
		if !slices.ContainsFunc(all, func(z Zone) bool { return z.Name == name }) {
			gone = append(gone, name)
			delete(d.zones, name)
		}
	}
	d.mu.Unlock()
	for _, name := range gone {
		d.config.Problem(name, "")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, z := range all {
		f := d.familyOf(z.Name)
		if z.Version != nil && (f.began.IsZero() || clock.Since(f.began) >= z.Every) {
			f.began = clock.Now()
			list = append(list, z)
		}
	}
	return list
}

// familyOf is called with d.mu held.
func (d *Driver) familyOf(name dnsname.Name) *family {
	f := d.zones[name]
	if f == nil {
		f = &family{children: map[dnsname.Name]*Child{}}
		d.zones[name] = f
	}
	return f
}

// children returns the delegations of a zone, up to MaxChildren, and whether there are more.
func children(z *zone.Zone) (names []dnsname.Name, more bool) {
	for n := range z.Nodes() {
		switch {
		case !z.IsCut(n):
		case len(names) == MaxChildren:
			return names, true
		default:
			names = append(names, z.Name(n).Clone())
		}
	}
	return names, false
}

// round asks children of a zone, and says what came of all.
func (d *Driver) round(ctx context.Context, z Zone, names []dnsname.Name) {
	var asking sync.WaitGroup
	turn := make(chan dnsname.Name)
	for range min(atOnce, len(names)) {
		asking.Go(func() { // ends when turn is closed
			for name := range turn {
				d.look(ctx, z, name)
			}
		})
	}
	for _, name := range names {
		if ctx.Err() != nil {
			break
		}
		turn <- name
	}
	close(turn)
	asking.Wait()
	if ctx.Err() == nil {
		d.settle(z)
	}
}

// settle writes what is to be kept, forgets children that are none any more, and tells of
// those that are refused.
func (d *Driver) settle(z Zone) {
	d.mu.Lock()
	f := d.familyOf(z.Name)
	var refused []string
	for _, name := range slices.SortedFunc(maps.Keys(f.children), dnsname.Name.Compare) {
		c := f.children[name]
		if c.Asked.Before(f.began) && !z.Version.IsCut(z.Version.Lookup(name).Exact) {
			delete(f.children, name)
		} else if c.Outcome == childkeys.Refused {
			refused = append(refused, fmt.Sprintf("%s: %s", name, c.Why))
		}
	}
	if d.stale {
		if err := diskfile.SaveJSON(d.config.File, d.since); err != nil {
			d.config.Log.Warn("what children have said is not kept; after a restart a replay of it would be believed", "file", d.config.File, "error", err)
		} else {
			d.stale = false
		}
	}
	d.mu.Unlock()
	text := ""
	if count := len(refused); count > 0 {
		text = fmt.Sprintf("zone %s: the DS records of %d of its children stay as they are, for what they ask for cannot be believed: %s; see \"pharos zone children %s\"",
			z.Name, count, strings.Join(refused[:min(count, 3)], "; "), z.Name)
	}
	if _, more := children(z.Version); more && text == "" {
		text = fmt.Sprintf("zone %s has more than %d delegations; those beyond, in the order of the zone, are not asked for their DS records", z.Name, MaxChildren)
	}
	d.config.Problem(z.Name, text)
}

// Look asks the children of a zone now, or one of them, and returns when that is done. The
// error says that there is nothing to ask.
func (d *Driver) Look(ctx context.Context, name, child dnsname.Name) error {
	all := d.config.Zones()
	at := slices.IndexFunc(all, func(z Zone) bool { return z.Name == name })
	if at < 0 || all[at].Version == nil {
		return fmt.Errorf("zone %s does not take DS records from its children; zones[].children.cds says whether a zone does", name)
	}
	z := all[at]
	names := []dnsname.Name{child}
	if child.IsZero() {
		names, _ = children(z.Version)
	} else if n := z.Version.Lookup(child).Exact; n == 0 || !z.Version.IsCut(n) {
		return fmt.Errorf("zone %s has no delegation %s", name, child)
	}
	d.round(ctx, z, names)
	return ctx.Err()
}

// look asks one child, and does what comes of it.
func (d *Driver) look(ctx context.Context, z Zone, name dnsname.Name) {
	ctx, cancel := context.WithTimeout(ctx, perChild)
	defer cancel()
	c := childkeys.Child{Name: name, DS: dsOf(z.Version, name), Since: d.sinceOf(z.Name, name)}
	hosts := nameServers(z.Version, name)
	c.Answers = d.ask(ctx, name, hosts)
	if len(c.DS) == 0 && z.Rules.Bootstrap && isAsking(c.Answers) {
		c.Signals = d.signals(ctx, name, hosts)
	}
	v := childkeys.Decide(c, z.Rules, clock.Now())
	if v.Outcome == childkeys.Change || v.Outcome == childkeys.Remove {
		err := d.config.Change(ctx, z.Name, "CDS of "+name.String(), func(now *zone.Zone) (update.Change, error) { return change(now, name, c.DS, v.DS) })
		if err != nil {
			v = childkeys.Verdict{Outcome: childkeys.Refused, Why: "the zone could not be changed: " + err.Error()}
		} else {
			d.config.Log.Info("DS records follow the child", "zone", z.Name.String(), "child", name.String(), "outcome", string(v.Outcome), "ds", len(v.DS))
		}
	}
	d.note(z.Name, name, v)
}

// note keeps what came of asking a child.
func (d *Driver) note(parent, name dnsname.Name, v childkeys.Verdict) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.familyOf(parent)
	c := f.children[name]
	if c == nil {
		c = &Child{Name: name}
		f.children[name] = c
	}
	c.Outcome, c.Why, c.Asked = v.Outcome, v.Why, clock.Now()
	d.counts.Asked++
	switch v.Outcome {
	case childkeys.Refused:
		d.counts.Refused++
	case childkeys.Change, childkeys.Remove:
		c.Changed = c.Asked
		d.counts.Changed++
	}
	if v.Since != 0 && (c.since == 0 || c.since.Less(v.Since)) {
		c.since = v.Since
		if d.since[parent.String()] == nil {
			d.since[parent.String()] = map[string]uint32{}
		}
		d.since[parent.String()][name.String()], d.stale = uint32(v.Since), true
	}
}

func (d *Driver) sinceOf(parent, name dnsname.Name) rdata.Serial {
	d.mu.Lock()
	defer d.mu.Unlock()
	return rdata.Serial(d.since[parent.String()][name.String()])
}

// State returns the children of a zone in their order, as far as they were asked.
func (d *Driver) State(name dnsname.Name) (list []Child) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.zones[name]; f != nil {
		for _, child := range slices.SortedFunc(maps.Keys(f.children), dnsname.Name.Compare) {
			list = append(list, *f.children[child])
		}
	}
	return list
}

// Counts returns what was done since the start.
func (d *Driver) Counts() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts
}
