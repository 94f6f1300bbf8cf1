package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/spare"
)

// This file is the way of a change:
//
//	Change -> requests -> commitLoop: take a batch -> decide each, in their order
//	       -> commitLog.append (fdatasync) -> adopt -> done -> publish -> acknowledged

// Decide says what is to become of a zone. now is its newest version, changes of the
// same batch included. It must be quick: all other changes wait for it.
type Decide func(now *zone.Zone) (update.Change, error)

// Receipt is what became of a change.
type Receipt struct {
	From, To rdata.Serial
	Changed  bool // else there was nothing to change, and To is From
}

// request is a change that waits for its turn.
type request struct {
	ctx    context.Context
	entry  *entry
	by     string
	decide Decide
	whole  *zone.Zone // instead of decide: the version itself
	over   *zone.Zone // in the place of which whole comes; nil: it is the first

	receipt Receipt
	err     error
	done    chan struct{}
}

// Change makes a change and returns when it is on disk and published. An error of
// decide comes back as it is; so does one of Config.Check, wrapped in ErrRefused.
// After ErrNotKept nothing has changed. If ctx ends first, nobody knows.
func (l *Ledger) Change(ctx context.Context, name dnsname.Name, by string, decide Decide) (Receipt, error) {
	e := l.find(name)
	if e == nil {
		return Receipt{}, fmt.Errorf("zone %s: %w", name, ErrNoZone)
	}
	return l.wait(ctx, &request{ctx: ctx, entry: e, by: by, decide: decide})
}

// Replace makes the records of content the newest version. Its serial is taken if it
// is newer than the zone's; else, or with raise, the next one by the zone's policy.
func (l *Ledger) Replace(ctx context.Context, name dnsname.Name, by string, content *zone.Zone, raise bool) (Receipt, error) {
	e := l.find(name)
	if e == nil {
		return Receipt{}, fmt.Errorf("zone %s: %w", name, ErrNoZone)
	}
	for range replaceTries {
		l.mu.Lock()
		now := e.zone
		l.mu.Unlock()
		if now == nil {
			receipt, err := l.wait(ctx, &request{ctx: ctx, entry: e, by: by, whole: content})
			if errors.Is(err, errMoved) {
				continue
			}
			return receipt, err
		}
		change := changeTo(now, content, raise) // outside of the queue, for it takes as long as the zone is large
		if octetsOf(change) > l.config.limits.entry {
			receipt, err := l.replaceWhole(ctx, e, by, now, content, raise)
			if errors.Is(err, errMoved) {
				continue
			}
			return receipt, err
		}
		receipt, err := l.wait(ctx, &request{ctx: ctx, entry: e, by: by, decide: func(newest *zone.Zone) (update.Change, error) {
			if newest != now {
				return update.Change{}, errMoved
			}
			return change, nil
		}})
		if !errors.Is(err, errMoved) {
			return receipt, err
		}
	}
	return l.Change(ctx, name, by, func(now *zone.Zone) (update.Change, error) { return changeTo(now, content, raise), nil })
}

// replaceWhole is Replace for a change that is too large for an entry: the history
// begins anew with it.
func (l *Ledger) replaceWhole(ctx context.Context, e *entry, by string, now, content *zone.Zone, raise bool) (Receipt, error) {
	if raise || !now.Serial().Less(content.Serial()) {
		l.mu.Lock()
		policy := e.settings.Serial
		l.mu.Unlock()
		old, edit := soaOf(content), content.Edit()
		edit.Delete(old)
		edit.Add(withSerial(old, update.NextSerial(policy, now.Serial(), clock.Now())))
		var problems []zone.Problem
		if content, problems = edit.Finish(); content == nil {
			return Receipt{}, fmt.Errorf("%w: %w", ErrRefused, fatal(problems))
		}
	}
	return l.wait(ctx, &request{ctx: ctx, entry: e, by: by, whole: content, over: now})
}

// octetsOf returns roughly what a change takes in an entry.
func octetsOf(change update.Change) (sum int) {
	for _, list := range [][]rdata.Record{change.Deleted, change.Added} {
		for _, r := range list {
			sum += r.Name.Len() + len(r.Data) + 9
		}
	}
	return sum
}

// replaceTries is how often Replace finds the differences beside the queue, before it
// keeps the queue waiting for them.
const replaceTries = 3

