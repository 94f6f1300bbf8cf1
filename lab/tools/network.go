package tools

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// InOwnNetwork runs the test that calls it again, in a network of its own with nothing but
// the loopback, set up by commands of ip(8): in there it returns true, outside false when
// that run has ended.
func InOwnNetwork(t *testing.T, setUp ...string) bool {
	t.Helper()
	const inside = "PHAROS_TEST_NETWORK"
	if os.Getenv(inside) != "" {
		for _, command := range append([]string{"link set lo up"}, setUp...) {
			if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(command)...).CombinedOutput(); err != nil {
				t.Fatalf("ip %s: %v\n%s", command, err, out)
			}
		}
		return true
	}
	if runtime.GOOS != "linux" {
		t.Skip("network namespaces are Linux's")
	}
	self := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	self.Env = append(os.Environ(), inside+"=1")
	self.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	switch out, err := self.CombinedOutput(); {
	case errors.Is(err, syscall.EPERM):
		t.Skip("making a network namespace takes root")
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	default:
		t.Logf("%s", out)
	}
	return false
}
