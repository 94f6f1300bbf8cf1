// Package cachefile is the form in which a resolver's cache lies on disk: a head that
// says in whom the cache trusted, and segments, each with a checksum of its own, up to
// a last one that says that nothing is missing.
//
// It owns the head and the segments. It does not own what is in them: entries are
// package rrcache's, servers package iterate's. The format is
// docs/formats/resolver-cache.md.
//
// Entry points: NewWriter, Writer.Segment, Writer.End; Read.
//
// Concurrency: a Writer belongs to one goroutine.
package cachefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// Kind says what is in a segment.
type Kind uint32

// The kinds of segments.
const (
	Entries Kind = 1 // what rrcache.Cache.AppendSaved appends
	Servers Kind = 2 // JSON: what is known of servers
	last    Kind = 3 // nothing: the file is whole
)

const (
	magic   = "PHAROSRC"
	version = 1
	// headSize is the octets of the head of a file, segmentHead of a segment.
	headSize    = 64
	segmentHead = 32
	// MaxSegment is the largest segment, in octets. A larger one is taken as damage:
	// what writes makes segments of some hundred thousand.
	MaxSegment = 16 << 20
)

// Trust is the sum of everything that says whom a resolver believes: what one has
// cached means nothing to another with a different sum.
type Trust [32]byte

// Why a file, or the rest of it, is not read. Errors of Read wrap one of these or are
// the reader's.
var (
	// ErrOther: the cache believed in somebody else. It is no damage.
	ErrOther = errors.New("written under other trust anchors, routes or settings of validation")
	// ErrFormat: no such file, or of another version.
	ErrFormat = errors.New("no cache of a resolver that this version reads")
	// ErrDamaged: octets are not those that were written.
	ErrDamaged = errors.New("damaged")
	// ErrCut: the file ends too early.
	ErrCut = errors.New("cut off")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Writer writes a file.
type Writer struct{ to io.Writer }

// NewWriter writes the head.
func NewWriter(to io.Writer, trust Trust, now time.Time) (*Writer, error) {
	head := make([]byte, headSize)
	copy(head, magic)
	binary.BigEndian.PutUint32(head[8:], version)
	copy(head[12:], trust[:])
	binary.BigEndian.PutUint64(head[44:], uint64(now.UnixNano()))
	binary.BigEndian.PutUint32(head[60:], crc32.Checksum(head[:60], castagnoli))
	_, err := to.Write(head)
	return &Writer{to}, err
}

// Segment writes one segment. now is when its payload was made.
func (w *Writer) Segment(kind Kind, now time.Time, payload []byte) error {
	if len(payload) > MaxSegment {
		return fmt.Errorf("a segment of %d octets, the limit is %d", len(payload), MaxSegment)
	}
	head := make([]byte, segmentHead)
	copy(head, "SEGM")
	binary.BigEndian.PutUint32(head[4:], uint32(kind))
	binary.BigEndian.PutUint64(head[8:], uint64(now.UnixNano()))
	binary.BigEndian.PutUint32(head[16:], uint32(len(payload)))
	binary.BigEndian.PutUint32(head[20:], crc32.Checksum(payload, castagnoli))
	binary.BigEndian.PutUint32(head[28:], crc32.Checksum(head[:28], castagnoli))
	if _, err := w.to.Write(head); err != nil {
		return err
	}
	_, err := w.to.Write(payload)
	return err
}

// End says that the file is whole.
func (w *Writer) End(now time.Time) error { return w.Segment(last, now, nil) }

// Segment is one segment as it is read.
type Segment struct {
	Kind    Kind
	Made    time.Time
	Payload []byte // valid until the next one is read
}

// Read reads a file and gives its segments to take, except those that are damaged. The
// error says why not everything was read; what take was given is good all the same. An
// error of take counts as damage of that segment.
func Read(from io.Reader, trust Trust, take func(Segment) error) error {
	head := make([]byte, headSize)
	if _, err := io.ReadFull(from, head); err != nil {
		return cut(err)
	}
	switch {
	case string(head[:8]) != magic || binary.BigEndian.Uint32(head[8:]) != version:
		return ErrFormat
	case binary.BigEndian.Uint32(head[60:]) != crc32.Checksum(head[:60], castagnoli):
		return fmt.Errorf("%w: the head", ErrDamaged)
	case !bytes.Equal(head[12:44], trust[:]):
		return ErrOther
	}
	var payload []byte
	damaged, first := 0, error(nil)
	for number := 1; ; number++ {
		s, size, sum, err := readHead(from)
		if err != nil {
			return errors.Join(fmt.Errorf("segment %d: %w", number, err), first)
		}
		if cap(payload) < size {
			payload = make([]byte, size)
		}
		s.Payload = payload[:size]
		if _, err := io.ReadFull(from, s.Payload); err != nil {
			return errors.Join(fmt.Errorf("segment %d: %w", number, cut(err)), first)
		}
		if s.Kind == last {
			break
		}
		if crc32.Checksum(s.Payload, castagnoli) != sum {
			err = ErrDamaged
		} else if err = take(s); err != nil {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if err != nil {
			if damaged++; damaged == 1 {
				first = fmt.Errorf("segment %d: %w", number, err)
			}
		}
	}
	if damaged > 1 {
		return fmt.Errorf("%w, and %d more", first, damaged-1)
	}
	return first
}

// readHead reads the head of a segment: all but its payload, and the size and sum of that.
func readHead(from io.Reader) (s Segment, size int, sum uint32, err error) {
	var head [segmentHead]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return s, 0, 0, cut(err)
	}
	size = int(binary.BigEndian.Uint32(head[16:]))
	if string(head[:4]) != "SEGM" || size > MaxSegment || binary.BigEndian.Uint32(head[28:]) != crc32.Checksum(head[:28], castagnoli) {
		return s, 0, 0, fmt.Errorf("%w: its head", ErrDamaged)
	}
	s.Kind = Kind(binary.BigEndian.Uint32(head[4:]))
	s.Made = time.Unix(0, int64(binary.BigEndian.Uint64(head[8:])))
	return s, size, binary.BigEndian.Uint32(head[20:]), nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCut
	}
	return err
}
