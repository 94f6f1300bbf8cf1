package masterfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"pharos/internal/authority/zone"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/hugepages"
)

// Images keeps large zones of master files as they lie in memory, so that a restart
// need not read and build them: docs/formats/zone-image.md. An image is only ever
// a cache; whatever is wrong with one, the master file is read.
//
// Concurrency: all methods may be called from anywhere. Put returns at once, and what
// it began ends by itself, or when Close is called.
type Images struct {
	// Constant after NewImages.
	folder string
	log    *slog.Logger
	least  int // octets of a zone that is worth an image

	program []string        // reads large zones; see ReadWith
	context context.Context // ends with Close
	end     context.CancelFunc

	closing atomic.Bool
	writers sync.WaitGroup

	turn   sync.Mutex            // one image is written at a time; taken before mu
	mu     sync.Mutex            // guards what is below
	newest map[string]*zone.Zone // the last one that was to be written, by file name
	there  map[string]bool       // file names that may be in the folder; true: some zone has it
}

// leastImage is from which size on a zone is kept as an image: some 100,000
// records, which take a tenth of a second to read and build.
const leastImage = 8 << 20

// noteRead is how much of an image is read for its note: the header, and 100
// warnings and 1,000 included files of usual length. What is longer is not used.
const noteRead = 256 << 10

// readPiece is how much of an image is read by one call, which takes 0.1 ms: some systems
// let nobody else run meanwhile.
const readPiece = 256 << 10

// imageNote is the note in an image.
type imageNote struct {
	Files    []imageFile `json:"files,omitempty"`
	Warnings []string    `json:"warnings,omitempty"`
	Of       string      `json:"of,omitempty"` // the checksum of the records, of a zone without master file
}

// imageFile is a stamp.
type imageFile struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Time   int64  `json:"time"`   // ns since 1970
	Status int64  `json:"status"` // likewise
	Inode  uint64 `json:"inode"`
}

// NewImages returns the images that are in a folder, which is made when it is needed.
func NewImages(folder string, log *slog.Logger) *Images {
	i := &Images{folder: folder, log: log, least: leastImage, there: map[string]bool{}, newest: map[string]*zone.Zone{}}
	i.context, i.end = context.WithCancel(context.Background())
	entries, err := os.ReadDir(folder)
	if err != nil {
		return i // nothing was ever written, or nothing can be removed either
	}
	for _, e := range entries {
		if name := e.Name(); strings.Contains(name, ".image") {
			i.there[name] = false
		}
	}
	return i
}

// fileOf returns the name of the image of a zone. There may be another zone of the
// same name, so the master file is part of it.
func (i *Images) fileOf(origin dnsname.Name, file string) string {
	sum := sha256.Sum256([]byte(origin.Wire() + file))
	return filepath.Join(i.folder, hex.EncodeToString(sum[:16])+".image")
}

// Take returns what Load would, out of an image, and reports whether there is one
// that can be used. A nil Images has none.
func (i *Images) Take(origin dnsname.Name, file string) (Source, bool) {
	image := i.asked(origin, file)
	if image == "" {
		return Source{}, false
	}
	s, err := readImage(image, origin, file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		i.log.Warn("zone image not used; the zone file is read instead", "zone", origin.String(), "image", image, "error", err)
	case s.Zone != nil:
		i.log.Info("zone taken from its image", "zone", origin.String(), "serial", s.Zone.Serial())
	}
	return s, err == nil && s.Zone != nil
}

// asked returns the file of an image that somebody asks for, empty if it is not there.
func (i *Images) asked(origin dnsname.Name, file string) string {
	if i == nil {
		return ""
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.there) == 0 { // of a million small zones none has one
		return ""
	}
	image := i.fileOf(origin, file)
	if _, there := i.there[filepath.Base(image)]; !there {
		return ""
	}
	i.there[filepath.Base(image)] = true
	return image
}

