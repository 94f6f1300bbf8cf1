package zonefile

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// source is one file while it is being read: its octets, and the state that
// RFC 1035 §5.1 gives each file for itself.
type source struct {
	reader io.Reader
	closer io.Closer // nil: not opened here
	file   string

	budget *int64 // octets that the reading may still have, of all its files

	buf     []byte // Invariant: buf[begin:end] is read but not yet past
	begin   int    // where the current entry begins
	end     int
	atEOF   bool
	readErr error // what ended reading, if not io.EOF
	isBegun bool  // the first octets were read

	// The current entry, and the one after it.
	line       int  // where the current entry begins, from 1
	blank      bool // it begins with a blank: the owner is left out
	next       int  // offset after it
	nextLine   int
	inLongLine bool // the rest of the line at next belongs to an entry that was too long

	origin    string // wire form, letters in their own case; "" if there is none
	owner     dnsname.Name
	ownerText []byte // how owner was written, empty after origin changed
	ownerBad  bool   // the last owner could not be read
}

// bufferBytes is what a file is read by; a longer entry makes the buffer grow.
const bufferBytes = 64 << 10

// buffers are those of files that were read to their end: who reads a million small
// files needs one.
var buffers = sync.Pool{New: func() any { return new([bufferBytes]byte) }}

func newSource(r io.Reader, c io.Closer, file string, budget *int64) *source {
	return &source{reader: r, closer: c, file: file, budget: budget, buf: buffers.Get().(*[bufferBytes]byte)[:], nextLine: 1}
}

// close ends the source, and with it whatever looks at its buffer.
func (s *source) close() {
	if len(s.buf) == bufferBytes {
		buffers.Put((*[bufferBytes]byte)(s.buf))
	}
	s.buf, s.end = nil, 0
	if s.closer != nil {
		s.closer.Close() // a file that was only read: nothing is lost when this fails
	}
}

// fault is what the scan of an entry found wrong: err at an offset of the entry.
type fault struct {
	err    error
	at     int
	remedy string
}

// entry returns the fields of the next entry, which may be none. They are valid
// until the next call. The error is io.EOF or an *Error.
func (s *source) entry(fields []rdata.Field) ([]rdata.Field, error) {
	s.leaveLine()
	s.begin, s.line = s.next, s.nextLine
	for {
		if fields, found, complete := s.scan(fields[:0]); complete {
			if s.next == s.begin && s.atEOF {
				return nil, s.ended()
			}
			if found.err != nil {
				return nil, s.faultError(found)
			}
			return fields, nil
		}
		if s.end-s.begin >= MaxEntryBytes {
			return nil, s.tooLong()
		}
		s.fill()
	}
}

// ended returns what ended the file: io.EOF, or once the error of its reader.
func (s *source) ended() error {
	if s.readErr == nil {
		return io.EOF
	}
	err := s.readErr
	s.readErr = nil
	remedy := "the rest of the file could not be read"
	if err == ErrTooLarge {
		remedy = "look for a file that includes itself, or that unpacks without end"
	}
	return &Error{File: s.file, Line: s.line, Column: 1, Err: err, Remedy: remedy}
}

