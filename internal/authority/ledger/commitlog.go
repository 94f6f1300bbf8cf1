package ledger

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"pharos/internal/authority/journal"
	"pharos/internal/dns/dnsname"
)

// The header of a log file; docs/formats/zone-ledger.md.
const (
	logMagic   = "PHAROSZL"
	logFormat  = 1
	logHeader  = 48
	headerSums = 40 // octets that the header's checksum is over
)

// header is what a log file begins with.
type header struct {
	number uint64 // of a commit log; 0 for the log of a zone
	before uint64 // octets of the commit log before that count
	salt   uint32
}

func (h header) encode() []byte {
	b := make([]byte, 0, logHeader)
	b = append(b, logMagic...)
	b = binary.BigEndian.AppendUint32(b, logFormat)
	b = binary.BigEndian.AppendUint32(b, h.salt)
	b = binary.BigEndian.AppendUint64(b, h.number)
	b = binary.BigEndian.AppendUint64(b, h.before)
	b = append(b, make([]byte, headerSums-len(b))...)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return append(b, make([]byte, logHeader-len(b))...)
}

var (
	errDamaged = errors.New("it is damaged")
	errFormat  = errors.New("another version of Pharos has written it")
)

func decodeHeader(b []byte) (header, error) {
	switch {
	case len(b) < logHeader || string(b[:8]) != logMagic || crc32.ChecksumIEEE(b[:headerSums]) != binary.BigEndian.Uint32(b[headerSums:]):
		return header{}, fmt.Errorf("%w: its header is not one", errDamaged)
	case binary.BigEndian.Uint32(b[8:]) != logFormat:
		return header{}, fmt.Errorf("%w: format %d, this one reads %d", errFormat, binary.BigEndian.Uint32(b[8:]), logFormat)
	}
	return header{salt: binary.BigEndian.Uint32(b[12:]), number: binary.BigEndian.Uint64(b[16:]), before: binary.BigEndian.Uint64(b[24:])}, nil
}

func newSalt() uint32 {
	var b [4]byte
	rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint32(b[:])
}

// commitLog is what makes changes durable: entries of all zones in the order in
// which they were made, in files that are removed after a checkpoint.
//
// Invariant: what is in file before end is durable, and what is behind it does not
// count. After an error nobody knows what is behind it, so the file is left, and the
// next one says in its header how much of it counts.
type commitLog struct {
	disk   disk
	folder string
	file   file // nil: a new one is needed
	number uint64
	end    int64
	salt   uint32
	olds   []oldCommits // files before it, not yet removed
	buf    []byte
}

// oldCommits is a commit log that nothing is written to any more.
type oldCommits struct {
	number uint64
	size   int64
}

func (c *commitLog) path(number uint64) string {
	return filepath.Join(c.folder, fmt.Sprintf("commit-%016x.log", number))
}

// append makes payload durable.
func (c *commitLog) append(payload []byte) error {
	if c.file == nil {
		if err := c.open(); err != nil {
			return err
		}
	}
	c.buf = journal.AppendFrame(c.buf[:0], c.salt, payload)
	_, err := c.file.WriteAt(c.buf, c.end)
	if err == nil {
		err = c.file.Sync()
	}
	if err != nil {
		c.leave()
		// The next file says that payload does not count. Should that fail too, it may be
		// there after a loss of power, until the next change.
		c.open()
		return err
	}
	c.end += int64(len(c.buf))
	if cap(c.buf) > 4*batchOctets {
		c.buf = nil // of an unusually large change
	}
	return nil
}

// leave gives up the file. What does not count is cut off if that is possible, to
// make room.
func (c *commitLog) leave() {
	c.file.Truncate(c.end)
	c.file.Close()
	c.file = nil
	c.olds = append(c.olds, oldCommits{c.number, c.end})
}

