package config

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pharos/internal/cluster/document"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
)

// This file puts in the place of an entry of zones[] that is about many zones one entry
// for each of them:
//
//	names: FILE                   a zone for each line; * in file stands for its name
//	file: FOLDER/*.zone           a zone for each file that there is
//
// A zone that has an entry of its own counts for more, wherever it stands.

// MaxZones is how many zones a node has at the most, however they are named. Each takes
// some 2 KiB of memory even if it has next to no records, so these take 20 GiB; what is
// more is refused before it is tried.
const MaxZones = 10_000_000

// maxNamesFile is how large a file of names may be: MaxZones names of usual length.
const maxNamesFile = 512 << 20

// IsSet reports whether the entry is about as many zones as its Names or File say.
func (z *Zone) IsSet() bool { return z.Name.IsZero() }

// pattern takes the file of a set apart, at the *.
func (z *Zone) pattern() (folder, before, after string, ok bool) {
	folder, last := filepath.Split(z.File)
	before, after, ok = strings.Cut(last, "*")
	return folder, before, after, ok && !strings.Contains(after, "*") && !strings.Contains(folder, "*")
}

// checkSet checks an entry that is about many zones, but for what its files say.
func (c *Config) checkSet(to *checker, path string, z Zone) {
	_, _, _, isPattern := z.pattern()
	switch {
	case to.root.At(path).Get("name") != nil:
		return // it is no name, as has been said
	case z.Names == "" && !strings.Contains(z.File, "*"):
		to.fail(path, `"name" is missing`, "add it, for example name: example.com; or, for many zones, names, a file that lists them, or file: zones/*.zone")
		return
	case strings.Contains(z.File, "*") && !isPattern:
		to.fail(path+".file", fmt.Sprintf("%q is no pattern", z.File), "write one * in its last part, for the name of the zone: zones/*.zone")
	case z.Names == "" && z.Kind != "file" && z.Kind != "store":
		to.fail(path+".file", fmt.Sprintf("zones of kind %s do not come from files", z.Kind), "list them in a file: names: zones.txt")
	case z.Kind == "catalog" || len(z.Catalog.Templates) > 0:
		to.fail(path, "an entry about many zones cannot be about catalogs", "give each catalog an entry with its name")
	}
	for i, r := range z.Updates {
		if len(r.Names)+len(r.Subtrees) > 0 {
			to.fail(fmt.Sprintf("%s.updates[%d]", path, i), "the entry is about many zones, so its rules cannot name names", "give the zone an entry of its own")
		}
	}
	if z.Kind == "secondary" {
		z.File = "" // * has been checked
	}
	z.Name = dnsname.Root // every name is in it
	c.checkZone(to, path, z)
}

// expand puts in the place of entries that are about many zones those zones.
func (c *Config) expand() error {
	x := expansion{config: c}
	c.Zones = x.zones("zones", c.Zones)
	for i := range c.Views {
		v := &c.Views[i]
		v.Zones = x.zones(fmt.Sprintf("views[%d].zones", i), v.Zones)
	}
	if total := len(c.EveryZone()); total > MaxZones {
		x.fail("", 0, "zones", fmt.Sprintf("%d zones, at most %d can be served", total, MaxZones), "let several nodes share them")
	}
	x.problems.Sort()
	return x.problems.Err()
}

// HasZonesOf reports whether two readings of one text have the same zones.
func (c *Config) HasZonesOf(o *Config) bool {
	alike := func(a, b []Zone) bool {
		return slices.EqualFunc(a, b, func(x, y Zone) bool { return x.Name == y.Name && x.File == y.File })
	}
	return alike(c.Zones, o.Zones) && slices.EqualFunc(c.Views, o.Views, func(x, y View) bool { return alike(x.Zones, y.Zones) })
}

// IsOneList reports whether two lists of zones are one.
func IsOneList(a, b []Zone) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// expansion is what expand works on.
type expansion struct {
	config   *Config
	problems document.Problems
}

func (x *expansion) fail(file string, line int, path, text, remedy string) {
	column := 1
	if file == "" {
		file, column = x.config.File, 0
	}
	x.problems.Add(document.Problem{File: file, Line: line, Column: column, Path: path, Text: text, Remedy: remedy})
}

