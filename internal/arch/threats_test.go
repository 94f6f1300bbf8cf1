package arch

import (
	"go/ast"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

var proof = regexp.MustCompile("`([a-z0-9]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)`")

// TestThreatModel: every proof that docs/THREAT-MODEL.md names is a test there is.
func TestThreatModel(t *testing.T) {
	tests := map[string]bool{}
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.test && f.Recv == nil {
				tests[path.Base(s.pkg())+"."+f.Name.Name] = true
			}
		}
	}
	text, err := os.ReadFile(root + "/docs/THREAT-MODEL.md")
	if err != nil {
		t.Fatal(err)
	}
	proofs := proof.FindAllStringSubmatch(string(text), -1)
	if len(proofs) < 20 {
		t.Fatalf("only %d proofs found: the pattern does not fit the page", len(proofs))
	}
	for _, p := range proofs {
		if !tests[p[1]+"."+p[2]] {
			t.Errorf("docs/THREAT-MODEL.md names %s.%s, which does not exist", p[1], p[2])
		}
	}
	for row := range strings.Lines(string(text)) {
		if cells := strings.Split(row, "|"); len(cells) == 5 && !strings.HasPrefix(row, "|---") && !strings.Contains(row, "threat |") && !proof.MatchString(cells[3]) {
			t.Errorf("docs/THREAT-MODEL.md: no proof for %q", strings.TrimSpace(cells[1]))
		}
	}
}
