//go:build linux

package main

import (
	"fmt"
	"runtime"
	"time"

	"pharos/bench/peer"
	"pharos/bench/procstat"
	"pharos/bench/table"
)

// This file holds rounds to the time that others have left them. The host of a virtual machine
// gives its processors to others as it likes, and says so afterwards ("steal" in /proc/stat); and
// other programs of this machine may use them. A round that lost too much to either tells of
// them: it does not count, and is held again. When none of several tries was better, the last one
// counts, and the table says so.

const (
	// mostStolen is the part of the processors' time that the host may take from a round, and
	// mostOthers that other programs may use, the kernel's own threads among them. Below them
	// medians over rounds do not notice; the clock of /proc/stat, of 10 ms, tells it of half a second
	// and more.
	mostStolen = 0.03
	mostOthers = 0.06
	// lossTries is how often a round is held at most: what was so three times running is likely to
	// go on for hours.
	lossTries = 3
)

// loss is what others have taken of the processors' time, in parts of it.
type loss struct{ stolen, others float64 }

func (l loss) isTooMuch() bool { return l.stolen > mostStolen || l.others > mostOthers }

func (l loss) String() string {
	return fmt.Sprintf("%.1f %% of the processors' time was stolen by the host, %.1f %% used by other programs", 100*l.stolen, 100*l.others)
}

// losses are those of a run.
type losses struct {
	most           loss
	repeated, kept int // rounds that lost too much, and those of them that count nevertheless
}

func (l losses) String() string {
	return fmt.Sprintf("Of a round's time on both processors the host of this machine took at most %.1f %%, other programs %.1f %%; %d rounds that lost more than %.0f or %.0f %% were held again, and %d that did so three times running count.",
		100*l.most.stolen, 100*l.most.others, l.repeated, 100*mostStolen, 100*mostOthers, l.kept)
}

// samples returns a new Samples, of which rounds that do not count are taken back.
func (a *arena) samples() *table.Samples {
	s := &table.Samples{}
	a.collected = append(a.collected, s)
	return s
}

// undisturbed has f measure something again until not too much time was lost for it. Whatever f has
// added to samples of the arena meanwhile is taken back. A quick run's figures mean nothing, and
// count.
func (a *arena) undisturbed(what string, f func() error) error {
	for try := 1; ; try++ {
		known := len(a.collected)
		marks := make([]table.Mark, known)
		for i, s := range a.collected {
			marks[i] = s.Mark()
		}
		lost := lossFrom(time.Now())
		if err := f(); err != nil {
			return err
		}
		l := lost()
		a.losses.most.stolen, a.losses.most.others = max(a.losses.most.stolen, l.stolen), max(a.losses.most.others, l.others)
		if !l.isTooMuch() || a.o.quick {
			return nil
		}
		if try == lossTries {
			a.say("%s: %v, and no less in the tries before: it counts nevertheless", what, l)
			a.losses.kept++
			return nil
		}
		a.say("%s: %v: held again", what, l)
		a.losses.repeated++
		for i, s := range a.collected {
			if i < known {
				s.Back(marks[i])
			} else {
				s.Back(table.Mark{})
			}
		}
	}
}

// lossFrom returns what tells what was lost since began; nothing, where the system does not say.
func lossFrom(began time.Time) func() loss {
	before, err := procstat.Root.Times()
	own := peer.Spent()
	return func() loss {
		after, failed := procstat.Root.Times()
		took := float64(time.Since(began)) * float64(runtime.NumCPU())
		if err != nil || failed != nil || took <= 0 {
			return loss{}
		}
		others := after.Busy - before.Busy - (peer.Spent() - own)
		return loss{float64(after.Stolen-before.Stolen) / took, max(0, float64(others)/took)}
	}
}
