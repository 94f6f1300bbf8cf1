package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/authority/alias"
	"pharos/internal/authority/answer"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/cluster/state"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/outbound"
)

// This file is the way of an ALIAS record:
//
//	source -> stage: records found, addresses filled in as far as they are known
//	run    -> target due -> zones of ours, or the resolver -> Book.Answered
//	       -> what was learned on disk -> zoneChanged -> stage
//
// Nobody waits for a target: a zone is served with what is known of it.

// Limits of the work with targets.
const (
	// maxAsking is how many targets are asked for at a time: the resolver is there for
	// clients first.
	maxAsking = 16
	// maxAliasSteps is how many names of ours lead from a target to its addresses.
	maxAliasSteps = 8
	// aliasTimeout is how long one target may take.
	aliasTimeout = 10 * time.Second
)

// aliases are the ALIAS records of the zones of one view, or of those outside.
type aliases struct {
	// Constant after newAliases.
	node   *Node
	view   string
	terms  config.Alias
	file   string // what is kept across restarts
	wake   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	saving sync.Mutex // before mu; so that what is written last is what was known last

	mu      sync.Mutex // after Node.mu; guards what follows
	book    *alias.Book
	zones   map[dnsname.Name]*aliasZone
	asking  int
	started bool
	saved   keptAliases
}

// aliasZone is a zone that has, or once had, ALIAS records, or may soon.
type aliasZone struct {
	source  *zone.Zone // that records were found in
	records []alias.Record
	result  journal.Version // of source; nothing if stale
	stale   bool            // an address has changed since
	serial  rdata.Serial    // of the last result, if there was one
	from    rdata.Serial    // the serial of its source
	served  bool            // serial and from are set
}

