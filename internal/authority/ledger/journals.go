package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
)

// Journals keeps on disk what led to the versions of zones that come from elsewhere (a
// file, a primary, the signer), so that IXFR goes on after a restart.
//
// They are for convenience: they are written behind the versions and without fsync. A
// journal counts only if its checksums fit and it leads to just the version that is
// served, by the sum of its records; else it is removed, and secondaries get the zone
// whole once.
//
//	FOLDER/ZONE.journal   a log file as of a ledger, whose entries have no author
//
// Concurrency: all methods may be called from anywhere. One goroutine writes; Close
// ends it. A version that comes while one of its zone waits takes its place.
type Journals struct {
	folder string
	limit  int
	log    *slog.Logger
	disk   disk

	wake chan struct{} // has room for one
	done chan struct{} // closed when the writing goroutine has ended

	mu      sync.Mutex // guards what follows
	waiting map[dnsname.Name]led
	saved   map[dnsname.Name]savedJournal
	closed  bool
}

// led is a version and what led to it.
type led struct {
	zone    *zone.Zone
	journal *journal.Journal
}

// savedJournal is what is in the file of a zone.
type savedJournal struct {
	last *journal.Difference
	sum  uint64 // of the version that it leads to
	salt uint32
	end  int64
}

// OpenJournals returns the journals in a folder, each of which takes limit octets of
// memory, and about twice that of disk.
func OpenJournals(folder string, limit int, log *slog.Logger) *Journals {
	return openJournals(folder, limit, log, osDisk{})
}

func openJournals(folder string, limit int, log *slog.Logger, d disk) *Journals {
	j := &Journals{
		folder: folder, limit: limit, log: log, disk: d, wake: make(chan struct{}, 1), done: make(chan struct{}),
		waiting: map[dnsname.Name]led{}, saved: map[dnsname.Name]savedJournal{},
	}
	go j.write() // ends with Close
	return j
}

func (j *Journals) path(name dnsname.Name) string {
	return filepath.Join(j.folder, name.FileName()+".journal")
}

// Load returns what led to z, or nil.
func (j *Journals) Load(z *zone.Zone) *journal.Journal {
	path := j.path(z.Origin())
	b, err := readFile(j.disk, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var entries []*journal.Entry
	var place savedJournal
	if err == nil {
		entries, place, err = decodeJournal(b, z.Origin())
	}
	last := len(entries) - 1
	switch {
	case err != nil:
		j.log.Warn("journal of a zone dropped: secondaries get the zone whole once", "zone", z.Origin().String(), "file", path, "error", err)
	case last < 0 || entries[last].Difference.To != z.Serial():
		j.log.Debug("journal of a zone does not lead to the version there is", "zone", z.Origin().String())
	case entries[last].Sum != journal.SumOf(z):
		j.log.Info("journal of a zone dropped: the zone has other records under the same serial", "zone", z.Origin().String(), "serial", uint32(z.Serial()))
	default:
		place.last, place.sum = entries[last].Difference, entries[last].Sum
		var list []*journal.Difference
		for _, e := range entries {
			list = append(list, e.Difference)
		}
		j.mu.Lock()
		j.saved[z.Origin()] = place
		j.mu.Unlock()
		var none *journal.Journal
		return none.Extend(j.limit, list...)
	}
	j.disk.Remove(path)
	return nil
}

// decodeJournal reads the file of a zone, all of it but what is cut off at its end, and
// returns where to go on.
func decodeJournal(b []byte, name dnsname.Name) (entries []*journal.Entry, place savedJournal, err error) {
	h, err := decodeHeader(b)
	if err != nil {
		return nil, place, err
	}
	frames := journal.ScanFrames(b[logHeader:], h.salt)
	if len(frames.Damage) > 0 {
		return nil, place, errDamaged
	}
	for _, payload := range frames.Payloads {
		e, err := journal.DecodeEntry(payload)
		if err != nil || e.Zone != name {
			return nil, place, errors.Join(errDamaged, err)
		}
		entries = append(entries, e)
	}
	return entries, savedJournal{salt: h.salt, end: logHeader + int64(frames.Tail.From)}, nil
}

// Save takes over what led to z, and returns before it is on disk.
func (j *Journals) Save(z *zone.Zone, what *journal.Journal) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return
	}
	j.waiting[z.Origin()] = led{z, what}
	select {
	case j.wake <- struct{}{}:
	default: // it is woken already
	}
}