var errMoved = errors.New("the zone has changed meanwhile")

// changeTo returns what makes the records of content out of now.
func changeTo(now, content *zone.Zone, raise bool) update.Change {
	var change update.Change
	for r, isAdded := range journal.Changes(now, content) {
		switch {
		case r.Type == rdata.TypeSOA:
		case isAdded:
			change.Added = append(change.Added, r)
		default:
			change.Deleted = append(change.Deleted, r)
		}
	}
	old, soa := soaOf(now), soaOf(content)
	isNewer := !raise && now.Serial().Less(content.Serial())
	if !isNewer {
		soa = withSerial(soa, now.Serial())
	}
	if isNewer || soa.TTL != old.TTL || string(soa.Data) != string(old.Data) {
		change.Added = append(change.Added, soa)
	}
	return change
}

// soaOf returns the SOA record of z.
func soaOf(z *zone.Zone) rdata.Record {
	set, _ := z.RRset(z.Apex(), rdata.TypeSOA)
	data, _, _ := set.Record(0)
	return rdata.Record{Name: z.Origin(), Type: rdata.TypeSOA, Class: rdata.ClassIN, TTL: set.TTL, Data: data}
}

// serialAt is where the serial stands, from the end of an SOA record's RDATA.
const serialAt = 20

func withSerial(soa rdata.Record, s rdata.Serial) rdata.Record {
	soa.Data = slices.Clone(soa.Data)
	binary.BigEndian.PutUint32(soa.Data[len(soa.Data)-serialAt:], uint32(s))
	return soa
}

func serialOf(soa rdata.Record) rdata.Serial {
	return rdata.Serial(binary.BigEndian.Uint32(soa.Data[len(soa.Data)-serialAt:]))
}

// commitLoop makes changes until the ledger is closed.
func (l *Ledger) commitLoop() {
	defer close(l.done)
	var left []*request // taken, but for the next batch
	for {
		batch := left
		left = nil
		if len(batch) == 0 {
			select {
			case r := <-l.requests:
				batch = append(batch, r)
			case <-l.closing:
				return
			}
		}
		for more := true; more && len(batch) < maxBatch; {
			select {
			case r := <-l.requests:
				batch = append(batch, r)
			default:
				more = false
			}
		}
		var b batchOf
		left = l.commit(&b, batch)
		l.done <- committed{b.zones(), batch[:len(batch)-len(left)]}
	}
}

// draft is the next version of a zone in a batch.
type draft struct {
	entry       *entry
	zone        *zone.Zone
	version     uint64
	sum         uint64
	at          time.Time
	by          string
	entries     []kept
	differences []*journal.Difference
}

// batchOf is the changes that become durable at once.
type batchOf struct {
	drafts  []*draft
	of      map[*entry]*draft
	entries []kept // of all drafts, in the order in which they were decided
	octets  int
	whole   []dnsname.Name // that have a new version already
}

// zones returns the names of those that have a new version.
func (b *batchOf) zones() []dnsname.Name {
	names := b.whole
	for _, d := range b.drafts {
		names = append(names, d.entry.name)
	}
	return names
}

// commit makes the changes of requests durable, and returns those for which there
// was no room. Afterwards b has the zones with a new version.
func (l *Ledger) commit(b *batchOf, requests []*request) (left []*request) {
	b.of = map[*entry]*draft{}
	var made []*request
	for i, r := range requests {
		if b.octets > batchOctets {
			left = requests[i:]
			break
		}
		if r.err = r.ctx.Err(); r.err != nil {
			continue
		}
		d, err := l.draftOf(b, r.entry)
		if err != nil {
			r.err = err
			continue
		}
		if r.whole != nil || d.zone == nil {
			r.err = l.commitWhole(b, d, r)
			continue
		}
		before := len(d.entries)
		if r.err = l.decide(b, d, r); r.err == nil && len(d.entries) > before {
			made = append(made, r)
		}
	}
	b.drafts = slices.DeleteFunc(b.drafts, func(d *draft) bool { return len(d.entries) == 0 })
	if len(b.entries) == 0 {
		return left
	}
	err := l.room()
	if err == nil {
		err = l.commits.append(encodeBatch(nil, b.entries))
	}
	if err != nil {
		for _, r := range made {
			r.receipt, r.err = Receipt{}, l.notKept(err)
		}
		b.drafts = nil
		l.tellOf(err)
		return left
	}
	l.compact(b)
	l.adopt(b)
	l.tellOf(nil)
	l.startCheckpoint()
	return left
}

