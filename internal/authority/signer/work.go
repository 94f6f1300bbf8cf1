package signer

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/kasp"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

const (
	// retry is when work that failed is tried again.
	retry = time.Minute
	// longest is when a zone is looked at again at the latest, so that time that
	// passes is counted and on disk.
	longest = time.Hour
	// renewBatch is how many names get new signatures in one version: so many that
	// a version of a large zone is worth it, and none takes more than a second.
	renewBatch = 20000
	// saveAtOnce is the size of a zone, in octets of memory, up to which every signed
	// version is on disk before it is published: some 10 ms of work. Larger ones
	// follow saveDelay later, unless they are the first with other keys. After a crash in
	// between the version on disk is served until what had changed since is signed again,
	// under a serial behind all that were published.
	saveAtOnce = 4 << 20
	saveDelay  = 5 * time.Second
	// reserve is how many serials are set aside for versions that are not on disk.
	reserve = 1000
	// journalLimit is the memory for the differences of signed versions of one zone
	// that the caller takes over.
	journalLimit = 16 << 20
)

// pass brings a zone up to date with its source, its policy and the time, and
// returns when to look again.
func (s *Signers) pass(e *entry) time.Duration {
	e.work.Lock()
	defer e.work.Unlock()
	next, err := s.advance(e)
	if s.ctx.Err() != nil {
		return longest // cut off by Close
	}
	s.mu.Lock()
	problem := ""
	if err != nil {
		problem = err.Error()
		s.counts.Failed++
		next = retry
	} else if e.unkept != nil {
		problem = "it is served, but what is served is not on disk: " + e.unkept.Error()
	}
	news := e.state.Problem != problem
	e.state.Problem = problem
	s.mu.Unlock()
	s.describe(e)
	if news && err != nil {
		s.config.Log.Warn("zone cannot be signed as it should", "zone", e.name.String(), "error", err)
	}
	s.config.Trouble(e.name)
	return min(next, longest)
}

// advance is one pass: keys, state, signatures, publication.
func (s *Signers) advance(e *entry) (time.Duration, error) {
	if e.machine == nil {
		return 0, s.reload(e)
	}
	s.mu.Lock()
	settings, source, found := e.settings, e.source, e.facts
	e.facts.parent = nil
	s.mu.Unlock()
	now, _ := s.clock.read()
	plan, err := s.plan(e, settings, found, now)
	if err != nil {
		return 0, err
	}
	s.purge(e, plan.Purge)
	if err := s.publish(e, settings, source, plan, now); err != nil {
		e.due = time.Time{} // look for what is due again
		return 0, err
	}
	s.watchLater(e, settings)
	next := longest
	if plan.Wait > 0 {
		next = min(next, plan.Wait)
	}
	if !e.unsaved.IsZero() {
		next = min(next, s.delay)
	}
	for _, at := range []time.Time{e.due, e.fresh} {
		if !at.IsZero() {
			next = min(next, max(at.Sub(now), time.Second))
		}
	}
	return next, nil
}

// reload tries to read what could not be read at the start.
func (s *Signers) reload(e *entry) error {
	s.mu.Lock()
	settings := e.settings
	s.mu.Unlock()
	fresh := &entry{name: e.name, folder: e.folder}
	if err := s.load(fresh, &settings); err != nil {
		return err
	}
	e.machine, e.record, e.book = fresh.machine, fresh.record, fresh.book
	s.kick(e)
	return nil
}

