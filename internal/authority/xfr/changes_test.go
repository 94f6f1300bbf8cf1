package xfr

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/transfer"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/rdata"
)

// record returns the record of a line of a zone.
func record(t testing.TB, line string) rdata.Record {
	t.Helper()
	z := parse(t, 1, line)
	for r := range z.Records() {
		if strings.HasPrefix(line, strings.Split(r.Name.String(), ".")[0]+" ") {
			return r
		}
	}
	t.Fatal(line)
	return rdata.Record{}
}

// step is version i of a zone with many records, of which each differs in one record from
// the version before, and the change that leads to it.
func step(t testing.TB, i uint32) (*zone.Zone, []transfer.Change) {
	t.Helper()
	lines := []string{fmt.Sprintf("v A 192.0.2.%d", i)}
	for j := range 300 {
		lines = append(lines, fmt.Sprintf("n%d TXT %q", j, strings.Repeat("x", 200)))
	}
	z := parse(t, i, lines...)
	return z, []transfer.Change{{
		From: rdata.Serial(i - 1), To: rdata.Serial(i), SOA: transfer.SOA(z),
		Deleted: []rdata.Record{record(t, fmt.Sprintf("v A 192.0.2.%d", i-1))}, Added: []rdata.Record{record(t, lines[0])},
	}}
}

// kept saves the first version as a copy and appends others, and returns the log.
func keptTo(t testing.TB, folder string, last uint32) *changeLog {
	t.Helper()
	l := new(changeLog)
	old, _ := step(t, 1)
	if err := saveCopy(folder, old, time.Now(), nil, l); err != nil {
		t.Fatal(err)
	}
	for i := uint32(2); i <= last; i++ {
		z, changes := step(t, i)
		if err := l.append(folder, old, z, changes, time.Now()); err != nil {
			t.Fatal(err)
		}
		old = z
	}
	return l
}

