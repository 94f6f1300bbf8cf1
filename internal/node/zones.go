package node

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/zonefile"
)

// maxZoneErrors is how many mistakes of one zone file are reported: a screen.
const maxZoneErrors = 20

// servedZone is a zone of the configuration as it is served, or why it is not.
type servedZone struct {
	Name     dnsname.Name
	Kind     string
	File     string     // of kind file
	Zone     *zone.Zone // nil if it could never be loaded
	Loaded   time.Time
	Steered  string   // the steered names compiled into it, joined
	Err      error    // of the last attempt; the old Zone goes on being served
	Warnings []string // of the version that is served

	// What Zone was made of; see versions.go.
	stamps         []stamp // the files it was read from
	source         journal.Version
	sourceErr      error // of the last attempt to read the files
	sourceWarnings []string
	steered        steering // the last steering, so that it is not done again
	gated          gating   // likewise

	journal *journal.Journal // what led to Zone, for IXFR
}

// isSecondary reports whether the zone comes from other servers.
func (z *servedZone) isSecondary() bool { return z.Kind == "secondary" }

// stamp tells whether a file has changed.
type stamp struct {
	path string
	size int64
	time time.Time
}

func stampOf(path string) stamp {
	s := stamp{path: path}
	if st, err := os.Stat(path); err == nil {
		s.size, s.time = st.Size(), st.ModTime()
	}
	return s
}

func changed(stamps []stamp) bool {
	for _, s := range stamps {
		if s != stampOf(s.path) {
			return true
		}
	}
	return len(stamps) == 0
}

// readFile reads the zone of a master file. If that fails, the result has
// sourceErr and no source.
func readFile(c *config.Zone) *servedZone {
	s := &servedZone{Name: c.Name, Kind: c.Kind, File: c.File, Loaded: time.Now()}
	folder, file := filepath.Split(c.File)
	s.stamps = []stamp{stampOf(c.File)}
	z, problems, err := readZone(c.Name, folder, file, func(path string) {
		s.stamps = append(s.stamps, stampOf(filepath.Join(folder, path)))
	})
	for _, p := range problems {
		if p.Severity == zone.Fatal {
			err = errors.Join(err, errors.New(p.String()))
		} else {
			s.sourceWarnings = append(s.sourceWarnings, p.String())
		}
	}
	if err != nil || z == nil {
		s.sourceErr = fmt.Errorf("zone %s: %w", c.Name, err)
		return s
	}
	s.source.Zone = z
	return s
}

// keepJournal gives s the differences that lead to it from old, for IXFR, within
// limit octets. A serial that does not go forward has none: see zones[].gate.serial.
func (s *servedZone) keepJournal(old *servedZone, limit int) {
	if s.journal != nil || old == nil || old.Zone == nil || s.Zone == nil {
		return
	}
	_, _, size := s.Zone.Stats()
	from, to := old.Zone.Serial(), s.Zone.Serial()
	switch {
	case s.Zone == old.Zone:
		s.journal = old.journal
	case from.Less(to):
		d, _ := journal.Between(old.Zone, s.Zone, min(limit, size))
		s.journal = old.journal.With(d, limit)
	case from == to && journal.Same(old.Zone, s.Zone):
		s.journal = old.journal
	}
}

func joinNames(names []dnsname.Name) string {
	var b strings.Builder
	for _, n := range names {
		b.WriteString(n.Wire())
	}
	return b.String()
}

// readZone reads a master file, plain or compressed with gzip. What it includes
// must lie in its folder or below: os.Root sees to it that no path and no
// symbolic link leads out. included is called for each such file.
func readZone(origin dnsname.Name, folder, file string, included func(string)) (*zone.Zone, []zone.Problem, error) {
	if folder == "" {
		folder = "."
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, nil, explainOpen("folder of the zone file", folder, err)
	}
	defer root.Close()
	f, err := openPlain(root, file)
	if err != nil {
		return nil, nil, explainOpen("zone file", filepath.Join(folder, file), err)
	}
	defer f.Close()
	build := zone.NewBuilder(origin)
	var mistakes []error
	options := zonefile.Options{
		Origin: origin, File: filepath.Join(folder, file),
		Open: func(path string) (io.ReadCloser, error) {
			included(path)
			return openPlain(root, path)
		},
	}
	for record, err := range zonefile.Read(f, options) {
		if err != nil {
			if mistakes = append(mistakes, err); len(mistakes) >= maxZoneErrors {
				break
			}
			continue
		}
		build.Add(record)
	}
	if len(mistakes) > 0 {
		return nil, nil, errors.Join(mistakes...)
	}
	z, problems := build.Finish()
	return z, problems, nil
}

// explainOpen says what could not be opened, where that is, and the remedy.
func explainOpen(what, path string, err error) error {
	if abs, absErr := filepath.Abs(path); absErr == nil {
		path = abs
	}
	remedy := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		remedy = "; put it there, or correct zones[].file, which begins at the folder of the configuration file"
	case errors.Is(err, fs.ErrPermission):
		remedy = "; give the user that runs pharos the right to read it"
	}
	if open := (*fs.PathError)(nil); errors.As(err, &open) {
		err = open.Err // the path is named once
	}
	return fmt.Errorf("%s %s: %w%s", what, path, err, remedy)
}

// openPlain opens a file below root, unpacking it if its name ends in .gz.
func openPlain(root *os.Root, path string) (io.ReadCloser, error) {
	f, err := root.Open(path)
	if err != nil || !strings.HasSuffix(path, ".gz") {
		return f, err
	}
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{unpacked, f}, nil
}
