package scenario

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnswire"
)

// parser reads a file line by line. origin and ttl are those of $ORIGIN and
// $TTL lines.
type parser struct {
	scenario *Scenario
	lines    []string
	at       int // index of the next line
	origin   string
	ttl      uint32
}

// defaultTTL is the TTL of records written without one.
const defaultTTL = 3600

// Parse reads a scenario. file is its name in messages. An *Unsupported error
// means that the file is in order but asks for something that is not here.
func Parse(file string, r io.Reader) (*Scenario, error) {
	p := &parser{scenario: &Scenario{File: file}, origin: ".", ttl: defaultTTL}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // a line of keys or hexadecimal is long; no file has a megabyte of it
	for lines.Scan() {
		p.lines = append(p.lines, lines.Text())
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	err := p.config()
	if err == nil {
		err = p.body()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return p.scenario, nil
}

// next returns the fields of the next line that has any, without its comment.
func (p *parser) next() (fields []string, line int, ok bool) {
	for p.at < len(p.lines) {
		text := p.lines[p.at]
		p.at++
		if fields = strings.Fields(stripComment(text)); len(fields) > 0 {
			return fields, p.at, true
		}
	}
	return nil, p.at, false
}

// stripComment cuts what follows a semicolon that is not in quotes.
func stripComment(s string) string {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			quoted = !quoted
		case ';':
			if !quoted {
				return s[:i]
			}
		}
	}
	return s
}

func (p *parser) errorf(line int, format string, args ...any) error {
	return fmt.Errorf("line %d: %w", line, fmt.Errorf(format, args...))
}

// body reads what follows the CONFIG section.
func (p *parser) body() error {
	for {
		fields, line, ok := p.next()
		if !ok {
			return p.errorf(line, "the file ends before SCENARIO_END")
		}
		var err error
		switch fields[0] {
		case "SCENARIO_BEGIN":
			p.scenario.Title = strings.Join(fields[1:], " ")
		case "SCENARIO_END":
			return nil
		case "RANGE_BEGIN":
			err = p.readRange(fields, line)
		case "STEP":
			err = p.readStep(fields, line)
		case "$ORIGIN", "$TTL":
			err = p.directive(fields, line)
		default:
			err = p.errorf(line, "%q where RANGE_BEGIN, STEP or SCENARIO_END must stand", fields[0])
		}
		if err != nil {
			return err
		}
	}
}

// directive sets the origin or the default TTL for the records that follow.
func (p *parser) directive(fields []string, line int) error {
	if len(fields) != 2 {
		return p.errorf(line, "%s wants one value", fields[0])
	}
	if fields[0] == "$ORIGIN" {
		p.origin = dns.Fqdn(fields[1])
		return nil
	}
	ttl, err := strconv.ParseUint(fields[1], 10, 31)
	p.ttl = uint32(ttl)
	if err != nil {
		return p.errorf(line, "$TTL: %w", err)
	}
	return nil
}

func (p *parser) readRange(fields []string, line int) error {
	r := &Range{Line: line}
	if len(fields) != 3 {
		return p.errorf(line, "RANGE_BEGIN wants two step numbers")
	}
	var err error
	if r.From, err = strconv.Atoi(fields[1]); err == nil {
		r.To, err = strconv.Atoi(fields[2])
	}
	if err != nil {
		return p.errorf(line, "RANGE_BEGIN: %w", err)
	}
	for {
		fields, line, ok := p.next()
		if !ok {
			return p.errorf(r.Line, "the range has no RANGE_END")
		}
		switch fields[0] {
		case "RANGE_END":
			p.scenario.Ranges = append(p.scenario.Ranges, r)
			return nil
		case "ADDRESS":
			a, err := p.address(fields, line)
			if err != nil {
				return err
			}
			r.Addresses = append(r.Addresses, a)
		case "ENTRY_BEGIN":
			e, err := p.readEntry(line)
			if err != nil {
				return err
			}
			r.Entries = append(r.Entries, e)
		case "$ORIGIN", "$TTL":
			if err := p.directive(fields, line); err != nil {
				return err
			}
		default:
			return p.errorf(line, "%q where ADDRESS, ENTRY_BEGIN or RANGE_END must stand", fields[0])
		}
	}
}

