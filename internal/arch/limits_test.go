package arch

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestLimitsPage: the numbers in docs/LIMITS.md are those of the program, and the tests
// that it names exist.
func TestLimitsPage(t *testing.T) {
	page, err := os.ReadFile(root + "/docs/LIMITS.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(root + "/docs/config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	constants, tests := declared(t)
	rows := 0
	for row := range strings.Lines(string(page)) {
		cells := strings.Split(row, "|")
		if len(cells) != 7 || strings.Contains(cells[2], "limit ") || strings.Contains(cells[2], "---") {
			continue
		}
		rows++
		name, want := strings.Trim(cells[2], " `"), inUnits(strings.TrimSpace(cells[3]))
		got, ok := defaultOf(schema, name)
		if !ok {
			got, ok = constants.value(path.Dir(strings.Replace(name, ".", "/", 1)), path.Base(strings.Replace(name, ".", "/", 1)))
		}
		if !ok || got != want {
			t.Errorf("docs/LIMITS.md: %s is %s there, %q in the program", name, want, got)
		}
		proofs := proof.FindAllStringSubmatch(cells[5], -1)
		for _, p := range proofs {
			if !tests[p[1]+"."+p[2]] {
				t.Errorf("docs/LIMITS.md: %s: there is no test %s.%s", name, p[1], p[2])
			}
		}
		if len(proofs) == 0 {
			t.Errorf("docs/LIMITS.md: no proof of %s", name)
		}
	}
	if rows < 30 {
		t.Fatalf("only %d rows found: the pattern does not fit the page", rows)
	}
}

// inUnits returns a number, a size or a duration as one number.
func inUnits(text string) string {
	if d, err := time.ParseDuration(text); err == nil {
		return strconv.FormatInt(int64(d), 10)
	}
	digits, unit, _ := strings.Cut(text, " ")
	if unit == "" {
		if at := strings.IndexByte(text, 'i'); at > 0 { // 16MiB, as in the schema
			digits, unit = text[:at-1], text[at-1:]
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	shift, known := map[string]int{"": 0, "KiB": 10, "MiB": 20, "GiB": 30}[unit]
	if err != nil || !known {
		return text
	}
	return strconv.FormatInt(n<<shift, 10)
}

// defaultOf returns the default of a key of the configuration.
func defaultOf(schema map[string]any, key string) (string, bool) {
	at := schema
	for part := range strings.SplitSeq(key, ".") {
		part, isList := strings.CutSuffix(part, "[]")
		properties, _ := at["properties"].(map[string]any)
		if at, _ = properties[part].(map[string]any); at == nil {
			return "", false
		}
		if isList {
			if at, _ = at["items"].(map[string]any); at == nil {
				return "", false
			}
		}
	}
	switch v := at["default"].(type) {
	case float64:
		return strconv.FormatInt(int64(v), 10), true
	case string:
		return inUnits(v), true
	}
	return "", false
}

// constants are the values of those declared, by folder's name and name.
type constants map[string]ast.Expr

// declared returns the constants and the tests of all packages.
func declared(t *testing.T) (constants, map[string]bool) {
	all, tests := constants{}, map[string]bool{}
	for _, s := range sources(t) {
		folder := path.Base(s.pkg())
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				tests[folder+"."+d.Name.Name] = s.test && d.Recv == nil
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok && d.Tok == token.CONST && !s.test && len(v.Values) == len(v.Names) {
						for i, name := range v.Names {
							all[folder+"."+name.Name] = v.Values[i]
						}
					}
				}
			}
		}
	}
	return all, tests
}

// value returns the value of a constant, if it is one of whole numbers.
func (c constants) value(folder, name string) (string, bool) {
	v := c.of(folder, c[folder+"."+name])
	return fmt.Sprint(v), v != nil && v.Kind() == constant.Int
}

// of returns the value of an expression in a package; nil if it is none of numbers.
func (c constants) of(folder string, e ast.Expr) constant.Value {
	switch e := e.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(e.Value, e.Kind, 0)
	case *ast.ParenExpr:
		return c.of(folder, e.X)
	case *ast.Ident:
		return c.of(folder, c[folder+"."+e.Name])
	case *ast.SelectorExpr:
		if d, err := time.ParseDuration("1" + map[string]string{"Millisecond": "ms", "Second": "s", "Minute": "m", "Hour": "h"}[e.Sel.Name]); err == nil {
			return constant.MakeInt64(int64(d))
		}
		if x, ok := e.X.(*ast.Ident); ok {
			return c.of(x.Name, c[x.Name+"."+e.Sel.Name])
		}
	case *ast.BinaryExpr:
		x, y := c.of(folder, e.X), c.of(folder, e.Y)
		if x == nil || y == nil {
			return nil
		}
		if e.Op == token.SHL {
			bits, _ := constant.Uint64Val(y)
			return constant.Shift(x, e.Op, uint(bits))
		}
		return constant.BinaryOp(x, e.Op, y)
	}
	return nil
}
