package doh

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net/http"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"pharos/internal/dns/dnswire"
	"pharos/internal/serve/dnsserver"
)

// frames reads frames of a connection into one buffer: a client that allocates nothing.
type frames struct {
	conn       *tls.Conn
	buf        []byte
	start, end int
}

// need has n octets in the buffer and returns them.
func (f *frames) need(n int) ([]byte, error) {
	for f.end-f.start < n {
		if f.end = copy(f.buf, f.buf[f.start:f.end]); f.end == len(f.buf) {
			return nil, io.ErrShortBuffer
		}
		f.start = 0
		got, err := f.conn.Read(f.buf[f.end:])
		if f.end += got; err != nil {
			return nil, err
		}
	}
	return f.buf[f.start : f.start+n], nil
}

// next returns the next frame's type, flags, and content.
func (f *frames) next() (kind http2.FrameType, flags http2.Flags, content []byte, err error) {
	b, err := f.need(9)
	if err != nil {
		return 0, 0, nil, err
	}
	length := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	if b, err = f.need(9 + length); err != nil {
		return 0, 0, nil, err
	}
	f.start += 9 + length
	return http2.FrameType(b[3]), http2.Flags(b[4]), b[9:], nil
}

// TestFewAllocs: a connection that is in use has what a request needs, by GET and by POST, but for a
// reader that crypto/tls makes for each record it reads, and the text of a field that the connection has
// not had before: the path of a GET. The whole process is counted, so the reader is there twice: the
// client's too.
func TestFewAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget what is put into them")
	}
	const warm, runs = 300, 2000
	for method, most := range map[string]float64{"GET": 3, "POST": 2} {
		t.Run(method, func(t *testing.T) {
			s := start(t, dnsserver.Limits{Queries: 1 << 20, Idle: time.Minute})
			a := s.attack(t)
			a.conn.SetDeadline(time.Now().Add(time.Minute))
			if err := a.WriteWindowUpdate(0, 1<<30); err != nil {
				t.Fatal(err)
			}
			client := &frames{conn: a.conn, buf: make([]byte, 64<<10)}
			request, streams := a.request(t, method) // which puts fields into the table of the connection
			stream := uint32(1)
			ask := func() {
				t.Helper()
				for _, at := range streams {
					binary.BigEndian.PutUint32(request[at:], stream)
				}
				stream += 2
				if _, err := a.conn.Write(request); err != nil {
					t.Fatal(err)
				}
				for {
					kind, flags, content, err := client.next()
					if err != nil {
						t.Fatal(err)
					}
					if kind == http2.FrameData && flags.Has(http2.FlagDataEndStream) {
						if len(content) < dnswire.HeaderLen || content[3]&0xf != 0 || content[7] != 1 {
							t.Fatalf("answer %x", content)
						}
						return
					}
				}
			}
			ask()
			request, streams = a.request(t, method) // from there, always the same octets
			for range warm {
				ask()
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range runs {
				ask()
			}
			runtime.ReadMemStats(&after)
			each := float64(after.Mallocs-before.Mallocs) / runs
			t.Logf("%.3f allocations, %.0f octets for each request", each, float64(after.TotalAlloc-before.TotalAlloc)/runs)
			if each > most+spareAllocs {
				t.Errorf("%.3f allocations for each request, want at most %v", each, most)
			}
		})
	}
}

// spareAllocs is for what is made once in many requests: the collector empties the pools of TLS.
const spareAllocs = 0.5

// request returns the frames of one request, and where the number of the stream stands in them.
func (a *attack) request(t *testing.T, method string) (request []byte, streams []int) {
	t.Helper()
	fields := [][2]string{{":method", method}, {":scheme", "https"}, {":authority", "x"}}
	var content, block []byte
	if method == http.MethodGet {
		// RFC 7541 §6.2.2: literal without indexing, name 4 of the static table. Other questions have other paths.
		path := get(t, "www.example.")
		block = append([]byte{0x04, byte(len(path))}, path...)
	} else {
		content = query(t, "www.example.")
		fields = append(fields, [2]string{":path", "/dns-query"}, [2]string{"content-type", mediaType})
	}
	a.block.Reset()
	for _, f := range fields {
		if err := a.hpack.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			t.Fatal(err)
		}
	}
	block = append(block, a.block.Bytes()...)
	frame := func(kind http2.FrameType, flags http2.Flags, content []byte) {
		streams = append(streams, len(request)+5)
		request = append(request, byte(len(content)>>16), byte(len(content)>>8), byte(len(content)), byte(kind), byte(flags), 0, 0, 0, 0)
		request = append(request, content...)
	}
	if content == nil {
		frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, block)
		return request, streams
	}
	frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, block)
	frame(http2.FrameData, http2.FlagDataEndStream, content)
	return request, streams
}
