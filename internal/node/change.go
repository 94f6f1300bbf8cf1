package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/admin/logfile"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/routedesk"
	"pharos/internal/admin/versions"
	"pharos/internal/clock"
	"pharos/internal/cluster/state"
	"pharos/internal/cluster/store"
	"pharos/internal/proxy/routespec"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/probe"
)

// This file is the way of a change, top-down:
//
//	file    -> reload  --+
//	command -> Apply -> store.Commit -> (watch) -> followStore --+
//	                     v                                       v
//	                  publish: compile -> probes -> swap      save: fsync the state, before the swap
//
// A change is published whole or not at all, and nothing that answers waits for
// it. What was acknowledged to a command is on disk twice: in the store, and in
// the snapshot that a start reads without the store.

// loadState returns the state to start with: the file's resources, and what the
// newest readable snapshot says was applied.
func (n *Node) loadState(cfg *config.Config) *state.State {
	base := state.New(&cfg.Resources)
	if !cfg.Store.Enabled {
		return base
	}
	revision, payload, skipped, err := n.snapshots.Load()
	for _, e := range skipped {
		n.log.Warn("snapshot passed over", "error", e)
	}
	if err != nil {
		if len(skipped) > 0 {
			n.problem(problems.SnapshotFailed, "", "no snapshot can be read; serving what the configuration file says until the store is there: "+errors.Join(skipped...).Error())
		}
		return base
	}
	st, err := state.Decode(&cfg.Resources, payload)
	if err != nil {
		n.problem(problems.SnapshotFailed, "", fmt.Sprintf("the snapshot of revision %d cannot be used: %v", revision, err))
		return base
	}
	n.saved = revision
	n.applied.reached(revision)
	return st
}

// reload reads the configuration file and the zone files that have changed. A
// file with a mistake leaves everything as it is.
func (n *Node) reload() (api.Applied, error) {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	return n.readAgain()
}

// readAgain is reload for who holds n.reloading.
func (n *Node) readAgain() (api.Applied, error) {
	cfg, err := n.readConfig()
	var read *reading
	if err == nil {
		read = readZones(cfg, n.current.Load(), n.images, n.tellReading)
	}
	before, now, err := n.install(cfg, read, err)
	if err != nil {
		return api.Applied{}, &api.Refused{Status: http.StatusUnprocessableEntity, Err: err}
	}
	applied := api.Applied{Revision: now.Revision}
	for z := range now.everyZone() {
		if before.zoneOf(z.View, z.Name) != z && z.Err == nil {
			applied.Changed = append(applied.Changed, "zone "+z.ID())
		}
		if z.Err != nil {
			applied.Refused = append(applied.Refused, z.Err.Error())
		}
	}
	for _, c := range n.certificates.Status() {
		if c.Problem != "" {
			applied.Refused = append(applied.Refused, c.Problem)
		}
	}
	if text := config.NeedsRestart(n.begun, now.Config); text != "" {
		applied.Warnings = append(applied.Warnings, text)
	}
	n.log.Info("configuration read", "revision", now.Revision, "zones_changed", len(applied.Changed))
	applied.Changed = append(applied.Changed, state.Differences(&before.Config.Resources, &now.Config.Resources)...)
	applied.Changed = append(applied.Changed, config.StreamDifferences(before.Config, now.Config)...)
	return applied, nil
}

// install puts into force what was read, unless it could not be.
func (n *Node) install(cfg *config.Config, read *reading, err error) (before, now *Snapshot, _ error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.root.HasChanged() {
		n.root.Reread()
	}
	before = n.current.Load()
	file := n.listed.file
	if err == nil {
		err = n.publishRead(cfg, before.State.Rebase(&cfg.Resources), read)
	}
	n.asRead = err == nil && n.rereads
	if err != nil {
		n.problem(problems.ConfigRefused, "", fmt.Sprintf("the configuration file is not in force, the version before it is: %v", err))
		return before, nil, err
	}
	if cfg != file {
		n.lists = cfg.Lists
	}
	n.problem(problems.ConfigRefused, "", "")
	n.lookAtCatalogs()
	n.problem(problems.ListenerFailed, "", config.NeedsRestart(n.begun, cfg))
	n.followFooting(cfg)
	n.followCertificates(cfg, clock.Now(), true)
	return before, n.current.Load(), nil
}

