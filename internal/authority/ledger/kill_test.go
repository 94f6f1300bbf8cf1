package ledger

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/lab/tools"
)

// killFolder is set in the child of TestKill.
const killFolder = "PHAROS_TEST_LEDGER_FOLDER"

// TestKillChild is the process that TestKill kills: writers count in two zones, and
// say each number that was acknowledged.
func TestKillChild(t *testing.T) {
	folder := os.Getenv(killFolder)
	if folder == "" {
		t.Skip("is run by TestKill")
	}
	b := open(t, Config{Folder: folder, limits: limits{checkpoint: 30_000, entry: 10_000, fold: 10_000}}, origin, other)
	var out sync.Mutex
	var work sync.WaitGroup
	for w := range 4 {
		name, counter := []dnsname.Name{origin, other}[w%2], dnsname.MustParse(fmt.Sprintf("w%d.example.com.", w))
		work.Go(func() {
			for {
				var n int
				_, err := b.Change(context.Background(), name, strings.Repeat("w", w+1), func(now *zone.Zone) (update.Change, error) {
					n = counted(now, counter, name) + 1
					return count(now, counter, name)
				})
				if err != nil {
					return
				}
				out.Lock()
				fmt.Printf("acknowledged %d %d\n", w, n)
				out.Unlock()
			}
		})
	}
	work.Wait()
}

// TestKill: kill -9 at any instant loses nothing that was acknowledged, and each zone
// is a version: its serial counts the changes in it.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many processes")
	}
	rounds := tools.Kills(t, 50)
	folder := t.TempDir()
	rnd := rand.New(rand.NewPCG(5, 6))
	var acked [4]int
	for round := range rounds {
		killAfter(t, folder, 1+rnd.IntN(150), time.Duration(rnd.Int64N(int64(3*time.Millisecond))), &acked)
		l := open(t, Config{Folder: folder}, origin, other)
		for i, name := range []dnsname.Name{origin, other} {
			if p := l.problem(name.String()) + l.problem("all"); p != "" {
				t.Fatalf("round %d: %s: %s", round, name, p)
			}
			z, sum := l.Version(name).Zone, 0
			for w := i; w < 4; w += 2 {
				n := counted(z, dnsname.MustParse(fmt.Sprintf("w%d.example.com.", w)), name)
				if n < acked[w] || n > acked[w]+1 {
					t.Fatalf("round %d: writer %d is at %d, %d was acknowledged", round, w, n, acked[w])
				}
				acked[w] = n
				sum += n
			}
			if z.Serial() != rdata.Serial(sum+1) {
				t.Fatalf("round %d: %s has serial %d after %d changes", round, name, z.Serial(), sum)
			}
		}
		if round%7 == 0 { // a clean end now and then
			l.Close()
		} else {
			l.abandon()
		}
	}
	t.Logf("%d kills, acknowledged %v", rounds, acked)
}

// abandon leaves the files as they are, as a kill does.
func (b *book) abandon() {
	close(b.closing)
	<-b.ended
	b.work.Wait()
	b.commits.close()
	b.lock.release()
	b.Ledger.close = func() error { return nil }
}

// killAfter runs the child until it has acknowledged some changes, and a little
// longer.
func killAfter(t *testing.T, folder string, changes int, longer time.Duration, acked *[4]int) {
	child := exec.Command(os.Args[0], "-test.run=^TestKillChild$")
	child.Env = append(os.Environ(), killFolder+"="+folder)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var kill *time.Timer
	var said []string
	for lines.Scan() {
		var w, n int
		if count, _ := fmt.Sscanf(lines.Text(), "acknowledged %d %d", &w, &n); count != 2 {
			said = append(said, lines.Text())
			continue
		}
		acked[w] = max(acked[w], n)
		if changes--; changes == 0 {
			kill = time.AfterFunc(longer, func() { child.Process.Kill() })
		}
	}
	child.Process.Kill()
	child.Wait()
	if kill == nil {
		t.Fatalf("the child ended by itself: %s", said)
	}
	kill.Stop()
}
