package node

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/admin/versions"
	"pharos/internal/authority/byname"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
)

// TestFilesChanged: the file of every zone has its turn, those of views too, and each
// look takes a bounded number of them.
func TestFilesChanged(t *testing.T) {
	dir := t.TempDir()
	conf, zoneFile, other := filepath.Join(dir, "conf"), filepath.Join(dir, "zone"), filepath.Join(dir, "other")
	for _, path := range []string{conf, zoneFile, other} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	snapshot := func(first, count int, path string) *Snapshot {
		s := &Snapshot{Config: &config.Config{}}
		for i := range count {
			s.Config.Zones = append(s.Config.Zones, config.Zone{Name: dnsname.MustParse(fmt.Sprintf("z%d.", first+i)), Kind: "file"})
		}
		s.apexes = byname.New(count, func(yield func(dnsname.Name, *apex) bool) {
			for i := range s.Config.Zones {
				c := &s.Config.Zones[i]
				yield(c.Name, &apex{config: c, served: &versions.Zone{Name: c.Name, Kind: "file", Stamps: []diskfile.Stamp{diskfile.StampOf(path)}}})
			}
		})
		return s
	}
	n := &Node{watch: watch{file: diskfile.StampOf(conf)}}
	n.hints, n.anchors = newHints(""), newAnchors()
	main := snapshot(0, watchedZones*2, zoneFile)
	main.views = []*Snapshot{snapshot(0, 10, other)}
	n.current.Store(main)
	for i := range 5 {
		if n.filesChanged() {
			t.Fatalf("look %d: a change, and there was none", i)
		}
	}
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(other, later, later); err != nil {
		t.Fatal(err)
	}
	looks := 0
	for !n.filesChanged() {
		if looks++; looks > 3 {
			t.Fatal("a change of a view's zone file is not seen")
		}
	}
	if looks == 0 {
		t.Error("all files were looked at at once")
	}
	n.watchAt = 0
	if err := os.Chtimes(conf, later, later); err != nil {
		t.Fatal(err)
	}
	if !n.filesChanged() {
		t.Error("a change of the configuration file is not seen at once")
	}
}
