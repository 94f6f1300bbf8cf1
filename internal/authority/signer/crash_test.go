package signer

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/kasp"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/lab/tools"
)

// crashFolder is set in the child of TestKill, and crashLate in that of TestKillLate.
const (
	crashFolder = "PHAROS_TEST_CRASH_FOLDER"
	crashLate   = "PHAROS_TEST_CRASH_LATE"
)

// TestKillChild is the process that TestKill kills: it rolls keys without end, has a
// parent on disk follow, and says what it has published, and what is wrong with that.
func TestKillChild(t *testing.T) {
	folder := os.Getenv(crashFolder)
	if folder == "" {
		t.Skip("is run by TestKill")
	}
	r := newRig(t, folder)
	if os.Getenv(crashLate) != "" { // every version is that of a large zone
		r.s.atOnce, r.s.delay = 0, 30*time.Millisecond
	}
	r.ds = readParent(t, folder)
	r.heard = func(z *zone.Zone) {
		fmt.Printf("published %d\n", z.Serial())
		r.mu.Lock()
		defer r.mu.Unlock()
		if text := faults(z); text != "" && (z.IsSigned() || len(r.ds) > 0) { // it begins unsigned
			fmt.Printf("faulty: serial %d: %s\n", z.Serial(), strings.ReplaceAll(text, "\n", "; "))
		}
		if len(r.ds) > 0 && !chains(z, r.ds) {
			fmt.Printf("faulty: no DS record of the parent leads to a key of serial %d\n", z.Serial())
		}
		r.follow()
		writeParent(t, folder, r.ds)
	}
	r.offer(parse(t, 1, "www A 192.0.2.1"))
	for i := 0; ; i++ {
		r.eventually(func() string { return atRest(r) })
		if err := r.s.Roll(origin, kasp.KSK+kasp.Role(i%2), false); err != nil {
			t.Fatal(err)
		}
		r.eventually(func() string { return atRest(r) })
		r.offer(parse(t, uint32(i+2), fmt.Sprintf("n%d A 192.0.2.1", i)))
	}
}

// atRest returns "" when no rollover is under way.
func atRest(r *rig) string {
	st, _ := r.s.State(origin)
	active := 0
	for _, v := range st.Keys {
		switch v.Phase {
		case "active":
			active++
		case "removed":
		default:
			return fmt.Sprintf("key %d is in state %s: %s %s", v.Key.ID, v.Phase, v.Next, st.Problem)
		}
	}
	if active != 2 {
		return fmt.Sprintf("%d keys are active; %s", active, st.Problem)
	}
	return ""
}