// draftOf returns the draft of a zone, which begins with what the zone is.
func (l *Ledger) draftOf(b *batchOf, e *entry) (*draft, error) {
	if d := b.of[e]; d != nil {
		return d, nil
	}
	l.mu.Lock()
	d := &draft{entry: e, zone: e.zone, version: e.version, sum: e.sum}
	mustFold := e.mustFold
	l.mu.Unlock()
	if mustFold {
		e.files.Lock()
		err := l.fold(e, clock.Now())
		e.files.Unlock()
		if err != nil {
			l.count(func(c *Counts) { c.Failed++ })
			return nil, l.notKept(err)
		}
		l.say(e, "")
	}
	b.of[e] = d
	b.drafts = append(b.drafts, d)
	return d, nil
}

// notKept says that a change could not be made durable.
func (l *Ledger) notKept(err error) error {
	return fmt.Errorf("%w: %w; free space on the disk of %s and see that the folder can be written", ErrNotKept, err, l.config.Folder)
}

// tellOf sets the problem of all zones: that nothing can be written, or that it can.
func (l *Ledger) tellOf(err error) {
	text := ""
	if err != nil {
		l.count(func(c *Counts) { c.Failed++ })
		text = fmt.Sprintf("changes of zones are refused, what there is goes on being served: %v", l.notKept(err))
	}
	if text != l.refused {
		l.refused = text
		l.config.Failing(text)
	}
}

func (l *Ledger) count(f func(*Counts)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.counts)
}

// decide makes the change of r to the draft.
func (l *Ledger) decide(b *batchOf, d *draft, r *request) error {
	change, err := r.decide(d.zone)
	if err != nil {
		l.count(func(c *Counts) { c.Refused++ })
		return err
	}
	l.mu.Lock()
	policy := d.entry.settings.Serial
	l.mu.Unlock()
	at := clock.Now()
	next, difference, err := apply(d.zone, change, policy, at)
	if err == nil && next != d.zone {
		err = l.judge(d.zone, next, difference)
	}
	if err != nil {
		l.count(func(c *Counts) { c.Refused++ })
		return err
	}
	r.receipt = Receipt{From: d.zone.Serial(), To: next.Serial(), Changed: next != d.zone}
	if next == d.zone {
		return nil
	}
	e := journal.Entry{Zone: d.entry.name, Version: d.version + 1, Time: at, By: r.by, Sum: difference.Shift(d.sum), Difference: difference}
	payload := e.Append(make([]byte, 0, difference.Size()+64))
	if len(payload) > l.config.limits.entry+entryRoom {
		return fmt.Errorf("%w: it takes %d octets, more than %d; make it in several steps", ErrRefused, len(payload), l.config.limits.entry)
	}
	d.zone, d.version, d.sum, d.at, d.by = next, e.Version, e.Sum, at, r.by
	d.entries = append(d.entries, kept{e.Version, payload})
	d.differences = append(d.differences, difference)
	b.entries = append(b.entries, kept{e.Version, payload})
	b.octets += len(payload)
	return nil
}

// judge asks Config.Check.
func (l *Ledger) judge(old, now *zone.Zone, d *journal.Difference) error {
	if l.config.Check == nil {
		return nil
	}
	if err := l.config.Check(old, now, d); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// apply returns the version that a change makes of z, which is z if it changes
// nothing.
func apply(z *zone.Zone, change update.Change, policy update.SerialPolicy, at time.Time) (*zone.Zone, *journal.Difference, error) {
	if len(change.Added)+len(change.Deleted) == 0 {
		return z, nil, nil
	}
	edit, isSet := z.Edit(), false
	names := make([]dnsname.Name, 0, len(change.Added)+len(change.Deleted))
	old := soaOf(z)
	soa := withSerial(old, update.NextSerial(policy, z.Serial(), at))
	for _, r := range change.Deleted {
		if r.Type != rdata.TypeSOA {
			edit.Delete(r)
			names = append(names, r.Name)
		}
	}
	for _, r := range change.Added {
		switch {
		case r.Type != rdata.TypeSOA:
			edit.Add(r)
			names = append(names, r.Name)
		case r.Name != z.Origin() || rdata.Validate(r.Type, r.Data) != nil:
			return nil, nil, fmt.Errorf("%w: a bad SOA record at %s", ErrRefused, r.Name)
		case z.Serial().Less(serialOf(r)):
			soa, isSet = r, true
		default: // the other fields of SOA change; the serial has to go forward
			soa = withSerial(r, serialOf(soa))
		}
	}
	edit.Delete(old)
	edit.Add(soa)
	next, problems := edit.Finish()
	if next == nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrRefused, fatal(problems))
	}
	difference := journal.BetweenAt(z, next, names)
	if difference.IsEmpty() && !isSet {
		return z, nil, nil
	}
	return next, difference, nil
}

