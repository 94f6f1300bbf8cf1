package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
)

// fill makes n changes to a zone, and returns the text of each version from the first.
func fill(b *book, n int) []string {
	versions := []string{text(b.Version(origin).Zone)}
	for i := range n {
		b.mustAdd(origin, fmt.Sprintf("n%d TXT %040d", i, i))
		versions = append(versions, text(b.Version(origin).Zone))
	}
	return versions
}

// TestDamage changes one octet of one file: it is noticed, what can be served is, what
// is lost is said and set aside, and the zone can be changed again.
func TestDamage(t *testing.T) {
	middle := func(size int) int { return size / 2 }
	last := func(size int) int { return size - 10 }
	for _, tt := range []struct {
		name, suffix string
		at           func(size int) int
		closed       bool // else there are commit logs
		least, most  int  // which version is served; -1: none
		said         string
	}{
		{"middle of the log", "example.com.log", middle, true, 3, 7, "what came after serial"},
		{"head of the log", "example.com.log", func(int) int { return 5 }, true, 0, 0, "what came after serial"},
		{"end of the log", "example.com.log", last, true, 9, 9, "what came after serial"},
		{"base", "example.com.base", middle, true, -1, -1, "restore the files, or import the zone anew"},
		{"middle of a commit log", "commit-0000000000000001.log", middle, false, 3, 7, "what came after serial"},
		{"end of a commit log", "commit-0000000000000001.log", last, false, 9, 9, ""}, // not told from a write that was cut off
		{"head of a commit log", "commit-0000000000000001.log", func(int) int { return 5 }, false, 0, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newMemDisk(rand.New(rand.NewPCG(1, 1)))
			c := Config{Folder: t.TempDir(), disk: d}
			b := open(t, c, origin)
			versions := fill(b, 10)
			after := d
			if !tt.closed {
				after = d.killed()
			}
			b.Close()
			if after.damage(tt.suffix, tt.at) == "" {
				t.Fatal("no such file")
			}
			c.disk = after
			b = open(t, c, origin)
			got := b.Version(origin).Zone
			at := -1
			for i, v := range versions {
				if got != nil && text(got) == v {
					at = i
				}
			}
			if at < tt.least || at > tt.most || got != nil && at < 0 {
				t.Fatalf("served is version %d, want %d to %d:\n%s", at, tt.least, tt.most, text(got))
			}
			if said := b.problem("example.com."); !strings.Contains(said, tt.said) || tt.said == "" && said != "" {
				t.Errorf("problem %q, want %q", said, tt.said)
			}
			if tt.said != "" {
				names, err := after.List(c.Folder + "/zones")
				more, err2 := after.List(c.Folder)
				if err != nil || err2 != nil || !strings.Contains(fmt.Sprint(names, more), ".damaged-") {
					t.Errorf("nothing set aside: %v %v", names, more)
				}
			}
			if got == nil {
				if _, err := b.Replace(t.Context(), origin, "test", parse(t, origin, exampleText), false); err != nil {
					t.Fatalf("cannot be imported anew: %v", err)
				}
			}
			b.mustAdd(origin, "again TXT again")
			want := text(b.Version(origin).Zone)
			b.Close()
			b = open(t, c, origin)
			if got := text(b.Version(origin).Zone); got != want {
				t.Errorf("after a change and a restart:\n%s\nwant\n%s", got, want)
			}
			if said := b.problem("example.com."); said != "" {
				t.Errorf("problem %q again", said)
			}
		})
	}
}

// TestEveryOctet changes each octet of a zone's log in turn: never is something served
// that was no version.
func TestEveryOctet(t *testing.T) {
	d := newMemDisk(rand.New(rand.NewPCG(2, 2)))
	c := Config{Folder: t.TempDir(), disk: d}
	b := open(t, c, origin)
	versions := fill(b, 4)
	b.Close()
	size := len(d.names[c.Folder+"/zones/example.com.log"].data)
	for i := 0; i < size; i += 5 {
		after := d.killed()
		after.damage("example.com.log", func(int) int { return i })
		c.disk = after
		b := open(t, c, origin)
		got := text(b.Version(origin).Zone)
		b.Close()
		if !strings.Contains(strings.Join(versions, "|"), got) {
			t.Fatalf("octet %d changed: served is\n%s", i, got)
		}
	}
}

// TestDiskFull: with no room changes are refused with what to do, what there is goes
// on being served, and with room again changes are made.
func TestDiskFull(t *testing.T) {
	d := newMemDisk(rand.New(rand.NewPCG(3, 3)))
	c := crashConfig(t, d)
	b := open(t, c, origin)
	versions := fill(b, 5)
	d.mu.Lock()
	d.room = d.used() + 700
	d.mu.Unlock()
	made := 0
	var err error
	for ; err == nil && made < 100; made++ {
		_, err = b.add(origin, fmt.Sprintf("full%d TXT %040d", made, made))
	}
	if !errors.Is(err, ErrNotKept) || !errors.Is(err, syscall.ENOSPC) && !strings.Contains(err.Error(), "cannot be written") || !strings.Contains(err.Error(), "free space") {
		t.Fatalf("after %d changes: %v", made, err)
	}
	before := text(b.Version(origin).Zone)
	for range 3 { // time and again
		if _, err := b.add(origin, "more TXT more"); !errors.Is(err, ErrNotKept) {
			t.Fatal(err)
		}
	}
	if got := text(b.Version(origin).Zone); got != before {
		t.Error("a refused change is served")
	}
	if b.failing == "" {
		t.Error("no problem")
	}
	if z, err := b.At(origin, 3); err != nil || text(z) != versions[2] {
		t.Errorf("the history cannot be read: %v", err)
	}
	d.mu.Lock()
	d.room = 0
	d.mu.Unlock()
	if _, err := b.add(origin, "room TXT again"); err != nil {
		t.Fatal(err)
	}
	if b.failing != "" {
		t.Errorf("problem %q", b.failing)
	}
	want := text(b.Version(origin).Zone)
	c.disk = d.powerless()
	b.Close()
	if got := text(open(t, c, origin).Version(origin).Zone); got != want {
		t.Errorf("after a loss of power:\n%s\nwant\n%s", got, want)
	}
}