// plan takes the steps that may be taken, makes keys, and puts on disk what is
// planned, before any of it is published.
func (s *Signers) plan(e *entry, settings Settings, found facts, now time.Time) (kasp.Plan, error) {
	e.machine.SetPolicy(settings.Policy)
	f := kasp.Facts{Shown: e.shown(found.servers), DataTTL: e.signed.dataTTL, Parent: found.parent, Offline: e.offline(settings, now)}
	t := clock.Now()
	if !e.last.IsZero() {
		f.Passed = t.Sub(e.last) // both have a monotonic reading
	}
	e.last = t
	if found.parent != nil {
		e.record.ParentAt = found.at.Round(0)
	}
	if e.signed.zone == nil { // the first step needs to know what may be cached unsigned
		f.DataTTL = s.sourceTTL(e)
	}
	for {
		plan := e.machine.Step(now, f)
		if len(plan.Generate) > 0 && e.disk == "" { // so that no key is ever found without a state
			if err := s.save(e, settings); err != nil {
				return plan, err
			}
		}
		for _, k := range plan.Generate {
			if err := s.generate(e, k, now); err != nil {
				return plan, err
			}
		}
		if len(plan.Generate) == 0 {
			return plan, s.save(e, settings)
		}
		f.Passed, f.Parent = 0, nil
	}
}

func (s *Signers) sourceTTL(e *entry) time.Duration {
	s.mu.Lock()
	z := e.source.Zone
	s.mu.Unlock()
	return longestTTL(z)
}

func longestTTL(z *zone.Zone) time.Duration {
	var most rdata.TTL
	if z != nil {
		for r := range z.Records() {
			most = max(most, r.TTL)
		}
	}
	return time.Duration(most) * time.Second
}

// saveEvery is how often the time that has passed is written: after a crash, waits
// begin again where they were then.
const saveEvery = time.Minute

// save puts the state on disk, if it is not so there.
func (s *Signers) save(e *entry, settings Settings) error {
	e.record.Memory, e.record.Settings = e.machine.Memory(), settings
	text, err := steadyText(e.record)
	if err != nil || text == e.disk && clock.Since(e.savedAt) < saveEvery {
		return err
	}
	if err := saveRecord(e.folder, e.record); err != nil {
		return fmt.Errorf("the state of its keys cannot be written, so nothing is changed: %w", err)
	}
	e.disk, e.savedAt = text, clock.Now()
	return nil
}

// steadyText returns r as text without what time alone changes.
func steadyText(r *record) (string, error) {
	steady := *r
	steady.Memory = steady.Memory.WithoutTimes()
	text, err := json.Marshal(&steady)
	return string(text), err
}

// params returns how the plan has the zone signed, and a text that is the same only
// if nothing in it has changed.
func (s *Signers) params(e *entry, settings Settings, plan kasp.Plan) (sign.Params, string, error) {
	p := sign.Params{NSEC3: settings.NSEC3, Live: settings.Live, Exported: settings.Exported, ZONEMD: settings.ZONEMD, KeyTTL: settings.KeyTTL, RemoveDS: plan.DeleteDS, Lifetime: settings.Life, Jitter: settings.Jitter, Refresh: settings.Renew}
	setup := fmt.Sprintf("%v %v %v %v;", settings.NSEC3, settings.KeyTTL, plan.DeleteDS, settings.Life)
	if settings.Live {
		setup = "live " + setup
	}
	if settings.Exported {
		setup = "exported " + setup
	}
	if settings.NSEC3 != nil {
		setup = fmt.Sprintf("%+v", *settings.NSEC3) + setup
	}
	if len(settings.ZONEMD) > 0 {
		setup = fmt.Sprintf("zonemd %d ", settings.ZONEMD) + setup
	}
	uses := map[kasp.ID]*sign.Use{}
	use := func(id kasp.ID) *sign.Use {
		if uses[id] == nil {
			uses[id] = new(sign.Use)
		}
		return uses[id]
	}
	for _, k := range plan.Keys {
		use(k.ID).Publish = true
	}
	for _, k := range plan.CDS {
		use(k.ID).Parent = true
	}
	for _, id := range plan.KeySigners {
		use(id).SignKeys = true
	}
	for _, id := range plan.Signers {
		use(id).SignZone = true
	}
	for _, k := range e.machine.Memory().Keys {
		u := uses[k.ID]
		if u == nil {
			continue
		}
		var err error
		if (u.SignKeys || u.SignZone) && !k.Offline {
			u.Key, err = s.privateKey(e, &k)
		} else {
			u.Key, err = sign.NewPublicKey(k.DNSKEY)
		}
		if err != nil {
			return p, "", err
		}
		p.Keys = append(p.Keys, *u)
		setup += fmt.Sprintf("%d %v %v %v %v;", k.ID, u.Publish, u.SignKeys, u.SignZone, u.Parent)
	}
	return p, setup, nil
}

