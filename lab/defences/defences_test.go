package defences

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pharos/lab/tools"
)

// root is the folder of the module.
var root = filepath.Join("..", "..")

// attacks are the classes that gateways are measured by; each has defences.
var attacks = []string{
	"CL.TE and TE.CL", "CL.0 and early answers", "chunks", "field injection", "underscores and other spellings", "hop-by-hop fields",
	"Rapid Reset", "MadeYouReset", "CONTINUATION floods", "HPACK bombs and empty frames", "h2c upgrades", "tunnels before 101",
	"path normalisation", "forwarded-for trust", "slow clients", "decompression bombs", "host and authority", "responses",
	"HTTP/3", "credentials", "limits that are got around", "members that are harmed", "secrets and marks",
}

func listed(t *testing.T) []Defence {
	t.Helper()
	list, err := List()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Each defence stands in the source where the list says, once; what is left without it is
// still Go; and its test exists.
func TestDefencesStand(t *testing.T) {
	for _, d := range listed(t) {
		source, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(d.File)))
		if err != nil {
			t.Errorf("%s: %s: %v", d.Attack, d.Wants, err)
			continue
		}
		changed, err := d.Without(string(source))
		if err == nil {
			_, err = parser.ParseFile(token.NewFileSet(), d.File, changed, parser.SkipObjectResolution)
		}
		if err != nil {
			t.Errorf("%s: %s: %v", d.Attack, d.Wants, err)
		}
		if !hasTest(t, d.Package, d.Test) {
			t.Errorf("%s: %s: there is no test %s in %s", d.Attack, d.Wants, d.Test, d.Package)
		}
	}
}

func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(folder), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		source, err := os.ReadFile(file)
		return err == nil && bytes.Contains(source, []byte("\nfunc "+name+"(t *testing.T)"))
	})
}

// Every class has a defence that was shown to be needed, and there is no other class.
func TestEveryClassIsListed(t *testing.T) {
	var seen []string
	for _, d := range listed(t) {
		if !slices.Contains(seen, d.Attack) {
			seen = append(seen, d.Attack)
		}
	}
	if !slices.Equal(seen, attacks) {
		t.Errorf("got  %q\nwant %q", seen, attacks)
	}
}

// Without its defence, each attack succeeds: the test fails. With all of them it passes.
// PHAROS_DEFENCES says how many are tried, as each is built anew, PHAROS_DEFENCES_OF of
// which attacks (a part of the name).
func TestAttacksSucceedWithoutDefence(t *testing.T) {
	list := listed(t)
	if of := os.Getenv("PHAROS_DEFENCES_OF"); of != "" {
		list = slices.DeleteFunc(list, func(d Defence) bool { return !strings.Contains(d.Attack+": "+d.Wants, of) })
	}
	list = list[:min(tools.Number(t, "PHAROS_DEFENCES", 1), len(list))]
	tests := map[string][]string{}
	for _, d := range list {
		if !slices.Contains(tests[d.Package], d.Test) {
			tests[d.Package] = append(tests[d.Package], d.Test)
		}
	}
	for folder, names := range tests {
		if said, err := run(t, folder, "^("+strings.Join(names, "|")+")$"); err != nil {
			t.Errorf("%s, with all defences: %v\n%s", folder, err, said)
		}
	}
	for _, d := range list {
		t.Run(d.Attack+": "+d.Wants, func(t *testing.T) {
			said, err := run(t, d.Package, "^"+d.Test+"$", "-overlay", overlay(t, &d))
			var failed *exec.ExitError
			switch {
			case err == nil:
				t.Errorf("%s passes without the defence: it proves nothing", d.Test)
			case !errors.As(err, &failed) || strings.Contains(said, "[build failed]") || strings.Contains(said, "[setup failed]"):
				t.Errorf("%s was not run: %v\n%s", d.Test, err, said)
			}
		})
	}
}

// overlay writes the source without the defence, and what tells the compiler to take it.
func overlay(t *testing.T, d *Defence) string {
	t.Helper()
	file, err := filepath.Abs(filepath.Join(root, filepath.FromSlash(d.File)))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed, err := d.Without(string(source))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	instead := filepath.Join(folder, "without.go")
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{file: instead}})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(folder, "overlay.json")
	for name, text := range map[string][]byte{instead: []byte(changed), name: list} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return name
}

// run runs tests of a package, and returns what was said. A hang is a failure.
func run(t *testing.T, folder, tests string, flags ...string) (string, error) {
	t.Helper()
	args := append([]string{"test", "-trimpath", "-vet=off", "-count=1", "-timeout=1m", "-run", tests}, flags...)
	cmd := exec.CommandContext(t.Context(), "go", append(args, "./"+folder)...)
	cmd.Dir = root
	said, err := cmd.CombinedOutput()
	return string(said), err
}
