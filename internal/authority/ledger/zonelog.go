package ledger

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"pharos/internal/authority/journal"
)

// zoneLog is what is known of the log of a zone. entry.files guards it.
type zoneLog struct {
	known bool // it was looked at
	// suspect: writing it has failed, and nobody knows what is durable of what can be
	// read. It is not gone on with, but written anew.
	suspect bool
	salt    uint32 // there is a file if it is not zero or end is not
	end     int64  // of what counts; 0: there is no file
	last    uint64 // the newest version in it; 0: none
}

// found is what is read from the log of a zone.
type found struct {
	entries []kept // in their order on disk
	torn    int    // octets behind the last entry
	damage  error
	blind   bool // nothing of it can be read, so nobody knows what was in it
}

// readLog reads the log of a zone and sets e.log. e.files is held.
func (l *Ledger) readLog(e *entry) (found, error) {
	var f found
	path := l.path(e, ".log")
	e.log = zoneLog{}
	b, err := readFile(l.disk, path)
	if errors.Is(err, fs.ErrNotExist) {
		e.log.known = true
		return f, nil
	}
	if err != nil {
		return f, err
	}
	h, err := decodeHeader(b)
	switch {
	case errors.Is(err, errFormat):
		return f, fmt.Errorf("%s: %w", path, err)
	case err != nil && len(b) <= logHeader:
		e.log.known = true // a crash while it was begun
		return f, nil
	case err != nil:
		e.log.suspect = true // it is not written over, for who wants to look at it
		f.damage, f.blind = fmt.Errorf("%s: %w", path, err), true
		return f, nil
	}
	frames := journal.ScanFrames(b[logHeader:], h.salt)
	for _, payload := range frames.Payloads {
		_, version, err := journal.PeekEntry(payload)
		if err != nil {
			f.damage = fmt.Errorf("%s: %w: %w", path, errDamaged, err)
			continue
		}
		f.entries = append(f.entries, kept{version, payload})
		e.log.last = version
	}
	if len(frames.Damage) > 0 {
		f.damage = fmt.Errorf("%s: %w: %d octets at offset %d are no entry", path, errDamaged, frames.Damage[0].To-frames.Damage[0].From, logHeader+frames.Damage[0].From)
	}
	e.log.known, e.log.salt, e.log.end, f.torn = true, h.salt, logHeader+int64(frames.Tail.From), frames.Tail.To-frames.Tail.From
	return f, nil
}

// union returns the entries of both lists by version; of one that both have, what is
// pending counts.
func union(logged, pending []kept) []kept {
	at := make(map[uint64]kept, len(logged)+len(pending))
	for _, list := range [][]kept{logged, pending} {
		for _, k := range list {
			at[k.version] = k
		}
	}
	return slices.SortedFunc(maps.Values(at), func(a, b kept) int { return cmp.Compare(a.version, b.version) })
}

// chainTo returns the entries that lead without a gap to a version, its own last.
func chainTo(version uint64, logged, pending []kept) []kept {
	all := union(logged, pending)
	end, found := slices.BinarySearchFunc(all, version, func(k kept, v uint64) int { return cmp.Compare(k.version, v) })
	if !found {
		return nil
	}
	first := end
	for first > 0 && all[first-1].version == all[first].version-1 {
		first--
	}
	return all[first : end+1]
}

