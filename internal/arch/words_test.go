package arch

import (
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

// TestPackageComments: each package says what it owns, once, in at least a few
// lines.
func TestPackageComments(t *testing.T) {
	comments := map[string][]string{}
	packages := map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		packages[s.pkg()] = true
		if s.file.Doc != nil {
			comments[s.pkg()] = append(comments[s.pkg()], s.file.Doc.Text())
		}
	}
	for name := range packages {
		switch texts := comments[name]; {
		case len(texts) == 0:
			t.Errorf("%s: no package comment", name)
		case len(texts) > 1:
			t.Errorf("%s: %d package comments; one of them must be the one", name, len(texts))
		case strings.Count(texts[0], "\n") < 3:
			t.Errorf("%s: the package comment says too little: what it owns, what it does not, entry points, concurrency", name)
		}
	}
}

var (
	vague      = regexp.MustCompile(`(Manager|Helper|Service|Impl|Base|Info)$`)
	unfinished = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b|not implemented|unimplemented`)
)

// TestWords: names that say nothing, and marks of the unfinished.
func TestWords(t *testing.T) {
	for _, s := range sources(t) {
		if s.pkg() == "internal/arch" {
			continue // it has to spell them
		}
		for _, group := range s.file.Comments {
			for _, c := range group.List {
				if m := unfinished.FindString(c.Text); m != "" {
					t.Errorf("%s: %q in a comment", s.at(c.Pos()), m)
				}
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if ts, ok := n.(*ast.TypeSpec); ok && vague.MatchString(ts.Name.Name) {
				t.Errorf("%s: type %s: the word says nothing; name what it is", s.at(ts.Pos()), ts.Name.Name)
			}
			return true
		})
	}
}
