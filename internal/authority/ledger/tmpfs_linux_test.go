package ledger

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// smallDisk is set in the child of TestSmallDisk, to a folder on which it may mount.
const smallDisk = "PHAROS_TEST_SMALL_DISK"

// TestSmallDisk: on a real file system without room changes are refused, the zone is
// served, and changes are made and kept when there is room again.
func TestSmallDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	child := exec.Command(os.Args[0], "-test.run=^TestSmallDiskChild$", "-test.v")
	child.Env = append(os.Environ(), smallDisk+"="+t.TempDir())
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS} // what it mounts ends with it
	out, err := child.CombinedOutput()
	if strings.Contains(string(out), "SKIP") || errors.Is(err, syscall.EPERM) {
		t.Skipf("no mount namespace here: %s %v", out, err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: TestSmallDiskChild") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestSmallDiskChild is what TestSmallDisk runs in a mount namespace of its own.
func TestSmallDiskChild(t *testing.T) {
	folder := os.Getenv(smallDisk)
	if folder == "" {
		t.Skip("is run by TestSmallDisk")
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Skip(err)
	}
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip(err)
	}
	filler := filepath.Join(folder, "filler")
	if err := os.WriteFile(filler, make([]byte, 128<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Config{Folder: filepath.Join(folder, "ledger")}
	b := open(t, c, origin)
	made := 0
	var err error
	for ; err == nil; made++ {
		_, err = b.add(origin, fmt.Sprintf("n%d TXT %0200d", made, made))
	}
	if !errors.Is(err, ErrNotKept) || !errors.Is(err, syscall.ENOSPC) || made < 10 || b.failing == "" {
		t.Fatalf("after %d changes: %v; problem %q", made, err, b.failing)
	}
	if got := int(b.Version(origin).Zone.Serial()); got != made {
		t.Errorf("serial %d after %d changes", got, made-1)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	b.mustAdd(origin, "room TXT again")
	want := text(b.Version(origin).Zone)
	b.abandon()
	b = open(t, c, origin)
	if got := text(b.Version(origin).Zone); got != want || b.problem("example.com.")+b.problem("all") != "" {
		t.Errorf("after a restart: %s\n%s\nwant\n%s", b.problem("example.com."), got, want)
	}
	b.Close()
}
