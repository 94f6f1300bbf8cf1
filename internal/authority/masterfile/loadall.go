package masterfile

import (
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
)

// Wanted is a zone that may have to be loaded.
type Wanted struct {
	Origin dnsname.Name
	File   string
	Limits Limits
	Known  []diskfile.Stamp // of the version there is; none: an image will do
}

// Loaded is what there is now of a zone that was loaded.
type Loaded struct {
	Source
	Err error
}

const (
	// turn is how many zones a processor takes at a time: a few milliseconds of work.
	turn = 64
	// progressEvery is how often somebody is told how far it has got.
	progressEvery = 5 * time.Second
)

// LoadAll loads zones with so many workers: those that have no version, from an image if
// there is one, and those whose files are not what they were. want returns the zone at an
// index, and whether it has files; it is called from several goroutines at once. progress
// is told from time to time how many were looked at. The result has nil for a zone that is
// as it was; it is nil if all are.
func (i *Images) LoadAll(count, workers int, want func(index int) (Wanted, bool), progress func(done int)) []*Loaded {
	all := &loading{images: i, want: want, result: make([]*Loaded, count)}
	var working sync.WaitGroup
	for range min(workers, (count+turn-1)/turn) {
		working.Go(all.work) // ends when all are taken
	}
	stop := all.tell(progress)
	working.Wait()
	stop()
	if !all.any.Load() {
		return nil
	}
	return all.result
}

// Load loads one zone, from an image if there is one.
func (i *Images) Load(w Wanted) *Loaded {
	var l Loader
	defer l.Close()
	return (&loading{images: i}).load(&l, w)
}

// loading is what LoadAll works on.
type loading struct {
	images *Images
	want   func(int) (Wanted, bool)
	result []*Loaded // each by whoever took its index

	taken atomic.Int64
	any   atomic.Bool // some zone was loaded
}

func (a *loading) work() {
	var loader Loader
	defer loader.Close()
	for {
		end := int(a.taken.Add(turn))
		if end-turn >= len(a.result) {
			return
		}
		for index := end - turn; index < min(end, len(a.result)); index++ {
			if w, ok := a.want(index); ok {
				a.result[index] = a.load(&loader, w)
			}
		}
	}
}

// load returns what there is of a zone, nil if that has not changed.
func (a *loading) load(loader *Loader, w Wanted) *Loaded {
	if len(w.Known) > 0 && !loader.changed(w.Known) {
		return nil
	}
	a.any.Store(true)
	if len(w.Known) == 0 {
		if s, ok := a.images.Take(w.Origin, w.File); ok {
			return &Loaded{Source: s}
		}
	}
	if a.images.aside(w) {
		l, err := a.images.loadAside(w)
		if err == nil {
			return l
		}
		a.images.log.Warn("zone read by the node itself, and answers may be late meanwhile, for no other process could do it", "zone", w.Origin.String(), "error", err)
	}
	s, err := loader.Load(w.Origin, w.File, w.Limits)
	if err == nil {
		a.images.Put(w.Origin, w.File, s)
	}
	return &Loaded{s, err}
}

// tell has progress called until stop is.
func (a *loading) tell(progress func(done int)) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(ended)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				progress(min(int(a.taken.Load()), len(a.result)))
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}