// publish compiles a snapshot and makes it the current one. n.mu is held.
func (n *Node) publish(cfg *config.Config, st *state.State) error { return n.publishRead(cfg, st, nil) }

// publishRead is publish with what was read of master files.
func (n *Node) publishRead(cfg *config.Config, st *state.State, read *reading) error {
	prev := n.current.Load()
	listed := n.listingOf(cfg)
	cfg = listed.full
	if prev == nil || listed.file != n.listed.file {
		n.makeCatalogs(listed.file)
	}
	if err := n.guide.follow(&cfg.Steering); err != nil {
		return err
	}
	if prev == nil || cfg != prev.Config {
		if err := n.setLedger(cfg); err != nil {
			return err
		}
	}
	n.overrides.Take(st.Resources().Overrides)
	from := n.beside(prev)
	if from.reading = read; prev == nil {
		from.reading = readZones(cfg, nil, n.images, n.tellReading)
	}
	next, err := compile(cfg, st, from)
	if err != nil {
		return err
	}
	next.reread = read != nil
	n.probeTargets(next.pools)
	next.pools.Refresh(n.prober.Status)
	n.current.Store(next)
	n.listed = listed
	n.journaled.Keep(next.hasID)
	if next.pools.Refresh(n.prober.Status) > 0 { // transitions that were told to prev meanwhile
		n.exportAll(next)
	}
	n.followRoutes(prev, next)
	n.followStreams(next)
	n.follow(prev, next)
	n.reportProblems(next)
	if next.read > largeRead || prev == nil && len(next.pools.Targets())+next.gateway.Routes().Len() > largeTable {
		go settle(next, prev == nil) // ends by itself, some milliseconds later
	}
	return nil
}

// largeRead is after how many records read for one snapshot the memory that
// reading took is given back to the system. Building a zone takes several times
// what it takes when it is built; the collector would keep that for the next time.
const largeRead = 100_000

// largeTable is the same for targets of pools and routes that there are at the start: reading them
// from the configuration takes several times what they take.
const largeTable = 10_000

// reportProblems sets the problems that follow from a snapshot.
func (n *Node) reportProblems(s *Snapshot) {
	var pools []string
	fine := n.problems.None() // so there is none to clear, of a million zones
	for z := range s.latest() {
		if !fine || z.Err != nil || len(z.Warnings) > 0 {
			n.reportZone(z)
		}
	}
	n.problem(problems.SteerHomeless, "", s.homelessText())
	n.reportRules(s)
	for _, p := range s.pools.Pools() {
		pools = append(pools, p.Name())
		n.reportPool(p.View().Name, p.View().AllDown)
	}
	n.reportEveryMember(s)
	n.reportUnused(s.State)
	for z := range s.latest() {
		if !fine || z.Kind != "file" {
			n.reportTransfersOf(z.View, z.Name)
		}
	}
	for _, c := range slices.Concat(dnssecCodes, []problems.Code{problems.TransferFailed, problems.ZoneAbsent, problems.NotifyFailed, problems.AliasFailed, problems.ForwardFailed, problems.ChildrenRefused, problems.ZoneRefused, problems.ZoneWarning}) {
		n.problems.KeepIf(c, s.hasZone)
	}
	n.problems.KeepIf(problems.VersionsLost, func(about string) bool {
		return about == "" || s.viewOf(about) != nil || s.hasZone(about) // all outside of views, or in one
	})
	n.problems.Keep(problems.PoolAllDown, pools)
}

// reportUnused sets the problems of what was applied and is not in use.
func (n *Node) reportUnused(st *state.State) {
	var unused []string
	for _, p := range st.Problems() {
		unused = append(unused, p.Ref.String())
		n.problem(problems.ObjectUnused, p.Ref.String(), p.Error())
	}
	n.problems.Keep(problems.ObjectUnused, unused)
}

// hasZone reports whether there is a zone that people call so.
func (s *Snapshot) hasZone(id string) bool {
	view, name, err := versions.ParseID(id)
	return err == nil && s.zoneOf(view, name) != nil
}