// order is a signed version to be made.
type order struct {
	source  journal.Version
	plan    kasp.Plan
	params  sign.Params
	setup   string         // keys and parameters, as text
	due     []dnsname.Name // whose signatures have to be renewed
	now     time.Time
	steered []string // names of the source, each with how
}

// publish makes the signed version that is wanted now, if there is not that already,
// and has it served.
func (s *Signers) publish(e *entry, settings Settings, source journal.Version, plan kasp.Plan, now time.Time) error {
	if plan.Generation == 0 || source.Zone == nil {
		return nil
	}
	if !e.unsaved.IsZero() && clock.Since(e.unsaved) >= s.delay {
		s.saveLater(e)
	}
	params, setup, err := s.params(e, settings, plan)
	params.Signatures, e.fresh = e.fromElsewhere(settings, plan, now)
	if err != nil {
		return err
	}
	if e.signed.from == nil {
		s.adopt(e, source.Zone, setup)
		s.setLive(e, params)
	}
	var due []dnsname.Name
	if e.signed.zone != nil && len(plan.Signers) > 0 && (e.due.IsZero() || !now.Before(e.due)) {
		if due, e.due, err = sign.Due(e.signed.zone, params, now, renewBatch); err != nil {
			return err
		}
	}
	if e.signed.zone != nil && lacks(e.signed.zone, params.Signatures) && !slices.Contains(due, e.name) {
		due = append(due, e.name)
	}
	isSame := e.signed.zone != nil && e.signed.from == source.Zone && e.signed.setup == setup && !e.stale
	if isSame && len(due) == 0 {
		if e.signed.generation != plan.Generation { // nothing that anybody sees has changed
			return s.present(e, e.signed, plan, settings)
		}
		return nil
	}
	steered := e.signed.steered
	if e.signed.from != source.Zone {
		steered = steeredNames(source.Zone)
	}
	next, err := s.sign(e, order{source, plan, params, setup, due, now, steered})
	if err != nil {
		return err
	}
	next.setup, next.generation, next.from, next.steered = setup, plan.Generation, source.Zone, steered
	s.setLive(e, params)
	if err := s.present(e, next, plan, settings); err != nil {
		return err
	}
	switch {
	case len(plan.Signers) == 0:
		e.due = time.Time{}
	case len(due) >= renewBatch:
		e.due = now
	case e.due.IsZero():
		_, e.due, err = sign.Due(e.signed.zone, params, now, 1)
	}
	return err
}

// setLive keeps the keys that live answers are signed with.
func (s *Signers) setLive(e *entry, params sign.Params) {
	var live []*sign.Key
	for _, u := range params.Keys {
		if u.SignZone {
			live = append(live, u.Key)
		}
	}
	s.mu.Lock()
	e.live = live
	s.mu.Unlock()
}

// adopt finds out whether a signed version that was read from disk is that of z, so
// that a restart signs nothing.
func (s *Signers) adopt(e *entry, z *zone.Zone, setup string) {
	if e.signed.zone == nil || e.signed.from != nil || e.signed.setup != setup {
		return
	}
	if e.signed.sum == journal.SumOf(z) && slices.Equal(e.signed.steered, steeredNames(z)) {
		e.signed.from = z
	}
}

func steeredNames(z *zone.Zone) []string {
	var all []string
	if !z.MaySteer() {
		return nil
	}
	for n := range z.Nodes() {
		if z.IsSteered(n) {
			all = append(all, z.Name(n).String()+" "+z.Steering(n).String())
		}
	}
	return all
}