// fill reads on, after moving the current entry to the front of the buffer, which
// it doubles when it is full.
func (s *source) fill() {
	if s.begin > 0 {
		s.end = copy(s.buf, s.buf[s.begin:s.end])
		s.begin = 0
	} else if s.end == len(s.buf) {
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	n, err := io.ReadFull(s.reader, s.buf[s.end:])
	s.end += n
	if *s.budget -= int64(n); *s.budget < 0 {
		err = ErrTooLarge
	}
	if err != nil {
		s.atEOF = true
		if err != io.EOF && err != io.ErrUnexpectedEOF {
			s.readErr = err
		}
	}
	if !s.isBegun {
		s.isBegun = true
		// Some editors put a byte order mark in front; it would become part of a name.
		if bytes.HasPrefix(s.buf[:s.end], []byte("\xEF\xBB\xBF")) {
			s.begin = 3
		}
	}
}

// What an octet means outside of quotes.
const (
	octetWord = iota
	octetBlank
	octetNewline
	octetSpecial // ends a word, or hides what follows
)

var meanings = [256]uint8{
	' ': octetBlank, '\t': octetBlank, '\r': octetBlank, '\n': octetNewline,
	'(': octetSpecial, ')': octetSpecial, ';': octetSpecial, '"': octetSpecial, '\\': octetSpecial,
}

// scan finds the fields of the entry at s.begin and where it ends. complete is
// false when the buffer ends before the entry does and the file goes on.
//
// RFC 1035 §5.1: "Parentheses are used to group data that crosses a line
// boundary. In effect, line terminations are not recognized within parentheses."
// A quoted string ends on its line, as in BIND: a forgotten quote then is an error
// of that line.
func (s *source) scan(fields []rdata.Field) (out []rdata.Field, found fault, complete bool) {
	text := s.buf[s.begin:s.end]
	depth, opened, lines := 0, 0, 0
	note := func(err error, at int, remedy string) {
		if found.err == nil {
			found = fault{err, at, remedy}
		}
	}
	s.blank = len(text) > 0 && meanings[text[0]] == octetBlank
	for i := 0; i < len(text); {
		c := text[i]
		switch meaning := meanings[c]; {
		case meaning == octetBlank:
			i++
		case meaning == octetNewline:
			i++
			lines++
			if depth == 0 {
				s.next, s.nextLine = s.begin+i, s.line+lines
				return fields, found, true
			}
		case c == ';':
			length := bytes.IndexByte(text[i:], '\n')
			if length < 0 {
				length = len(text) - i
			}
			i += length
		case c == '(':
			if depth == 0 {
				opened = i
			}
			depth++
			i++
		case c == ')':
			if depth--; depth < 0 {
				note(ErrStrayParenthesis, i, "remove it, or open it before")
				depth = 0
			}
			i++
		default:
			field, end, closed := nextField(text, i)
			if !closed && (end < len(text) || s.atEOF) {
				note(ErrUnclosedQuote, i, `close it with ", or write \" for a quote`)
			}
			fields = append(fields, field)
			i = end
		}
	}
	if !s.atEOF {
		return fields, fault{}, false
	}
	s.next, s.nextLine = s.end, s.line+lines
	if depth > 0 {
		s.resume(text, opened)
		found = fault{ErrUnclosedParenthesis, opened, "close it with ) at the end of the record"}
	}
	return fields, found, true
}

// nextField returns the field that begins at text[i] and the offset after it;
// closed is false if a quote in it is not closed before its line, or text, ends.
func nextField(text []byte, i int) (f rdata.Field, end int, closed bool) {
	if text[i] != '"' {
		end, closed = endOfWord(text, i)
		return rdata.Field{Text: text[i:end], At: i}, end, closed
	}
	end, closed = endOfQuoted(text, i+1)
	f = rdata.Field{Text: text[i+1 : end], Quoted: true, At: i}
	if closed {
		end++
	}
	return f, end, closed
}

// endOfQuoted returns the offset of the quote that closes the string whose inside
// begins at text[i]; closed is false if its line, or text, ends before.
func endOfQuoted(text []byte, i int) (end int, closed bool) {
	for ; i < len(text); i++ {
		switch text[i] {
		case '"':
			return i, true
		case '\n':
			return i, false
		case '\\':
			if i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		}
	}
	return len(text), false
}

// endOfWord returns the offset after the word that begins at text[i]. A quote
// inside a word (key="value", RFC 9460 Appendix A) holds blanks up to the next
// quote; closed is false if that is missing.
func endOfWord(text []byte, i int) (end int, closed bool) {
	for {
		for i < len(text) && meanings[text[i]] == octetWord {
			i++
		}
		if i >= len(text) {
			return len(text), true
		}
		switch text[i] {
		case '"':
			end, closed := endOfQuoted(text, i+1)
			if !closed {
				return end, false
			}
			i = end + 1
		case '\\':
			if i++; i < len(text) && text[i] != '\n' {
				i++
			}
		default:
			return i, true
		}
	}
}

// resume sets where reading goes on after a parenthesis at text[opened:] that was
// never closed: at the next line that begins with a word, since what belongs to
// the broken record is usually indented.
func (s *source) resume(text []byte, opened int) {
	for at := opened; ; {
		length := bytes.IndexByte(text[at:], '\n')
		if length < 0 {
			return
		}
		at += length + 1
		if at < len(text) && meanings[text[at]] == octetWord {
			s.next, s.nextLine = s.begin+at, s.line+bytes.Count(text[:at], []byte{'\n'})
			return
		}
	}
}

// tooLong reports an entry that passes MaxEntryBytes, and has reading go on after
// it.
func (s *source) tooLong() error {
	text := s.buf[s.begin:s.end]
	found := fault{ErrEntryTooLong, 0, "shorten it, or close a parenthesis that was left open"}
	s.next, s.nextLine = s.end, s.line+bytes.Count(text, []byte{'\n'})
	if opened := bytes.IndexByte(text, '('); opened >= 0 {
		s.resume(text, opened)
		found.at = opened
	}
	s.inLongLine = s.next == s.end
	return s.faultError(found)
}

// leaveLine steps over the rest of a line that was too long.
func (s *source) leaveLine() {
	for s.inLongLine {
		if length := bytes.IndexByte(s.buf[s.next:s.end], '\n'); length >= 0 {
			s.next += length + 1
			s.nextLine++
			s.inLongLine = false
			return
		}
		s.inLongLine = !s.atEOF
		s.begin = s.end
		if s.inLongLine {
			s.fill()
		}
		s.next = s.begin
	}
}

// errorAt returns an Error at offset at of the current entry.
func (s *source) errorAt(at int, text []byte, err error, remedy string) *Error {
	before := s.buf[s.begin : s.begin+at]
	return &Error{
		File: s.file, Line: s.line + bytes.Count(before, []byte{'\n'}), Column: at - bytes.LastIndexByte(before, '\n'),
		Text: string(text), Err: err, Remedy: remedy,
	}
}

// fieldError returns an Error at field f.
func (s *source) fieldError(f rdata.Field, err error, remedy string) *Error {
	return s.errorAt(f.At, f.Text, err, remedy)
}

// faultError returns the Error of what the scan found, with the rest of its line.
func (s *source) faultError(found fault) *Error {
	text := s.buf[s.begin+found.at : s.end]
	if length := bytes.IndexByte(text, '\n'); length >= 0 {
		text = text[:length]
	}
	return s.errorAt(found.at, bytes.TrimRight(text, "\r"), found.err, found.remedy)
}

// rdataError returns the Error of what package rdata found wrong with the RDATA of
// the record whose type stands in field typeField.
func (s *source) rdataError(typeField rdata.Field, err error) *Error {
	var wrong *rdata.FieldError
	if !errors.As(err, &wrong) {
		return s.fieldError(typeField, err, "")
	}
	where := typeField
	if wrong.At >= 0 {
		where = rdata.Field{Text: []byte(wrong.Text), At: wrong.At}
	}
	return s.fieldError(where, wrong.Cause(), wrong.Remedy)
}

// lastOctet returns the offset of the last octet of the current entry that is not
// blank, which is where something is missing.
func (s *source) lastOctet() int {
	return max(0, len(bytes.TrimRight(s.buf[s.begin:s.next], " \t\r\n"))-1)
}
