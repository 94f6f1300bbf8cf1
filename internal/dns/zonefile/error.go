package zonefile

import (
	"errors"
	"fmt"
	"strings"
)

// What can be wrong with a master file. An Error wraps one of these, an error of
// package rdata or dnsname, or what a reader or Options.Open returned.
var (
	ErrUnclosedParenthesis = errors.New("parenthesis not closed")
	ErrStrayParenthesis    = errors.New("closing parenthesis without an opening one")
	ErrUnclosedQuote       = errors.New("quoted string not closed on its line")
	ErrEntryTooLong        = errors.New("entry too long")
	ErrQuoted              = errors.New("quotes around a word that is not a string")
	ErrNoOwner             = errors.New("no owner: the line begins with a blank, and no record stands before it")
	ErrMissingType         = errors.New("record without a type")
	ErrUnknownType         = errors.New("unknown RR type")
	ErrTTL                 = errors.New("bad TTL")
	ErrNoTTL               = errors.New("no TTL is known for this record")
	ErrClass               = errors.New("not the class of this zone")
	ErrDirective           = errors.New("not a directive")
	ErrMissingArgument     = errors.New("directive without its argument")
	ErrExtraArgument       = errors.New("directive with an argument too many")
	ErrIncludeRefused      = errors.New("$INCLUDE is not allowed here")
	ErrIncludeDepth        = errors.New("$INCLUDE nested too deep")
	ErrTooManyIncludes     = errors.New("too many files included")
	ErrTooLarge            = errors.New("too much text for one zone")
	ErrTooManyRecords      = errors.New("more records")
	ErrGenerateRange       = errors.New("bad range of $GENERATE")
	ErrGenerateTemplate    = errors.New("bad template of $GENERATE")
	ErrGenerateCount       = errors.New("$GENERATE makes too many records")
	ErrTooManyErrors       = errors.New("too many errors in this file")
)

// Error is what is wrong at one place of a master file.
type Error struct {
	File   string // as in Options.File, or as an $INCLUDE names it
	Line   int    // from 1
	Column int    // in octets, from 1
	Text   string // what stands there, "" when something is missing
	Err    error  // what is wrong
	Remedy string // what to do about it
}

// Error returns file:line:column: what is wrong: "offending text"; remedy.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: %v", e.File, e.Line, e.Column, e.Err)
	if e.Text != "" {
		fmt.Fprintf(&b, ": %q", shortened(e.Text))
	}
	if e.Remedy != "" {
		b.WriteString("; ")
		b.WriteString(e.Remedy)
	}
	return b.String()
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// shortened keeps a message on a line: a key or a signature is longer than what
// helps to find it.
func shortened(text string) string {
	const enough = 60
	if len(text) <= enough {
		return text
	}
	return text[:enough] + "..."
}
