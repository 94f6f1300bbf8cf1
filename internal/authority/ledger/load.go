package ledger

import (
	"errors"
	"fmt"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
)

// recover reads the commit logs that a crash has left.
func (l *Ledger) recover() error {
	all, problems, err := l.commits.read()
	if err != nil {
		return fmt.Errorf("ledger of zones: %w; start the version that wrote it, or restore the folder", err)
	}
	for name, of := range all {
		e := l.entryLocked(name)
		e.pending = of.entries
		for _, k := range of.entries {
			e.tailOctet += int64(len(k.payload))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	// What can be read of it counts; a zone of which something is missing says so
	// itself, for its entries do not join.
	for _, o := range l.commits.olds {
		l.setAside(l.commits.path(o.number))
	}
	text := fmt.Sprintf("changes that were acknowledged may be missing: %v; what can be read of them is served, the file is kept with the suffix .damaged", errors.Join(problems...))
	l.config.Log.Error("commit log damaged", "error", errors.Join(problems...))
	l.config.Problem(dnsname.Name{}, text)
	return nil
}

// setAside keeps a file under another name, for who wants to look at it.
func (l *Ledger) setAside(path string) string {
	aside := fmt.Sprintf("%s.damaged-%d", path, clock.Now().Unix())
	if err := l.disk.Link(path, aside); err != nil {
		l.config.Log.Warn("damaged file not set aside", "file", path, "error", err)
		return path
	}
	return aside
}

// load reads a zone from disk. What is wrong becomes its problem.
func (l *Ledger) load(e *entry) {
	e.files.Lock()
	defer e.files.Unlock()
	l.mu.Lock()
	if e.isLoaded {
		l.mu.Unlock()
		return
	}
	pending, initial := e.pending, e.settings.Initial
	l.mu.Unlock()
	s, lost := l.restore(e, pending)
	var problem string
	switch {
	case lost != nil && s.zone == nil:
		problem = fmt.Sprintf("zone %s: no version can be read: %v; restore the files, or import the zone anew", e.name, lost)
	case lost != nil:
		problem = fmt.Sprintf("zone %s: what came after serial %d of %s cannot be read, so that version is served: %v", e.name, s.zone.Serial(), s.changed.UTC().Format(time.DateTime), lost)
	case s.zone == nil && initial != nil:
		z, err := initial()
		if err == nil && z != nil {
			s, err = l.begin(e, z)
		}
		if err != nil {
			problem = fmt.Sprintf("zone %s: its first version cannot be made: %v", e.name, err)
		}
	}
	l.mu.Lock()
	e.isLoaded = problem == "" || lost != nil || s.zone != nil
	e.zone, e.version, e.sum, e.changed, e.by, e.journal = s.zone, s.version, s.sum, s.changed, s.by, s.journal
	e.baseSize, e.tailOctet, e.mustFold = s.baseSize, s.tail, lost != nil && s.zone != nil
	fold := e.mustFold
	l.mu.Unlock()
	if lost != nil {
		l.config.Log.Error("versions of a zone lost", "zone", e.name.String(), "error", lost)
		for _, suffix := range []string{".log", ".base"} {
			problem += "; " + l.setAside(l.path(e, suffix)) + " is kept"
		}
	}
	if fold {
		if err := l.fold(e, clock.Now()); err != nil {
			problem += fmt.Sprintf("; and it cannot be changed until it can be written: %v", err)
		}
	}
	l.say(e, problem)
}

// restored is what the files of a zone lead to.
type restored struct {
	zone     *zone.Zone
	version  uint64
	sum      uint64
	changed  time.Time
	by       string
	journal  *journal.Journal
	baseSize int64
	tail     int64
}

// restore goes from the base of a zone on by its entries. lost says that there was
// more, which cannot be read.
func (l *Ledger) restore(e *entry, pending []kept) (s restored, lost error) {
	logged, err := l.readLog(e)
	if err != nil {
		return s, err
	}
	isAhead := len(pending) > 0 && pending[len(pending)-1].version > e.log.last
	if logged.torn > 0 {
		l.config.Log.Info("end of a zone's log cut off: it was not written to its end", "zone", e.name.String(), "octets", logged.torn)
		// A commit log is removed when the logs of the zones are durable. So what could
		// not be written to its end is in a commit log, or was once written.
		if !isAhead {
			logged.blind, logged.damage = true, fmt.Errorf("%s: %w: its last %d octets are no entry", l.path(e, ".log"), errDamaged, logged.torn)
		}
	}
	b, there, baseProblem := l.loadBase(e)
	if !there {
		for _, k := range union(logged.entries, pending) {
			s.version = k.version // what is made anew comes after them
		}
		if s.version > 0 || baseProblem != nil || logged.damage != nil {
			return s, errors.Join(baseProblem, logged.damage, errors.New("there are changes, but no version to begin with"))
		}
		return s, nil
	}
	s = restored{zone: b.zone, version: b.version, sum: b.sum, changed: b.time, by: "", baseSize: b.size}
	at := make(map[uint64][]byte, len(logged.entries))
	newest := b.version
	for _, list := range [][]kept{logged.entries, pending} {
		for _, k := range list {
			at[k.version] = k.payload
			newest = max(newest, k.version)
		}
	}
	lost = l.replay(&s, at)
	switch {
	case lost == nil && s.version < newest:
		lost = fmt.Errorf("version %d is missing of %d", s.version+1, newest)
	case lost == nil && logged.blind && !isAhead && (s.version == e.log.last || e.log.last == 0):
		lost = errors.New("there may have been newer ones")
	}
	if lost != nil {
		lost = errors.Join(lost, baseProblem, logged.damage)
	} else if baseProblem != nil || logged.damage != nil {
		l.config.Log.Warn("damage in the files of a zone, of which nothing is lost but history", "zone", e.name.String(), "error", errors.Join(baseProblem, logged.damage))
	}
	s.journal = l.journalTo(s, at)
	if payload := at[s.version]; payload != nil {
		if last, err := journal.DecodeEntry(payload); err == nil {
			s.by = last.By
		}
	}
	return s, lost
}

// replay takes s as far as entries lead without a gap.
func (l *Ledger) replay(s *restored, at map[uint64][]byte) error {
	next := *s
	edit := s.zone.Edit()
	serial := s.zone.Serial()
	var failed error
	for at[next.version+1] != nil && failed == nil {
		payload := at[next.version+1]
		e, err := journal.DecodeEntry(payload)
		switch {
		case err != nil:
			failed = fmt.Errorf("version %d: %w", next.version+1, err)
		case e.Difference.From != serial || e.Difference.Shift(next.sum) != e.Sum:
			failed = fmt.Errorf("version %d does not follow from the version before it", e.Version)
		default:
			if err := e.Difference.Apply(edit); err != nil {
				return fmt.Errorf("version %d: %w", e.Version, err)
			}
			serial = e.Difference.To
			next.version, next.sum, next.changed = e.Version, e.Sum, e.Time
			next.tail += int64(len(payload))
		}
	}
	if next.version == s.version {
		return failed
	}
	z, problems := edit.Finish()
	if z == nil {
		return fmt.Errorf("version %d: %v", next.version, problems)
	}
	next.zone = z
	*s = next
	return failed
}

// journalTo returns the differences that lead to s, for IXFR.
func (l *Ledger) journalTo(s restored, at map[uint64][]byte) *journal.Journal {
	var list []*journal.Difference
	size := 0
	for v := s.version; at[v] != nil; v-- {
		e, err := journal.DecodeEntry(at[v])
		if err != nil || len(list) == 0 && e.Difference.To != s.zone.Serial() {
			break
		}
		if size += e.Difference.Size(); size > l.config.Journal {
			break
		}
		list = append(list, e.Difference)
	}
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	var none *journal.Journal
	return none.Extend(l.config.Journal, list...)
}

// begin makes z the first version of a zone.
func (l *Ledger) begin(e *entry, z *zone.Zone) (restored, error) {
	if err := l.judge(nil, z, nil); err != nil {
		return restored{}, err
	}
	now := clock.Now()
	b := base{zone: z, version: 1, sum: journal.SumOf(z), time: now}
	size, err := l.saveBase(e, b)
	if err != nil {
		return restored{}, err
	}
	return restored{zone: z, version: 1, sum: b.sum, changed: now, by: "file", baseSize: size}, nil
}
