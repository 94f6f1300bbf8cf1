// Package encoders compresses, by encoders that are used again.
//
// It owns the encoders, how many there may be, and their memory. It does not own what is
// compressed (package compress).
//
// An encoder is expensive to make and has up to a megabyte or two of memory: so they are
// kept for the next response, as long as the collector leaves them, and there are at most so
// many in use at a time. Beyond that a response goes as it is.
//
// Entry points: New, Set.Get, Encoder.
//
// Concurrency: a Set may be used from anywhere, an Encoder by one goroutine at a time.
//
// Sources: RFC 1952 (gzip), RFC 7932 (br), RFC 8878 (zstd).
package encoders

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"pharos/internal/proxy/compress"
)

// Encoder compresses what is written to it.
type Encoder interface {
	io.WriteCloser
	// Flush writes whatever was written so far, so that the client can read all of it.
	Flush() error
	// Reset has the encoder begin anew, and write to w.
	Reset(w io.Writer)
}

// Levels are how hard is tried, by coding: gzip 1 to 9, br 0 to 11, zstd 1 to 4.
type Levels struct{ Gzip, Brotli, Zstd int }

// zstdWindow bounds the memory of both sides; RFC 9659 has clients take up to 8 MB.
const zstdWindow = 512 << 10

// Set is encoders of one configuration. Make it with New.
type Set struct {
	most  int64
	inUse atomic.Int64
	full  atomic.Uint64
	pools [compress.Zstd + 1]sync.Pool
}

// New returns a Set of which at most so many encoders are in use.
func New(l Levels, most int) (*Set, error) {
	if l.Gzip < 1 || l.Gzip > 9 || l.Brotli < 0 || l.Brotli > 11 || l.Zstd < 1 || l.Zstd > 4 {
		return nil, fmt.Errorf("levels %+v: gzip has 1 to 9, br 0 to 11, zstd 1 to 4", l)
	}
	s := &Set{most: int64(most)}
	s.pools[compress.Gzip].New = func() any {
		e, err := gzip.NewWriterLevel(nil, l.Gzip)
		if err != nil {
			panic("BUG: a level of gzip that was checked: " + err.Error())
		}
		return Encoder(e)
	}
	s.pools[compress.Brotli].New = func() any { return Encoder(brotli.NewWriterLevel(nil, l.Brotli)) }
	s.pools[compress.Zstd].New = func() any {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevel(l.Zstd)), zstd.WithEncoderConcurrency(1),
			zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(zstdWindow))
		if err != nil {
			panic("BUG: options of zstd that were checked: " + err.Error())
		}
		return Encoder(e)
	}
	return s, nil
}

// Get returns an encoder that writes to w; nil if too many are in use. It is to be given
// back with Put.
func (s *Set) Get(c compress.Coding, w io.Writer) Encoder {
	if s.inUse.Add(1) > s.most {
		s.inUse.Add(-1)
		s.full.Add(1)
		return nil
	}
	e := s.pools[c].Get().(Encoder)
	e.Reset(w)
	return e
}

// Put gives an encoder back, whether or not it was closed.
func (s *Set) Put(c compress.Coding, e Encoder) {
	e.Reset(io.Discard)
	s.pools[c].Put(e)
	s.inUse.Add(-1)
}

// Full returns how often an encoder was asked for, and too many were in use.
func (s *Set) Full() uint64 {
	if s == nil {
		return 0
	}
	return s.full.Load()
}
