package zonefile

import (
	"fmt"
	"strings"

	"pharos/internal/dns/rdata"
)

// isDirective reports whether an entry that begins with f is a directive. An owner
// name that begins with a dollar sign is written \$, and no type does.
func isDirective(f rdata.Field) bool {
	return !f.Quoted && len(f.Text) > 0 && f.Text[0] == '$'
}

// directive carries out an entry that is a directive.
func (r *Reader) directive(src *source, fields []rdata.Field) error {
	arguments := fields[1:]
	if src.blank {
		return src.fieldError(fields[0], ErrDirective, "a directive begins in the first column: take the blank before it away")
	}
	switch strings.ToUpper(string(fields[0].Text)) {
	case "$ORIGIN":
		return r.setOrigin(src, fields[0], arguments)
	case "$TTL":
		return r.setTTL(src, fields[0], arguments)
	case "$INCLUDE":
		return r.include(src, fields[0], arguments)
	case "$GENERATE":
		return r.startGenerate(src, fields[0], arguments)
	}
	return src.fieldError(fields[0], ErrDirective, `the directives are $ORIGIN, $TTL, $INCLUDE and $GENERATE; write \$ for a name that begins with a dollar sign`)
}

// checkArguments reports a directive with fewer than least or more than most
// arguments.
func checkArguments(src *source, directive rdata.Field, arguments []rdata.Field, least, most int, form string) error {
	switch {
	case len(arguments) < least:
		return src.fieldError(directive, ErrMissingArgument, "write "+form)
	case len(arguments) > most:
		return src.fieldError(arguments[most], ErrExtraArgument, "write "+form)
	}
	return nil
}

// setOrigin: RFC 1035 §5.1: "$ORIGIN is followed by a domain name, and resets the
// current origin for relative domain names to the stated name." That name may be
// relative to the origin before.
func (r *Reader) setOrigin(src *source, directive rdata.Field, arguments []rdata.Field) error {
	if err := checkArguments(src, directive, arguments, 1, 1, "$ORIGIN domain-name"); err != nil {
		return err
	}
	origin, err := newOrigin(src, arguments[0])
	if err != nil {
		return err
	}
	src.origin, src.ownerText = origin, src.ownerText[:0]
	return nil
}

// newOrigin reads a name that becomes an origin.
func newOrigin(src *source, f rdata.Field) (string, error) {
	if f.Quoted {
		return "", src.fieldError(f, ErrQuoted, "take the quotes off the name")
	}
	wire, err := rdata.AppendName(nil, f.Text, src.origin)
	if err != nil {
		return "", src.fieldError(f, err, rdata.NameRemedy(err))
	}
	return string(wire), nil
}

// setTTL: RFC 2308 §4: "$TTL <TTL> [<comment>]. All resource records appearing
// after the directive (up to any other $TTL) that do not explicitly include a TTL
// value, have their TTL set to the TTL given". It goes on beyond the end of an
// included file, as in BIND.
func (r *Reader) setTTL(src *source, directive rdata.Field, arguments []rdata.Field) error {
	if err := checkArguments(src, directive, arguments, 1, 1, "$TTL seconds"); err != nil {
		return err
	}
	ttl, ok := rdata.ParseTTL(arguments[0].Text)
	if !ok || arguments[0].Quoted {
		return src.fieldError(arguments[0], ErrTTL, ttlRemedy)
	}
	r.defaultTTL, r.hasDefaultTTL = ttl, true
	return nil
}

// include: RFC 1035 §5.1: "$INCLUDE inserts the named file into the current file,
// and may optionally specify a domain name that sets the relative domain name
// origin for the included file."
func (r *Reader) include(src *source, directive rdata.Field, arguments []rdata.Field) error {
	if err := checkArguments(src, directive, arguments, 1, 2, "$INCLUDE file [origin]"); err != nil {
		return err
	}
	if r.options.Open == nil {
		return src.fieldError(arguments[0], ErrIncludeRefused, "put the records into this file")
	}
	if len(r.sources) > MaxIncludeDepth {
		return src.fieldError(arguments[0], ErrIncludeDepth, "look for a file that includes itself")
	}
	if r.includes++; r.includes > MaxIncludes {
		return src.fieldError(arguments[0], ErrTooManyIncludes, fmt.Sprintf("look for files that include each other; %d may be read for one zone", MaxIncludes))
	}
	origin := src.origin
	if len(arguments) == 2 {
		var err error
		if origin, err = newOrigin(src, arguments[1]); err != nil {
			return err
		}
	}
	path := string(arguments[0].Text)
	file, err := r.options.Open(path)
	if err != nil {
		return src.fieldError(arguments[0], err, "correct the path, or the permissions of the file")
	}
	inner := newSource(file, file, path, &r.octets)
	inner.origin, inner.owner = origin, src.owner
	r.sources = append(r.sources, inner)
	return nil
}