// reportZone sets the problems of the version of a zone that is served, or is not.
func (n *Node) reportZone(z *versions.Zone) {
	name, text := z.ID(), ""
	if z.Err != nil {
		text = z.Err.Error()
		if z.Zone != nil {
			text += fmt.Sprintf("; serial %d is served on", z.Zone.Serial())
		}
	}
	n.problem(problems.ZoneRefused, name, text)
	text = ""
	if len(z.Warnings) > 0 {
		text = fmt.Sprintf("zone %s: %s", name, z.Warnings[0])
		if more := len(z.Warnings) - 1; more > 0 {
			text += fmt.Sprintf("; and %d more, see pharos check", more)
		}
	}
	n.problem(problems.ZoneWarning, name, text)
}

func (n *Node) reportPool(name string, allDown bool) {
	text := ""
	if allDown {
		text = fmt.Sprintf("pool %s: no member is healthy: the gateway uses all that are not drained, and names are answered as their whenDown says", name)
	}
	n.problem(problems.PoolAllDown, name, text)
}

// problem sets or clears a problem, and logs it once.
func (n *Node) problem(c problems.Code, name, text string) {
	if !n.problems.Set(c, name, text, clock.Now()) {
		return
	}
	if text == "" {
		n.log.Info("problem solved", "code", string(c), "about", name)
	} else {
		n.log.Warn("problem", "code", string(c), "about", name, "text", text)
	}
}

// onHealth carries what probes and traffic show into the views that everything picks
// from: DNS answers and the gateway turn away in the same moment.
func (n *Node) onHealth(changes []probe.Change) {
	now := make(map[health.Target]health.Status, len(changes))
	for _, c := range changes {
		if t := c.Transition; t != (health.Transition{}) {
			n.log.Info("health changed", "target", c.Target.Address.String(), "from", t.From.String(), "to", t.To.String(), "cause", t.Cause)
		}
		now[c.Target] = c.Status // the last one counts
	}
	n.verdicts.Note()
	current := n.current.Load()
	if current == nil {
		return // the first snapshot is about to be published, and will ask
	}
	changed := current.pools.ApplyAll(now)
	n.streams.Look(changed)
	for _, p := range changed {
		n.reportPool(p.Name(), p.View().AllDown)
		n.reportMembers(p.View(), now)
		n.exportAnswers(current, p.Name())
		n.fleet.Wake(p.Name())
	}
}

// watchFiles reads the files again when one has changed, or when asked.
func (n *Node) watchFiles(ctx context.Context, reload <-chan struct{}) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var looked *Snapshot
	for {
		select {
		case <-ctx.Done():
			return
		case <-reload:
		case <-tick.C:
			n.verdicts.Save()
			n.followLogs()
			n.guide.geo.Look()
			n.guide.kept.Look()
			looked = n.lookAtRoutes(looked)
			n.mu.Lock()
			n.followCertificates(n.current.Load().Config, clock.Now(), false)
			same := !n.filesChanged()
			n.mu.Unlock()
			if same {
				continue
			}
		}
		if _, err := n.reload(); err != nil {
			n.log.Warn("configuration refused", "error", err)
		}
	}
}

// lookAtRoutes sets the problems of routes and pools of which nobody has any use, unless that
// was done for the snapshot, and returns for which it is. It takes some milliseconds for many
// routes, so it is done beside changes, and once for several.
func (n *Node) lookAtRoutes(looked *Snapshot) *Snapshot {
	s := n.current.Load()
	if s != looked {
		routedesk.Tell(routedesk.Remarks(s.Config, s.State.Resources(), s.gateway.Routes()), n.problem, n.problems.Keep)
	}
	return s
}

// followLogs makes the logs again that were moved away.
func (n *Node) followLogs() {
	for _, log := range []*logfile.File{n.logs.access, n.logs.queries, n.logs.connections} {
		if log == nil {
			continue
		}
		if err := log.Follow(); err != nil {
			n.log.Warn("log not made again; lines go to the file that was moved", "file", log.Path(), "error", err)
		}
	}
}

// storeRetry is how long after a failure the store is opened again.
const storeRetry = 5 * time.Second