// open begins the next file.
func (c *commitLog) open() error {
	h := header{number: c.number + 1, salt: newSalt()}
	if n := len(c.olds); n > 0 {
		h.before = uint64(c.olds[n-1].size)
	}
	path := c.path(h.number)
	f, err := c.disk.Open(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(h.encode(), 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = c.disk.SyncFolder(c.folder)
	}
	if err != nil {
		f.Close()
		c.disk.Remove(path)
		return err
	}
	c.file, c.number, c.salt, c.end = f, h.number, h.salt, logHeader
	return nil
}

// rotate begins the next file, so that the ones before can be removed after a
// checkpoint.
func (c *commitLog) rotate() (olds []oldCommits, err error) {
	if c.file != nil {
		c.file.Close()
		c.file = nil
		c.olds = append(c.olds, oldCommits{c.number, c.end})
	}
	return slices.Clone(c.olds), c.open()
}

// remove takes away files whose entries are in the logs of their zones, oldest
// first: what is left is always the newest.
func (c *commitLog) remove(olds []oldCommits) error {
	for _, o := range olds {
		if err := c.disk.Remove(c.path(o.number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// forget takes files out of the account that were removed.
func (c *commitLog) forget(olds []oldCommits) {
	c.olds = slices.DeleteFunc(c.olds, func(o oldCommits) bool { return slices.Contains(olds, o) })
}

// removeAll takes away all files.
func (c *commitLog) removeAll() error {
	c.close()
	err := c.remove(c.olds)
	if err == nil {
		c.olds = nil
	}
	return err
}

func (c *commitLog) close() {
	if c.file != nil {
		c.file.Close()
		c.file = nil
		c.olds = append(c.olds, oldCommits{c.number, c.end})
	}
}

// size returns the octets of all files.
func (c *commitLog) size() int64 {
	var sum int64
	for _, o := range c.olds {
		sum += o.size
	}
	if c.file != nil {
		sum += c.end
	}
	return sum
}

func (c *commitLog) files() int {
	if c.file != nil {
		return len(c.olds) + 1
	}
	return len(c.olds)
}

// commits is what the commit logs say of one zone.
type commits struct {
	entries []kept
	damaged bool // something of it may be missing
}

// read returns the entries of all files, by their zones, and what is wrong. What was
// cut off at the end of the last file was never acknowledged and is passed over.
func (c *commitLog) read() (all map[dnsname.Name]*commits, problems []error, err error) {
	names, err := c.disk.List(c.folder)
	if err != nil {
		return nil, nil, err
	}
	var numbers []uint64
	for _, name := range names {
		var n uint64
		if count, _ := fmt.Sscanf(name, "commit-%016x.log", &n); count == 1 && c.path(n) == filepath.Join(c.folder, name) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	all = map[dnsname.Name]*commits{}
	before := int64(-1) // octets of the file that count, by the file after it
	for i := len(numbers) - 1; i >= 0; i-- {
		found, h, err := c.readOne(numbers[i], before)
		switch {
		case errors.Is(err, errFormat):
			return nil, nil, fmt.Errorf("%s: %w", c.path(numbers[i]), err)
		case errors.Is(err, errDamaged) && found.size <= logHeader && before <= logHeader:
			// A crash while it was begun: nothing was acknowledged in it.
		case err != nil:
			problems = append(problems, fmt.Errorf("%s: %w", c.path(numbers[i]), err))
		}
		before = -1
		if h.number != 0 && h.before != 0 {
			before = int64(h.before)
		}
		c.olds = append(c.olds, oldCommits{numbers[i], found.end})
		prepend(all, found.entries, found.damaged)
	}
	slices.Reverse(c.olds)
	if n := len(numbers); n > 0 {
		c.number = numbers[n-1]
	}
	return all, problems, nil
}

// contents is what is found in one commit log.
type contents struct {
	entries []named
	damaged bool
	end     int64 // of what counts
	size    int64
}

type named struct {
	zone dnsname.Name
	kept
}

func (c *commitLog) readOne(number uint64, before int64) (contents, header, error) {
	b, err := readFile(c.disk, c.path(number))
	if err != nil {
		return contents{damaged: true}, header{}, err
	}
	found := contents{size: int64(len(b)), end: logHeader}
	h, err := decodeHeader(b)
	if err != nil {
		found.damaged = len(b) > logHeader
		return found, header{}, err
	}
	if before >= logHeader && before < int64(len(b)) {
		b = b[:before]
	}
	frames := journal.ScanFrames(b[logHeader:], h.salt)
	for _, payload := range frames.Payloads {
		list, err := splitBatch(payload)
		if err != nil {
			found.damaged = true
			return found, h, err
		}
		found.entries = append(found.entries, list...)
	}
	found.end = logHeader + int64(frames.Tail.From)
	if before > found.end || len(frames.Damage) > 0 {
		found.damaged = true
		err = fmt.Errorf("%w: changes that it had cannot be read", errDamaged)
	}
	return found, h, err
}

// splitBatch takes a payload of a commit log apart:
//
//	batch   of each entry: octets u32 | entry
func splitBatch(payload []byte) ([]named, error) {
	var list []named
	for len(payload) > 0 {
		if len(payload) < 4 || int64(binary.BigEndian.Uint32(payload)) > int64(len(payload)-4) {
			return nil, fmt.Errorf("%w: a batch does not end with an entry", errDamaged)
		}
		end := 4 + int(binary.BigEndian.Uint32(payload))
		name, version, err := journal.PeekEntry(payload[4:end])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errDamaged, err)
		}
		list = append(list, named{name.Clone(), kept{version, slices.Clone(payload[4:end])}})
		payload = payload[end:]
	}
	return list, nil
}

// prepend puts the entries of an older file before those of newer ones.
func prepend(all map[dnsname.Name]*commits, older []named, damaged bool) {
	byZone := map[dnsname.Name][]kept{}
	for _, n := range older {
		byZone[n.zone] = append(byZone[n.zone], n.kept)
	}
	for name, list := range byZone {
		of := all[name]
		if of == nil {
			of = new(commits)
			all[name] = of
		}
		if len(of.entries) > 0 { // what a newer file says of a version counts
			first := of.entries[0].version
			list = slices.DeleteFunc(list, func(k kept) bool { return k.version >= first })
		}
		of.entries = append(list, of.entries...)
	}
	if damaged {
		for _, of := range all {
			of.damaged = true
		}
	}
}
