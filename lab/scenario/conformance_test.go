package scenario_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pharos/lab/scenario"
)

// skips reads lab/scenarios/skips.txt: "file class: reason" lines.
func skips(t *testing.T, root string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "lab/scenarios/skips.txt"))
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		file, reason, ok := strings.Cut(line, " ")
		class, _, hasClass := strings.Cut(reason, ":")
		if !ok || !hasClass || strings.Contains(strings.TrimSpace(class), " ") {
			t.Fatalf("skips.txt:%d: %q: want a file, then \"class: reason\"", i+1, line)
		}
		if list[file] != "" {
			t.Fatalf("skips.txt:%d: %s is listed twice", i+1, file)
		}
		list[file] = strings.TrimSpace(reason)
	}
	return list
}

// repositoryRoot is the folder with go.mod.
func repositoryRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

// sharedFolder is where the public test cases are.
func sharedFolder(t *testing.T, root string) string {
	t.Helper()
	dir := os.Getenv("PHAROS_SHARED")
	if dir == "" {
		dir = filepath.Join(root, "..", "shared")
	}
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the folder of shared test data is absent: %v", err)
		}
		t.Skipf("the folder of shared test data is absent (%s); set PHAROS_SHARED to it", dir)
	}
	return dir
}

// outcome is what became of one public scenario.
type outcome struct {
	passed bool
	err    error
	result scenario.Result
}

// seeds is with how many seeds each scenario is played; all must pass.
const seeds = 4

func play(path, name string) outcome {
	f, err := os.Open(path)
	if err != nil {
		return outcome{err: err}
	}
	defer f.Close()
	s, err := scenario.Parse(name, f)
	if err != nil {
		return outcome{err: err}
	}
	var result scenario.Result
	for seed := range uint64(seeds) { // every other one with both levels of the cache
		if result, err = s.Run(scenario.Options{Seed: seed, Ready: seed%2 == 1}); err != nil {
			break
		}
	}
	return outcome{err == nil, err, result}
}

// TestPublicScenarios plays every file of the public sets that skips.txt does not
// name, and logs which of the named ones would pass.
func TestPublicScenarios(t *testing.T) {
	root := repositoryRoot(t)
	shared := sharedFolder(t, root)
	skip := skips(t, root)
	files, err := filepath.Glob(filepath.Join(shared, "conformance/rpl/*/*.rpl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no public scenarios: %v", err)
	}
	passed, failed, skipped := 0, 0, map[string]int{}
	for _, path := range files {
		name := filepath.Base(filepath.Dir(path)) + "/" + filepath.Base(path)
		if reason, ok := skip[name]; ok {
			delete(skip, name)
			class, _, _ := strings.Cut(reason, ":")
			skipped[class]++
			if play(path, name).passed {
				t.Logf("%s: skipped (%s) but passes", name, reason)
			}
			continue
		}
		t.Run(name, func(t *testing.T) {
			if o := play(path, name); o.passed {
				passed++
			} else {
				failed++
				report(t, o)
			}
		})
	}
	for name := range skip {
		t.Errorf("skips.txt names %s, which is not among the public scenarios", name)
	}
	t.Log(summary(len(files), passed, failed, skipped))
}

func report(t *testing.T, o outcome) {
	t.Helper()
	var unsupported *scenario.Unsupported
	if errors.As(o.err, &unsupported) {
		t.Errorf("not listed in skips.txt, but cannot run: %v", o.err)
		return
	}
	t.Errorf("%v\n%s", o.err, strings.Join(o.result.Log, "\n"))
}

func summary(files, passed, failed int, skipped map[string]int) string {
	total, classes := 0, ""
	for _, class := range slices.Sorted(maps.Keys(skipped)) {
		total += skipped[class]
		classes += fmt.Sprintf(" %s %d", class, skipped[class])
	}
	return fmt.Sprintf("rpl: %d files, %d passed, %d skipped (%s), %d failed", files, passed, total, strings.TrimSpace(classes), failed)
}
