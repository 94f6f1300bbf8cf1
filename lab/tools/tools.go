// Package tools has what tests need that is not in this repository: programs that
// somebody else wrote.
//
// A test whose program is not installed is passed over, for not everybody has all of
// them; where PHAROS_REQUIRE_PEERS is 1, as in CI, it fails. Servers are started by
// package peers.
//
// Entry points: Need, Path, Run.
package tools

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// find finds a program, also where the shell of an ordinary user does not look, and among
// those that "make peers" builds from Go modules.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil && filepath.Base(program) == program {
		if path, err = exec.LookPath("/usr/sbin/" + program); err == nil {
			return path, nil
		}
		cache, noCache := os.UserCacheDir()
		if noCache != nil {
			return path, err
		}
		path, err = exec.LookPath(filepath.Join(cache, "pharos-peers", program))
	}
	return path, err
}

// Need passes over a test unless all the programs are installed, or fails it where they
// have to be.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	var missing []string
	for _, program := range programs {
		if _, err := find(program); err != nil {
			missing = append(missing, program)
		}
	}
	if len(missing) == 0 {
		return
	}
	if os.Getenv("PHAROS_REQUIRE_PEERS") == "1" {
		t.Fatalf("%s: not installed, and PHAROS_REQUIRE_PEERS is 1 (make peers)", strings.Join(missing, ", "))
	}
	t.Skipf("%s: not installed", strings.Join(missing, ", "))
}

// Path returns where a program is that a test needs, as Need does.
func Path(t testing.TB, program string) string {
	t.Helper()
	Need(t, program)
	path, err := find(program)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Run runs a program in a folder and returns all that it prints. It needs it, as Need
// does; if the program fails, so does the test.
func Run(t testing.TB, folder, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(Path(t, program), args...)
	cmd.Dir = folder
	var errors strings.Builder
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, out, errors.String())
	}
	return string(out)
}
