package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A source is one Go file of the module.
type source struct {
	path string // from the root, with slashes
	test bool
	text string
	file *ast.File
	fset *token.FileSet
}

// pkg returns the folder of s, the import path without the module.
func (s source) pkg() string { return filepath.ToSlash(filepath.Dir(s.path)) }

func (s source) at(p token.Pos) string {
	pos := s.fset.Position(p)
	return s.path + ":" + strconv.Itoa(pos.Line)
}

// root is the module's folder, seen from this one.
const root = "../.."

// sources parses every Go file of the module.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "testdata" || name == "work" || name != ".." && strings.HasPrefix(name, ".") {
				if path != root {
					return filepath.SkipDir
				}
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		all = append(all, source{filepath.ToSlash(rel), strings.HasSuffix(path, "_test.go"), string(text), file, fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d Go files found: the walk looks in the wrong place", len(all))
	}
	return all
}
