// Package zonefile reads and writes master files (zone files).
//
// It owns the syntax of RFC 1035 §5: entries, parentheses, comments, quoted
// strings and escapes, owners left out, TTLs and classes in any order, and the
// directives $ORIGIN, $TTL, $INCLUDE and $GENERATE. It does not own the text of
// RDATA (package rdata), nor what makes a set of records a zone (package zone),
// and it opens no file: the caller gives a reader and, for $INCLUDE, a function.
//
//	bytes -> source: one entry of fields -> Reader: directive, or owner TTL class type -> rdata.AppendFields -> Record
//
// Reading is streaming: a file is held in memory one entry at a time. After an
// error it goes on with the next entry, so that one reading shows every error of
// a file; what to do about them is the caller's decision.
//
// Entry points: Read, or NewReader and Next; Write, or NewWriter.
//
// Concurrency: a Reader and a Writer belong to one goroutine each. Records that
// were read are the caller's to keep and to share.
//
// Sources: RFC 1035 §5, RFC 2308 §4 ($TTL), RFC 3597 §5, RFC 4343; $GENERATE and
// the units of TTLs are BIND's.
package zonefile

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Limits of a reading. What passes one is reported as an error with its place.
const (
	// MaxEntryBytes is the length of one entry of a file with its comments and line
	// ends. The longest RDATA, 65535 octets, takes four times that when every octet
	// is written \DDD; the rest is room for comments.
	MaxEntryBytes = 1 << 20
	// MaxIncludeDepth is how deep $INCLUDE may nest: a file that includes itself
	// ends here. NSD's number.
	MaxIncludeDepth = 10
	// MaxIncludes is how many files are read for one zone, each as often as it is
	// included: ten files that include each other a hundred times each would never end.
	// Arbitrary.
	MaxIncludes = 100_000
	// MaxOctets is how much text is read for one zone, unpacked and with all that it
	// includes, unless Options says otherwise. 100 million records take 5 to 10 GiB; a
	// packed file of a few MiB can hold any amount.
	MaxOctets = 64 << 30
	// MaxGenerate is the number of records one $GENERATE may make, unless Options
	// says otherwise: the reverse zone of a /12. Arbitrary; beyond it a mistyped
	// range is more likely than a wish.
	MaxGenerate = 1 << 20
	// MaxErrors is after how many errors a reading ends, unless Options says
	// otherwise: about a screen.
	MaxErrors = 20
)

// Options says how to read a file. The zero value reads a file that says
// everything itself and includes no other.
type Options struct {
	Origin      dnsname.Name // completes relative names until the first $ORIGIN; the zero Name: there is none
	TTL         rdata.TTL    // for records without one until the first $TTL; 0: RFC 1035's and BIND's rules
	Class       rdata.Class  // of every record; 0: the first that the file states, IN if it states none
	File        string       // name of the file in messages
	MaxGenerate int          // records of one $GENERATE; 0: the constant MaxGenerate
	MaxErrors   int          // errors before the reading ends; 0: the constant MaxErrors
	MaxOctets   int64        // of text with all includes; 0: the constant MaxOctets
	MaxRecords  int          // 0: any number

	// Transient says that nobody keeps records beyond Close: their memory is used again.
	Transient bool

	// Open opens the file of an $INCLUDE, named as the directive names it. It decides
	// which files may be read. nil: $INCLUDE is refused.
	Open func(path string) (io.ReadCloser, error)
}

// Reader reads the records of one file and of those it includes.
type Reader struct {
	options  Options
	sources  []*source // the file and the includes now open in it, innermost last
	fields   []rdata.Field
	generate generator
	chunk    []byte // where names and RDATA of records go; its octets are written once
	memory   *memory
	errors   int   // returned so far
	records  int   // returned so far
	includes int   // files included so far
	octets   int64 // of text that may still be read

	class rdata.Class // 0: not stated yet
	// RFC 2308 §4: $TTL; RFC 1035 §5.1: the last TTL that was stated.
	defaultTTL, lastTTL       rdata.TTL
	hasDefaultTTL, hasLastTTL bool
}

// NewReader returns a Reader of the file that r holds.
func NewReader(r io.Reader, o Options) *Reader {
	if o.MaxGenerate == 0 {
		o.MaxGenerate = MaxGenerate
	}
	if o.MaxErrors == 0 {
		o.MaxErrors = MaxErrors
	}
	if o.MaxOctets == 0 {
		o.MaxOctets = MaxOctets
	}
	reader := &Reader{options: o, class: o.Class, defaultTTL: o.TTL, hasDefaultTTL: o.TTL != 0, octets: o.MaxOctets}
	first := newSource(r, nil, o.File, &reader.octets)
	first.origin = o.Origin.Wire()
	reader.sources = []*source{first}
	if o.Transient {
		reader.memory = memories.Get().(*memory)
		reader.chunk, reader.fields = reader.memory.chunk[:0], reader.memory.fields
	}
	return reader
}

