package signer

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/kasp"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/zone"
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
	// follow saveDelay later, and after a crash in between what had changed is signed
	// again, under a serial behind all that were published.
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
	s.mu.Lock()
	problem := ""
	if err != nil {
		problem = err.Error()
		s.counts.Failed++
		next = retry
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
		next = min(next, saveDelay)
	}
	if !e.due.IsZero() {
		next = min(next, max(e.due.Sub(now), time.Second))
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
	e.machine, e.record = fresh.machine, fresh.record
	s.kick(e)
	return nil
}

// plan takes the steps that may be taken, makes keys, and puts on disk what is
// planned, before any of it is published.
func (s *Signers) plan(e *entry, settings Settings, found facts, now time.Time) (kasp.Plan, error) {
	e.machine.SetPolicy(settings.Policy)
	f := kasp.Facts{Shown: e.shown(found.servers), DataTTL: e.signed.dataTTL, Parent: found.parent}
	t := time.Now()
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
	if err != nil || text == e.disk && time.Since(e.savedAt) < saveEvery {
		return err
	}
	if err := saveRecord(e.folder, e.record); err != nil {
		return fmt.Errorf("the state of its keys cannot be written, so nothing is changed: %w", err)
	}
	e.disk, e.savedAt = text, time.Now()
	return nil
}

// steadyText returns r as text without what time alone changes.
func steadyText(r *record) (string, error) {
	steady := *r
	steady.Memory = steady.Memory.WithoutTimes()
	text, err := json.Marshal(&steady)
	return string(text), err
}

// generate makes a key, and takes it in when it is safe on disk.
func (s *Signers) generate(e *entry, k kasp.Key, now time.Time) error {
	const tries = 100 // of 65,536 tags a zone has a few
	for range tries {
		made, err := sign.Generate(k.Role.Flags(), k.Algorithm, 0)
		if err != nil {
			return err
		}
		if e.hasTag(made.Tag(), k.Algorithm) {
			continue
		}
		if err := s.writeKey(e, k.ID, made); err != nil {
			return err
		}
		if err := e.machine.Made(k.ID, made.RDATA(), now); err != nil {
			return err
		}
		e.keys[k.ID] = made
		s.config.Log.Info("key made", "zone", e.name.String(), "role", k.Role.String(), "tag", made.Tag(), "algorithm", sign.AlgorithmName(k.Algorithm))
		return nil
	}
	return fmt.Errorf("no new key with a tag of its own in %d tries", tries)
}

// hasTag reports whether a key with that tag is known: validators would confuse them.
func (e *entry) hasTag(tag uint16, algorithm uint8) bool {
	return slices.ContainsFunc(e.machine.Memory().Keys, func(k kasp.Key) bool {
		return k.Algorithm == algorithm && len(k.DNSKEY) > 0 && k.Tag() == tag
	})
}

func keyPath(folder string, id kasp.ID) string {
	return filepath.Join(folder, fmt.Sprintf("%d%s", id, keySuffix))
}

func keyFiles(folder string) []string {
	all, _ := filepath.Glob(filepath.Join(folder, "*"+keySuffix)) // the pattern is good
	return all
}

func (s *Signers) writeKey(e *entry, id kasp.ID, k *sign.Key) error {
	text, err := k.PEM()
	if err != nil {
		return err
	}
	sealer, err := s.config.Sealer()
	if err != nil {
		return err
	}
	err = writeFile(keyPath(e.folder, id), sealer.seal(e.name, uint32(id), k.RDATA(), text))
	clear(text)
	if err != nil {
		return fmt.Errorf("the private key cannot be written, so it is not used: %w", err)
	}
	return nil
}

