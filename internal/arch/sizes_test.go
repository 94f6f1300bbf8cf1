package arch

import (
	"go/ast"
	"strings"
	"testing"
)

// Limits on size (docs/ARCHITECTURE.md). A comment `//arch:size reason` in a
// function's or a struct's doc lifts its limit, for the one dispatch switch of a
// state machine and the like.
const (
	maxFunctionLines = 100
	maxFileLines     = 900
	maxPackageLines  = 8000
	maxStructFields  = 40
	maxConfigFields  = 30
	maxParameters    = 6
)

func TestSizes(t *testing.T) {
	packageLines := map[string]int{}
	for _, s := range sources(t) {
		lines := strings.Count(s.text, "\n")
		if lines > maxFileLines {
			t.Errorf("%s: %d lines, over %d", s.path, lines, maxFileLines)
		}
		if !s.test {
			packageLines[s.pkg()] += lines
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				checkFunction(t, s, n)
			case *ast.GenDecl:
				for _, spec := range n.Specs {
					checkStruct(t, s, n, spec)
				}
			}
			return true
		})
	}
	for name, lines := range packageLines {
		if lines > maxPackageLines {
			t.Errorf("%s: %d lines, over %d", name, lines, maxPackageLines)
		}
	}
}

func checkFunction(t *testing.T, s source, f *ast.FuncDecl) {
	if lifted(f.Doc) || s.test {
		return
	}
	if lines := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1; lines > maxFunctionLines {
		t.Errorf("%s: func %s has %d lines, over %d", s.at(f.Pos()), f.Name.Name, lines, maxFunctionLines)
	}
	if n := f.Type.Params.NumFields(); n > maxParameters {
		t.Errorf("%s: func %s has %d parameters, over %d", s.at(f.Pos()), f.Name.Name, n, maxParameters)
	}
}

func checkStruct(t *testing.T, s source, decl *ast.GenDecl, spec ast.Spec) {
	ts, ok := spec.(*ast.TypeSpec)
	if !ok || lifted(decl.Doc) {
		return
	}
	st, ok := ts.Type.(*ast.StructType)
	if !ok {
		return
	}
	limit := maxStructFields
	if s.pkg() == "internal/admin/config" || s.pkg() == "internal/cluster/document" {
		limit = maxConfigFields
	}
	if n := st.Fields.NumFields(); n > limit {
		t.Errorf("%s: struct %s has %d fields, over %d", s.at(ts.Pos()), ts.Name.Name, n, limit)
	}
}

func lifted(doc *ast.CommentGroup) bool {
	if doc == nil {
		return false
	}
	for _, c := range doc.List {
		if reason, ok := strings.CutPrefix(c.Text, "//arch:size "); ok && len(reason) > 10 {
			return true
		}
	}
	return false
}
