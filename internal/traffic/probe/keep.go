package probe

import (
	"log/slog"
	"sync/atomic"

	"pharos/internal/diskfile"
)

// What is known of the health of members outlives the process, so that a start sends
// nobody to a server that was dead a second ago. It is kept as JSON; a file that cannot
// be read only means that every member is Unknown until its first probe.

// Save writes what is known now to a file.
func (p *Prober) Save(file string) error { return diskfile.SaveJSON(file, p.Snapshot()) }

// Load gives the next Set what the process before has saved.
func (p *Prober) Load(file string) error {
	var known []Known
	if err := diskfile.LoadJSON(file, &known); err != nil {
		return err
	}
	p.Restore(known)
	return nil
}

// Keeper keeps what a Prober knows in a file, a little behind. Its methods may be called
// from any goroutine.
type Keeper struct {
	prober  *Prober
	file    string
	log     *slog.Logger
	changed atomic.Bool // since it was last saved
}

// NewKeeper returns a Keeper, and gives p what the process before knew.
func NewKeeper(p *Prober, file string, log *slog.Logger) *Keeper {
	if err := p.Load(file); err != nil {
		log.Warn("last known health not read; members are unknown until probed", "error", err)
	}
	return &Keeper{prober: p, file: file, log: log}
}

// Note says that what is known has changed. A nil Keeper keeps nothing.
func (k *Keeper) Note() {
	if k != nil {
		k.changed.Store(true)
	}
}

// Save writes what is known now, if it has changed.
func (k *Keeper) Save() {
	if !k.changed.Swap(false) {
		return
	}
	if err := k.prober.Save(k.file); err != nil {
		k.log.Warn("last known health not saved; a start would begin with unknown members", "error", err)
	}
}