func newAliases(n *Node, view, folder string, terms config.Alias) *aliases {
	a := &aliases{
		node: n, view: view, terms: terms, file: filepath.Join(folder, "alias.json"), wake: make(chan struct{}, 1),
		book:  alias.NewBook(alias.Limits{Least: time.Duration(terms.MinRefresh), Most: time.Duration(terms.MaxRefresh)}),
		zones: map[dnsname.Name]*aliasZone{},
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.load()
	return a
}

// stage puts the version with addresses in the place of its source.
func (a *aliases) stage(c *config.Zone, _ *servedZone, v journal.Version) (journal.Version, error) {
	if v.Zone == nil {
		return v, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	z := a.zones[c.Name]
	if z == nil {
		z = &aliasZone{}
	}
	if z.source != v.Zone {
		a.follow(z, v)
	}
	// A zone without ALIAS records is remembered too if its differences are known: else
	// every change would be a look at the whole zone.
	if len(z.records) > 0 || z.served || v.Journal != nil {
		a.zones[c.Name] = z
	}
	if len(z.records) == 0 && !z.served {
		return v, nil
	}
	if v.Zone.IsSigned() {
		if len(z.records) > 0 {
			return v, errors.New("ALIAS records in a zone that is signed already: the addresses could not be signed; have it signed here (zones[].dnssec), or remove the signatures")
		}
		return v, nil
	}
	if z.result.Zone == nil || z.stale {
		if err := a.fill(z, v); err != nil {
			return v, err
		}
	}
	return z.result, nil
}

// follow takes over a new version of the source.
func (a *aliases) follow(z *aliasZone, v journal.Version) {
	before := z.records
	if list, ok := differences(z.source, v); ok {
		z.records = alias.Follow(before, list)
	} else {
		z.records = alias.Find(v.Zone)
	}
	now := time.Now()
	for i, r := range z.records {
		if i < a.terms.MaxPerZone {
			a.book.Want(now, r.Target)
		}
	}
	for i, r := range before {
		if i < a.terms.MaxPerZone {
			a.book.Release(r.Target)
		}
	}
	z.source, z.result = v.Zone, journal.Version{}
	a.poke()
}

// differences returns those that lead from a version to a later one, if they are known.
func differences(from *zone.Zone, v journal.Version) ([]*journal.Difference, bool) {
	if from == nil || v.Journal == nil {
		return nil, false
	}
	return v.Journal.Since(from.Serial())
}

// fill makes the result of a version of the source.
func (a *aliases) fill(z *aliasZone, v journal.Version) error {
	// After a restart, what was served before it is served again under its serial.
	again := z.served && !z.stale && z.result.Zone == nil && z.from == v.Zone.Serial() && a.saved.holds(z, a.book)
	serial := z.serial
	if !again {
		serial = alias.NextSerial(v.Zone.Serial(), z.serial, z.served)
	}
	filled, err := alias.Fill(v.Zone, z.records, alias.Terms{Known: a.book.Known, Keep: a.terms.Keep, Serial: serial})
	if err != nil {
		return err
	}
	z.result = journal.Version{Zone: filled}
	z.serial, z.from, z.served, z.stale = serial, v.Zone.Serial(), true, false
	return nil
}

// retain forgets the zones that a snapshot does not have.
func (a *aliases) retain(s *Snapshot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, z := range a.zones {
		if s.apexes.Get(name) != nil {
			continue
		}
		for i, r := range z.records {
			if i < a.terms.MaxPerZone {
				a.book.Release(r.Target)
			}
		}
		delete(a.zones, name)
	}
}

// steers returns the names whose target is a steered name of ours: they are steered
// likewise, so that they are answered from the pool as it is at the time.
func (a *aliases) steers(steered []state.Steer) []state.Steer {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []state.Steer
	for _, z := range a.zones {
		for i, r := range z.records {
			to, ok := a.book.Steered(r.Target)
			if !ok || i > 0 && z.records[i-1].Owner == r.Owner {
				continue
			}
			if at := slices.IndexFunc(steered, func(s state.Steer) bool { return s.Name == to }); at >= 0 {
				like := steered[at]
				like.Name = r.Owner
				all = append(all, like)
			}
		}
	}
	slices.SortFunc(all, func(x, y state.Steer) int { return x.Name.Compare(y.Name) })
	return all
}

// start begins to ask for targets.
func (a *aliases) start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.started {
		a.started = true
		a.work.Go(a.run) // ended by close
	}
}

// close ends all work and waits for it; twice does no harm.
func (a *aliases) close() {
	a.cancel()
	a.work.Wait()
}

// poke has run look at what is due.
func (a *aliases) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run asks for targets when they are due.
func (a *aliases) run() {
	for {
		a.mu.Lock()
		now := time.Now()
		due := a.book.Due(now, maxAsking-a.asking)
		a.asking += len(due)
		next := a.book.Next()
		isFull := a.asking == maxAsking
		a.mu.Unlock()
		for _, target := range due {
			a.work.Go(func() { // ends with aliasTimeout, or when close cancels it
				a.answered(target, a.resolve(target))
			})
		}
		var timer <-chan time.Time
		if !next.IsZero() && !isFull { // else one that ends wakes us
			timer = time.After(time.Until(next))
		}
		select {
		case <-a.ctx.Done():
			return
		case <-a.wake:
		case <-timer:
		}
	}
}

// answered takes over what came of asking for a target.
func (a *aliases) answered(target dnsname.Name, o alias.Outcome) {
	if a.ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	wasSteered, _ := a.book.Steered(target)
	changed := a.book.Answered(time.Now(), target, o)
	isSteered, _ := a.book.Steered(target)
	a.asking--
	var concerned []dnsname.Name
	for name, z := range a.zones {
		if slices.ContainsFunc(z.records, func(r alias.Record) bool { return r.Target == target }) {
			concerned = append(concerned, name)
			z.stale = z.stale || changed
		}
	}
	a.mu.Unlock()
	a.poke()
	if changed && wasSteered != isSteered {
		a.node.republish()
	}
	for _, name := range concerned {
		if changed {
			a.node.zoneChangedIn(a.view, name)
		}
		a.report(name)
	}
	if changed {
		a.save()
	}
}

// report sets the problem of a zone with ALIAS records.
func (a *aliases) report(name dnsname.Name) {
	a.mu.Lock()
	text, more := "", 0
	if z := a.zones[name]; z != nil {
		for i, r := range z.records {
			problem := a.book.Problem(r.Target)
			if i >= a.terms.MaxPerZone {
				problem = fmt.Sprintf("beyond alias.maxPerZone, %d", a.terms.MaxPerZone)
			}
			if problem == "" {
				continue
			}
			if text != "" {
				more++
				continue
			}
			then := "it is answered SERVFAIL until there are addresses"
			if _, known := a.book.Known(r.Target); known {
				then = "its last good addresses are served on"
			}
			text = fmt.Sprintf("zone %s: %s ALIAS %s: %s; %s", idOf(a.view, name), r.Owner, r.Target, problem, then)
		}
	}
	a.mu.Unlock()
	if more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	a.node.problem(aliasFailed, idOf(a.view, name), text)
}

// resolve finds the addresses of a target: in the zones of ours that the view sees, and
// from where they lead no further by the resolver.
func (a *aliases) resolve(target dnsname.Name) alias.Outcome {
	ctx, cancel := context.WithTimeout(a.ctx, aliasTimeout)
	defer cancel()
	s := a.node.current.Load()
	if a.view != "" {
		if s = s.viewOf(a.view); s == nil {
			return alias.Outcome{Problem: "its view is gone"}
		}
	}
	name := target
	for range maxAliasSteps {
		if next, ok := a.node.aliasAt(s, name); ok {
			name = next
			continue
		}
		z, _ := s.find(name, rdata.TypeA)
		if z == nil {
			return a.ask(ctx, s, name)
		}
		outcome, next, isDone := a.local(ctx, s, z, name)
		if isDone {
			return outcome
		}
		name = next
	}
	return alias.Outcome{Problem: fmt.Sprintf("it leads in a circle, or through more than %d names", maxAliasSteps)}
}

// aliasAt returns the target of the ALIAS record that a zone of ours has at a name.
func (n *Node) aliasAt(s *Snapshot, name dnsname.Name) (dnsname.Name, bool) {
	z, in := s.find(name, rdata.TypeA)
	if z == nil {
		return dnsname.Name{}, false
	}
	a := n.aliasesOf(in)
	a.mu.Lock()
	defer a.mu.Unlock()
	if mine := a.zones[z.Origin()]; mine != nil {
		at, ok := slices.BinarySearchFunc(mine.records, name, func(r alias.Record, name dnsname.Name) int { return r.Owner.Compare(name) })
		if ok {
			return mine.records[at].Target, true
		}
	}
	return dnsname.Name{}, false
}

// local finds the addresses of a name in a zone of ours, or the name to go on with.
func (a *aliases) local(ctx context.Context, s *Snapshot, z *zone.Zone, name dnsname.Name) (o alias.Outcome, next dnsname.Name, isDone bool) {
	var found []netip.Addr
	o.TTL = rdata.MaxTTL
	for _, t := range []rdata.Type{rdata.TypeA, rdata.TypeAAAA} {
		q := new(dnswire.Query)
		q.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: name, Type: t, Class: rdata.ClassIN}))
		var out dnswire.Builder
		out.Reset(q, make([]byte, dnswire.MaxMessage+dnswire.BufferSlack), dnswire.MaxMessage)
		outcome := answer.Answer(q, z, 0, &out)
		msg := out.Finish()
		switch outcome.Kind {
		case answer.Steered:
			return alias.Outcome{Steered: z.Name(outcome.Last.Exact).Clone(), TTL: rdata.TTL(a.terms.MinRefresh.Std() / time.Second)}, next, true
		case answer.Referral:
			a.node.learnCut(s, time.Now(), z, outcome.Last.Cut)
			if _, end := chainOf(msg); !end.IsZero() {
				name = end
			}
			return a.ask(ctx, s, name), next, true
		case answer.Partial:
			if _, next = chainOf(msg); next.IsZero() {
				return alias.Outcome{Problem: "its CNAME records lead in a circle"}, next, true
			}
			return o, next, false
		case answer.Positive:
			found, o.TTL = addressesIn(msg, t, found, o.TTL)
		case answer.NoData:
		default:
			return alias.Outcome{Problem: "the zone here answers " + outcome.Kind.String()}, next, true
		}
	}
	o.Addresses = a.take(found)
	return o, next, true
}

