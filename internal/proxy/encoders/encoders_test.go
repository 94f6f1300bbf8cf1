package encoders

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"pharos/internal/proxy/compress"
)

var every = []compress.Coding{compress.Gzip, compress.Brotli, compress.Zstd}

func decode(t *testing.T, c compress.Coding, octets []byte) ([]byte, error) {
	t.Helper()
	var r io.Reader
	var err error
	switch c {
	case compress.Gzip:
		if r, err = gzip.NewReader(bytes.NewReader(octets)); err != nil {
			return nil, err
		}
	case compress.Brotli:
		r = brotli.NewReader(bytes.NewReader(octets))
	case compress.Zstd:
		d, err := zstd.NewReader(bytes.NewReader(octets))
		if err != nil {
			return nil, err
		}
		defer d.Close()
		r = d
	}
	return io.ReadAll(r)
}

// TestRoundTrip: what is decoded is what was written, in whatever pieces, also by an encoder
// that was given back in the middle of something else; and all of it is there after a Flush.
func TestRoundTrip(t *testing.T) {
	s, err := New(Levels{5, 4, 2}, 2)
	if err != nil {
		t.Fatal(err)
	}
	text := []byte(strings.Repeat("all work and no play makes jack a dull boy\n", 5000))
	for _, c := range every {
		t.Run(c.String(), func(t *testing.T) {
			spoilt := s.Get(c, io.Discard)
			spoilt.Write(text[:777])
			s.Put(c, spoilt)
			for _, size := range []int{1000, 1 << 20} {
				var out bytes.Buffer
				e := s.Get(c, &out)
				for rest := text; len(rest) > 0; {
					n := min(size, len(rest))
					if _, err := e.Write(rest[:n]); err != nil {
						t.Fatal(err)
					}
					rest = rest[n:]
				}
				if err := e.Flush(); err != nil {
					t.Fatal(err)
				}
				if got, _ := decode(t, c, out.Bytes()); !bytes.Equal(got, text) {
					t.Errorf("after Flush %d octets can be read of %d", len(got), len(text))
				}
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
				got, err := decode(t, c, out.Bytes())
				if err != nil || !bytes.Equal(got, text) || out.Len() > len(text)/10 {
					t.Errorf("%d octets became %d, and %d again: %v", len(text), out.Len(), len(got), err)
				}
				s.Put(c, e)
			}
		})
	}
}

// TestBounded: there are no more encoders than there may be.
func TestBounded(t *testing.T) {
	s, _ := New(Levels{1, 1, 1}, 1)
	e := s.Get(compress.Gzip, io.Discard)
	if other := s.Get(compress.Zstd, io.Discard); e == nil || other != nil || s.Full() != 1 {
		t.Errorf("the second one: %v, %d", other, s.Full())
	}
	s.Put(compress.Gzip, e)
	if e = s.Get(compress.Zstd, io.Discard); e == nil {
		t.Error("none after one was given back")
	}
	for _, bad := range []Levels{{0, 1, 1}, {1, 12, 1}, {1, 1, 5}, {10, 1, 1}} {
		if _, err := New(bad, 1); err == nil {
			t.Errorf("%+v are levels", bad)
		}
	}
	if (*Set)(nil).Full() != 0 {
		t.Error("no set is full")
	}
}

// BenchmarkEncode is a page of 32 KiB, with an encoder that is used again.
func BenchmarkEncode(b *testing.B) {
	s, err := New(Levels{5, 4, 2}, 2)
	if err != nil {
		b.Fatal(err)
	}
	var page bytes.Buffer
	for i := 0; page.Len() < 32<<10; i++ {
		fmt.Fprintf(&page, "<tr><td>%d</td><td>name %x</td></tr>\n", i, i*i)
	}
	for _, c := range every {
		b.Run(c.String(), func(b *testing.B) {
			b.SetBytes(int64(page.Len()))
			b.ReportAllocs()
			for b.Loop() {
				e := s.Get(c, io.Discard)
				e.Write(page.Bytes())
				e.Close()
				s.Put(c, e)
			}
		})
	}
}
