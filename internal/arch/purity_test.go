package arch

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// impureImports are packages that a pure package has no use for.
var impureImports = []string{"os", "os/exec", "os/signal", "net", "net/http", "log", "log/slog", "syscall", "io/ioutil", "math/rand", "crypto/rand", "golang.org/x/sys/unix"}

// impureCalls read a clock or wait for it.
var impureCalls = map[string][]string{
	"time": {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"},
}

func TestPurePackages(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !slices.Contains(pure, s.pkg()) {
			continue
		}
		for _, spec := range s.file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			foreign := strings.Contains(path, ".") && !strings.HasPrefix(path, "golang.org/x/")
			if slices.Contains(impureImports, path) || foreign && !slices.Contains(thirdParty[s.pkg()], path) {
				t.Errorf("%s: %s is pure and must not import %s", s.at(spec.Pos()), s.pkg(), path)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: %s is pure and must not start a goroutine", s.at(n.Pos()), s.pkg())
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && slices.Contains(impureCalls[x.Name], n.Sel.Name) {
					t.Errorf("%s: %s is pure and must be given the time: %s.%s", s.at(n.Pos()), s.pkg(), x.Name, n.Sel.Name)
				}
			}
			return true
		})
	}
}

// TestTimeIsOfTheClock: what decides by the time has it from package clock, which tests
// from outside can move. Deadlines of connections are the system's, and so are
// stop-watches.
func TestTimeIsOfTheClock(t *testing.T) {
	stopwatches := []string{
		"internal/resolver/outbound/quic.go", "internal/resolver/outbound/https.go", "internal/resolver/outbound/stream.go", "internal/resolver/outbound/wheel.go",
	}
	for _, s := range sources(t) {
		decides := s.pkg() == "internal/node" || strings.HasPrefix(s.pkg(), "internal/authority/") || strings.HasPrefix(s.pkg(), "internal/resolver/")
		if !decides || s.test || slices.Contains(stopwatches, s.path) {
			continue
		}
		lines := strings.Split(s.text, "\n")
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if !ok || x.Name != "time" || !slices.Contains([]string{"Now", "Since", "Until"}, sel.Sel.Name) {
				return true
			}
			if line := lines[s.fset.Position(sel.Pos()).Line-1]; !strings.Contains(line, "eadline") {
				t.Errorf("%s: clock.%s instead of time.%[2]s", s.at(sel.Pos()), sel.Sel.Name)
			}
			return true
		})
	}
}

// TestNoSleeps: a test waits for what it waits for. Inside a synctest bubble a
// sleep takes no time, and is how time passes.
func TestNoSleeps(t *testing.T) {
	for _, s := range sources(t) {
		bubbles := strings.Contains(s.text, `"testing/synctest"`)
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && sel.Sel.Name == "Sleep" && !(s.test && bubbles) {
				t.Errorf("%s: time.Sleep: wait for an event, a deadline or a timer in a select", s.at(sel.Pos()))
			}
			return true
		})
	}
}