// addressesIn adds the addresses of type t in the answer section of a message, and
// lowers ttl to theirs.
func addressesIn(msg []byte, t rdata.Type, found []netip.Addr, ttl rdata.TTL) ([]netip.Addr, rdata.TTL) {
	m, err := dnswire.ParseMessage(msg)
	if err != nil {
		return found, ttl
	}
	return pick(m.Answer, t, found, ttl)
}

func pick(records []rdata.Record, t rdata.Type, found []netip.Addr, ttl rdata.TTL) ([]netip.Addr, rdata.TTL) {
	for _, r := range records {
		if addr, ok := netip.AddrFromSlice(r.Data); ok && r.Type == t {
			found, ttl = append(found, addr), min(ttl, r.TTL)
		}
	}
	return found, ttl
}

// take puts addresses in order, without those that are refused.
func (a *aliases) take(found []netip.Addr) alias.Addresses {
	return alias.MakeAddresses(found, func(addr netip.Addr) bool {
		return slices.ContainsFunc(a.terms.Refuse, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
	})
}

// ask has the resolver find the addresses of a name. Both families must be answered:
// half an answer would take the other half away.
func (a *aliases) ask(ctx context.Context, s *Snapshot, name dnsname.Name) alias.Outcome {
	resolver := a.node.resolverOf(s)
	if resolver == nil { // a view without recursion
		resolver = a.node.resolver
	}
	var found []netip.Addr
	ttl := rdata.MaxTTL
	for _, t := range []rdata.Type{rdata.TypeA, rdata.TypeAAAA} {
		got, err := resolver.Resolve(ctx, name, t, outbound.Options{})
		switch {
		case err != nil:
			return alias.Outcome{Problem: err.Error()}
		case got.Rcode != dnswire.RcodeNoError:
			problem := fmt.Sprintf("%s %s is answered %s", name, t, got.Rcode)
			for _, e := range got.Errors {
				problem += ": " + e.Text
			}
			return alias.Outcome{Problem: problem}
		case slices.ContainsFunc(got.Errors, func(e dnswire.ExtendedError) bool { return e.Code == dnswire.EDEStaleAnswer }):
			return alias.Outcome{Problem: fmt.Sprintf("%s %s: nobody answers", name, t)}
		}
		found, ttl = pick(got.Answer, t, found, ttl)
	}
	o := alias.Outcome{Addresses: a.take(found), TTL: ttl}
	if o.Addresses.IsEmpty() && len(found) > 0 {
		o.Problem = "all of its addresses are in alias.refuse"
	}
	return o
}

// keptAliases is what is kept across restarts: without it a zone would begin with a
// serial that goes backwards, and without addresses.
type keptAliases struct {
	Zones   map[string]keptZone     `json:"zones"`
	Targets map[string][]netip.Addr `json:"targets"`
}

type keptZone struct {
	Source rdata.Serial `json:"source"` // the serial of the source
	Serial rdata.Serial `json:"serial"` // that was served for it
}

// holds reports whether all that z needs is as it was kept.
func (k *keptAliases) holds(z *aliasZone, book *alias.Book) bool {
	for _, r := range z.records {
		if _, known := book.Known(r.Target); !known {
			return false
		}
		if _, kept := k.Targets[r.Target.String()]; !kept {
			return false
		}
	}
	return true
}

// load reads what was kept. Without it targets are asked for anew.
func (a *aliases) load() {
	text, err := os.ReadFile(a.file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = json.Unmarshal(text, &a.saved)
	}
	if err != nil {
		a.node.log.Warn("addresses of ALIAS targets cannot be read; they are asked for anew", "file", a.file, "error", err)
		return
	}
	for name, kept := range a.saved.Zones {
		if n, err := dnsname.Parse(name); err == nil {
			a.zones[n] = &aliasZone{serial: kept.Serial, from: kept.Source, served: true}
		}
	}
	for name, addrs := range a.saved.Targets {
		if n, err := dnsname.Parse(name); err == nil {
			a.book.Restore(time.Now(), n, alias.MakeAddresses(addrs, nil))
		}
	}
}

// save keeps what is known, whole or not at all.
func (a *aliases) save() {
	a.saving.Lock()
	defer a.saving.Unlock()
	a.mu.Lock()
	kept := keptAliases{Zones: map[string]keptZone{}, Targets: map[string][]netip.Addr{}}
	for name, z := range a.zones {
		if z.served {
			kept.Zones[name.String()] = keptZone{z.from, z.serial}
		}
	}
	for name, addrs := range a.book.Targets() {
		kept.Targets[name.String()] = slices.Concat(addrs.V4, addrs.V6)
	}
	a.mu.Unlock()
	text, err := json.Marshal(kept)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	if err := writeDurably(a.file, text); err != nil {
		a.node.log.Warn("addresses of ALIAS targets not kept; after a restart they are asked for anew", "file", a.file, "error", err)
	}
}

// writeDurably writes a file at once or not at all, and returns when it is on disk: a
// serial that was served cannot be found out again.
func writeDurably(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// aliasesOf returns the ALIAS records of the view that s is of, or of the zones outside.
func (n *Node) aliasesOf(s *Snapshot) *aliases {
	if s.view != nil {
		return s.view.own.aliases
	}
	return n.aliases
}

// zoneChangedIn is zoneChanged for a zone of a view, or outside.
func (n *Node) zoneChangedIn(view string, name dnsname.Name) {
	if view == "" {
		n.zoneChanged(name)
		return
	}
	n.viewZoneChanged(view, name)
}

// republish compiles the snapshot again, because what is steered has changed.
func (n *Node) republish() {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.current.Load()
	if err := n.publish(now.Config, now.State); err != nil {
		n.log.Error("snapshot not compiled again", "error", err)
	}
}

// steers returns the steered names, those among them that are aliases of others
// included.
func (from before) steers(steered []state.Steer) []state.Steer {
	if from.aliased == nil {
		return steered
	}
	return slices.Concat(steered, from.aliased.steers(steered))
}
