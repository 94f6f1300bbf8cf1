package xfr

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/transfer"
	"pharos/internal/dns/rdata"
	"pharos/lab/tools"
)

// crashFolder is set in the child of TestKill.
const crashFolder = "PHAROS_TEST_CRASH_FOLDER"

// version is a version of a zone of which each record tells the serial that it came with,
// so that a mixture of two is seen. Every 25th version changes all of them, which is more
// than a journal is worth, the others one in forty.
func version(serial uint32) []string {
	const all, turns = 25, 40
	lines := make([]string, 2000)
	for i := range lines {
		came := serial - (serial+turns-uint32(i)%turns)%turns // the last that it was the turn of
		came = max(came, serial-serial%all)
		if came > serial { // before the first turn
			came = 0
		}
		lines[i] = fmt.Sprintf("n%d TXT \"%d %s\"", i, came, strings.Repeat("x", int(came)%50))
	}
	return lines
}

// TestKillChild is the process that TestKill kills: it follows a primary that has a
// new version all the time, and says which ones it has published.
func TestKillChild(t *testing.T) {
	folder := os.Getenv(crashFolder)
	if folder == "" {
		t.Skip("is run by TestKill")
	}
	serial := uint32(1)
	if l, err := loadCopy(folder, origin, nil); err == nil {
		serial = uint32(l.zone.Serial()) + 1
	}
	p := newPrimary(t, parse(t, serial, version(serial)...), nil)
	s := newSecondary(t, folder, Limits{})
	s.follow(p)
	for {
		s.waitFor(t, s.published)
		for {
			if st, _ := s.State(origin); st.Serial == rdata.Serial(serial) && !st.Checking {
				break
			}
			s.waitFor(t, s.published)
		}
		fmt.Printf("published %d\n", serial)
		before := parse(t, serial, version(serial)...)
		serial++
		p.set(parse(t, serial, version(serial)...), before)
		s.Refresh(origin, false)
	}
}

// TestKill: kill -9 at any instant of a transfer leaves the old version or the new
// one, whole, and never one older than was published.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many processes")
	}
	rounds := tools.Kills(t, 60)
	folder := t.TempDir()
	rnd := rand.New(rand.NewPCG(5, 6))
	var last uint32
	changed := 0 // rounds that have left a copy with changes
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
		lines, versions := bufio.NewScanner(out), 1+rnd.IntN(12)
		var said []string // by the child beside what it has published: why it ended
		var published uint32
		var kill *time.Timer
		for lines.Scan() {
			if n, _ := fmt.Sscanf(lines.Text(), "published %d", &published); n == 1 {
				if versions--; versions == 0 {
					kill = time.AfterFunc(time.Duration(rnd.Int64N(int64(15*time.Millisecond))), func() { child.Process.Kill() })
				}
			} else {
				said = append(said, lines.Text())
			}
		}
		child.Process.Kill()
		child.Wait()
		if kill == nil {
			t.Fatalf("round %d: the child ended by itself: %s", round, strings.Join(said, "\n"))
		}
		kill.Stop()
		l, err := loadCopy(folder, origin, nil)
		if err != nil || l.damage != nil {
			t.Fatalf("round %d: %v, %v", round, err, l.damage)
		}
		z := l.zone
		if l.end > 0 {
			changed++
		}
		serial := uint32(z.Serial())
		if serial != published && serial != published+1 {
			t.Fatalf("round %d: serial %d on disk, %d was published last", round, serial, published)
		}
		if got, want := text(z), text(parse(t, serial, version(serial)...)); got != want {
			t.Fatalf("round %d: the copy of serial %d is not that version", round, serial)
		}
		if transfer.SerialOf(transfer.SOA(z)) != z.Serial() {
			t.Fatal("serial and SOA record differ")
		}
		last = serial
	}
	if changed == 0 || changed == rounds {
		t.Errorf("of %d rounds %d have left changes beside the copy: not what is tested", rounds, changed)
	}
	t.Logf("%d kills, %d of them with changes beside the copy, serial %d on disk", rounds, changed, last)
}
