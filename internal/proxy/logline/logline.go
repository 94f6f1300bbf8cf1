// Package logline makes the line that a request leaves in the access log: in the common or
// combined format, as a JSON object, or as a template has it.
//
// It owns the forms and what of a value has to be escaped in them. It does not own the
// values, which a Source gives, nor where lines go.
//
//	Parse(form) --once--> Format --Append(b, source)--> one line, with its line feed
//
// No octet that a client chooses can end a line, begin another one, or move what stands
// behind it into another column: values are escaped by where they stand (escape.go), and a
// test has every octet in every place.
//
// Entry points: Parse, Format.Append.
//
// Concurrency: a Format is constant, and Append allocates nothing but the growth of b.
//
// Sources: RFC 8259 (JSON); the common and combined log formats of Apache httpd.
package logline

import (
	"fmt"
	"slices"
	"strings"
)

// Source is one request that is over.
type Source interface {
	// AppendValue appends the value of v, as it is, whatever octets it has; nothing if
	// there is none. name is that of a field or cookie, for variables that need one.
	AppendValue(b []byte, v Variable, name string) []byte
}

// Form is what a line is to look like.
type Form struct {
	Kind     string   // common, combined, json or template
	Template string   // for template
	Fields   []string // for json; none: DefaultFields
}

// Templates of the formats that have a name. {host} is not in them: who has many hosts in
// one log wants a template.
const (
	common   = `{client} - {user} [{time.common}] "{method} {target} {protocol}" {status} {out}`
	combined = common + ` "{field.Referer}" "{field.User-Agent}"`
)

// DefaultFields are those of a JSON object when none are chosen.
var DefaultFields = []string{"time", "client", "method", "host", "target", "version", "status", "in", "out", "seconds", "id", "route", "pool", "member", "tries", "reason", "agent"}

// Limits of a form; arbitrary, and far from what is read by anybody.
const (
	maxTemplate = 4096 // characters
	maxFields   = 100
)

// Format is a Form that lines are made by.
type Format struct {
	pieces []piece
	end    string // behind the last value, with the line feed
	json   bool
}

// piece is a value and what stands before it.
type piece struct {
	before  string // of JSON: the key, and the quote behind it; it has a comma before, but for the first
	value   Variable
	name    string // of a field or cookie
	escaped escaped
	quoted  bool // in JSON
}

// Parse reads a form. The error says what of it is wrong, and what there is instead.
func Parse(f Form) (*Format, error) {
	switch f.Kind {
	case "common":
		return parseTemplate(common)
	case "combined":
		return parseTemplate(combined)
	case "json":
		return parseFields(f.Fields)
	case "template":
		return parseTemplate(f.Template)
	}
	return nil, fmt.Errorf("there is no format %q; there are common, combined, json and template", f.Kind)
}

func parseFields(fields []string) (*Format, error) {
	if len(fields) == 0 {
		fields = DefaultFields
	}
	if len(fields) > maxFields {
		return nil, fmt.Errorf("%d fields are more than %d", len(fields), maxFields)
	}
	f := &Format{json: true, end: "}\n"}
	for i, field := range fields {
		v, name, err := parseVariable(field)
		switch {
		case err != nil:
			return nil, err
		case slices.Contains(fields[:i], field):
			return nil, fmt.Errorf("%q is there twice; a key of an object is there once", field)
		}
		p := piece{before: `,"` + field + `":`, value: v, name: name, escaped: inJSON, quoted: !variables[v].isNumber}
		if variables[v].isPlain {
			p.escaped = inNothing
		}
		if p.quoted {
			p.before += `"`
		}
		f.pieces = append(f.pieces, p)
	}
	return f, nil
}

// parseTemplate reads a text with variables. Between double quotes white space is the
// value's own business; elsewhere it would make another column.
func parseTemplate(source string) (*Format, error) {
	switch {
	case source == "":
		return nil, fmt.Errorf("the template is empty")
	case len(source) > maxTemplate:
		return nil, fmt.Errorf("the template is longer than %d characters", maxTemplate)
	case strings.ContainsFunc(source, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
		return nil, fmt.Errorf("the template has a control character; a line is one line")
	}
	f, quoted := &Format{}, false
	for rest := source; ; {
		literal, after, more := strings.Cut(rest, "{")
		quoted = quoted != (strings.Count(literal, `"`)%2 == 1)
		if !more {
			f.end = literal + "\n"
			return f, nil
		}
		name, behind, closed := strings.Cut(after, "}")
		if !closed {
			return nil, fmt.Errorf(`the template has a "{" that is not closed: {%s`, after)
		}
		v, field, err := parseVariable(name)
		if err != nil {
			return nil, err
		}
		p := piece{before: literal, value: v, name: field, escaped: inColumn}
		switch {
		case variables[v].isPlain:
			p.escaped = inNothing
		case quoted:
			p.escaped = inQuotes
		}
		f.pieces, rest = append(f.pieces, p), behind
	}
}

// Append appends the line of a request.
func (f *Format) Append(b []byte, src Source) []byte {
	if f.json {
		return f.appendObject(b, src)
	}
	for i := range f.pieces {
		p := &f.pieces[i]
		b = append(b, p.before...)
		from := len(b)
		if b = src.AppendValue(b, p.value, p.name); len(b) == from {
			b = append(b, '-')
			continue
		}
		b = p.escaped.escape(b, from)
	}
	return append(b, f.end...)
}

// appendObject appends a JSON object; what a request does not have, it does not have.
func (f *Format) appendObject(b []byte, src Source) []byte {
	b = append(b, '{')
	begin := len(b)
	for i := range f.pieces {
		p := &f.pieces[i]
		before := len(b)
		if before == begin {
			b = append(b, p.before[1:]...)
		} else {
			b = append(b, p.before...)
		}
		from := len(b)
		if b = src.AppendValue(b, p.value, p.name); len(b) == from {
			b = b[:before]
			continue
		}
		if p.escaped != inNothing {
			b = inJSON.escape(b, from)
		}
		if p.quoted {
			b = append(b, '"')
		}
	}
	return append(b, f.end...)
}

// Needs reports whether lines of f have the value of v.
func (f *Format) Needs(v Variable) bool {
	return f != nil && slices.ContainsFunc(f.pieces, func(p piece) bool { return p.value == v })
}