// memory is what a Reader whose records nobody keeps leaves to the next one.
type memory struct {
	chunk  []byte
	fields []rdata.Field
}

var memories = sync.Pool{New: func() any { return new(memory) }}

// Read returns the records of the file that r holds, in its order, and its errors
// (*Error) between them. The last error of too many wraps ErrTooManyErrors.
func Read(r io.Reader, o Options) iter.Seq2[rdata.Record, error] {
	return func(yield func(rdata.Record, error) bool) {
		reader := NewReader(r, o)
		defer reader.Close()
		for {
			record, err := reader.Next()
			if err == io.EOF || !yield(record, err) {
				return
			}
		}
	}
}

// Next returns the next record. At the end of the file the error is io.EOF; every
// other error is an *Error, after which Next may be called again and goes on with
// the next entry. A caller that stops before io.EOF calls Close.
func (r *Reader) Next() (rdata.Record, error) {
	record, err := r.next()
	if err == nil {
		if r.records++; r.options.MaxRecords == 0 || r.records <= r.options.MaxRecords {
			return record, nil
		}
		src := r.sources[len(r.sources)-1]
		err = &Error{File: src.file, Line: src.line, Column: 1, Err: fmt.Errorf("%w than %d", ErrTooManyRecords, r.options.MaxRecords), Remedy: "divide the zone, or raise the limit (zones[].gate.maxRecords)"}
	}
	if err == io.EOF {
		return rdata.Record{}, err
	}
	var at *Error
	if r.errors++; r.errors > r.options.MaxErrors && errors.As(err, &at) {
		err = &Error{File: at.File, Line: at.Line, Column: at.Column, Err: ErrTooManyErrors, Remedy: "correct those above first"}
	}
	if r.errors > r.options.MaxErrors || errors.Is(err, ErrTooManyRecords) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrTooManyIncludes) {
		r.Close()
	}
	return rdata.Record{}, err
}

func (r *Reader) next() (rdata.Record, error) {
	for {
		if r.generate.active {
			return r.generated()
		}
		if len(r.sources) == 0 {
			return rdata.Record{}, io.EOF
		}
		src := r.sources[len(r.sources)-1]
		fields, err := src.entry(r.fields)
		if err == io.EOF {
			r.pop()
			continue
		}
		if err != nil {
			return rdata.Record{}, err
		}
		r.fields = fields
		switch {
		case len(fields) == 0: // an empty line, or one with a comment only
		case isDirective(fields[0]):
			if err := r.directive(src, fields); err != nil {
				return rdata.Record{}, err
			}
		case src.blank && src.ownerBad:
			// Records of an owner that could not be read: it was reported where it stands.
		default:
			return r.record(src, fields)
		}
	}
}

// pop ends the innermost file. RFC 1035 §5.1: an included file changes neither
// origin nor owner of the one that includes it; both are the source's own.
func (r *Reader) pop() {
	last := len(r.sources) - 1
	r.sources[last].close()
	r.sources = r.sources[:last]
}

// Close ends the reading and closes the files that were opened by $INCLUDE: for a
// caller that does not go on to io.EOF. The reader of NewReader stays open.
func (r *Reader) Close() {
	r.generate = generator{}
	for len(r.sources) > 0 {
		r.pop()
	}
	if m := r.memory; m != nil && r.errors <= r.options.MaxErrors {
		m.chunk, m.fields = r.chunk, r.fields
		clear(m.fields[:cap(m.fields)]) // they look into what was read
		r.memory, r.chunk, r.fields = nil, nil, nil
		memories.Put(m)
	}
}

// room returns an empty slice of the chunk with room for size octets, to append
// to; keep makes what was appended part of the chunk.
func (r *Reader) room(size int) []byte {
	// From some dozens of small records to what the largest size class of Go's allocator holds,
	// two thousand.
	const firstChunk, lastChunk = 2 << 10, 32 << 10
	if cap(r.chunk)-len(r.chunk) < size {
		r.chunk = make([]byte, 0, max(size, firstChunk, min(2*cap(r.chunk), lastChunk)))
	}
	return r.chunk[len(r.chunk):]
}

func (r *Reader) keep(b []byte) []byte {
	// Only if append found room: otherwise b has memory of its own.
	if cap(b) == cap(r.chunk)-len(r.chunk) {
		r.chunk = r.chunk[:len(r.chunk)+len(b)]
	}
	return b[:len(b):len(b)]
}
