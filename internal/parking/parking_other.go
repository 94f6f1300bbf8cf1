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
