package ledger

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

var other = dnsname.MustParse("example.net.")

// account is what a test knows of two zones: every version that there was, and how
// many of them were acknowledged.
type account struct {
	versions map[dnsname.Name][]string // by version, from the first on
	acked    map[dnsname.Name]int      // index of the newest that was acknowledged
}

// works changes both zones until all is done or the disk has crashed. Each change
// that was not refused is the next version, acknowledged or not.
func (a *account) works(t *testing.T, b *book, from, to int) {
	for i := from; i < to; i++ {
		name := []dnsname.Name{origin, origin, other}[i%3]
		line := fmt.Sprintf("n%d TXT %032d", i%7, i)
		old, _ := b.State(name)
		if !old.Present {
			return // the first version could not be made
		}
		if len(a.versions[name]) == 0 {
			a.versions[name] = []string{text(b.Version(name).Zone)}
		}
		r, err := b.add(name, line)
		if err == nil && !r.Changed {
			continue
		}
		if err == nil {
			a.versions[name] = append(a.versions[name], text(b.Version(name).Zone))
			a.acked[name] = len(a.versions[name]) - 1
		} else if errors.Is(err, ErrNotKept) {
			return
		} else {
			t.Fatal(err)
		}
	}
}

// clone returns an account that goes on by itself.
func (a *account) clone() *account {
	next := &account{map[dnsname.Name][]string{}, maps.Clone(a.acked)}
	for name, list := range a.versions {
		next.versions[name] = slices.Clone(list)
	}
	return next
}

// adopt takes up the version that a crash has left, should it be one that was not
// acknowledged.
func (a *account) adopt(t *testing.T, b *book) {
	for _, name := range []dnsname.Name{origin, other} {
		z := b.Version(name).Zone
		if z == nil {
			continue
		}
		known := a.versions[name]
		if n := int(z.Serial()) - 1; n < a.acked[name] || n < len(known)-1 && text(z) != known[n] {
			t.Fatalf("%s: found version %d, %d was acknowledged:\n%s", name, n, a.acked[name], text(z))
		}
		if n := int(z.Serial()); n <= len(known) {
			a.versions[name] = known[:n]
		} else {
			a.versions[name] = append(known, text(z))
		}
	}
}

// check opens the ledger and compares: each zone is one of its versions, no older
// than acknowledged, and can be changed. exact: nothing was under way.
func (a *account) check(t *testing.T, what string, c Config, exact bool) {
	t.Helper()
	b := open(t, c, origin, other)
	defer b.Close()
	for _, name := range []dnsname.Name{origin, other} {
		if p := b.problem(name.String()) + b.problem("all"); p != "" {
			t.Fatalf("%s: %s: problem %s", what, name, p)
		}
		got, known, acked := text(b.Version(name).Zone), a.versions[name], a.acked[name]
		at := len(known) - 1
		for at >= 0 && known[at] != got {
			at--
		}
		// A change that was not acknowledged may be there: then it is new to the account.
		next := !exact && len(known) > 0 && at < 0 && b.Version(name).Zone.Serial() == rdata.Serial(len(known)+1)
		if len(known) > 0 && !next && at < acked {
			t.Fatalf("%s: %s: found version %d, %d was acknowledged:\n%s", what, name, at, acked, got)
		}
		list, err := b.History(name, 0)
		if err != nil {
			t.Fatalf("%s: %s: history: %v", what, name, err)
		}
		for _, p := range list {
			z, err := b.At(name, p.Serial)
			if err != nil {
				t.Fatalf("%s: %s: serial %d: %v", what, name, p.Serial, err)
			}
			if i := int(p.Serial) - 1; i < len(known) && text(z) != known[i] {
				t.Fatalf("%s: %s: serial %d of the history is\n%swas\n%s", what, name, p.Serial, text(z), known[i])
			}
		}
		if _, err := b.add(name, "after TXT crash"); err != nil {
			t.Fatalf("%s: %s: %v", what, name, err)
		}
	}
}

func crashConfig(t *testing.T, d *memDisk) Config {
	return Config{Folder: t.TempDir(), disk: d, limits: limits{checkpoint: 2000, entry: 1000, fold: 1500}}
}

// TestCrash ends the process, or cuts the power, at every single operation on the
// disk: what was acknowledged is there, whole, and nothing is in half.
func TestCrash(t *testing.T) {
	const steps = 40
	rnd := rand.New(rand.NewPCG(7, 7))
	stride := 1
	if testing.Short() {
		stride = 17
	}
	runs := 0
	for crashAt := 1; ; crashAt += stride {
		d := newMemDisk(rnd)
		d.crashAt = crashAt
		a := account{map[dnsname.Name][]string{}, map[dnsname.Name]int{}}
		c := crashConfig(t, d)
		b := open(t, c, origin, other)
		a.works(t, b, 0, steps)
		b.Close()
		finished := d.ops < crashAt
		for what, after := range map[string]*memDisk{"killed": d.killed(), "powerless": d.powerless()} {
			a := a.clone()
			runs++
			c.disk = after
			// Once or twice more, in the midst of what the next start does.
			for again := range crashAt % 4 {
				c.disk.(*memDisk).crashAt = 1 + rnd.IntN(9)
				b := open(t, c, origin, other)
				a.adopt(t, b)
				a.works(t, b, steps*(again+1), steps*(again+2))
				b.Close()
				after = c.disk.(*memDisk)
				if c.disk = after.killed(); rnd.IntN(2) == 0 {
					c.disk = after.powerless()
				}
			}
			a.check(t, fmt.Sprintf("%s at operation %d", what, crashAt), c, false)
		}
		if finished {
			break
		}
	}
	t.Logf("%d crashes", runs)
	if runs < 100 && !testing.Short() {
		t.Errorf("only %d crashes", runs)
	}
}

// TestFault fails single operations on the disk once, writes in their midst: the
// change is refused or made, what was acknowledged is durable, and with the disk all
// is well again.
func TestFault(t *testing.T) {
	const steps = 40
	rnd := rand.New(rand.NewPCG(8, 8))
	stride := 3 // most operations come again and again; which of them is hit varies with the order of goroutines
	if testing.Short() {
		stride = 13
	}
	for at := 1; ; at += stride {
		d := newMemDisk(rnd)
		hit, kind := false, ""
		c := crashConfig(t, d)
		b := open(t, c, origin, other)
		if b.Version(origin).Zone == nil || b.Version(other).Zone == nil {
			t.Fatal("no first version")
		}
		d.mu.Lock()
		from := d.ops
		d.fault = func(op int, k, path string) error {
			if op != from+at {
				return nil
			}
			hit, kind = true, k+" "+filepath.Base(path)
			return syscall.EIO
		}
		d.mu.Unlock()
		a := account{map[dnsname.Name][]string{}, map[dnsname.Name]int{}}
		a.works(t, b, 0, steps)
		a.works(t, b, steps, 2*steps) // after a refusal, or on and on
		d.mu.Lock()
		failed := hit
		d.mu.Unlock()
		after := d.powerless()
		b.Close()
		for what, disk := range map[string]*memDisk{"powerless": after, "closed": d.powerless()} {
			c.disk = disk
			a.check(t, fmt.Sprintf("%s after an error at operation %d (%s)", what, at, kind), c, true)
		}
		if !failed {
			break
		}
	}
}
