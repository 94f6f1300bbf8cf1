package tools

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// OnSmallDisk runs the test that calls it again, in a mount namespace of its own, with a
// file system of so many octets: in there it returns its folder, outside "" when that run
// has ended. What is mounted ends with the process.
func OnSmallDisk(t *testing.T, octets int) (folder string) {
	t.Helper()
	const inside = "PHAROS_TEST_SMALL_DISK"
	if folder := os.Getenv(inside); folder != "" {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, fmt.Sprintf("size=%d", octets)); err != nil {
			t.Fatal(err)
		}
		return folder
	}
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk takes root")
	}
	self := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	self.Env = append(os.Environ(), inside+"="+t.TempDir())
	self.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	switch out, err := self.CombinedOutput(); {
	case errors.Is(err, syscall.EPERM):
		t.Skip("making a mount namespace takes root")
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	default:
		t.Logf("%s", out)
	}
	return ""
}

// Fill takes what room is left where folder is, and returns what gives it back.
func Fill(t testing.TB, folder string) (free func()) {
	t.Helper()
	path := filepath.Join(folder, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}