// zones returns a list of zones without entries that are about many.
func (x *expansion) zones(path string, zones []Zone) []Zone {
	if !slices.ContainsFunc(zones, func(z Zone) bool { return z.IsSet() }) {
		return zones
	}
	taken := map[dnsname.Name]int{} // by the entry; its index
	for i, z := range zones {
		if !z.IsSet() {
			taken[z.Name] = i
		}
	}
	all := make([]Zone, 0, len(zones))
	for i, z := range zones {
		if !z.IsSet() {
			all = append(all, z)
			continue
		}
		at := fmt.Sprintf("%s[%d]", path, i)
		list := x.namesOf(at, &z)
		all = slices.Grow(all, len(list))
		for _, n := range list {
			first, twice := taken[n.name]
			switch {
			case !twice:
				taken[n.name] = i
				one := z
				one.Name, one.File, one.Names = n.name, n.file, ""
				all = append(all, one)
			case zones[first].IsSet():
				x.fail(n.from, n.line, at, fmt.Sprintf("zone %s is already in %s[%d]", n.name, path, first), "remove one of them")
			}
		}
	}
	return all
}

// found is a zone of a set.
type found struct {
	name dnsname.Name
	file string // of the zone
	from string // file that names it, and the line; empty: the configuration
	line int
}

// namesOf returns the zones of a set.
func (x *expansion) namesOf(path string, z *Zone) []found {
	read, from := x.linesOf, z.Names
	if z.Names == "" {
		read = x.filesOf
		from, _, _, _ = z.pattern()
	}
	x.config.Lists = append(x.config.Lists, diskfile.StampOf(from)) // before it is read, so that no change is missed
	list, err := read(path, z)
	if err != nil {
		x.fail("", 0, path, err.Error(), "")
	}
	return list
}

// filesOf returns a zone for each file that fits the pattern.
func (x *expansion) filesOf(path string, z *Zone) ([]found, error) {
	folder, before, after, _ := z.pattern()
	entries, err := os.ReadDir(filepath.Clean(folder))
	if err != nil {
		return nil, fmt.Errorf("the folder of zones cannot be read: %w; make it, or correct the file of the entry", err)
	}
	var list []found
	for _, e := range entries {
		file := e.Name()
		if e.IsDir() || strings.HasPrefix(file, ".") || len(file) <= len(before)+len(after) || !strings.HasPrefix(file, before) || !strings.HasSuffix(file, after) {
			continue // hidden files are those that something is still writing
		}
		name, err := dnsname.Parse(file[len(before) : len(file)-len(after)])
		if err != nil {
			x.fail("", 0, path, fmt.Sprintf("the file %s is not called like a zone: %v", filepath.Join(folder, file), err), "rename it, or move it away")
			continue
		}
		list = append(list, found{name: name, file: filepath.Join(folder, file)})
	}
	return list, nil
}

// linesOf returns a zone for each line of a file.
func (x *expansion) linesOf(path string, z *Zone) ([]found, error) {
	f, err := os.Open(z.Names)
	if err != nil {
		return nil, fmt.Errorf("the file with the names cannot be read: %w; put it there, or correct names", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() > maxNamesFile {
		return nil, errors.Join(err, fmt.Errorf("%s is larger than %d MiB", z.Names, maxNamesFile>>20))
	}
	folder, before, after, isPattern := z.pattern()
	var list []found
	lines := bufio.NewScanner(f)
	for line := 1; lines.Scan(); line++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		name, err := dnsname.Parse(text)
		if err != nil {
			x.fail(z.Names, line, "", fmt.Sprintf("not the name of a zone: %v", err), "write one name on each line; # begins a comment")
			continue
		}
		n := found{name: name, file: z.File, from: z.Names, line: line}
		if isPattern {
			plain := strings.TrimSuffix(name.String(), ".")
			if plain == "" || strings.ContainsAny(plain, `/\`) {
				x.fail(z.Names, line, "", fmt.Sprintf("zone %s cannot stand in the name of a file", name), "give it an entry of its own")
				continue
			}
			n.file = folder + before + plain + after
		}
		list = append(list, n)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", z.Names, err)
	}
	return list, nil
}