// present puts a signed version on disk, or makes sure that a crash cannot lead to
// an older serial, and has it served.
func (s *Signers) present(e *entry, next signed, plan kasp.Plan, settings Settings) error {
	_, _, size := next.zone.Stats()
	serial := next.zone.Serial()
	later := size > s.atOnce || e.saving
	if next.generation != e.signed.generation {
		// Other keys: what is on disk must never be older than them, or after a crash a
		// version would be served that no DS record of the parent leads to.
		if later = false; e.saving {
			<-e.written
		}
	}
	if e.record.Firsts == nil || e.record.Firsts[len(e.record.Firsts)-1].Generation != plan.Generation {
		e.record.Firsts = append(e.record.Firsts, first{plan.Generation, serial})
	}
	if later && (e.record.Saved || !serial.Less(e.record.Reserved)) {
		e.record.Saved, e.record.Reserved = false, serial+reserve
	}
	if !later {
		e.record.Serial = serial // else it is Reserved that counts
	}
	previous, since := e.signed, e.unsaved
	if e.signed = next; e.unsaved.IsZero() {
		e.unsaved = clock.Now()
	}
	err := s.save(e, settings)
	if err == nil && !later {
		err = s.saveSigned(e)
	}
	if err != nil {
		e.signed, e.unsaved = previous, since
		return err
	}
	e.stale = false
	s.mu.Lock()
	e.version, e.managed = journal.Version{Zone: next.zone, Journal: next.journal}, true
	s.mu.Unlock()
	s.config.Log.Debug("zone signed", "zone", e.name.String(), "serial", uint32(serial), "generation", plan.Generation)
	s.config.Publish(e.name)
	return nil
}

// saveLater puts the version signed last on disk, beside whatever else is done
// meanwhile. e.work is held.
func (s *Signers) saveLater(e *entry) {
	if e.saving {
		return
	}
	e.saving = true
	what, written := e.signed, make(chan struct{})
	e.written = written
	s.wait.Go(func() { // ends when it is written
		err := s.writeSigned(e.folder, what)
		close(written)
		e.work.Lock()
		defer e.work.Unlock()
		e.saving = false
		switch {
		case err == nil && e.signed.zone == what.zone:
			err = s.noteSaved(e)
		case err == nil:
			e.unsaved = clock.Now() // a newer version waits
		}
		if err != nil && e.unkept == nil { // told once, and shown until it is over
			s.config.Log.Error("a signed version could not be kept", "zone", e.name.String(), "error", err)
		}
		e.unkept = err
	})
}

// saveSigned puts the version signed last on disk, if it is not there.
func (s *Signers) saveSigned(e *entry) error {
	if e.unsaved.IsZero() || e.signed.zone == nil {
		return nil
	}
	if err := s.writeSigned(e.folder, e.signed); err != nil {
		return err
	}
	return s.noteSaved(e)
}

// noteSaved takes note that the version signed last is on disk.
func (s *Signers) noteSaved(e *entry) error {
	e.unsaved, e.unkept = time.Time{}, nil
	if e.record.Saved {
		return nil
	}
	e.record.Saved, e.record.Serial = true, e.signed.zone.Serial()
	return s.save(e, e.record.Settings)
}

func (s *Signers) writeSigned(folder string, v signed) error {
	a := about{Setup: v.setup, Generation: v.generation, DataTTL: v.dataTTL, Source: v.sum, Steered: v.steered}
	if v.from != nil {
		a.Source = journal.SumOf(v.from)
	}
	key, err := saveCopy(folder, a, v.zone)
	if err != nil {
		return fmt.Errorf("the signed version cannot be written: %w", err)
	}
	if s.config.Images != nil {
		s.config.Images.Put(v.zone, key)
	}
	return nil
}

// shown returns the newest generation that all servers show.
func (e *entry) shown(servers []Server) uint64 {
	if len(servers) == 0 {
		return 0
	}
	var newest uint64
	for _, f := range e.record.Firsts {
		if !slices.ContainsFunc(servers, func(v Server) bool { return v.Err != nil || v.Serial.Less(f.Serial) }) {
			newest = f.Generation
		}
	}
	for len(e.record.Firsts) > 1 && e.record.Firsts[1].Generation <= newest {
		e.record.Firsts = e.record.Firsts[1:]
	}
	return newest
}