// privateKey returns a key with its private half, from disk when it is first needed.
func (s *Signers) privateKey(e *entry, k *kasp.Key) (*sign.Key, error) {
	if have := e.keys[k.ID]; have != nil {
		return have, nil
	}
	path := keyPath(e.folder, k.ID)
	stat, err := os.Stat(path)
	if err == nil && stat.Size() > maxKeyFile {
		err = fmt.Errorf("it is larger than %d octets", maxKeyFile)
	}
	var file, text []byte
	var sealer *Sealer
	if err == nil {
		sealer, err = s.config.Sealer()
	}
	if err == nil {
		file, err = os.ReadFile(path)
	}
	if err == nil {
		text, err = sealer.open(e.name, uint32(k.ID), k.DNSKEY, file)
	}
	var key *sign.Key
	if err == nil {
		key, err = sign.ParsePEM(k.Role.Flags(), k.Algorithm, text)
		clear(text)
	}
	if err == nil && string(key.RDATA()) != string(k.DNSKEY) {
		err = fmt.Errorf("it is that of another key")
	}
	if err != nil {
		return nil, &KeyError{fmt.Errorf("the private key %d (%s) in %s cannot be used: %w; put the file back from a backup, or replace the key with \"pharos zone rollover\"; until then the zone is served with the signatures it has", k.Tag(), k.Role, path, err)}
	}
	e.keys[k.ID] = key
	return key, nil
}

// KeyError says that a private key cannot be used.
type KeyError struct{ Err error }

func (e *KeyError) Error() string { return e.Err.Error() }

// Unwrap is part of errors.As.
func (e *KeyError) Unwrap() error { return e.Err }

func (s *Signers) purge(e *entry, ids []kasp.ID) {
	for _, id := range ids {
		delete(e.keys, id)
		if err := os.Remove(keyPath(e.folder, id)); err != nil && !os.IsNotExist(err) {
			s.config.Log.Warn("a key that nobody needs could not be deleted", "zone", e.name.String(), "error", err)
		}
	}
}

