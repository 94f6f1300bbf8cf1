// Package custody keeps the trust anchors of the resolver: it looks after the keys of
// trust points when package anchor says so, keeps their states in the data folder, and
// tells the resolvers which anchors count.
//
//	due ──► Config.Ask: DNSKEY, anew ──► anchor.Point.Observe ──┐
//	due ──► Config.Ask: past a negative anchor ──► Tested ──────┼──► on disk ──► Config.Apply
//	Add, Remove, Configure ─────────────────────────────────────┘
//
// What counts is on disk before the resolvers have it, so that a crash forgets neither
// a revocation nor a negative anchor. Where the file cannot be written that is a
// problem, and the resolvers have it all the same.
//
// It owns one goroutine, one timer and one file. How keys come and go is package
// anchor's; who is asked is the resolver's.
//
// Entry points: Open, Custody.Start, Close; Anchors, Points, Negatives; Add, Remove, Configure; Begin.
//
// Concurrency: a Custody may be used by many goroutines. It calls the functions of Config
// without a lock of its own held, except Apply, which must not call back.
//
// Sources: RFC 5011, RFC 7646.
package custody

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"pharos/internal/clock"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/anchor"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
)

// FileName is the file in the data folder.
const FileName = "trust-anchors.json"

// Codes of problems, for Config.Problem.
const (
	Damaged = "trust-damaged" // what was kept cannot be read; the configured anchors count
	Failing = "trust-failing" // the keys of a trust point cannot be verified
	Lost    = "trust-lost"    // no anchor is left of a trust point
	Unsaved = "trust-unsaved" // what counts cannot be written
	Mended  = "trust-mended"  // a negative anchor of the configuration is of no use any more
)

// damagedSuffix is what the name of a file that could not be read gets behind it.
const damagedSuffix = ".damaged"

const (
	// askTimeout bounds one look at a zone: the resolver gives up after 10 s by itself.
	askTimeout = time.Minute
	// failuresMost is how many checks in a row may fail before that is a problem: 3,
	// some hours. One may be a lost packet, or a machine that wakes up without network.
	failuresMost = 3
)

// Config is what a Custody is made from.
type Config struct {
	Folder string // the data folder
	// Anchors are the configured trust anchors, DS and DNSKEY records.
	Anchors []rdata.Record
	// Unread is why the configured anchors are not known: their file is damaged. Then those
	// count that were kept, and Anchors only if there are none.
	Unread error
	// Update follows changes of the keys (RFC 5011). Without it the configured anchors
	// count, and nothing that was learned.
	Update bool
	// Negative are the negative anchors of the configuration.
	Negative []dnsname.Name
	// Ask asks anew (iterate.Ask.Anew), with DO.
	Ask func(ctx context.Context, name dnsname.Name, t rdata.Type, cd bool) (iterate.Answer, error)
	// Apply gives the resolvers what counts now.
	Apply func(anchors []rdata.Record, negative []dnsname.Name)
	// Problem is told what is wrong about something, nothing if it is not any more.
	Problem func(code, about, text string)
	Policy  dnssec.Policy
	Log     *slog.Logger
}

// Custody keeps anchors. Make it with Open.
type Custody struct {
	// Constant after Open.
	config Config
	wake   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu        sync.Mutex // guards what follows; held while the file is written, which is rare
	points    []*anchor.Point
	negatives anchor.Negatives
	saved     string
	applied   string // what Apply was given last
}

// Open reads what was kept. Nobody is asked before Start, and nothing applied.
func Open(c Config) *Custody {
	k := &Custody{config: c, wake: make(chan struct{}, 1)}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	now := clock.Now()
	if err := os.MkdirAll(c.Folder, 0o700); err != nil {
		c.Log.Warn("folder for trust anchors", "error", err) // settle says what it means
	}
	kept := k.read()
	if !c.Update {
		kept.Points = nil
	}
	if k.points = kept.Points; c.Unread == nil || len(kept.Points) == 0 {
		k.points = anchor.New(now, c.Anchors, kept.Points)
	}
	k.tellUnread(c.Unread, len(kept.Points) > 0)
	k.negatives.List = kept.Negative
	k.negatives.Expire(now)
	k.negatives.Configure(now, c.Negative)
	return k
}

