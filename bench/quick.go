//go:build linux

package main

import (
	"errors"
	"time"

	"pharos/bench/dnsload"
	"pharos/bench/httpload"
)

// This file is what a quick run (-quick) does otherwise. Its figures mean nothing: it shows
// that every work starts, measures and is told, with every peer, on a machine of any speed.

// span returns how long something takes: in a quick run a hundredth, since nobody looks at
// the figure that it is for.
func (a *arena) span(usual time.Duration) time.Duration {
	if a.o.quick {
		return usual / 100
	}
	return usual
}

// longestTry is how long a quick run measures at most what it has tried for less in vain.
const longestTry = 20 * time.Second

// given has f measure for the length of a measurement. In a quick run it gets more of it when that was too
// short for the machine to show anything; an answer that was wrong is an error at once.
func (a *arena) given(f func(d time.Duration) error) error {
	d := a.seconds()
	for {
		err := f(d)
		isWrong := errors.Is(err, dnsload.ErrWrong) || errors.Is(err, httpload.ErrWrong)
		if err == nil || isWrong || !a.o.quick || a.ctx.Err() != nil || d > longestTry {
			return err
		}
		a.say("%v were too short: %v", d, err)
		d *= 5
	}
}

// errUnmeasured is of a server that was not seen to take any CPU time.
var errUnmeasured = errors.New("the server took no CPU time")
