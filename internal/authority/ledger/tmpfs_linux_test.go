package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"pharos/lab/tools"
)

// TestSmallDisk: on a real file system without room changes are refused, the zone is
// served, and changes are made and kept when there is room again.
func TestSmallDisk(t *testing.T) {
	folder := tools.OnSmallDisk(t, 256<<10)
	if folder == "" {
		return
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
