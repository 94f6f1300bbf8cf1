// Package snapshot keeps the last states of a node as files, so that its data
// plane starts without the store, without peers and after any crash.
//
// It owns the file format, the order of writes that makes a save atomic, and
// the choice of the newest whole file. It does not own what is inside (package
// state) nor when to save (package node: after every applied change).
//
//	Save: temporary file -> write -> fsync -> rename -> fsync folder -> remove the oldest
//	Load: newest file first; one that is cut or changed is passed over and reported
//
//	offset size
//	     0    8  "PHAROSNP"
//	     8    4  format version, 1                     all numbers big-endian
//	    12    4  zero
//	    16    8  revision of the store
//	    24    8  octets of the payload
//	    32   32  SHA-256 of octets 0 to 31 and the payload
//	    64    -  payload
//
// Concurrency: one Folder is used by one goroutine at a time; one process uses
// a folder. Load may run beside Save.
package snapshot

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"pharos/internal/diskfile"
)

// Kept is how many files are kept: the newest, and two to fall back to when a
// disk returned other octets than were written.
const Kept = 3

// MaxPayload is the largest payload that is read or written: 100,000 objects
// take about 100 MiB. A larger length in a file can only be damage.
const MaxPayload = 1 << 30

const (
	magic      = "PHAROSNP"
	format     = 1
	headerSize = 64
	sumOffset  = 32
	prefix     = "snapshot-"
	suffix     = ".bin"
)

// ErrNone means that a folder holds no snapshot that can be read.
var ErrNone = errors.New("no snapshot")

// Folder is a folder of snapshots.
type Folder struct {
	path string
}

// At returns the folder at path. It need not exist before the first Save.
func At(path string) *Folder { return &Folder{path} }

// Save writes payload as the newest snapshot. When it returns nil, the snapshot
// is on disk and survives a crash of the machine; when it returns an error, the
// earlier ones are as they were.
func (f *Folder) Save(revision int64, payload []byte) error {
	if len(payload) > MaxPayload {
		return fmt.Errorf("snapshot: %d octets are more than the %d allowed", len(payload), MaxPayload)
	}
	if err := os.MkdirAll(f.path, 0o700); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	generations, err := f.generations()
	if err != nil {
		return err
	}
	next := uint64(1)
	if len(generations) > 0 {
		next = generations[0] + 1
	}
	if err := diskfile.Replace(f.file(next), encode(revision, payload)); err != nil {
		return fmt.Errorf("snapshot: %w; free space on the disk of %s and see that the folder can be written", err, f.path)
	}
	for i, g := range generations {
		if i >= Kept-1 {
			os.Remove(f.file(g)) // what stays is removed after the next save
		}
	}
	return nil
}

// Load returns the newest snapshot that is whole. skipped says what was wrong
// with newer ones. Without any the error is ErrNone.
func (f *Folder) Load() (revision int64, payload []byte, skipped []error, err error) {
	generations, err := f.generations()
	if err != nil {
		return 0, nil, nil, err
	}
	for _, g := range generations {
		revision, payload, err := read(f.file(g))
		if err == nil {
			return revision, payload, skipped, nil
		}
		skipped = append(skipped, fmt.Errorf("snapshot %s: %w; an older one is used", f.file(g), err))
	}
	return 0, nil, skipped, ErrNone
}

// generations returns the numbers of the files there are, newest first.
func (f *Folder) generations() ([]uint64, error) {
	entries, err := os.ReadDir(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	var found []uint64
	for _, e := range entries {
		digits := strings.TrimSuffix(strings.TrimPrefix(e.Name(), prefix), suffix)
		g, err := strconv.ParseUint(digits, 10, 64)
		if err == nil && f.file(g) == filepath.Join(f.path, e.Name()) {
			found = append(found, g)
		}
	}
	slices.Sort(found)
	slices.Reverse(found)
	return found, nil
}

func (f *Folder) file(generation uint64) string {
	return filepath.Join(f.path, fmt.Sprintf("%s%020d%s", prefix, generation, suffix))
}

// encode returns the octets of a file.
func encode(revision int64, payload []byte) []byte {
	b := make([]byte, headerSize, headerSize+len(payload))
	copy(b, magic)
	binary.BigEndian.PutUint32(b[8:], format)
	binary.BigEndian.PutUint64(b[16:], uint64(revision))
	binary.BigEndian.PutUint64(b[24:], uint64(len(payload)))
	sum := checksum(b[:sumOffset], payload)
	copy(b[sumOffset:], sum[:])
	return append(b, payload...)
}

func checksum(header, payload []byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	h.Write(header)
	h.Write(payload)
	h.Sum(sum[:0])
	return sum
}

// read returns what the file called name holds, if all of it is there.
func read(name string) (revision int64, payload []byte, err error) {
	file, err := os.Open(name)
	if err != nil {
		return 0, nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, headerSize+MaxPayload+1))
	if err != nil {
		return 0, nil, err
	}
	return decode(b)
}

// decode returns what the octets of a file hold.
func decode(b []byte) (revision int64, payload []byte, err error) {
	if len(b) < headerSize {
		return 0, nil, errors.New("is cut off in its header")
	}
	if string(b[:8]) != magic {
		return 0, nil, errors.New("is not a snapshot")
	}
	if v := binary.BigEndian.Uint32(b[8:]); v != format {
		return 0, nil, fmt.Errorf("has format %d; this version reads %d", v, format)
	}
	payload = b[headerSize:]
	if size := binary.BigEndian.Uint64(b[24:]); size != uint64(len(payload)) {
		return 0, nil, fmt.Errorf("has %d octets of payload, not %d as its header says", len(payload), size)
	}
	if checksum(b[:sumOffset], payload) != [sha256.Size]byte(b[sumOffset:headerSize]) {
		return 0, nil, errors.New("is damaged: its checksum does not fit")
	}
	return int64(binary.BigEndian.Uint64(b[16:])), payload, nil
}
