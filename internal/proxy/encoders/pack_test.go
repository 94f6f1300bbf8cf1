package encoders

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"pharos/internal/proxy/compress"
)

func TestPack(t *testing.T) {
	s, err := New(Levels{Gzip: 5, Brotli: 4, Zstd: 2}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"", "a", strings.Repeat("all work and no play ", 20_000)} {
		for c := compress.Gzip; c <= compress.Zstd; c++ {
			packed, ok := s.Pack(c, []byte(content))
			if !ok || !IsPacked(c, packed, []byte(content)) {
				t.Fatalf("%s of %d octets: %t, and is not what it was", c, len(content), ok)
			}
			for name, other := range map[string][]byte{
				"other content":        []byte(content + "b"),
				"the content's begin":  []byte(content[:len(content)/2]),
				"content of that size": bytes.Repeat([]byte("x"), len(content)),
			} {
				if string(other) != content && IsPacked(c, packed, other) {
					t.Errorf("%s of %d octets passes for %s", c, len(content), name)
				}
			}
			if IsPacked(c, packed[:len(packed)-1], []byte(content)) {
				t.Errorf("%s of %d octets that is cut off passes", c, len(content))
			}
		}
	}
	e := s.Get(compress.Gzip, new(bytes.Buffer))
	if _, ok := s.Pack(compress.Gzip, []byte("x")); ok {
		t.Error("there is an encoder beyond the bound")
	}
	s.Put(compress.Gzip, e)
}

// counting counts what is read of it.
type counting struct {
	bytes.Reader
	n int
}

func (c *counting) Read(b []byte) (n int, err error) {
	n, err = c.Reader.Read(b)
	c.n += n
	return n, err
}

func (c *counting) ReadByte() (byte, error) {
	c.n++
	return c.Reader.ReadByte()
}

// What lies beside a file may be a bomb, or of a form that clients do not take.
func TestIsPackedIsBounded(t *testing.T) {
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	for range 32 {
		w.Write(make([]byte, 1<<20))
	}
	w.Close()
	r := &counting{Reader: *bytes.NewReader(bomb.Bytes())}
	if isRead(r, compress.Gzip, make([]byte, 10)) {
		t.Error("a bomb passes")
	}
	if r.n > bomb.Len()/2 {
		t.Errorf("%d of %d octets of a bomb were unpacked", r.n, bomb.Len())
	}
	wide := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, zstd.WithWindowSize(16<<20), zstd.WithEncoderConcurrency(1), zstd.WithSingleSegment(false))
	if err != nil {
		t.Fatal(err)
	}
	z.Write(wide)
	z.Close()
	if IsPacked(compress.Zstd, out.Bytes(), wide) {
		t.Error("zstd with a window of 16 MiB passes: browsers refuse it (RFC 9659)")
	}
}