// Close writes what waits.
func (j *Journals) Close() {
	j.mu.Lock()
	was := j.closed
	j.closed = true
	j.mu.Unlock()
	if !was {
		close(j.wake)
	}
	<-j.done
}

func (j *Journals) write() {
	defer close(j.done)
	for open := true; open; {
		_, open = <-j.wake
		j.mu.Lock()
		waiting := j.waiting
		j.waiting = map[dnsname.Name]led{}
		j.mu.Unlock()
		for name, v := range waiting {
			j.mu.Lock()
			s := j.saved[name]
			j.mu.Unlock()
			next, err := j.save(name, s, v)
			if err != nil {
				j.log.Warn("journal of a zone not kept on disk: after a restart secondaries get the zone whole", "zone", name.String(), "error", err)
				j.disk.Remove(j.path(name))
				next = savedJournal{}
			}
			j.mu.Lock()
			j.saved[name] = next
			j.mu.Unlock()
		}
	}
}

// save writes what led to a version: behind what there is, if it goes on from there.
func (j *Journals) save(name dnsname.Name, s savedJournal, v led) (savedJournal, error) {
	list := v.journal.All()
	if len(list) == 0 {
		if s.last == nil {
			return s, nil
		}
		return savedJournal{}, j.disk.Remove(j.path(name))
	}
	if list[len(list)-1].To != v.zone.Serial() {
		return s, fmt.Errorf("it leads to serial %d, the zone has %d", list[len(list)-1].To, v.zone.Serial())
	}
	at := slices.Index(list, s.last)
	if s.last == nil || at < 0 || s.end > 2*int64(j.limit) {
		return j.rewrite(name, v.zone, list)
	}
	list = list[at+1:]
	if len(list) == 0 {
		return s, nil
	}
	var b []byte
	for _, d := range list {
		s.sum = d.Shift(s.sum)
		b = journal.AppendFrame(b, s.salt, encodeDifference(name, d, s.sum))
	}
	f, err := j.disk.Open(j.path(name), os.O_RDWR)
	if err != nil {
		return s, err
	}
	defer f.Close()
	if err := f.Truncate(s.end); err != nil {
		return s, err
	}
	if _, err := f.WriteAt(b, s.end); err != nil {
		return s, err
	}
	s.end += int64(len(b))
	s.last = list[len(list)-1]
	return s, nil
}

// rewrite writes the file of a zone anew. Only the last sum is ever looked at.
func (j *Journals) rewrite(name dnsname.Name, z *zone.Zone, list []*journal.Difference) (savedJournal, error) {
	s := savedJournal{last: list[len(list)-1], sum: journal.SumOf(z), salt: newSalt(), end: logHeader}
	if err := os.MkdirAll(j.folder, 0o700); err != nil {
		return s, err
	}
	err := writeWhole(j.disk, j.path(name), func(f file) error {
		if _, err := f.WriteAt(header{salt: s.salt}.encode(), 0); err != nil {
			return err
		}
		for _, d := range list {
			b := journal.AppendFrame(nil, s.salt, encodeDifference(name, d, s.sum))
			if _, err := f.WriteAt(b, s.end); err != nil {
				return err
			}
			s.end += int64(len(b))
		}
		return nil
	})
	return s, err
}

func encodeDifference(name dnsname.Name, d *journal.Difference, sum uint64) []byte {
	e := journal.Entry{Zone: name, Time: clock.Now(), Sum: sum, Difference: d}
	return e.Append(nil)
}