// followStore opens the store and carries its changes over, for as long as ctx
// lasts. Whatever happens to it, the data plane serves what it has.
func (n *Node) followStore(ctx context.Context) {
	cfg := n.current.Load().Config
	if !cfg.Store.Enabled {
		return
	}
	for ctx.Err() == nil {
		err := n.followOnce(ctx, cfg)
		if ctx.Err() != nil {
			return
		}
		n.problem(problems.StoreLost, "", fmt.Sprintf("nothing can be changed at run time: %v", err))
		select {
		case <-ctx.Done():
		case <-time.After(storeRetry):
		}
	}
}

func (n *Node) followOnce(ctx context.Context, cfg *config.Config) error {
	s, err := store.Open(store.Config{
		Dir: filepath.Join(cfg.Data, "store"), Quota: int64(cfg.Store.Quota), History: cfg.Store.History, Log: n.log,
	})
	if err != nil {
		return err
	}
	n.store.Store(s)
	err = s.Follow(ctx, 0, n.followed)
	if ctx.Err() == nil { // else Node.end does, after the last call
		n.store.Store(nil)
		s.Close()
	}
	return err
}

// publishRoutes is publish for a state that differs from that of prev in routes alone, which were
// applied at run time: they are exchanged in the table, and all else is shared. It
// returns whether it could be done so. n.mu is held.
func (n *Node) publishRoutes(prev *Snapshot, st *state.State) bool {
	gone, more, ok := state.RouteChanges(prev.State, st)
	if !ok {
		return false
	}
	table, ok := routespec.With(prev.gateway, gone, more)
	if !ok {
		return false
	}
	n.current.Store(prev.withRoutes(table, st))
	n.reportUnused(st)
	return true
}

// publishOverrides is publishRoutes for a state that differs in what operators have said of members: pools
// whose members that is of are made anew. n.mu is held.
func (n *Node) publishOverrides(prev *Snapshot, st *state.State) bool {
	pools, ok := state.OverrideChanges(prev.State, st)
	if !ok {
		return false
	}
	n.overrides.Take(st.Resources().Overrides)
	next := prev.withRoutes(prev.gateway, st)
	n.current.Store(next)
	for _, name := range pools {
		n.remake(next, name)
	}
	n.reportUnused(st)
	return true
}

// followed takes over an update of the store: save, then swap.
func (n *Node) followed(u store.Update) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.problem(problems.StoreLost, "", "")
	before := n.current.Load()
	st, effects := u.ApplyTo(before.State)
	if u.Revision != n.saved {
		if err := n.snapshots.Save(st.Revision(), st.Encode()); err != nil {
			n.problem(problems.SnapshotFailed, "", fmt.Sprintf("a start without the store would miss the last changes: %v", err))
		} else {
			n.problem(problems.SnapshotFailed, "", "")
			n.saved = st.Revision()
		}
	}
	switch {
	case slices.ContainsFunc(effects, func(e state.Effect) bool { return e.Outcome != state.Unchanged }):
		if n.publishRoutes(before, st) || n.publishOverrides(before, st) {
			break
		}
		if err := n.publish(before.Config, st); err != nil {
			n.problem(problems.StoreLost, "", fmt.Sprintf("what was applied at revision %d is not in use, what was before it is: %v", u.Revision, err))
			next := *before
			next.State = st
			n.current.Store(&next)
		}
	case u.Reset: // to what it was, perhaps at the revision of another store
		next := *before
		next.State = st
		n.current.Store(&next)
	}
	for _, e := range effects {
		n.log.Info("object applied", "object", e.Ref.String(), "outcome", string(e.Outcome), "revision", u.Revision)
	}
	n.applied.reached(u.Revision)
}

// Apply puts the pools, steered names and routes of a YAML document into the
// store, and returns when they are on disk and answered by.
func (n *Node) Apply(ctx context.Context, document []byte) (api.Applied, error) {
	resources, err := config.ParseResources("document", document)
	if err != nil {
		return api.Applied{}, &api.Refused{Status: http.StatusUnprocessableEntity, Err: err}
	}
	var writes []store.Write
	for _, r := range resources.All() {
		writes = append(writes, store.PutWrite(r, store.Any))
	}
	if len(writes) == 0 {
		return api.Applied{}, &api.Refused{Status: http.StatusUnprocessableEntity, Err: errors.New("the document has no pools, steer or routes")}
	}
	return n.commit(ctx, writes...)
}