// params returns how the plan has the zone signed, and a text that is the same only
// if nothing in it has changed.
func (s *Signers) params(e *entry, settings Settings, plan kasp.Plan) (sign.Params, string, error) {
	p := sign.Params{NSEC3: settings.NSEC3, KeyTTL: settings.KeyTTL, RemoveDS: plan.DeleteDS, Lifetime: settings.Life, Jitter: settings.Jitter, Refresh: settings.Renew}
	setup := fmt.Sprintf("%v %v %v %v;", settings.NSEC3, settings.KeyTTL, plan.DeleteDS, settings.Life)
	if settings.NSEC3 != nil {
		setup = fmt.Sprintf("%+v", *settings.NSEC3) + setup
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
		if u.SignKeys || u.SignZone {
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

// publish makes the signed version that is wanted now, if there is not that already,
// and has it served.
func (s *Signers) publish(e *entry, settings Settings, source journal.Version, plan kasp.Plan, now time.Time) error {
	if plan.Generation == 0 || source.Zone == nil {
		return nil
	}
	if !e.unsaved.IsZero() && time.Since(e.unsaved) >= saveDelay {
		if err := s.saveSigned(e); err != nil {
			return err
		}
	}
	params, setup, err := s.params(e, settings, plan)
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
	isSame := e.signed.zone != nil && e.signed.from == source.Zone && e.signed.setup == setup && !e.stale
	if isSame && len(due) == 0 {
		if e.signed.generation != plan.Generation { // nothing that anybody sees has changed
			return s.present(e, e.signed, plan, settings)
		}
		return nil
	}
	next, err := s.sign(e, source, params, plan, due, setup, now)
	if err != nil {
		return err
	}
	next.setup, next.generation, next.from = setup, plan.Generation, source.Zone
	s.setLive(e, params)
	if err := s.present(e, next, plan, settings); err != nil {
		return err
	}
	switch {
	case len(plan.Signers) == 0:
		e.due = time.Time{}
	case len(due) == renewBatch:
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
	for n := range z.Nodes() {
		if z.IsSteered(n) {
			all = append(all, z.Name(n).String())
		}
	}
	return all
}

// sign makes the next signed version.
func (s *Signers) sign(e *entry, source journal.Version, params sign.Params, plan kasp.Plan, due []dnsname.Name, setup string, now time.Time) (signed, error) {
	serial := e.nextSerial(source.Zone.Serial())
	params.Serial = &serial
	if len(plan.Signers) == 0 {
		z, err := unsigned(source.Zone, serial)
		return signed{zone: z, journal: s.journalOf(e, z), dataTTL: longestTTL(source.Zone)}, err
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-s.ctx.Done():
		return signed{}, s.ctx.Err()
	}
	if e.signed.setup == setup {
		if next, ok, err := s.update(e, source, params, due, now); ok || err != nil {
			return next, err
		}
	}
	work, err := sign.NewPlan(source.Zone, e.signed.zone, params, now)
	if err != nil {
		return signed{}, err
	}
	s.work(e, work)
	z, _, err := work.Finish()
	if err != nil {
		return signed{}, err
	}
	made, kept := work.Signatures()
	s.count(made, kept)
	return signed{zone: z, journal: s.journalOf(e, z), dataTTL: longestTTL(source.Zone)}, nil
}

func (s *Signers) count(made, kept int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Made += uint64(made)
	s.counts.Kept += uint64(kept)
	s.counts.Versions++
}

// work signs on all cores.
func (s *Signers) work(e *entry, work *sign.Plan) {
	s.mu.Lock()
	e.state.Progress = work.Progress
	s.mu.Unlock()
	var cores sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		cores.Go(work.Work)
	}
	stop := make(chan struct{})
	go func() { // ends with the work
		select {
		case <-s.ctx.Done():
			work.Stop()
		case <-stop:
		}
	}()
	cores.Wait()
	close(stop)
	s.mu.Lock()
	e.state.Progress = nil
	s.mu.Unlock()
}

// update makes the next version out of the one before, where little has changed. ok is
// false if that cannot be.
func (s *Signers) update(e *entry, source journal.Version, params sign.Params, due []dnsname.Name, now time.Time) (signed, bool, error) {
	old := e.signed
	if old.zone == nil || old.from == nil {
		return signed{}, false, nil
	}
	touched, ok := touchedNames(old.from, source)
	if !ok || !slices.Equal(steeredNames(old.from), steeredNames(source.Zone)) {
		return signed{}, false, nil
	}
	stripped, _ := sign.Strip(source.Zone)
	if stripped == nil {
		return signed{}, false, nil
	}
	change, err := sign.Update(sign.Revision{Old: old.zone, New: stripped, Touched: touched, Due: due}, params, now)
	if err != nil {
		return signed{}, false, nil // more has to change: the whole zone then
	}
	edit := old.zone.Edit()
	names := map[dnsname.Name]bool{}
	dataTTL := old.dataTTL
	made := 0
	for _, r := range change.Deleted {
		edit.Delete(r)
		names[r.Name] = true
	}
	for _, r := range change.Added {
		edit.Add(r)
		names[r.Name] = true
		dataTTL = max(dataTTL, time.Duration(r.TTL)*time.Second)
		if r.Type == rdata.TypeRRSIG {
			made++
		}
	}
	z, problems := edit.Finish()
	if z == nil {
		return signed{}, false, fmt.Errorf("the signed version cannot be served: %v", problems)
	}
	s.count(made, 0)
	return signed{zone: z, journal: s.journalAt(e, z, names), dataTTL: dataTTL}, true, nil
}

// touchedNames returns the names at which a source has changed since from.
func touchedNames(from *zone.Zone, source journal.Version) ([]dnsname.Name, bool) {
	if from == source.Zone {
		return nil, true
	}
	var names []dnsname.Name
	if list, ok := source.Journal.Since(from.Serial()); ok {
		for _, d := range list {
			for r := range d.Deleted() {
				names = append(names, r.Name)
			}
			for r := range d.Added() {
				names = append(names, r.Name)
			}
		}
		return names, true
	}
	journal.Compare(from, source.Zone, func(r rdata.Record, _ bool) bool {
		names = append(names, r.Name.Clone())
		return true
	})
	return names, true
}

// journalOf and journalAt return what led to z, for IXFR.
func (s *Signers) journalOf(e *entry, z *zone.Zone) *journal.Journal {
	if e.signed.zone == nil {
		return nil
	}
	_, _, size := z.Stats()
	d, _ := journal.Between(e.signed.zone, z, min(journalLimit, size))
	return e.signed.journal.With(d, journalLimit)
}

func (s *Signers) journalAt(e *entry, z *zone.Zone, names map[dnsname.Name]bool) *journal.Journal {
	if z.DenialType() == rdata.TypeNSEC3 { // whose owners are found by no question
		return s.journalOf(e, z)
	}
	var list []dnsname.Name
	for n := range names {
		list = append(list, n)
	}
	return e.signed.journal.With(journal.BetweenAt(e.signed.zone, z, list), journalLimit)
}

// unsigned returns z under another serial.
func unsigned(z *zone.Zone, serial rdata.Serial) (*zone.Zone, error) {
	z, problems := sign.Strip(z)
	if z == nil {
		return nil, fmt.Errorf("without signatures: %v", problems)
	}
	set, _ := z.RRset(z.Apex(), rdata.TypeSOA)
	data, _, _ := set.Record(0)
	soa := rdata.Record{Name: z.Origin(), Type: rdata.TypeSOA, Class: rdata.ClassIN, TTL: set.TTL, Data: data}
	edit := z.Edit()
	edit.Delete(soa)
	soa.Data = withSerial(data, serial)
	edit.Add(soa)
	next, problems := edit.Finish()
	if next == nil {
		return nil, fmt.Errorf("under serial %d: %v", serial, problems)
	}
	return next, nil
}

func withSerial(soa []byte, serial rdata.Serial) []byte {
	out := slices.Clone(soa)
	at := len(out) - 20
	out[at], out[at+1], out[at+2], out[at+3] = byte(serial>>24), byte(serial>>16), byte(serial>>8), byte(serial)
	return out
}

// nextSerial returns the serial of the next signed version; see the package comment.
func (e *entry) nextSerial(source rdata.Serial) rdata.Serial {
	last := e.record.Serial
	if e.signed.zone != nil {
		last = e.signed.zone.Serial()
	}
	if e.stale {
		last = e.record.Reserved
	}
	if e.signed.zone == nil && e.record.Firsts == nil {
		last = source // served as it is until now
	}
	if last.Less(source) {
		return source
	}
	return last + 1
}

// present puts a signed version on disk, or makes sure that a crash cannot lead to
// an older serial, and has it served.
func (s *Signers) present(e *entry, next signed, plan kasp.Plan, settings Settings) error {
	_, _, size := next.zone.Stats()
	serial := next.zone.Serial()
	later := size > saveAtOnce
	if e.record.Firsts == nil || e.record.Firsts[len(e.record.Firsts)-1].Generation != plan.Generation {
		e.record.Firsts = append(e.record.Firsts, first{plan.Generation, serial})
	}
	if later && (e.record.Saved || !serial.Less(e.record.Reserved)) {
		e.record.Saved, e.record.Reserved = false, serial+reserve
	}
	e.record.Serial = serial
	previous, since := e.signed, e.unsaved
	if e.signed = next; e.unsaved.IsZero() {
		e.unsaved = time.Now()
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

// saveSigned puts the version signed last on disk, if it is not there.
func (s *Signers) saveSigned(e *entry) error {
	if e.unsaved.IsZero() || e.signed.zone == nil {
		return nil
	}
	from := e.signed.from
	a := about{Setup: e.signed.setup, Generation: e.signed.generation, DataTTL: e.signed.dataTTL, Source: e.signed.sum, Steered: e.signed.steered}
	if from != nil {
		a.Source, a.Steered = journal.SumOf(from), steeredNames(from)
	}
	if err := saveCopy(e.folder, a, e.signed.zone); err != nil {
		return fmt.Errorf("the signed version cannot be written: %w", err)
	}
	e.unsaved = time.Time{}
	if !e.record.Saved {
		e.record.Saved, e.record.Serial = true, e.signed.zone.Serial()
		return s.save(e, e.record.Settings)
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