// aboutFile is what a problem of the configured anchors is about.
const aboutFile = "resolver.trust.file"

func (k *Custody) tellUnread(err error, knowsOthers bool) {
	text := ""
	if err != nil {
		which := "the built-in trust anchors count"
		if knowsOthers {
			which = "those that counted before do so"
		}
		text = fmt.Sprintf("%v; %s until the file is mended, which is noticed", err, which)
	}
	k.config.Problem(Damaged, aboutFile, text)
}

func (k *Custody) path() string { return filepath.Join(k.config.Folder, FileName) }

func (k *Custody) read() anchor.Kept {
	text, err := os.ReadFile(k.path())
	if errors.Is(err, os.ErrNotExist) {
		return anchor.Kept{}
	}
	var kept anchor.Kept
	if err == nil {
		kept, err = anchor.Decode(text)
	}
	if err != nil {
		k.config.Problem(Damaged, "", fmt.Sprintf("%s: %v; the configured trust anchors are used, and negative ones added at run time are gone: add them again. The file is kept with the ending %s", k.path(), err, damagedSuffix))
		os.Rename(k.path(), k.path()+damagedSuffix) // if it fails, the file is written over
		return anchor.Kept{}
	}
	k.saved = string(text)
	return kept
}

// Start begins to look after the anchors.
func (k *Custody) Start() { k.work.Go(k.run) } // ended by Close

// Close ends that.
func (k *Custody) Close() {
	k.cancel()
	k.work.Wait()
}

func (k *Custody) run() {
	for k.ctx.Err() == nil {
		wait := k.tend()
		timer := clock.NewTimer(wait)
		select {
		case <-timer.C:
		case <-k.wake:
		case <-k.ctx.Done():
		}
		timer.Stop()
	}
}

// longest is how long nothing may be looked at: the clock may have been set meanwhile.
const longest = time.Hour

// tend does what is due and returns when there will be more.
func (k *Custody) tend() time.Duration {
	now := clock.Now()
	k.mu.Lock()
	for _, name := range k.negatives.Expire(now) {
		k.config.Log.Info("negative trust anchor ended", "name", name)
	}
	k.settle()
	var zones []dnsname.Name
	for _, p := range k.points {
		if k.config.Update && !now.Before(p.Next) {
			zones = append(zones, p.Zone)
		}
	}
	names, _ := k.negatives.Due(now)
	k.mu.Unlock()
	for _, zone := range zones {
		k.check(zone)
	}
	for _, name := range names {
		k.retest(name)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return min(longest, max(time.Second, k.next().Sub(clock.Now())))
}

func (k *Custody) next() time.Time {
	_, next := k.negatives.Due(clock.Now())
	for _, p := range k.points {
		if k.config.Update && (next.IsZero() || p.Next.Before(next)) {
			next = p.Next
		}
	}
	if next.IsZero() {
		return clock.Now().Add(longest)
	}
	return next
}

// check looks at the keys of a trust point.
func (k *Custody) check(zone dnsname.Name) {
	ctx, cancel := context.WithTimeout(k.ctx, askTimeout)
	defer cancel()
	a, err := k.config.Ask(ctx, zone, rdata.TypeDNSKEY, true)
	if k.ctx.Err() != nil {
		return
	}
	set, sigs := keySet(zone, a)
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.points, func(p *anchor.Point) bool { return p.Zone == zone })
	if i < 0 {
		return
	}
	p, now := k.points[i], clock.Now()
	switch {
	case err != nil:
		p.Unreached(now, err.Error())
	case len(set.Data) == 0:
		p.Unreached(now, "its DNSKEY records cannot be had: "+why(a))
	default:
		for _, c := range p.Observe(now, set, sigs, k.config.Policy) {
			k.config.Log.Info("trust anchor changed", "zone", zone, "key", c.Tag, "from", c.From, "to", c.To)
		}
	}
	k.settle()
	k.tell(p)
}