func fatal(problems []zone.Problem) error {
	var all []error
	for _, p := range problems {
		if p.Severity == zone.Fatal {
			all = append(all, errors.New(p.String()))
		}
	}
	return errors.Join(all...)
}

// commitWhole makes a version durable as a new base, outside of the commit log: the
// first of a zone, or one that has too little in common with the one before.
func (l *Ledger) commitWhole(b *batchOf, d *draft, r *request) error {
	switch {
	case r.whole == nil:
		return fmt.Errorf("zone %s: %w; give it some with: pharos zone import %s FILE", d.entry.name, ErrNoVersion, d.entry.name)
	case d.zone != r.over || len(d.entries) > 0:
		return errMoved // somebody else was first
	}
	if err := l.judge(d.zone, r.whole, nil); err != nil {
		l.count(func(c *Counts) { c.Refused++ })
		return err
	}
	e, first := d.entry, base{zone: r.whole, version: d.version + 1, sum: journal.SumOf(r.whole), time: clock.Now()}
	e.files.Lock()
	size, err := l.saveBase(e, first)
	e.files.Unlock()
	if err != nil {
		l.mu.Lock()
		e.mustFold = e.zone != nil // nobody knows which base is there
		l.mu.Unlock()
		l.tellOf(err)
		return l.notKept(err)
	}
	r.receipt = Receipt{From: first.zone.Serial(), To: first.zone.Serial(), Changed: true}
	if d.zone != nil {
		r.receipt.From = d.zone.Serial()
	}
	l.mu.Lock()
	e.zone, e.version, e.sum, e.changed, e.by, e.baseSize, e.isLoaded = first.zone, first.version, first.sum, first.time, r.by, size, true
	e.journal, e.tailOctet = nil, 0
	l.counts.Changes++
	l.counts.Commits++
	l.mu.Unlock()
	l.say(e, "")
	d.zone, d.version, d.sum = first.zone, first.version, first.sum
	d.entries = nil
	b.whole = append(b.whole, e.name)
	return nil
}

// compact puts zones that were built anew in the place of those that were edited again
// and again. Nobody has seen the drafts yet.
func (l *Ledger) compact(b *batchOf) {
	for _, d := range b.drafts {
		l.mu.Lock()
		old := d.entry.zone
		l.mu.Unlock()
		next, job := d.entry.twin.Follow(old, d.zone, d.differences)
		if d.zone != next {
			l.count(func(c *Counts) { c.Compacted++ })
		}
		if d.zone = next; job != nil {
			l.work.Go(func() { // ends by itself, some seconds later; Close waits for it
				l.compacts <- struct{}{}
				spare.Run(job)
				<-l.compacts
			})
		}
	}
}

// adopt makes the drafts what their zones are.
func (l *Ledger) adopt(b *batchOf) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Commits++
	l.counts.Changes += uint64(len(b.entries))
	for _, d := range b.drafts {
		e := d.entry
		e.zone, e.version, e.sum, e.changed, e.by = d.zone, d.version, d.sum, d.at, d.by
		e.journal = e.journal.Extend(l.config.Journal, d.differences...)
		e.pending = append(e.pending, d.entries...)
		for _, k := range d.entries {
			e.tailOctet += int64(len(k.payload))
		}
	}
}

// committed is what is durable and not yet published.
type committed struct {
	zones    []dnsname.Name
	requests []*request
}

// publish tells of new versions, and then acknowledges the changes in them. While it
// does, the next batch is committed.
func (l *Ledger) publish() {
	defer close(l.ended)
	for c := range l.done {
		for _, name := range c.zones {
			l.config.Publish(name)
		}
		for _, r := range c.requests {
			close(r.done)
		}
	}
}
