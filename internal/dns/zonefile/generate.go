package zonefile

import (
	"bytes"
	"errors"
	"math"
	"strconv"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// generator is a $GENERATE while it makes records, in BIND's form:
//
//	$GENERATE start-stop[/step] owner [TTL] [class] type RDATA
//
// RDATA is one word, one quoted string whose inside is the RDATA, or several
// fields. In owner and RDATA, $ stands for the number of the step.
type generator struct {
	active         bool
	at, stop, step uint64
	owner, rdata   []piece
	head           head
	ttl            rdata.TTL
	ownerError     *Error
	rdataError     *Error // the place of the templates, for errors
	text           []byte
	fields         []rdata.Field
}

// piece is a part of a template: literal text, then the number of the step, if
// hasNumber.
type piece struct {
	literal   []byte
	hasNumber bool
	offset    int64
	width     int
	base      byte // d o x X n N
}

const (
	generateForm = "write $GENERATE start-stop[/step] owner [TTL] [class] type RDATA"
	// maxGenerateWidth bounds the zeros that ${offset,width} puts before a number: a
	// longer one fits in no name.
	maxGenerateWidth = dnsname.MaxLen
)

// startGenerate reads a $GENERATE, so that the next records come from it.
func (r *Reader) startGenerate(src *source, directive rdata.Field, arguments []rdata.Field) error {
	if len(arguments) < 4 {
		return src.fieldError(directive, ErrMissingArgument, generateForm)
	}
	g := generator{text: r.generate.text, fields: r.generate.fields}
	if err := r.setRange(&g, src, arguments[0]); err != nil {
		return err
	}
	var ok bool
	if g.owner, ok = parseTemplate(arguments[1].Text); !ok || arguments[1].Quoted {
		return src.fieldError(arguments[1], ErrGenerateTemplate, templateRemedy)
	}
	var rest []rdata.Field
	var err error
	if g.head, rest, err = r.head(src, arguments[2:]); err != nil {
		return err
	}
	if len(rest) == 0 {
		return src.fieldError(g.head.typeField, ErrMissingArgument, generateForm)
	}
	if g.rdata, ok = parseTemplate(joinFields(rest)); !ok {
		return src.fieldError(rest[0], ErrGenerateTemplate, templateRemedy)
	}
	if g.head.t == rdata.TypeSOA {
		return src.fieldError(g.head.typeField, ErrGenerateTemplate, "a zone has one SOA record: write it by itself")
	}
	if g.ttl, err = r.ttl(src, g.head, nil); err != nil {
		return err
	}
	g.ownerError = src.fieldError(arguments[1], nil, "")
	g.rdataError = src.fieldError(rest[0], nil, "")
	g.active = true
	r.generate = g
	return nil
}

const templateRemedy = "write $ for the number, or ${offset[,width[,base]]} with base d, o, x, X, n or N"

// setRange reads start-stop[/step].
func (r *Reader) setRange(g *generator, src *source, f rdata.Field) error {
	text, stepText, hasStep := bytes.Cut(f.Text, []byte{'/'})
	startText, stopText, ok := bytes.Cut(text, []byte{'-'})
	start, err1 := strconv.ParseUint(string(startText), 10, 31)
	stop, err2 := strconv.ParseUint(string(stopText), 10, 31)
	step, err3 := uint64(1), error(nil)
	if hasStep {
		step, err3 = strconv.ParseUint(string(stepText), 10, 31)
	}
	if !ok || f.Quoted || err1 != nil || err2 != nil || err3 != nil || step == 0 || start > stop {
		return src.fieldError(f, ErrGenerateRange, "write start-stop or start-stop/step, with start at most stop and a step of at least 1")
	}
	if count := (stop-start)/step + 1; count > uint64(r.options.MaxGenerate) {
		return src.fieldError(f, ErrGenerateCount, "keep it to "+strconv.Itoa(r.options.MaxGenerate)+" records")
	}
	g.at, g.stop, g.step = start, stop, step
	return nil
}

// joinFields returns the RDATA template: the inside of a single quoted string, as
// BIND has it, else the fields as they were written.
func joinFields(fields []rdata.Field) []byte {
	if len(fields) == 1 {
		return fields[0].Text
	}
	var text []byte
	for i, f := range fields {
		if i > 0 {
			text = append(text, ' ')
		}
		if f.Quoted {
			text = append(text, '"')
		}
		text = append(text, f.Text...)
		if f.Quoted {
			text = append(text, '"')
		}
	}
	return text
}

// parseTemplate splits text at its dollar signs. "$$" and "\$" are a dollar sign;
// another escape stays for the reader of what is generated.
func parseTemplate(text []byte) ([]piece, bool) {
	var pieces []piece
	var literal []byte
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			literal = append(literal, c, text[i+1])
			i += 2
		case c != '$':
			literal = append(literal, c)
			i++
		case i+1 < len(text) && text[i+1] == '$':
			literal = append(literal, '\\', '$')
			i += 2
		default:
			p, length := parsePlaceholder(text[i:])
			if length == 0 {
				return nil, false
			}
			p.literal = literal
			pieces, literal = append(pieces, p), nil
			i += length
		}
	}
	return append(pieces, piece{literal: literal}), true
}