// readImage reads an image of a zone from a master file. Without an error, no zone
// means that the image is older than the files.
func readImage(image string, origin dnsname.Name, file string) (Source, error) {
	f, err := os.Open(image)
	if err != nil {
		return Source{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Source{}, err
	}
	head := make([]byte, min(st.Size(), noteRead))
	if _, err := io.ReadFull(f, head); err != nil {
		return Source{}, err
	}
	s, same, err := takeNote(head, file)
	if err != nil || !same {
		return Source{}, err
	}
	s.Zone, err = readRest(f, head, st.Size(), origin)
	return s, err
}

// readRest reads a whole image, of which the head is known.
func readRest(f *os.File, head []byte, size int64, origin dnsname.Name) (*zone.Zone, error) {
	// Read, not mapped: a mapped file that somebody cuts off ends the process.
	octets, err := readBehind(f, head, size)
	if err != nil {
		return nil, err
	}
	z, _, err := zone.FromImage(octets)
	if err != nil {
		return nil, err
	}
	if z.Origin() != origin {
		return nil, fmt.Errorf("it is of zone %s", z.Origin())
	}
	return z, nil
}

// readBehind returns so many octets of a file, of which the head was read. It has them in
// memory that is not cleared before, as make does: for 100 MB that takes 50 ms, during which
// a collection that is about to begin, and all answers with it, can only wait; and in huge
// pages, as far as it is new.
func readBehind(f *os.File, head []byte, size int64) ([]byte, error) {
	var all strings.Builder
	all.Grow(int(size))
	all.Write(head)
	defer hugepages.Expect(unsafe.Slice(unsafe.StringData(all.String()), all.Cap())[all.Len():])()
	piece := make([]byte, readPiece)
	for rest := size - int64(len(head)); rest > 0; rest -= int64(len(piece)) {
		piece = piece[:min(rest, readPiece)]
		if _, err := io.ReadFull(f, piece); err != nil {
			return nil, err
		}
		all.Write(piece)
	}
	return unsafe.Slice(unsafe.StringData(all.String()), all.Len()), nil // nobody writes to it
}

// takeNote takes stamps and warnings from the head of an image, and reports whether
// all files are as they were.
func takeNote(head []byte, file string) (s Source, same bool, err error) {
	octets, err := zone.NoteOfImage(head)
	if err != nil {
		return s, false, err
	}
	var note imageNote
	if err := json.Unmarshal(octets, &note); err != nil {
		return s, false, err
	}
	if len(note.Files) == 0 || note.Files[0].Path != file {
		return s, false, errors.New("it does not say which files it was made from")
	}
	s.Warnings, s.Stamps = note.Warnings, stampsOf(note.Files)
	return s, !diskfile.Changed(s.Stamps), nil
}

// Put begins to write what was loaded from a master file as an image, if that is
// worth it.
func (i *Images) Put(origin dnsname.Name, file string, s Source) {
	if i == nil {
		return
	}
	i.put(i.fileOf(origin, file), s.Zone, imageNote{Files: filesOf(s.Stamps), Warnings: s.Warnings})
}

func filesOf(stamps []diskfile.Stamp) (files []imageFile) {
	for _, st := range stamps {
		files = append(files, imageFile(st))
	}
	return files
}

func stampsOf(files []imageFile) (stamps []diskfile.Stamp) {
	for _, f := range files {
		stamps = append(stamps, diskfile.Stamp(f))
	}
	return stamps
}

// put begins to write an image.
func (i *Images) put(image string, z *zone.Zone, note imageNote) {
	i.keep(image, z, func() error { return i.write(image, z, note) }, func() {})
}

// keep begins to have the image of a zone written, if that is worth it and nothing newer
// is to be by then; else drop is called.
func (i *Images) keep(image string, z *zone.Zone, write func() error, drop func()) {
	if _, _, size := z.Stats(); size < i.least {
		drop()
		return
	}
	origin := z.Origin()
	i.mu.Lock()
	i.there[filepath.Base(image)] = true
	i.newest[image] = z
	i.mu.Unlock()
	i.writers.Go(func() {
		defer drop()
		i.turn.Lock()
		defer i.turn.Unlock()
		i.mu.Lock()
		current := i.newest[image] == z
		i.mu.Unlock()
		if !current || i.closing.Load() {
			return
		}
		if err := write(); err != nil {
			i.log.Warn("zone image not written; the next start reads the zone file", "zone", origin.String(), "error", err)
		}
	})
}

// write puts an image on disk, whole or not at all.
func (i *Images) write(file string, z *zone.Zone, note imageNote) error {
	if err := os.MkdirAll(i.folder, 0o700); err != nil {
		return err
	}
	return diskfile.ReplaceWith(file, func(f *os.File) error { return writeImage(stoppable{f, &i.closing}, z, note) })
}

// stoppable writes until it is told to stop.
type stoppable struct {
	w    io.Writer
	stop *atomic.Bool
}

// stoppablePiece is how much is written between two looks at whether to stop.
const stoppablePiece = 8 << 20

func (s stoppable) Write(b []byte) (n int, err error) {
	for n < len(b) {
		if s.stop.Load() {
			return n, errors.New("the node is stopping")
		}
		wrote, err := s.w.Write(b[n:min(len(b), n+stoppablePiece)])
		if n += wrote; err != nil {
			return n, err
		}
	}
	return n, nil
}

// Prune removes the images that nobody has asked for: of zones that are not
// configured any more, and what was not finished.
func (i *Images) Prune() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for name, wanted := range i.there {
		if !wanted {
			os.Remove(filepath.Join(i.folder, name))
		}
	}
}

// Close waits for what is written or read, or ends it.
func (i *Images) Close() {
	i.closing.Store(true)
	i.end()
	i.writers.Wait()
}
