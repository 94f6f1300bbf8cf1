package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// FromJSON reads one JSON value. A key that stands twice in a map, a value
// nested deeper than MaxDepth and anything after the value are problems.
func FromJSON(file string, text []byte) (*Node, *Problems) {
	r := &jsonReader{text: text, file: file, decoder: json.NewDecoder(bytes.NewReader(text)), line: 1}
	r.decoder.UseNumber()
	root := r.value(0)
	if r.problems.Err() == nil {
		if _, err := r.decoder.Token(); !errors.Is(err, io.EOF) {
			r.fail("there is more after the end of the value", "write one value")
		}
	}
	if r.problems.Err() != nil {
		return nil, &r.problems
	}
	return root, &r.problems
}

// jsonReader builds Nodes from the tokens of one JSON text.
type jsonReader struct {
	text     []byte
	file     string
	decoder  *json.Decoder
	problems Problems

	// Place of the octet at offset counted, which only moves forward.
	counted, line, lineStart int
}

// place returns line and column of the next token.
func (r *jsonReader) place() (line, column int) {
	end := int(r.decoder.InputOffset())
	for end < len(r.text) && bytes.IndexByte([]byte(" \t\r\n,:"), r.text[end]) >= 0 {
		end++
	}
	for ; r.counted < end; r.counted++ {
		if r.text[r.counted] == '\n' {
			r.line, r.lineStart = r.line+1, r.counted+1
		}
	}
	return r.line, end - r.lineStart + 1
}

func (r *jsonReader) fail(text, remedy string) {
	line, column := r.place()
	r.problems.Add(Problem{File: r.file, Line: line, Column: column, Text: text, Remedy: remedy})
}

// value reads the next value; nil after a problem.
func (r *jsonReader) value(depth int) *Node {
	n := &Node{}
	n.Line, n.Column = r.place()
	if depth > MaxDepth {
		r.fail(fmt.Sprintf("values nest deeper than %d", MaxDepth), "")
		return nil
	}
	token, err := r.decoder.Token()
	if err != nil {
		r.fail("this is not JSON: "+err.Error(), "")
		return nil
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			return r.object(n, depth)
		}
		return r.array(n, depth)
	case nil:
		n.Kind = Null
	default:
		n.Kind, n.Text = Scalar, fmt.Sprint(t)
	}
	return n
}

func (r *jsonReader) array(n *Node, depth int) *Node {
	n.Kind = List
	for r.decoder.More() {
		item := r.value(depth + 1)
		if item == nil {
			return nil
		}
		n.Items = append(n.Items, item)
	}
	return r.closed(n)
}

func (r *jsonReader) object(n *Node, depth int) *Node {
	n.Kind = Map
	seen := map[string]int{}
	for r.decoder.More() {
		key := r.value(depth + 1)
		if key == nil {
			return nil
		}
		if first, twice := seen[key.Text]; twice {
			r.fail(fmt.Sprintf("key %q stands twice, first on line %d", key.Text, first), "remove one of them")
			return nil
		}
		seen[key.Text] = key.Line
		item := r.value(depth + 1)
		if item == nil {
			return nil
		}
		n.Keys, n.Items = append(n.Keys, key), append(n.Items, item)
	}
	return r.closed(n)
}

// closed reads the bracket that ends n.
func (r *jsonReader) closed(n *Node) *Node {
	if _, err := r.decoder.Token(); err != nil {
		r.fail("this is not JSON: "+err.Error(), "")
		return nil
	}
	return n
}