// parsePlaceholder reads $ or ${offset[,width[,base]]}; length 0 means that it is
// malformed.
func parsePlaceholder(text []byte) (p piece, length int) {
	p = piece{hasNumber: true, base: 'd'}
	if len(text) == 1 || text[1] != '{' {
		return p, 1
	}
	end := bytes.IndexByte(text, '}')
	if end < 0 {
		return p, 0
	}
	parts := bytes.Split(text[2:end], []byte{','})
	if len(parts) > 3 {
		return p, 0
	}
	var err error
	if p.offset, err = strconv.ParseInt(string(parts[0]), 10, 32); err != nil {
		return p, 0
	}
	if len(parts) > 1 {
		if p.width, err = strconv.Atoi(string(parts[1])); err != nil || p.width < 0 || p.width > maxGenerateWidth {
			return p, 0
		}
	}
	if len(parts) > 2 {
		if len(parts[2]) != 1 || !bytes.Contains([]byte("doxXnN"), parts[2]) {
			return p, 0
		}
		p.base = parts[2][0]
	}
	return p, end + 1
}

var errNegative = errors.New("the number becomes negative")

// appendPieces appends what a template gives at step number n.
func appendPieces(b []byte, pieces []piece, n uint64) ([]byte, error) {
	for _, p := range pieces {
		b = append(b, p.literal...)
		if !p.hasNumber {
			continue
		}
		value := int64(n) + p.offset
		if value < 0 || value > math.MaxUint32 {
			return b, errNegative
		}
		b = p.appendNumber(b, uint64(value))
	}
	return b, nil
}

func (p piece) appendNumber(b []byte, value uint64) []byte {
	var digits []byte
	switch p.base {
	case 'n', 'N':
		return p.appendNibbles(b, value)
	case 'o':
		digits = strconv.AppendUint(nil, value, 8)
	case 'x':
		digits = strconv.AppendUint(nil, value, 16)
	case 'X':
		digits = bytes.ToUpper(strconv.AppendUint(nil, value, 16))
	default:
		digits = strconv.AppendUint(nil, value, 10)
	}
	for n := len(digits); n < p.width; n++ {
		b = append(b, '0')
	}
	return append(b, digits...)
}

// appendNibbles writes value as the labels of ip6.arpa: hexadecimal digits, least
// significant first, dots between them. The width counts digits and dots.
func (p piece) appendNibbles(b []byte, value uint64) []byte {
	digits := "0123456789abcdef"
	if p.base == 'N' {
		digits = "0123456789ABCDEF"
	}
	width := p.width
	for {
		b = append(b, digits[value&15])
		value >>= 4
		width--
		if width <= 0 && value == 0 {
			return b
		}
		b = append(b, '.')
		if width--; width <= 0 && value == 0 {
			return b
		}
	}
}

// generated returns the next record of the $GENERATE at hand, which ends with the
// first error: the others would be the same.
func (r *Reader) generated() (rdata.Record, error) {
	g, src := &r.generate, r.sources[len(r.sources)-1]
	n := g.at
	if g.at += g.step; g.at > g.stop {
		g.active = false
	}
	var err error
	if g.text, err = appendPieces(g.text[:0], g.owner, n); err != nil {
		return rdata.Record{}, g.failed(g.ownerError, err, "raise the offset")
	}
	wire, err := rdata.AppendName(r.room(minRoom), g.text, src.origin)
	if err != nil {
		return rdata.Record{}, g.failed(g.ownerError, err, rdata.NameRemedy(err))
	}
	dnsname.Lower(wire)
	owner := dnsname.View(r.keep(wire))
	if g.text, err = appendPieces(g.text[:0], g.rdata, n); err != nil {
		return rdata.Record{}, g.failed(g.rdataError, err, "raise the offset")
	}
	if g.fields, err = rdata.SplitFields(g.fields[:0], g.text); err != nil {
		return rdata.Record{}, g.failed(g.rdataError, err, "close what was opened")
	}
	data, err := rdata.AppendFields(r.room(minRoom), g.head.t, src.origin, g.fields)
	if err != nil {
		return rdata.Record{}, g.failedRdata(err)
	}
	return rdata.Record{Name: owner, Type: g.head.t, Class: r.class, TTL: g.ttl, Data: r.keep(data)}, nil
}

// failed ends the generator with an error at a template; the text is what the
// template gave.
func (g *generator) failed(place *Error, err error, remedy string) error {
	g.active = false
	wrong := *place
	wrong.Err, wrong.Remedy, wrong.Text = err, remedy, string(g.text)
	return &wrong
}

func (g *generator) failedRdata(err error) error {
	var wrong *rdata.FieldError
	if errors.As(err, &wrong) {
		return g.failed(g.rdataError, wrong.Cause(), wrong.Remedy)
	}
	return g.failed(g.rdataError, err, "")
}