// TestChanges: small changes are appended beside the copy, which is not written again;
// what is loaded is the newest version, and it is gone on with.
func TestChanges(t *testing.T) {
	folder := t.TempDir()
	keptTo(t, folder, 1)
	before, err := os.ReadFile(copyPath(folder, origin))
	if err != nil {
		t.Fatal(err)
	}
	keptTo(t, folder, 4)
	after, _ := os.ReadFile(copyPath(folder, origin))
	if !bytes.Equal(before, after) {
		t.Error("the copy was written again")
	}
	for i := uint32(4); i <= 6; i++ {
		l, err := loadCopy(folder, origin, nil)
		want, _ := step(t, i)
		if err != nil || l.damage != nil || text(l.zone) != text(want) {
			t.Fatalf("version %d: %v, %v", i, err, l.damage)
		}
		next, changes := step(t, i+1)
		if err := l.append(folder, l.zone, next, changes, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	other, changes := step(t, 9)
	l, _ := loadCopy(folder, origin, nil)
	if err := l.append(folder, other, other, changes, time.Now()); err == nil {
		t.Error("a change of another version was appended")
	}
}

// TestChangesCutOff: whatever a crash has left of the last change, the version before it
// is loaded, or it itself when it is whole, and nothing is said; then the next one is
// written in its place.
func TestChangesCutOff(t *testing.T) {
	folder := t.TempDir()
	end := keptTo(t, folder, 3).end
	path := changesPath(folder, origin)
	whole, err := os.ReadFile(path)
	if err != nil || int64(len(whole)) != end {
		t.Fatalf("%d octets, %v", len(whole), err)
	}
	two, _ := step(t, 2)
	three, changes := step(t, 3)
	first := 0 // octets with which the second version is there
	for size := range len(whole) + 1 {
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := loadCopy(folder, origin, nil)
		if err != nil || l.damage != nil {
			t.Fatalf("%d octets: %v, %v", size, err, l.damage)
		}
		serial := l.zone.Serial()
		if first == 0 && serial == 2 {
			first = size
		}
		if want := rdata.Serial(1); serial < want || (serial == 3) != (size == len(whole)) || first > 0 && serial < 2 {
			t.Fatalf("%d octets: serial %d", size, serial)
		}
	}
	if err := os.WriteFile(path, whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	l, _ := loadCopy(folder, origin, nil)
	if text(l.zone) != text(two) {
		t.Fatalf("serial %d", l.zone.Serial())
	}
	if err := l.append(folder, l.zone, three, changes, time.Now()); err != nil {
		t.Fatal(err)
	}
	if l, err = loadCopy(folder, origin, nil); err != nil || l.damage != nil || text(l.zone) != text(three) {
		t.Errorf("after what was cut off: %v, %v", err, l.damage)
	}
}

// TestChangesDamaged: an octet that has changed is found, wherever it is; what comes
// before it counts, and the damage is said unless nothing was behind it.
func TestChangesDamaged(t *testing.T) {
	folder := t.TempDir()
	keptTo(t, folder, 4)
	path := changesPath(folder, origin)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 4
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := loadCopy(folder, origin, nil)
		if err != nil || l.zone.Serial() == 4 {
			t.Fatalf("octet %d: serial %d, %v", at, l.zone.Serial(), err)
		}
		if want, _ := step(t, uint32(l.zone.Serial())); text(l.zone) != text(want) {
			t.Fatalf("octet %d: serial %d is not that version", at, l.zone.Serial())
		}
	}
	damaged := bytes.Clone(whole)
	damaged[changesHeader+30] ^= 1
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSecondary(t, folder, Limits{})
	if z := s.Version(origin); z == nil || z.Serial() != 1 {
		t.Errorf("served is %v", z)
	}
	if st, _ := s.State(origin); !strings.Contains(st.Problem, "are no change; it is kept as") {
		t.Errorf("problem %q", st.Problem)
	}
	if _, err := os.Stat(path + ".damaged"); err != nil {
		t.Error(err)
	}
}

// TestChangesOfAnotherCopy: what a crash leaves between a new copy and the removal of the
// changes of the one before does not count.
func TestChangesOfAnotherCopy(t *testing.T) {
	folder := t.TempDir()
	keptTo(t, folder, 3)
	left, err := os.ReadFile(changesPath(folder, origin))
	if err != nil {
		t.Fatal(err)
	}
	four, _ := step(t, 4)
	l := new(changeLog)
	if err := saveCopy(folder, four, time.Now(), nil, l); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(changesPath(folder, origin)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the changes before the copy are still there: %v", err)
	}
	if err := os.WriteFile(changesPath(folder, origin), left, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := loadCopy(folder, origin, nil)
	if err != nil || got.damage != nil || got.zone.Serial() != 4 {
		t.Fatalf("serial %d, %v, %v", got.zone.Serial(), err, got.damage)
	}
	five, changes := step(t, 5)
	if err := got.append(folder, got.zone, five, changes, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got, err = loadCopy(folder, origin, nil); err != nil || got.damage != nil || got.zone.Serial() != 5 {
		t.Errorf("serial %d, %v, %v", got.zone.Serial(), err, got.damage)
	}
}

// TestChangesAreFolded: changes that are as large as half the copy become a new copy.
func TestChangesAreFolded(t *testing.T) {
	folder := t.TempDir()
	l := keptTo(t, folder, 2)
	l.end = leastFold
	two := l.zone
	three, changes := step(t, 3)
	if err := l.append(folder, two, three, changes, time.Now()); !errors.Is(err, errTooMuch) {
		t.Errorf("got %v", err)
	}
}

// TestChangeTTL: RFC 2181 §5.2: a record that is added with another TTL changes that of
// its RRset; what is on disk has the change of all of it.
func TestChangeTTL(t *testing.T) {
	folder := t.TempDir()
	old := parse(t, 1, "v 600 A 192.0.2.1", "v 600 A 192.0.2.2")
	l := new(changeLog)
	if err := saveCopy(folder, old, time.Now(), nil, l); err != nil {
		t.Fatal(err)
	}
	add := record(t, "v 60 A 192.0.2.3")
	soa := transfer.SOA(parse(t, 2))
	changes := []transfer.Change{{From: 1, To: 2, SOA: soa, Added: []rdata.Record{add}}}
	edit, err := transfer.Apply(old, changes)
	if err != nil {
		t.Fatal(err)
	}
	z, _ := edit.Finish()
	if err := l.append(folder, old, z, changes, time.Now()); err != nil {
		t.Fatal(err)
	}
	got, err := loadCopy(folder, origin, nil)
	if err != nil || got.damage != nil || text(got.zone) != text(z) {
		t.Errorf("%v, %v, got\n%s\nwant\n%s", err, got.damage, text(got.zone), text(z))
	}
}

// FuzzChanges: whatever stands beside a copy, what is loaded is the copy or a version that
// follows from it, and never anything else without a word.
func FuzzChanges(f *testing.F) {
	folder := f.TempDir()
	keptTo(f, folder, 3)
	whole, err := os.ReadFile(changesPath(folder, origin))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:changesHeader])
	f.Add(append(bytes.Clone(whole), whole[changesHeader:]...))
	f.Fuzz(func(t *testing.T, in []byte) {
		if err := os.WriteFile(changesPath(folder, origin), in, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := loadCopy(folder, origin, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := step(t, uint32(l.zone.Serial())); text(l.zone) != text(want) {
			t.Errorf("serial %d is loaded, which is not that version", l.zone.Serial())
		}
	})
}
