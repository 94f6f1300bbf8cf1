package xfr

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/transfer"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// This file keeps what IXFR has brought since the copy of a zone was written, so that a
// small change to a large zone is a small write; docs/formats/zone-copy.md.
//
//	copy | changes:  header | frame of an Entry | frame of an Entry | ...
//
// A version counts when its frame is whole: what a crash has cut off was never published.
// Changes name the copy that they are about by its checksum, so that those which a crash
// leaves beside a newer copy are told from those that count.
const (
	changesMagic  = "PHAROSZX"
	changesFormat = 1
	changesHeader = 48 // magic | version u32 | salt u32 | checksum of the copy
	changesSuffix = ".changes"

	// The changes of a copy are never folded into a new one before they take this many
	// octets, and always when they take half of what the copy does: a start reads them, and
	// makes each in memory.
	leastFold = 1 << 20
)

// changesPath returns the file of what has changed since the copy of a zone.
func changesPath(folder string, name dnsname.Name) string {
	return filepath.Join(folder, name.FileName()+changesSuffix)
}

// changeLog is what is known of the copy of a zone and its changes on disk. It belongs to
// whoever loads the zone, and then to the check under way.
type changeLog struct {
	zone     *zone.Zone // the version that they lead to; nil: nobody knows
	base     [32]byte   // checksum of the copy
	baseSize int64      // octets of the copy
	salt     uint32
	end      int64 // of what counts in the changes; 0: there is no such file
	sum      uint64
	hasSum   bool // of zone
}

// begin notes that a copy of z has been written, with this header.
func (l *changeLog) begin(z *zone.Zone, header []byte) {
	*l = changeLog{zone: z, baseSize: int64(binary.BigEndian.Uint64(header[24:]))}
	copy(l.base[:], header[copySum:])
}

// errTooMuch means that a new copy is worth it.
var errTooMuch = errors.New("the changes are too large beside the copy")

// append puts a change on disk that leads from the version of the log to z. With an
// error the log is as good as lost, and a new copy has to be written.
func (l *changeLog) append(folder string, old, z *zone.Zone, changes []transfer.Change, confirmed time.Time) (err error) {
	if l.zone == nil || l.zone != old {
		return errors.New("it is not known which version is on disk")
	}
	d := differenceOf(old, z, changes)
	if !l.hasSum {
		l.sum, l.hasSum = journal.SumOf(old), true
	}
	entry := journal.Entry{Zone: z.Origin(), Time: clock.Now(), Sum: d.Shift(l.sum), Difference: d}
	payload := entry.Append(nil)
	if size := l.end + int64(journal.FrameSize(len(payload))); len(payload) > journal.MaxFrame || size > leastFold && size > l.baseSize/2 {
		return errTooMuch
	}
	defer func() {
		if err != nil {
			l.zone = nil // what is on disk now may be anything
		}
	}()
	path := changesPath(folder, z.Origin())
	var octets []byte
	begun := l.end > 0
	if !begun {
		octets = l.header()
	}
	octets = journal.AppendFrame(octets, l.salt, payload)
	if err := writeAt(path, octets, l.end); err != nil {
		return err
	}
	if !begun {
		if err := diskfile.SyncFolder(folder); err != nil {
			return err
		}
	}
	l.end += int64(len(octets))
	l.zone, l.sum = z, entry.Sum
	return confirmCopy(folder, z.Origin(), confirmed)
}

// header begins a file of changes, with a salt that nobody knows: see package journal.
func (l *changeLog) header() []byte {
	var salt [4]byte
	rand.Read(salt[:]) // never fails
	l.salt = binary.BigEndian.Uint32(salt[:])
	b := append(make([]byte, 0, changesHeader), changesMagic...)
	b = binary.BigEndian.AppendUint32(b, changesFormat)
	b = binary.BigEndian.AppendUint32(b, l.salt)
	return append(b, l.base[:]...)
}

// writeAt makes octets what a file has from an offset on, and returns when that is on disk.
func writeAt(path string, octets []byte, offset int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	// What a crash has left there is not to stand behind what is written now.
	if err = f.Truncate(offset); err == nil {
		if _, err = f.WriteAt(octets, offset); err == nil {
			err = f.Sync()
		}
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// differenceOf returns what leads from old to z, which changes have made of it. The
// records are those of the versions, not those that were sent: letters of names may differ
// in case, and an RRset has one TTL, whatever its records came with.
func differenceOf(old, z *zone.Zone, changes []transfer.Change) *journal.Difference {
	var deleted, added []rdata.Record
	seen := map[dnsname.Name]bool{}
	take := func(r rdata.Record, into *[]rdata.Record) {
		there := old.Lookup(r.Name).Exact != 0 || z.Lookup(r.Name).Exact != 0
		switch {
		case !there: // an owner of NSEC3, which is no name to look up
			*into = append(*into, r)
		case !seen[r.Name]:
			seen[r.Name] = true
			deleted = append(deleted, journal.RecordsAt(old, r.Name)...)
			added = append(added, journal.RecordsAt(z, r.Name)...)
		}
	}
	for _, c := range changes {
		for _, r := range c.Deleted {
			take(r, &deleted)
		}
		for _, r := range c.Added {
			take(r, &added)
		}
	}
	return journal.Of(old, z, deleted, added)
}

// replay takes a copy on by its changes, as far as they lead. damage says that there was
// more, which cannot be used.
func (l *changeLog) replay(folder string) (damage error) {
	path := changesPath(folder, l.zone.Origin())
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(b) < changesHeader || string(b[:8]) != changesMagic || string(b[16:changesHeader]) != string(l.base[:]):
		return nil // cut off before anything counted, or left from before the copy was written
	}
	if v := binary.BigEndian.Uint32(b[8:]); v != changesFormat {
		return fmt.Errorf("%s has format %d; this version reads %d", path, v, changesFormat)
	}
	l.salt, l.end = binary.BigEndian.Uint32(b[12:]), changesHeader
	frames := journal.ScanFrames(b[changesHeader:], l.salt)
	if len(frames.Payloads) == 0 {
		return nil
	}
	edit, serial := l.zone.Edit(), l.zone.Serial()
	var sum uint64
	for i, payload := range frames.Payloads {
		if len(frames.Damage) > 0 && frames.Ends[i] > frames.Damage[0].From {
			damage = fmt.Errorf("%s: %d octets at offset %d are no change", path, frames.Damage[0].To-frames.Damage[0].From, changesHeader+frames.Damage[0].From)
			break
		}
		e, err := journal.DecodeEntry(payload)
		if err == nil && (e.Zone != l.zone.Origin() || e.Difference.From != serial) {
			err = errors.New("it does not follow from the version before it")
		}
		if err == nil {
			err = e.Difference.Apply(edit)
		}
		if err != nil {
			return fmt.Errorf("%s: change %d: %w", path, i+1, err)
		}
		serial, sum, l.end = e.Difference.To, e.Sum, int64(changesHeader+frames.Ends[i])
	}
	if l.end == changesHeader { // all is behind the damage
		return damage
	}
	z, problems := edit.Finish()
	switch {
	case z == nil:
		return fmt.Errorf("%s: %v", path, problems)
	case journal.SumOf(z) != sum:
		return fmt.Errorf("%s: what comes of it is not the version with serial %d", path, serial)
	}
	l.zone, l.sum, l.hasSum = z, sum, true
	return damage
}
