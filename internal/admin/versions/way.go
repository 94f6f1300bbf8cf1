// Package versions is the way of a version of a zone, from where it comes to what is served:
//
//	source   a master file, or a keeper: a driver whose versions come and go by
//	         themselves, and that has the zone served again when they do
//	steer    the steered names of the zone are marked in it, and if other servers
//	         may get it, it has their present answers
//	stages   each may put another version in its place, or refuse it
//	gate     may this go live beside what is served now? See gate.go
//	served   a Zone, in the next snapshot; with what led to it, for IXFR
//
// It does not know which zones there are, nor when their sources have changed.
//
// Entry points: Way.Serve; ID and ParseID, which are how people call zones.
//
// Concurrency: a Way and the Zone that is made belong to one goroutine; a Zone that is
// made is immutable. All of it is quick. What takes long (signing, asking others) is given
// to a driver: its stage goes on with what the driver has now.
package versions

import (
	"errors"
	"fmt"
	"slices"

	"pharos/internal/admin/config"
	"pharos/internal/admin/settings"
	"pharos/internal/authority/exports"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/ledger"
	"pharos/internal/authority/masterfile"
	"pharos/internal/authority/serials"
	"pharos/internal/authority/steered"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/steer"
)

// Keepers are where versions come from, by the kind of zone. Kind file has none.
type Keepers map[string]func(dnsname.Name) journal.Version

// Stage is one step of the way. For one version it returns the same result again
// until something has changed. With an error, what was served before is served on.
type Stage func(c *config.Zone, old *Zone, v journal.Version) (journal.Version, error)

// Way is what versions of zones meet on their way. It is made for one snapshot; its parts may be nil.
type Way struct {
	View   string // whose zones they are; empty outside of views
	Kept   Keepers
	Stages []Stage
	Images *masterfile.Images
	Read   *masterfile.Loaded // of the zone that is made; else it is as it was

	Journals  *ledger.Journals // what led to versions, on disk
	Journaled *journal.Budget  // and in memory

	Accepted map[dnsname.Name]rdata.Serial    // what an operator lets pass now
	Serials  *serials.Memory                  // that were served before the start
	Raise    func(dnsname.Name, rdata.Serial) // the serial of a zone of kind store
	Rules    *Rules
	Remarks  *Remarks // of the zone that is made; see Zone.slim

	Exports *exports.Driver // of answers from pools; nil while nothing is served
	Steered *steer.Table    // of the snapshot that is compiled
}

// Serve returns the zone of c as it is to be served now, which is old if nothing
// has changed.
func (w *Way) Serve(cfg *config.Config, c *config.Zone, marks []steered.Mark, old *Zone) *Zone {
	if old != nil && old.Kind != c.Kind {
		old = nil
	}
	s := w.source(c, old)
	s.View = w.View
	s.Err, s.Warnings = s.sourceErr, slices.Clone(s.sourceWarnings)
	s.Zone, s.Journal, s.Steered = nil, nil, steered.Joined(marks)
	if s.source.Zone != nil {
		w.advance(c, s, marks, old)
	}
	if s.sourceErr != nil && s.Err != s.sourceErr { // what is served on was refused, too, when it came
		s.Err = errors.Join(s.sourceErr, s.Err)
	}
	if isSame(s, old) {
		return old
	}
	defer s.slim()
	if len(c.Transfer) > 0 || len(c.Notify) > 0 {
		s.keepJournal(old, int(cfg.Transfers.Journal))
		w.keepOnDisk(s, old)
	}
	if s.Journal != nil || old != nil && old.Journal != nil {
		w.Journaled.Hold(s.ID(), s.Journal, int(cfg.Transfers.Journals))
	}
	return s
}

// isSame reports whether nothing that anybody sees is different in s.
func isSame(s, old *Zone) bool {
	return old != nil && s.Zone == old.Zone && s.source == old.source && s.Steered == old.Steered &&
		slices.Equal(s.Stamps, old.Stamps) && fmt.Sprint(s.Err) == fmt.Sprint(old.Err)
}

// source returns the zone with its source's version, not yet served.
func (w *Way) source(c *config.Zone, old *Zone) *Zone {
	if c.Kind != "file" {
		s := &Zone{Name: c.Name, Kind: c.Kind, loaded: clock.Now().UnixNano(), Remarks: w.Remarks}
		*s.Remarks = Remarks{}
		if keeper := w.Kept[c.Kind]; keeper != nil {
			s.source = keeper(c.Name)
		}
		if old != nil && old.source.Zone == s.source.Zone {
			s.loaded = old.loaded
		}
		return s
	}
	if old != nil && old.File == c.File && w.Read == nil {
		return old.again(w.Remarks)
	}
	read := w.Read
	if read == nil {
		read = w.Images.Load(masterfile.Wanted{Origin: c.Name, File: c.File, Limits: settings.Reading(c)})
	}
	s := fromFile(c, read.Source, w.Remarks)
	if read.Err != nil {
		s.sourceErr = fmt.Errorf("zone %s: %w", c.Name, read.Err)
	}
	if s.sourceErr != nil && old != nil {
		s.source, s.sourceWarnings, s.loaded = old.source, old.sourceWarnings, old.loaded
	}
	return s
}

// advance takes the source's version of s to what is served. If a stage refuses
// it, what was served before is served on.
func (w *Way) advance(c *config.Zone, s *Zone, marks []steered.Mark, old *Zone) {
	v := s.source
	if old != nil {
		s.steered = old.steered
	}
	v.Zone = s.steered.Apply(v.Zone, s.Steered, marks)
	v, err := w.export(c, v, marks)
	if err != nil {
		s.refuse(old, err)
		return
	}
	for _, run := range w.Stages {
		if v, err = run(c, old, v); err != nil {
			s.refuse(old, err)
			return
		}
	}
	if err := w.pass(c, s, old, v); err != nil {
		s.refuse(old, err)
		return
	}
	s.Zone, s.Journal = v.Zone, v.Journal
}

// refuse leaves what was served before.
func (s *Zone) refuse(old *Zone, err error) {
	s.Err = fmt.Errorf("zone %s: %w", s.Name, err)
	if old != nil {
		s.Zone, s.loaded, s.Journal = old.Zone, old.loaded, old.Journal
	}
}

// export returns the version of a zone that other servers get: with the present answers of
// its steered names, which other versions follow as these change.
func (w *Way) export(c *config.Zone, v journal.Version, names []steered.Mark) (journal.Version, error) {
	if w.Exports == nil {
		return v, nil
	}
	var answers []steered.Present
	for _, m := range names {
		if rule := w.Steered.Find(m.Name); rule != nil && settings.IsExported(c) {
			answers = append(answers, steered.PresentOf(rule))
		}
	}
	return w.Exports.Stage(c.Name, v, answers)
}
