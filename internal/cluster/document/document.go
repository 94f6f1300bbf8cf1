// Package document turns a tree of keys and values, as a person or a program
// wrote it, into a typed Go value, and says exactly what is wrong with it.
//
// It owns the rules that every written thing in Pharos obeys, be it the
// configuration file or an object applied at run time: keys must be known and
// stand once, values must have the right type, unit and range, what is absent
// takes its default, and all problems are reported together with their places.
// It does not own any syntax but JSON's: YAML becomes a Node in package config.
// It does not know what the values mean; that is for the package of the type.
//
//	text --FromJSON, config--> *Node --Decode--> *T  + Problems
//	                                   ^
//	                                   the field tags of T
//
// The facts about a field are its tags, so that the decoder, the manual and the
// JSON Schema cannot disagree:
//
//	json:"interval"     the key; also what encoding/json uses
//	default:"1s"        value when the key is absent; a list is comma separated
//	min:"10ms" max:"1h" range, both ends allowed; of a list: number of items
//	step:"1s"           the value must be a multiple of this
//	enum:"tcp,http"     the allowed words
//	format:"identifier" see formats
//	required:"true"     the key must be there
//	example:"5s"        for the manual
//
// A type that has a method Complete() gets it called after it was decoded, to
// fill in defaults that follow from other fields.
//
// Concurrency: functions without shared state; a Node may be read by many.
// No I/O and no clock.
package document

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MaxProblems is how many problems of one document are kept with their text: a
// screen or two, enough to mend a file in one go. The rest is only counted.
const MaxProblems = 50

// MaxDepth is how deep maps and lists may nest. The deepest type needs 6; the
// rest is room, and the limit keeps hostile input from using up the stack.
const MaxDepth = 64

// Kind is the kind of a Node.
type Kind uint8

// The kinds of nodes.
const (
	Null Kind = iota
	Scalar
	List
	Map
)

// String returns the kind as messages name it.
func (k Kind) String() string {
	return [...]string{"nothing", "a single value", "a list", "a map"}[k]
}

// Node is one value of a document with its place.
type Node struct {
	Kind   Kind
	Text   string  // Scalar: the value without quotes
	Keys   []*Node // Map: the keys, all Scalar
	Items  []*Node // Map: the values, as many as Keys; List: the elements
	Line   int     // from 1; 0 when the place is not known
	Column int     // from 1, in octets
}

// Get returns the value of key in a map, or nil.
func (n *Node) Get(key string) *Node {
	if n == nil || n.Kind != Map {
		return nil
	}
	for i, k := range n.Keys {
		if k.Text == key {
			return n.Items[i]
		}
	}
	return nil
}

// At returns the node at path, which is written as in Problem.Path, or the
// nearest ancestor of it that exists.
func (n *Node) At(path string) *Node {
	for path != "" {
		var next *Node
		if rest, isIndex := strings.CutPrefix(path, "["); isIndex {
			number, after, _ := strings.Cut(rest, "]")
			i, err := strconv.Atoi(number)
			if err == nil && n.Kind == List && i >= 0 && i < len(n.Items) {
				next = n.Items[i]
			}
			path = after
		} else {
			path = strings.TrimPrefix(path, ".")
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			next = n.Get(path[:end])
			path = path[end:]
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// Problem is one thing wrong with a document: what, where and the remedy.
type Problem struct {
	File   string `json:"file,omitempty"`   // name of the document; may be empty
	Line   int    `json:"line,omitempty"`   // from 1; 0 when not known
	Column int    `json:"column,omitempty"` // from 1
	Path   string `json:"path,omitempty"`   // of the value, e.g. pools[0].check.interval
	Text   string `json:"text"`             // what is wrong
	Remedy string `json:"remedy,omitempty"` // what to do about it
}

// Error returns the problem on one line: file:line:column: path: text; remedy.
func (p Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File + ":")
	}
	if p.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", p.Line, p.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Text)
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return b.String()
}

// Problems is everything wrong with a document, in the order of its lines. It
// is an error when it is not empty; use Err to return it.
type Problems struct {
	List []Problem // at most MaxProblems
	More int       // how many were left out of List
}

// Add appends a problem, or counts it when there are MaxProblems already.
func (p *Problems) Add(problem Problem) {
	if len(p.List) >= MaxProblems {
		p.More++
		return
	}
	p.List = append(p.List, problem)
}

// Sort puts the problems in the order of their places.
func (p *Problems) Sort() {
	slices.SortStableFunc(p.List, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}

// Error returns one line for each problem.
func (p *Problems) Error() string {
	var b strings.Builder
	for i, problem := range p.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(problem.Error())
	}
	if p.More > 0 {
		fmt.Fprintf(&b, "\nand %d more problems", p.More)
	}
	return b.String()
}

// Err returns p as an error, or nil when there are no problems.
func (p *Problems) Err() error {
	if len(p.List) == 0 {
		return nil
	}
	return p
}