// extend adds what is pending to the log of a zone. e.files is held.
func (l *Ledger) extend(e *entry, pending []kept) error {
	if e.log.suspect {
		logged, err := l.readLog(e)
		if err != nil {
			return err
		}
		return l.writeLog(e, union(logged.entries, pending))
	}
	path := l.path(e, ".log")
	f, err := l.disk.Open(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	defer f.Close()
	var b []byte
	isNew := e.log.end == 0
	salt := e.log.salt
	if isNew {
		salt = newSalt()
		b = header{salt: salt}.encode()
	}
	last := e.log.last
	for _, k := range pending {
		if k.version > last {
			b = journal.AppendFrame(b, salt, k.payload)
			last = k.version
		}
	}
	if size, err := f.Size(); err != nil {
		return err
	} else if size > e.log.end {
		if err := f.Truncate(e.log.end); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(b, e.log.end); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if isNew {
		if err := l.disk.SyncFolder(l.zonesFolder()); err != nil {
			return err
		}
	}
	e.log = zoneLog{known: true, salt: salt, end: e.log.end + int64(len(b)), last: last}
	return nil
}

// writeLog makes the log of a zone anew of entries. e.files is held.
func (l *Ledger) writeLog(e *entry, entries []kept) error {
	log := zoneLog{known: true, salt: newSalt(), end: logHeader}
	err := writeWhole(l.disk, l.path(e, ".log"), func(f file) error {
		if _, err := f.WriteAt(header{salt: log.salt}.encode(), 0); err != nil {
			return err
		}
		var b []byte
		for i, k := range entries {
			b = journal.AppendFrame(b, log.salt, k.payload)
			log.last = k.version
			if len(b) < 1<<20 && i < len(entries)-1 {
				continue
			}
			if _, err := f.WriteAt(b, log.end); err != nil {
				return err
			}
			log.end += int64(len(b))
			b = b[:0]
		}
		return nil
	})
	if err == nil {
		err = l.disk.SyncFolder(l.zonesFolder())
	}
	if err != nil {
		e.log = zoneLog{suspect: true}
		return err
	}
	e.log = log
	return nil
}

// history returns which of the entries of a zone are kept at a time.
func (k Keep) history(chain []kept, now time.Time) []kept {
	first, size := len(chain), int64(logHeader)
	for first > 0 {
		next := chain[first-1]
		size += int64(journal.FrameSize(len(next.payload)))
		// Half of the limit, or the next fold would come at once.
		if k.Size > 0 && size > k.Size/2 {
			break
		}
		if len(chain)-first >= k.Versions && now.Sub(journal.PeekTime(next.payload)) > k.For {
			break
		}
		first--
	}
	return chain[first:]
}

// fold makes the newest version of a zone its base, and a log of what is kept of its
// history. Whatever is wrong with the files there were, what is there afterwards
// leads to this version. e.files is held.
func (l *Ledger) fold(e *entry, now time.Time) error {
	l.mu.Lock()
	b := base{zone: e.zone, version: e.version, sum: e.sum, time: e.changed}
	pending, keep := e.pending, e.settings.Keep
	l.mu.Unlock()
	f, err := l.readLog(e)
	if err != nil {
		return err
	}
	size, err := l.saveBase(e, b)
	if err != nil {
		e.log = zoneLog{suspect: true}
		return err
	}
	if err := l.writeLog(e, keep.history(chainTo(b.version, f.entries, pending), now)); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Folds++
	e.pending, e.baseSize, e.mustFold, e.tailOctet = slices.Clone(e.pending[len(pending):]), size, false, 0
	for _, k := range e.pending {
		e.tailOctet += int64(len(k.payload))
	}
	return nil
}

// store brings what is pending of a zone into its own files.
func (l *Ledger) store(e *entry, now time.Time) error {
	e.files.Lock()
	defer e.files.Unlock()
	l.mu.Lock()
	pending, isLoaded, mustFold, keep := e.pending, e.isLoaded && e.zone != nil, e.mustFold, e.settings.Keep
	behind := e.tailOctet > max(l.config.limits.fold, e.baseSize)
	l.mu.Unlock()
	if !e.log.known && !e.log.suspect {
		if _, err := l.readLog(e); err != nil {
			return err
		}
	}
	size := e.log.end
	for _, k := range pending {
		size += int64(journal.FrameSize(len(k.payload)))
	}
	if isLoaded && (mustFold || behind || keep.Size > 0 && size > keep.Size) {
		return l.fold(e, now)
	}
	if len(pending) == 0 {
		return nil
	}
	if err := l.extend(e, pending); err != nil {
		e.log = zoneLog{suspect: true}
		return err
	}
	l.mu.Lock()
	e.pending = slices.Clone(e.pending[len(pending):])
	l.mu.Unlock()
	return nil
}

// encodeBatch is the payload of a commit log; see splitBatch.
func encodeBatch(b []byte, entries []kept) []byte {
	for _, k := range entries {
		b = binary.BigEndian.AppendUint32(b, uint32(len(k.payload)))
		b = append(b, k.payload...)
	}
	return b
}
