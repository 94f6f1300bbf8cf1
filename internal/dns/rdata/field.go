package rdata

import (
	"errors"
	"fmt"
)

// Field is one field of RDATA in presentation form, as it stands in the text: a
// word, or the inside of a quoted string. Escapes are not decoded yet.
type Field struct {
	Text   []byte
	Quoted bool
	At     int // where it begins in the caller's text; only carried into FieldError
}

// What can be wrong with RDATA in presentation form. A FieldError wraps one of
// these, or one of package dnsname.
var (
	ErrMissing     = errors.New("field missing")
	ErrExtra       = errors.New("field after the last one of this type")
	ErrSyntax      = errors.New("malformed field")
	ErrQuoted      = errors.New("quotes around a field that is not a string")
	ErrQuoteInside = errors.New("quote in the middle of a word")
	ErrTooLong     = errors.New("field too long")
	ErrDataTooLong = errors.New("RDATA longer than 65535 octets")
	ErrLength      = errors.New("length of the generic form does not match its octets")
	ErrUnknownType = errors.New("no presentation form known for this type")
	ErrMetaType    = errors.New("type that no zone can hold")
	ErrUnclosed    = errors.New("quote or parenthesis not closed")
)

// FieldError says which field of RDATA in presentation form is wrong.
type FieldError struct {
	Type   Type
	Index  int    // of the field, from 0; -1 when it is about no field in particular
	At     int    // Field.At of it; -1 when there is none or it is missing
	Text   string // of the field; "" when there is none or it is missing
	Err    error  // what is wrong
	Remedy string // what to write instead
}

func (e *FieldError) Error() string {
	text := ""
	if e.Text != "" {
		text = fmt.Sprintf(": %q", e.Text)
	}
	return fmt.Sprintf("%v%s; %s", e.Cause(), text, e.Remedy)
}

// Cause returns what is wrong, with the type and the number of the field, without
// its text and the remedy.
func (e *FieldError) Cause() error {
	if e.Index < 0 {
		return fmt.Errorf("%v: %w", e.Type, e.Err)
	}
	return fmt.Errorf("%v, field %d: %w", e.Type, e.Index+1, e.Err)
}

// Unwrap returns what is wrong with the field.
func (e *FieldError) Unwrap() error { return e.Err }

// SplitFields appends the fields of text to fields. It knows what a master file
// allows inside one entry (RFC 1035 §5.1): blanks, parentheses, comments, quoted
// strings, and escapes, which it steps over. A line break counts as a blank.
func SplitFields(fields []Field, text []byte) ([]Field, error) {
	depth := 0
	for i := 0; i < len(text); {
		switch text[i] {
		case ' ', '\t', '\r', '\n':
			i++
		case '(':
			depth++
			i++
		case ')':
			if depth--; depth < 0 {
				return nil, ErrUnclosed
			}
			i++
		case ';':
			for i < len(text) && text[i] != '\n' {
				i++
			}
		case '"':
			end, ok := endOfQuoted(text, i+1)
			if !ok {
				return nil, ErrUnclosed
			}
			fields = append(fields, Field{Text: text[i+1 : end], Quoted: true, At: i})
			i = end + 1
		default:
			end, ok := endOfWord(text, i)
			if !ok {
				return nil, ErrUnclosed
			}
			fields = append(fields, Field{Text: text[i:end], At: i})
			i = end
		}
	}
	if depth != 0 {
		return nil, ErrUnclosed
	}
	return fields, nil
}

// endOfQuoted returns the offset of the quote that closes the string whose
// inside begins at text[i].
func endOfQuoted(text []byte, i int) (int, bool) {
	for ; i < len(text); i++ {
		switch text[i] {
		case '"':
			return i, true
		case '\\':
			i++
		}
	}
	return 0, false
}

// endOfWord returns the offset after the word that begins at text[i]. A quote
// inside a word (key="value", RFC 9460 Appendix A) holds blanks up to the next.
func endOfWord(text []byte, i int) (int, bool) {
	for i < len(text) {
		switch text[i] {
		case ' ', '\t', '\r', '\n', '(', ')', ';':
			return i, true
		case '"':
			end, ok := endOfQuoted(text, i+1)
			if !ok {
				return 0, false
			}
			i = end + 1
		case '\\':
			i += 2
		default:
			i++
		}
	}
	return len(text), true
}