// Delete takes an object out of the store.
func (n *Node) Delete(ctx context.Context, kind, name string) (api.Applied, error) {
	k, err := state.ParseKind(kind)
	if err != nil {
		return api.Applied{}, &api.Refused{Status: http.StatusBadRequest, Err: err}
	}
	ref := state.Ref{Kind: k, Name: name}
	if _, there := n.current.Load().State.Object(ref); !there {
		return api.Applied{}, &api.Refused{Status: http.StatusNotFound, Err: fmt.Errorf("no %s was applied; \"pharos get\" shows what was", ref)}
	}
	return n.commit(ctx, store.DeleteWrite(ref, store.Any))
}

func (n *Node) commit(ctx context.Context, writes ...store.Write) (api.Applied, error) {
	select { // one after the other, so that each is looked at beside what was before it
	case n.applied.turn <- struct{}{}:
		defer func() { <-n.applied.turn }()
	case <-ctx.Done():
		return api.Applied{}, fmt.Errorf("nothing was changed: another change was still being made: %w", ctx.Err())
	}
	s := n.store.Load()
	if s == nil {
		return api.Applied{}, &api.Refused{Status: http.StatusServiceUnavailable, Err: fmt.Errorf("the store is %s, so nothing can be changed at run time; \"pharos status\" shows why", n.storeStatus())}
	}
	if err := n.rehearse(writes); err != nil {
		return api.Applied{}, &api.Refused{Status: http.StatusUnprocessableEntity, Err: fmt.Errorf("%w: %w", store.ErrRefused, err)}
	}
	revision, effects, err := s.Commit(ctx, n.current.Load().State, writes...)
	switch {
	case errors.Is(err, store.ErrRefused), errors.Is(err, store.ErrConflict):
		return api.Applied{}, &api.Refused{Status: http.StatusUnprocessableEntity, Err: err}
	case err != nil:
		return api.Applied{}, &api.Refused{Status: http.StatusServiceUnavailable, Err: err}
	}
	if err := n.applied.wait(ctx, revision); err != nil {
		return api.Applied{}, fmt.Errorf("committed at revision %d, but not yet answered by: %w", revision, err)
	}
	applied := api.Applied{Revision: n.current.Load().Revision}
	for _, e := range effects {
		if e.Outcome != state.Unchanged {
			applied.Changed = append(applied.Changed, e.String())
		}
	}
	return applied, nil
}

// rehearse reports why routes would make no table, which the store, that looks at each by itself,
// does not. What it says of the others comes before that.
func (n *Node) rehearse(writes []store.Write) error {
	if !slices.ContainsFunc(writes, func(w store.Write) bool { return w.Kind == state.KindRoute }) {
		return nil
	}
	changes := make([]state.Change, len(writes))
	for i := range writes {
		changes[i] = writes[i].Change
	}
	s := n.current.Load()
	next, _, err := s.State.Validate(changes...)
	if err != nil {
		return nil
	}
	return routespec.Check(s.gateway, s.State, next)
}

// storeStatus says how the store is, in a word or a sentence.
func (n *Node) storeStatus() string {
	s := n.store.Load()
	switch {
	case !n.current.Load().Config.Store.Enabled:
		return "off"
	case s == nil:
		return "not open"
	}
	select {
	case <-s.Done():
		return fmt.Sprint(s.Err())
	case <-s.Ready():
		return "ready"
	default:
		return "starting"
	}
}

// revisions is how far the store's changes have been taken over.
type revisions struct {
	turn chan struct{} // who makes a change has put something into it

	mu      sync.Mutex // guards all below
	at      int64
	waiting map[chan struct{}]int64 // closed when at reaches the number
}

func (r *revisions) reached(revision int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = max(r.at, revision)
	for c, wanted := range r.waiting {
		if wanted <= r.at {
			close(c)
			delete(r.waiting, c)
		}
	}
}

func (r *revisions) wait(ctx context.Context, revision int64) error {
	r.mu.Lock()
	if r.at >= revision {
		r.mu.Unlock()
		return nil
	}
	if r.waiting == nil {
		r.waiting = make(map[chan struct{}]int64)
	}
	c := make(chan struct{})
	r.waiting[c] = revision
	r.mu.Unlock()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.waiting, c)
		return ctx.Err()
	}
}
