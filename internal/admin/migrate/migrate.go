// Package migrate reads the configuration of BIND, NSD or Knot and writes it as
// ours: zones, keys, primaries, who may transfer, who is notified.
//
// It owns the three languages and what each setting means here. It does not read
// zone files and opens nothing by itself. Nothing is dropped without a word: what
// has no counterpart becomes a Note with its place and the reason, and what would
// let more people in than before is left out rather than guessed.
//
//	named.conf   statements, blocks, include, acl, view          bind.go
//	nsd.conf     attribute: value, pattern, include, zone list   nsd.go
//	knot.conf    sections of items, template, include            knot.go
//	      all -> Plan -> Plan.YAML
//
// Entry points: BIND, NSD, Knot; Result.YAML.
//
// Concurrency: everything here is a function of its arguments.
//
// Sources: the reference manuals of BIND 9.18 to 9.20, NSD 4.6 to 4.12, and Knot
// DNS 3.2 to 3.4.
package migrate

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Source is how the files of a configuration are read.
type Source struct {
	Read func(path string) ([]byte, error)
	// Glob returns the files that a pattern with * or ? matches.
	Glob func(pattern string) ([]string, error)
}

// Note is something that was not carried over.
type Note struct {
	File string `json:"file"`
	Line int    `json:"line"` // 0: the file as a whole
	What string `json:"what"` // the setting, as it stands in the file
	Why  string `json:"why"`
}

// String returns n as one line.
func (n Note) String() string {
	place := n.File
	if n.Line > 0 {
		place = fmt.Sprintf("%s:%d", n.File, n.Line)
	}
	if n.What == "" {
		return fmt.Sprintf("%s: %s", place, n.Why)
	}
	return fmt.Sprintf("%s: %s: %s", place, n.What, n.Why)
}

// Result is a configuration of ours, and what is not in it.
type Result struct {
	Plan  Plan
	Notes []Note
}

// Limits of what is read. Configurations of a million zones are about 200 MiB.
const (
	maxFiles  = 10_000    // that one configuration includes, itself too
	maxOctets = 512 << 20 // of all of them
	maxNested = 32        // includes within includes, blocks within blocks: named allows about as many
)

// reader reads the files of one configuration within the limits.
type reader struct {
	source Source
	result *Result
	files  int
	octets int
	open   []string        // files that include each other, outermost first
	zones  map[string]bool // names of the zones in the plan, or in view

	view    *View           // of the plan, which zones go into; nil: none
	outside map[string]bool // zones, while view is set
}

// read returns the text of a file.
func (r *reader) read(file string) (string, error) {
	if slices.Contains(r.open, file) {
		return "", fmt.Errorf("%s includes itself; remove one of the include lines", file)
	}
	if r.files++; r.files > maxFiles || len(r.open) >= maxNested {
		return "", fmt.Errorf("%s: more than %d files, or %d within each other", file, maxFiles, maxNested)
	}
	text, err := r.source.Read(file)
	if err != nil {
		return "", err
	}
	if r.octets += len(text); r.octets > maxOctets {
		return "", fmt.Errorf("%s: the files have more than %d MiB together", file, maxOctets>>20)
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return "", fmt.Errorf("%s: it has a NUL octet, and is no text", file)
	}
	return string(text), nil
}

// expand returns the files that an include line names: several for a pattern.
func (r *reader) expand(pattern string) ([]string, error) {
	if !strings.ContainsAny(pattern, "*?[") || r.source.Glob == nil {
		return []string{pattern}, nil
	}
	return r.source.Glob(pattern)
}

func (r *reader) note(at place, what, why string, args ...any) {
	r.result.Notes = append(r.result.Notes, Note{at.file, at.line, clip(what), fmt.Sprintf(why, args...)})
}

// place is a line of a file.
type place struct {
	file string
	line int
}

func (p place) errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", p.file, p.line, fmt.Errorf(format, args...))
}

// clip shortens a setting for a note: enough to find it by, and no secret's end.
func clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:77], "") + "..."
	}
	return strings.ToValidUTF8(s, "?")
}

// below returns file as seen from folder.
func below(folder, file string) string {
	if path.IsAbs(file) || folder == "" {
		return path.Clean(file)
	}
	return path.Join(folder, file)
}
