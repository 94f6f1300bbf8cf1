package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"pharos/internal/cluster/document"
)

// maxAliased is how many values a file may have by way of aliases. Aliases of
// aliases grow without bound ("billion laughs"); what people share in a file is
// a few lines. The other values are bounded by the size of the file.
const maxAliased = 100_000

// readYAML reads the one YAML document in text as a tree; nil for an empty one.
func readYAML(file string, text []byte) (*document.Node, *document.Problems) {
	r := &yamlReader{file: file}
	if len(text) > MaxFileSize {
		r.fail(nil, fmt.Sprintf("the file is larger than %d MiB", MaxFileSize>>20), "")
		return nil, &r.problems
	}
	top := r.parse(text)
	if r.problems.Err() != nil || top == nil {
		return nil, &r.problems
	}
	root := r.node(top, 0)
	if r.problems.Err() != nil {
		r.problems.Sort()
		return nil, &r.problems
	}
	return root, &r.problems
}

// yamlReader turns the trees of the YAML package into those of ours.
type yamlReader struct {
	file     string
	problems document.Problems
	within   int  // aliases that are being followed
	aliased  int  // values made while following them
	stopped  bool // too many values; the rest is skipped
}

func (r *yamlReader) fail(at *yaml.Node, text, remedy string) {
	p := document.Problem{File: r.file, Text: text, Remedy: remedy}
	if at != nil {
		p.Line, p.Column = at.Line, at.Column
	}
	r.problems.Add(p)
}

// parse runs the YAML parser over text and returns the top value, or nil.
func (r *yamlReader) parse(text []byte) (top *yaml.Node) {
	defer func() {
		// The parser is foreign code that panics on some malformed input.
		if cause := recover(); cause != nil {
			top = nil
			r.fail(nil, fmt.Sprintf("this is not YAML: %v", cause), "")
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var first, second yaml.Node
	if err := decoder.Decode(&first); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		r.syntax(err)
		return nil
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		r.fail(&second, "a second YAML document begins", "keep one document in the file, without \"---\" lines")
		return nil
	case !errors.Is(err, io.EOF):
		r.syntax(err)
		return nil
	}
	if len(first.Content) == 0 {
		return nil
	}
	return first.Content[0]
}

// syntaxLine is the place in the parser's messages.
var syntaxLine = regexp.MustCompile(`^line (\d+): `)

// syntax records an error of the YAML parser.
func (r *yamlReader) syntax(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	at := &yaml.Node{Line: 1, Column: 1}
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		at.Line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	remedy := ""
	if strings.Contains(text, "character that cannot start any token") || strings.Contains(text, "mapping values are not allowed") {
		remedy = "indent with spaces only, and put values with special characters in quotes"
	}
	if strings.Contains(text, "did not find expected") {
		remedy = "look at this line and the one before: keys of one list or map begin in one column, and every [ and { is closed"
	}
	r.fail(at, "this is not YAML: "+text, remedy)
}

// yamlTags are the tags that plain YAML gives values by itself.
var yamlTags = map[string]bool{
	"": true, "!": true, "!!str": true, "!!int": true, "!!float": true, "!!bool": true, "!!null": true,
	"!!map": true, "!!seq": true, "!!timestamp": true, "!!merge": true,
}

// node converts n and everything below it. It returns a Null after a problem.
func (r *yamlReader) node(n *yaml.Node, depth int) *document.Node {
	made := &document.Node{Line: n.Line, Column: n.Column}
	if r.within > 0 {
		r.aliased++
	}
	if r.aliased > maxAliased || depth > document.MaxDepth {
		if !r.stopped {
			r.fail(n, "aliases or nesting make the file too large", "write the values out")
		}
		r.stopped = true
	}
	if r.stopped {
		return made
	}
	if !yamlTags[n.ShortTag()] {
		r.fail(n, fmt.Sprintf("the tag %.40q has no meaning here", n.Tag), "leave it out")
		return made
	}
	switch n.Kind {
	case yaml.ScalarNode:
		if n.ShortTag() != "!!null" {
			made.Kind, made.Text = document.Scalar, n.Value
		}
	case yaml.SequenceNode:
		made.Kind = document.List
		for _, item := range n.Content {
			made.Items = append(made.Items, r.node(item, depth+1))
		}
	case yaml.MappingNode:
		r.mapping(n, made, depth)
	case yaml.AliasNode:
		r.within++
		target := r.node(n.Alias, depth+1)
		r.within--
		copied := *target // a problem shall point to where the alias is used
		copied.Line, copied.Column = n.Line, n.Column
		return &copied
	}
	return made
}

// mapping converts the keys and values of n into made.
func (r *yamlReader) mapping(n *yaml.Node, made *document.Node, depth int) {
	made.Kind = document.Map
	first := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			r.fail(key, "a key must be plain text", "put it in quotes if it has special characters")
			continue
		}
		if key.ShortTag() == "!!merge" {
			r.fail(key, `the merge key "<<" is not supported`, "write the keys out, or use an alias for a whole value")
			continue
		}
		if line, twice := first[key.Value]; twice {
			r.fail(key, fmt.Sprintf("key %.60q stands twice, first on line %d", key.Value, line), "remove one of them")
			continue
		}
		first[key.Value] = key.Line
		made.Keys = append(made.Keys, &document.Node{Kind: document.Scalar, Text: key.Value, Line: key.Line, Column: key.Column})
		made.Items = append(made.Items, r.node(value, depth+1))
	}
}