// address reads "ADDRESS a" or "ADDRESS a port".
func (p *parser) address(fields []string, line int) (netip.Addr, error) {
	if len(fields) < 2 {
		return netip.Addr{}, p.errorf(line, "ADDRESS wants an address")
	}
	text, _, _ := strings.Cut(fields[1], "@")
	a, err := netip.ParseAddr(text)
	if err != nil {
		return a, p.errorf(line, "%w", err)
	}
	return a, nil
}

// whiteBox are steps that look into or reach into one server's insides.
var whiteBox = map[string]string{
	"CHECK_AUTOTRUST": "reads Unbound's trust anchor file",
	"CHECK_TEMPFILE":  "reads a file that Unbound writes",
	"ASSIGN":          "computes with Unbound's timer macros",
	"INFRA_RTT":       "writes into Unbound's table of round trip times",
	"FLUSH_MESSAGE":   "removes one entry of Unbound's message cache",
	"EXPIRE_MESSAGE":  "ages one entry of Unbound's message cache",
}

func (p *parser) readStep(fields []string, line int) error {
	if len(fields) < 3 {
		return p.errorf(line, "STEP wants a number and a kind")
	}
	id, err := strconv.Atoi(fields[1])
	if err != nil {
		return p.errorf(line, "STEP: %w", err)
	}
	s := &Step{ID: id, Kind: Kind(fields[2]), Line: line}
	p.scenario.Steps = append(p.scenario.Steps, s)
	if why, ok := whiteBox[fields[2]]; ok {
		return &Unsupported{"whitebox", fields[2] + " " + why, line}
	}
	switch s.Kind {
	case Nothing, Timeout, Failure, Traffic:
		return p.stepAddress(s, fields[3:])
	case TimePasses:
		return p.timePasses(s, fields[3:])
	case Query, CheckAnswer, CheckOutQuery, Reply:
		if err := p.stepAddress(s, fields[3:]); err != nil {
			return err
		}
		return p.stepEntry(s)
	}
	return &Unsupported{"step", "STEP kind " + fields[2], line}
}

// stepAddress reads the address that may follow a step on its line or on a line
// of its own.
func (p *parser) stepAddress(s *Step, rest []string) error {
	line := s.Line
	if len(rest) == 0 {
		back := p.at
		fields, at, ok := p.next()
		if !ok || fields[0] != "ADDRESS" {
			p.at = back
			return nil
		}
		rest, line = fields, at
	}
	if rest[0] != "ADDRESS" {
		return p.errorf(line, "%q where ADDRESS may stand", rest[0])
	}
	a, err := p.address(rest, line)
	s.Address = a
	return err
}

func (p *parser) stepEntry(s *Step) error {
	fields, line, ok := p.next()
	if !ok || fields[0] != "ENTRY_BEGIN" {
		return p.errorf(line, "STEP %d %s must be followed by ENTRY_BEGIN", s.ID, s.Kind)
	}
	e, err := p.readEntry(line)
	s.Entry = e
	return err
}

// timePasses reads "ELAPSE seconds"; seconds may have a fraction.
func (p *parser) timePasses(s *Step, rest []string) error {
	if len(rest) > 0 && rest[0] == "EVAL" {
		return &Unsupported{"whitebox", "TIME_PASSES EVAL computes with Unbound's timer macros", s.Line}
	}
	if len(rest) != 2 || rest[0] != "ELAPSE" {
		return p.errorf(s.Line, "TIME_PASSES wants ELAPSE and seconds")
	}
	seconds, err := strconv.ParseFloat(rest[1], 64)
	if err != nil || seconds < 0 {
		return p.errorf(s.Line, "TIME_PASSES ELAPSE %s: want seconds", rest[1])
	}
	s.Elapse = time.Duration(seconds * float64(time.Second))
	return nil
}

// parseRcode reads the mnemonics that REPLY lines use.
func parseRcode(word string) (dnswire.Rcode, bool) {
	if word == "NOTIMPL" { // Unbound's spelling
		word = "NOTIMP"
	}
	r, ok := dns.StringToRcode[word]
	return dnswire.Rcode(r), ok
}
