package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pharos/internal/diskfile"
)

// folderWith returns a folder with files of these names and texts.
func folderWith(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// zonesIn returns the zones of a configuration, each with its kind and file.
func zonesIn(c *Config, folder string) (all []string) {
	for _, z := range c.Zones {
		text := fmt.Sprintf("%s %s %s", z.Name, z.Kind, strings.TrimPrefix(z.File, folder+"/"))
		all = append(all, strings.TrimSpace(text))
	}
	return all
}

// TestZoneSets: entries about many zones.
func TestZoneSets(t *testing.T) {
	folder := folderWith(t, map[string]string{
		"zones/a.example.zone": "", "zones/b.example.zone": "", "zones/.hidden.zone": "", "zones/b.example.zone~": "", "zones/.zone": "", "zones/sub.zone/x": "",
		"parked.txt": "# parked\nc.example\n\n  D.example.  # the d\n",
		"remote.txt": "e.example\n",
		"pharos.yaml": `
zones:
  - {file: "zones/*.zone"}
  - {names: parked.txt, file: parked.zone}
  - {names: parked.txt, file: "stores/*.db", kind: store}
  - {names: remote.txt, kind: secondary, primaries: [{address: "127.0.0.1:53"}]}
  - {name: b.example, kind: store}
`})
	_, err := Load(filepath.Join(folder, "pharos.yaml"))
	if err == nil {
		t.Fatal("a zone that stands in two lists was taken")
	}
	for _, want := range []string{"parked.txt:2:1: zones[2]: zone c.example. is already in zones[1]; remove one of them", "parked.txt:4:1: zones[2]: zone d.example."} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	text, _ := os.ReadFile(filepath.Join(folder, "pharos.yaml"))
	os.WriteFile(filepath.Join(folder, "pharos.yaml"), []byte(strings.Replace(string(text), "parked.txt, file: \"stores", "more.txt, file: \"stores", 1)), 0o644)
	os.WriteFile(filepath.Join(folder, "more.txt"), []byte("f.example\n"), 0o644)
	c, err := Load(filepath.Join(folder, "pharos.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	got := zonesIn(c, folder)
	want := []string{
		"a.example. file zones/a.example.zone", "c.example. file parked.zone", "d.example. file parked.zone",
		"f.example. store stores/f.example.db", "e.example. secondary", "b.example. store",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if len(c.Lists) != 4 || diskfile.Changed(c.Lists) {
		t.Errorf("lists %+v, want four that have not changed", c.Lists)
	}
	os.WriteFile(filepath.Join(folder, "zones/g.example.zone"), nil, 0o644)
	if !c.Lists[0].Changed() {
		t.Error("a new file in the folder of zones is not seen")
	}
	if len(c.Zones[4].Primaries) != 1 || c.Zones[4].Serial != "increment" {
		t.Errorf("%+v has not what its entry says", c.Zones[4])
	}
}

// TestBadZoneSets: what is wrong with them is said, with its place.
func TestBadZoneSets(t *testing.T) {
	for _, tt := range []struct{ entry, want string }{
		{`{file: "zones/*.zone"}`, "zones[0]: the file "},
		{`{file: "none/*.zone"}`, "the folder of zones cannot be read"},
		{`{names: none.txt, file: x}`, "the file with the names cannot be read"},
		{`{names: bad.txt, file: x}`, `bad.txt:2:1: not the name of a zone: name "a..b"`},
		{`{names: slash.txt, file: "zones/*"}`, "slash.txt:1:1: zone 0/25.2.0.192.in-addr.arpa. cannot stand in the name of a file"},
		{`{names: root.txt, file: "zones/*"}`, "root.txt:1:1: zone . cannot stand"},
		{`{names: bad.txt}`, `zones[0]: "file" is missing`},
		{`{file: zones/a.zone}`, `zones[0]: "name" is missing`},
		{`{kind: secondary, primaries: [{address: "127.0.0.1:53"}]}`, `zones[0]: "name" is missing`},
		{`{file: "zones/*/*.zone"}`, `zones[0].file: "`},
		{`{file: "zones/*.zone", kind: secondary, primaries: [{address: "127.0.0.1:53"}]}`, "zones of kind secondary do not come from files"},
		{`{names: bad.txt, kind: catalog}`, "cannot be about catalogs"},
		{`{names: bad.txt, kind: store, updates: [{network: 10.0.0.0/8, names: [a.example]}]}`, "cannot name names"},
		{`{name: a.example, names: bad.txt, file: x}`, "zones[0].names: the entry has a name already"},
	} {
		folder := folderWith(t, map[string]string{
			"zones/a..b.zone": "", "bad.txt": "a.example\na..b\n", "slash.txt": "0/25.2.0.192.in-addr.arpa\n", "root.txt": ".\n",
			"pharos.yaml": "zones:\n  - " + tt.entry + "\n",
		})
		c, err := Load(filepath.Join(folder, "pharos.yaml"))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v (%+v), want %q", tt.entry, err, c, tt.want)
		}
	}
}

// TestMillionNames: a list of a million names is read without a configuration that is
// a million times as large.
func TestMillionNames(t *testing.T) {
	if testing.Short() {
		t.Skip("half a gigabyte")
	}
	var names strings.Builder
	for i := range 1_000_000 {
		fmt.Fprintf(&names, "zone%d.many.example\n", i)
	}
	folder := folderWith(t, map[string]string{"names.txt": names.String(), "pharos.yaml": "zones: [{names: names.txt, file: one.zone}]\n"})
	c, err := Load(filepath.Join(folder, "pharos.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(c.Zones); got != 1_000_000 || c.Zones[got-1].Name.String() != "zone999999.many.example." {
		t.Errorf("%d zones, the last is %s", got, c.Zones[got-1].Name)
	}
}
