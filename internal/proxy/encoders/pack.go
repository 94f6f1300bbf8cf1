package encoders

import (
	"bytes"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"pharos/internal/proxy/compress"
)

// maxWindow is how far back content in zstd may refer for clients to take it (RFC 9659).
const maxWindow = 8 << 20

// Pack returns the whole of some content in a coding. ok: there was an encoder for it.
func (s *Set) Pack(c compress.Coding, content []byte) (packed []byte, ok bool) {
	var out bytes.Buffer
	e := s.Get(c, &out)
	if e == nil {
		return nil, false
	}
	defer s.Put(c, e)
	if _, err := e.Write(content); err != nil {
		return nil, false
	}
	if e.Close() != nil {
		return nil, false
	}
	return out.Bytes(), true
}

// IsPacked reports whether packed is content in a coding, octet for octet and to its end, in
// a form that clients take. No more is unpacked than content has octets.
func IsPacked(c compress.Coding, packed, content []byte) bool {
	return isRead(bytes.NewReader(packed), c, content)
}

func isRead(packed io.Reader, c compress.Coding, content []byte) bool {
	r, err := open(c, packed)
	if err != nil {
		return false
	}
	if z, is := r.(*zstd.Decoder); is {
		defer z.Close()
	}
	var room [4 << 10]byte
	for {
		n, err := r.Read(room[:])
		if n > len(content) || !bytes.Equal(room[:n], content[:n]) {
			return false
		}
		if content = content[n:]; err != nil {
			return err == io.EOF && len(content) == 0
		}
	}
}

func open(c compress.Coding, from io.Reader) (io.Reader, error) {
	switch c {
	case compress.Gzip:
		return gzip.NewReader(from)
	case compress.Brotli:
		return brotli.NewReader(from), nil
	}
	return zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
}