// tell says what is wrong with a trust point.
func (k *Custody) tell(p *anchor.Point) {
	failing, lost := "", ""
	if p.Failures >= failuresMost {
		failing = fmt.Sprintf("the keys of %v could not be verified %d times, last: %s; if its keys have changed, put the new ones into resolver.trust.file or resolver.trustAnchors", p.Zone, p.Failures, p.Problem)
	}
	if len(p.Anchors()) == 0 {
		lost = fmt.Sprintf("all trust anchors of %v were revoked, so nothing below it is validated (RFC 5011 section 5); configure the new ones", p.Zone)
	}
	k.config.Problem(Failing, p.Zone.String(), failing)
	k.config.Problem(Lost, p.Zone.String(), lost)
}

// why returns what an answer without records says about it.
func why(a iterate.Answer) string {
	if len(a.Errors) > 0 {
		return a.Errors[0].Text
	}
	return "the answer is " + a.Rcode.String()
}

// keySet takes the DNSKEY RRset of zone out of an answer.
func keySet(zone dnsname.Name, a iterate.Answer) (set rdata.RRset, sigs [][]byte) {
	set = rdata.RRset{Name: zone, Type: rdata.TypeDNSKEY, Class: rdata.ClassIN}
	for _, r := range a.Answer {
		switch {
		case r.Name != zone:
		case r.Type == rdata.TypeDNSKEY:
			set.TTL, set.Data = r.TTL, append(set.Data, slices.Clone(r.Data))
		case r.Type == rdata.TypeRRSIG:
			sigs = append(sigs, r.Data)
		}
	}
	return set, sigs
}

// retest tries a name without its negative anchor.
func (k *Custody) retest(name dnsname.Name) {
	ctx, cancel := context.WithTimeout(k.ctx, askTimeout)
	defer cancel()
	a, err := k.config.Ask(ctx, name, rdata.TypeSOA, false)
	if k.ctx.Err() != nil {
		return
	}
	mended := err == nil && (a.State == rrcache.Secure || a.State == rrcache.Insecure)
	verdict := ""
	switch {
	case err != nil:
		verdict = err.Error()
	case mended:
		verdict = a.State.String()
	default:
		verdict = why(a)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.negatives.Tested(clock.Now(), name, mended, verdict) {
		k.config.Log.Info("negative trust anchor removed: the name validates", "name", name, "state", verdict)
	}
	k.settle()
}

// settle makes what counts now durable, and gives it to the resolvers. The caller holds mu.
func (k *Custody) settle() {
	text := anchor.Encode(anchor.Kept{Points: k.points, Negative: k.negatives.List})
	if string(text) != k.saved {
		k.saved = string(text)
		problem := ""
		if err := diskfile.Replace(k.path(), text); err != nil {
			problem = fmt.Sprintf("%v; the trust anchors count, but a restart would not know their states", err)
			k.saved = ""
		}
		k.config.Problem(Unsaved, "", problem)
	}
	for _, n := range k.negatives.List {
		if n.Until.IsZero() {
			text := ""
			if n.Mended {
				text = fmt.Sprintf("%v is %s without its negative trust anchor; take it out of resolver.negativeTrustAnchors", n.Name, n.Verdict)
			}
			k.config.Problem(Mended, n.Name.String(), text)
		}
	}
	records, names := k.anchors(), k.negatives.Names()
	if now := fmt.Sprint(records, names); now != k.applied { // the resolvers forget their chains of trust when they are told
		k.applied = now
		k.config.Apply(records, names)
	}
}
