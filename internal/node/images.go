package node

import (
	"bufio"
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
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/authority/zone"
)

// images keeps large zones of master files as they lie in memory, so that a restart
// need not read and build them: docs/formats/zone-image.md. An image is only ever
// a cache; whatever is wrong with one, the master file is read.
//
// Concurrency: take is called under Node.mu, by one goroutine; put returns at once,
// and what it began ends by itself, or when close is called.
type images struct {
	// Constant after newImages.
	folder string
	log    *slog.Logger
	least  int // octets of a zone that is worth an image

	asked   map[string]bool // file names that take was asked for; under Node.mu
	closing atomic.Bool
	writers sync.WaitGroup

	turn   sync.Mutex            // one image is written at a time; taken before mu
	mu     sync.Mutex            // guards what is below
	newest map[string]*zone.Zone // the last one that was to be written, by file name
}

// leastImage is from which size on a zone is kept as an image: some 100,000
// records, which take a tenth of a second to read and build.
const leastImage = 8 << 20

// noteRead is how much of an image is read for its note: the header, and 100
// warnings and 1,000 included files of usual length. What is longer is not used.
const noteRead = 256 << 10

// imageNote is the note in an image.
type imageNote struct {
	Files    []imageFile `json:"files"`
	Warnings []string    `json:"warnings,omitempty"`
}

// imageFile is a stamp.
type imageFile struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
	Time int64  `json:"time"` // ns since 1970
}

func newImages(folder string, log *slog.Logger) *images {
	return &images{folder: folder, log: log, least: leastImage, asked: map[string]bool{}, newest: map[string]*zone.Zone{}}
}

// fileOf returns the name of the image of a zone. A view may have another zone of
// the same name, so the master file is part of it.
func (i *images) fileOf(c *config.Zone) string {
	sum := sha256.Sum256([]byte(c.Name.Wire() + c.File))
	return filepath.Join(i.folder, hex.EncodeToString(sum[:16])+".image")
}

// take returns the zone of c out of its image, nil if that cannot be used.
func (i *images) take(c *config.Zone) *servedZone {
	if i == nil {
		return nil
	}
	file := i.fileOf(c)
	i.asked[filepath.Base(file)] = true
	s, err := readImage(file, c)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		i.log.Warn("zone image not used; the zone file is read instead", "zone", c.Name.String(), "image", file, "error", err)
	case s != nil:
		i.log.Info("zone taken from its image", "zone", c.Name.String(), "serial", s.source.Zone.Serial())
	}
	return s
}

// readImage reads the image of c. Without an error, no zone means that the image is
// older than the files.
func readImage(file string, c *config.Zone) (*servedZone, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	head := make([]byte, min(st.Size(), noteRead))
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, err
	}
	s := &servedZone{Name: c.Name, Kind: c.Kind, File: c.File, Loaded: time.Now()}
	if same, err := s.takeNote(head); err != nil || !same {
		return nil, err
	}
	// Read, not mapped: a mapped file that somebody cuts off ends the process.
	image := make([]byte, st.Size())
	wantHuge(image)
	copy(image, head)
	if _, err := io.ReadFull(f, image[len(head):]); err != nil {
		return nil, err
	}
	z, _, err := zone.FromImage(image)
	if err != nil {
		return nil, err
	}
	if z.Origin() != c.Name {
		return nil, fmt.Errorf("it is of zone %s", z.Origin())
	}
	s.source.Zone = z
	return s, nil
}

// takeNote takes stamps and warnings from the head of an image, and reports whether
// all files are as they were.
func (s *servedZone) takeNote(head []byte) (same bool, err error) {
	octets, err := zone.NoteOfImage(head)
	if err != nil {
		return false, err
	}
	var note imageNote
	if err := json.Unmarshal(octets, &note); err != nil {
		return false, err
	}
	if len(note.Files) == 0 || note.Files[0].Path != s.File {
		return false, errors.New("it does not say which files it was made from")
	}
	s.sourceWarnings = note.Warnings
	for _, f := range note.Files {
		now := stampOf(f.Path)
		if now.size != f.Size || now.time.UnixNano() != f.Time {
			return false, nil
		}
		s.stamps = append(s.stamps, now)
	}
	return true, nil
}

// put begins to write the zone of s, which was read from its files, as an image.
func (i *images) put(c *config.Zone, s *servedZone) {
	if i == nil {
		return
	}
	z := s.source.Zone
	if _, _, size := z.Stats(); size < i.least {
		return
	}
	note := imageNote{Warnings: s.sourceWarnings}
	for _, st := range s.stamps {
		note.Files = append(note.Files, imageFile{st.path, st.size, st.time.UnixNano()})
	}
	file, name := i.fileOf(c), c.Name.String()
	i.mu.Lock()
	i.newest[file] = z
	i.mu.Unlock()
	i.writers.Go(func() {
		i.turn.Lock()
		defer i.turn.Unlock()
		i.mu.Lock()
		current := i.newest[file] == z
		i.mu.Unlock()
		if !current || i.closing.Load() {
			return
		}
		if err := i.write(file, z, note); err != nil {
			i.log.Warn("zone image not written; the next start reads the zone file", "zone", name, "error", err)
		}
	})
}

// write puts an image on disk, whole or not at all.
func (i *images) write(file string, z *zone.Zone, note imageNote) error {
	octets, err := json.Marshal(note)
	if err != nil {
		return err
	}
	if len(octets) > noteRead/2 {
		return fmt.Errorf("it would have to name %d files", len(note.Files))
	}
	if err := os.MkdirAll(i.folder, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(stoppable{f, &i.closing})
	err = z.WriteImage(out, octets)
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	folder, err := os.Open(i.folder)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
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

// prune removes the images that nobody has asked for: of zones that are not
// configured any more, and what was not finished.
func (i *images) prune() {
	entries, err := os.ReadDir(i.folder)
	if err != nil {
		return // nothing was ever written, or nothing can be removed either
	}
	for _, e := range entries {
		if name := e.Name(); strings.Contains(name, ".image") && !i.asked[name] {
			os.Remove(filepath.Join(i.folder, name))
		}
	}
}

// close waits for what is written, or ends it.
func (i *images) close() {
	i.closing.Store(true)
	i.writers.Wait()
}
