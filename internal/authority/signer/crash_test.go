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
	"strconv"
	"testing"
	"time"

	"pharos/internal/authority/kasp"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// crashFolder is set in the child of TestKill; killRounds may say how often to kill.
const (
	crashFolder = "PHAROS_TEST_CRASH_FOLDER"
	killRounds  = "PHAROS_TEST_KILLS"
)

// TestKillChild is the process that TestKill kills: it rolls keys without end, has a
// parent on disk follow, and says what it has published.
func TestKillChild(t *testing.T) {
	folder := os.Getenv(crashFolder)
	if folder == "" {
		t.Skip("is run by TestKill")
	}
	r := newRig(t, folder)
	r.ds = readParent(t, folder)
	r.heard = func(z *zone.Zone) {
		fmt.Printf("published %d\n", z.Serial())
		r.mu.Lock()
		defer r.mu.Unlock()
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
func TestKill(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 5
	}
	if text := os.Getenv(killRounds); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	folder := t.TempDir()
	rnd := rand.New(rand.NewPCG(7, 8))
	var last rdata.Serial
	for round := range rounds {
		child := exec.Command(os.Args[0], "-test.run=^TestKillChild$")
		child.Env = append(os.Environ(), crashFolder+"="+folder)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		life := time.Duration(rnd.Int64N(int64(250 * time.Millisecond)))
		var kill *time.Timer
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var serial rdata.Serial
			if n, _ := fmt.Sscanf(lines.Text(), "published %d", &serial); n != 1 {
				if !hasPrefix(lines.Text(), "=== ") {
					t.Log(lines.Text())
				}
				continue
			}
			if serial.Less(last) {
				t.Errorf("round %d: serial %d after %d", round, serial, last)
			}
			last = serial
			if kill == nil {
				kill = time.AfterFunc(life, func() { child.Process.Kill() })
			}
		}
		child.Process.Kill()
		child.Wait()
		if kill == nil {
			t.Fatalf("round %d: the child ended by itself", round)
		}
		kill.Stop()
		inspect(t, round, folder, last)
	}
	if last < rdata.Serial(rounds) {
		t.Errorf("only %d versions were published in %d rounds", last, rounds)
	}
	t.Logf("%d kills, %d versions published", rounds, last)
}

func hasPrefix(s, prefix string) bool { return len(s) >= len(prefix) && s[:len(prefix)] == prefix }

// inspect looks at what a killed process has left.
func inspect(t *testing.T, round int, folder string, last rdata.Serial) {
	t.Helper()
	at := folderOf(folder, origin)
	r, err := loadRecord(at, origin)
	if errors.Is(err, fs.ErrNotExist) && last <= 1 {
		return // killed before it began
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
	z, _, err := loadCopy(at, origin)
	if errors.Is(err, fs.ErrNotExist) && last <= 1 {
		return
	}
	if err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
	if z.Serial().Less(last) {
		t.Errorf("round %d: serial %d is on disk, %d was published", round, z.Serial(), last)
	}
	if text := faults(z); text != "" {
		t.Errorf("round %d: %s", round, text)
	}
	if ds := readParent(t, folder); len(ds) > 0 && !chains(z, ds) {
		t.Errorf("round %d: no DS record of the parent leads to a key of serial %d", round, z.Serial())
	}
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