func readParent(t *testing.T, folder string) [][]byte {
	text, err := os.ReadFile(filepath.Join(folder, "parent"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var ds [][]byte
	for len(text) > 0 {
		ds, text = append(ds, text[1:1+text[0]]), text[1+text[0]:]
	}
	return ds
}

func writeParent(t *testing.T, folder string, ds [][]byte) {
	var text []byte
	for _, d := range ds {
		text = append(append(text, byte(len(d))), d...)
	}
	if err := writeFile(filepath.Join(folder, "parent"), text); err != nil {
		t.Fatal(err)
	}
}

// TestKill: kill -9 at any instant of key generation, signing and rollovers leaves a
// state that goes on, with every private key that it speaks of, a signed version that
// validates with what the parent shows, and no serial older than was published.
func TestKill(t *testing.T) { kill(t, false) }

// TestKillLate is TestKill for large zones, whose versions are published before they are on
// disk: what is on disk may be older, but what the next process publishes is not, and it
// has another serial than what was published with another content.
func TestKillLate(t *testing.T) { kill(t, true) }

func kill(t *testing.T, late bool) {
	rounds := 60
	if testing.Short() {
		rounds = 5
	}
	rounds = tools.Kills(t, rounds)
	folder := t.TempDir()
	rnd := rand.New(rand.NewPCG(7, 8))
	var last, onDisk rdata.Serial
	behind := 0 // rounds that have left an older version on disk
	for round := range rounds {
		child := exec.Command(os.Args[0], "-test.run=^TestKillChild$")
		child.Env = append(os.Environ(), crashFolder+"="+folder)
		if late {
			child.Env = append(child.Env, crashLate+"=1")
		}
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		life := time.Duration(rnd.Int64N(int64(250 * time.Millisecond)))
		var timer *time.Timer
		isNew := false // the child has signed a version
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var serial rdata.Serial
			if n, _ := fmt.Sscanf(lines.Text(), "published %d", &serial); n != 1 {
				switch {
				case hasPrefix(lines.Text(), "faulty: "):
					t.Errorf("round %d: %s", round, lines.Text())
				case !hasPrefix(lines.Text(), "=== "):
					t.Log(lines.Text())
				}
				continue
			}
			// A process may begin with what is on disk. What it signs has a serial of its own.
			if serial.Less(last) && (!late || serial != onDisk || isNew) || serial == last && timer == nil && last != onDisk {
				t.Errorf("round %d: serial %d after %d; on disk was %d", round, serial, last, onDisk)
			}
			if last.Less(serial) {
				last, isNew = serial, true
			}
			// Every other process lives until it has signed a version, however slow the machine is.
			if timer == nil && (isNew || round%2 == 0) {
				timer = time.AfterFunc(life, func() { child.Process.Kill() })
			}
		}
		child.Process.Kill()
		child.Wait()
		if timer == nil {
			t.Fatalf("round %d: the child ended by itself", round)
		}
		timer.Stop()
		if onDisk = inspect(t, round, folder, last, late); onDisk != last {
			behind++
		}
	}
	if last < rdata.Serial(rounds/2) {
		t.Errorf("only %d versions were published in %d rounds", last, rounds)
	}
	if late && (behind == 0 || behind == rounds) {
		t.Errorf("of %d rounds %d have left an older version on disk: not what is tested", rounds, behind)
	}
	t.Logf("%d kills, serial %d published, %d with an older version on disk", rounds, last, behind)
}

func hasPrefix(s, prefix string) bool { return len(s) >= len(prefix) && s[:len(prefix)] == prefix }

// inspect looks at what a killed process has left, and returns the serial of the version
// on disk, which may be an older one if late.
func inspect(t *testing.T, round int, folder string, last rdata.Serial, late bool) rdata.Serial {
	t.Helper()
	at := folderOf(folder, origin)
	r, err := loadRecord(at, origin)
	if errors.Is(err, fs.ErrNotExist) && last <= 1 {
		return 0 // killed before it began
	}
	if err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
	m, err := kasp.Restore(origin, quick().Policy, r.Memory)
	if err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
	for _, v := range m.Views(time.Now()) {
		if len(v.Key.DNSKEY) == 0 {
			continue
		}
		if _, err := ReadKey(folder, sealerIn(folder, ""), origin, v.Key.Tag()); err != nil {
			t.Errorf("round %d: key %d, which is in state %s: %v", round, v.Key.ID, v.Phase, err)
		}
	}
	z, _, err := loadCopy(at, origin, nil)
	if errors.Is(err, fs.ErrNotExist) && (last <= 1 || late) {
		return 0
	}
	if err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
	if z.Serial().Less(last) && !late {
		t.Errorf("round %d: serial %d is on disk, %d was published", round, z.Serial(), last)
	}
	if text := faults(z); text != "" {
		t.Errorf("round %d: %s", round, text)
	}
	if ds := readParent(t, folder); len(ds) > 0 && !late && !chains(z, ds) {
		t.Errorf("round %d: no DS record of the parent leads to a key of serial %d", round, z.Serial())
	}
	return z.Serial()
}

// chains reports whether DS records lead to a key of z.
func chains(z *zone.Zone, ds [][]byte) bool {
	set, _ := z.RRset(z.Apex(), rdata.TypeDNSKEY)
	for at, i := 0, 0; i < set.Count; i++ {
		var data []byte
		data, _, at = set.Record(at)
		k, _ := dnssec.ParseKey(data)
		for _, d := range ds {
			if parsed, ok := dnssec.ParseDS(d); ok && parsed.IsOf(dnsname.MustParse("example.com."), k) {
				return true
			}
		}
	}
	return false
}
