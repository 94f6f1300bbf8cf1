//go:build !linux

package parking

import (
	"errors"
	"time"
)

// Place cannot be made here.
type Place struct{}

// New reports that there is no such place on this system.
func New(int) (*Place, error) { return nil, errors.ErrUnsupported }

// Wait is never called.
func (*Place) Wait(time.Duration) {}

// Close is never called.
func (*Place) Close() {}

// watcher cannot be opened here.
type watcher struct{}

func (watcher) open() error   { return errors.ErrUnsupported }
func (watcher) arm(int) bool  { return false }
func (watcher) disarm(int)    {}
func (watcher) run(func(int)) {}
func (watcher) stop()         {}
func (watcher) close()        {}
