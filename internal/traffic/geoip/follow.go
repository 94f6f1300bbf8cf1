package geoip

import (
	"fmt"
	"slices"
	"sync"

	"pharos/internal/diskfile"
	"pharos/internal/traffic/steer"
)

// Follower keeps an Atlas as a file and the operator's networks say.
type Follower struct {
	// Constant after New.
	atlas   *steer.Atlas
	problem func(text string) // what is wrong; empty: nothing

	mu       sync.Mutex // guards what follows
	path     string
	stamp    diskfile.Stamp // of the file that was last read, or could not be
	database *Database
	networks []steer.Network
	reading  bool
}

// New returns a Follower that follows nothing yet.
func New(a *steer.Atlas, problem func(text string)) *Follower {
	return &Follower{atlas: a, problem: problem}
}

// Set says what is to be followed; an empty path is no file. A file that was not followed
// before is read before Set returns: answers are not to be given meanwhile. If it cannot
// be read, that is a problem and not an error, and clients are nowhere until it can.
func (f *Follower) Set(path string, networks []steer.Network) error {
	f.mu.Lock()
	same := path == f.path
	if same && slices.Equal(networks, f.networks) {
		f.mu.Unlock()
		return nil
	}
	if _, err := steer.NewEdition(networks, nil); err != nil {
		f.mu.Unlock()
		return err
	}
	f.networks = networks
	if same {
		defer f.mu.Unlock()
		return f.publish()
	}
	f.path, f.stamp, f.database = path, diskfile.Stamp{}, nil
	f.mu.Unlock()
	f.read(path)
	return nil
}

// Look looks whether the file has changed, and has it read if so, by a goroutine that ends
// when it has.
func (f *Follower) Look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path == "" || f.reading || f.stamp == diskfile.StampOf(f.path) {
		return
	}
	f.reading = true
	go func(path string) {
		f.read(path)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.reading = false
	}(f.path)
}

// read reads the file at path and publishes what is in it; what cannot be used leaves what
// there was.
func (f *Follower) read(path string) {
	stamp := diskfile.StampOf(path)
	var d *Database
	var err error
	if path != "" {
		d, err = Open(path)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if path != f.path {
		return // another one was set meanwhile
	}
	f.stamp = stamp
	switch {
	case err != nil && f.database != nil:
		f.problem(fmt.Sprintf("%v; the one read before is used on, %s", err, f.database.source))
		return
	case err != nil:
		f.problem(fmt.Sprintf("%v; until then it is known of no client where it is, but by steering.networks", err))
	default:
		f.problem("")
		f.database = d
	}
	if err := f.publish(); err != nil {
		panic("BUG: networks that were good are not: " + err.Error())
	}
}

// publish puts what there is in force. f.mu is held.
func (f *Follower) publish() error {
	var d steer.Database
	if f.database != nil {
		d = f.database
	}
	e, err := steer.NewEdition(f.networks, d)
	if err == nil {
		f.atlas.Publish(e)
	}
	return err
}

// Source returns what the database in force is called; empty: none is.
func (f *Follower) Source() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.database == nil {
		return ""
	}
	return f.database.source
}
