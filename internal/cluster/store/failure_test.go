package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"pharos/internal/cluster/state"
)

// childDir names the store that a child of this test program writes to until
// it is killed.
const childDir = "PHAROS_TEST_STORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		writeUntilKilled(dir)
		return
	}
	os.Exit(m.Run())
}

// writeUntilKilled commits pools p0, p1, ... and prints each number when, and
// only when, its commit was acknowledged.
func writeUntilKilled(dir string) {
	s, err := Open(Config{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := 0; ; i++ {
		if _, _, err := s.Commit(context.Background(), noFile, PutWrite(pool(fmt.Sprintf("p%d", i), 1), Absent)); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(i)
	}
}

// What was acknowledged is there after kill -9 at any instant, and the lock of
// the dead process is gone.
func TestKill(t *testing.T) {
	for _, acknowledgements := range []int{1, 40, 200} {
		dir := t.TempDir()
		child := exec.CommandContext(testContext(t), os.Args[0]) // one that hangs is killed as well
		child.Env = append(os.Environ(), childDir+"="+dir)
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		last := -1
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if last, err = strconv.Atoi(lines.Text()); err != nil {
				t.Errorf("the child says %q", lines.Text())
			}
			if last+1 == acknowledgements {
				child.Process.Kill() // and read on: more may have been acknowledged
			}
		}
		child.Process.Kill()
		child.Wait()

		s := open(t, Config{Dir: dir})
		list, err := s.List(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		there := map[string]bool{}
		for _, c := range list.Changes {
			there[c.Name] = true
		}
		for i := range last + 1 {
			if !there[fmt.Sprintf("p%d", i)] {
				t.Errorf("pool p%d was acknowledged and is lost (of %d)", i, last+1)
			}
		}
		commit(t, s, PutWrite(pool("after", 1), Absent))
		s.Close()
	}
}

// Two processes never share a store; the second one says who has it.
func TestLocked(t *testing.T) {
	dir := t.TempDir()
	first := open(t, Config{Dir: dir})
	_, err := Open(Config{Dir: dir})
	want := fmt.Sprintf("store %s: in use by process %d; stop it, or give each node a data folder of its own", dir, os.Getpid())
	if err == nil || err.Error() != want {
		t.Errorf("error = %v\nwant    %s", err, want)
	}
	first.Close()
	open(t, Config{Dir: dir})
}

func TestUnusableFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		file:                      "a file is in its place; remove it, or set data: to another folder",
		filepath.Join(file, "in"): "a file is in its place; remove it, or set data: to another folder",
		"/proc/pharos":            "store /proc/pharos: ",
	} {
		_, err := Open(Config{Dir: dir})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, want %q", dir, err, want)
		}
	}
}

// The remedies for causes that a test running as root cannot bring about.
func TestRemedies(t *testing.T) {
	for want, cause := range map[string]error{
		"give the user that runs pharos the right": &os.PathError{Op: "open", Path: "/d/lock", Err: syscall.EACCES},
		"mounted read-only":                        syscall.EROFS,
		"free space on its disk":                   errors.New("failed to save: write 0.wal: no space left on device"),
		"raise the limit of open files":            syscall.EMFILE,
		"restore the folder from a backup":         errDamaged,
	} {
		if got := explainDir("/d", cause).Error(); !strings.Contains(got, want) || !strings.HasPrefix(got, "store /d: ") {
			t.Errorf("%v: %s, want %q", cause, got, want)
		}
	}
}

// failure returns why a store that cannot live is over. The process, this test,
// is still there to ask.
func failure(t *testing.T, c Config) error {
	t.Helper()
	s := open(t, c)
	select {
	case <-s.Done():
	case <-testContext(t).Done():
		t.Fatal("the store neither works nor fails")
	}
	if _, _, err := s.Commit(testContext(t), noFile, PutWrite(pool("web", 1), Any)); !errors.Is(err, s.Err()) {
		t.Errorf("Commit says %v, not %v", err, s.Err())
	}
	return s.Err()
}

// Damage on disk fails the store with a remedy. It neither hangs it nor ends
// the process.
func TestDamaged(t *testing.T) {
	healthy := t.TempDir()
	s := open(t, Config{Dir: healthy})
	for i := range 50 {
		commit(t, s, PutWrite(pool(fmt.Sprintf("p%d", i), 1), Any))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	const database = "etcd/member/snap/db"
	logs, err := filepath.Glob(filepath.Join(healthy, "etcd/member/wal/*.wal"))
	if err != nil || len(logs) == 0 {
		t.Fatal("no log in the store", err)
	}
	log, _ := filepath.Rel(healthy, logs[0])
	for _, test := range []struct {
		name, file string
		damage     func([]byte) []byte
	}{
		{"database of zeros", database, func(b []byte) []byte { return make([]byte, len(b)) }},
		{"database cut to a page", database, func(b []byte) []byte { return b[:os.Getpagesize()] }},
		{"database cut to six pages", database, func(b []byte) []byte { return b[:6*os.Getpagesize()] }},
		{"database of noise", database, func(b []byte) []byte { return bytes.Repeat([]byte("noise"), len(b)/5) }},
		{"database with noise behind its first pages", database, func(b []byte) []byte {
			return append(b[:2*os.Getpagesize()], bytes.Repeat([]byte{0xa5}, len(b)-2*os.Getpagesize())...)
		}},
		{"log with a flipped octet", log, func(b []byte) []byte { b[600] ^= 0xff; return b }},
		{"log of noise", log, func(b []byte) []byte { return bytes.Repeat([]byte("noise"), 1000) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(healthy)); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(dir, test.file)
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, test.damage(text), 0o600); err != nil {
				t.Fatal(err)
			}
			err = failure(t, Config{Dir: dir})
			if !strings.Contains(err.Error(), "restore the folder from a backup") || !strings.Contains(err.Error(), dir) {
				t.Errorf("error = %v, want one with folder and remedy", err)
			}
			t.Log(err)
		})
	}
}

// A database that something else has open is not damaged: nobody should restore
// a backup over it.
func TestDatabaseLocked(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	commit(t, s, PutWrite(pool("web", 1), Any))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(filepath.Join(dir, "etcd", "member", "snap", "db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = failure(t, Config{Dir: dir})
	if text := err.Error(); !strings.Contains(text, "locked; start pharos again, or stop what else has it open") || strings.Contains(text, "backup") {
		t.Errorf("error = %v, want that the database is locked", err)
	}
}

// A store that has reached its quota refuses more, and takes changes again when
// objects were deleted. History does not count.
//
// On one core it is mostly the second look of etcd at the quota that refuses,
// the one that comes after the change was made.
func TestQuota(t *testing.T) {
	t.Run("all cores", testQuota)
	t.Run("one core", func(t *testing.T) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		testQuota(t)
	})
}

func testQuota(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir(), Quota: 2 << 20})
	big := func(name string, round int) *state.Pool {
		p := pool(name, 1)
		p.Check.Path = "/" + strings.Repeat("x", 200_000) + strconv.Itoa(round)
		return p
	}
	for i := range 30 { // 6 MB in all, but only 0.2 of them are not history
		commit(t, s, PutWrite(big("same", i), Any))
	}
	full := 0
	for ; ; full++ {
		_, _, err := s.Commit(testContext(t), noFile, PutWrite(big(fmt.Sprintf("p%d", full), 0), Absent))
		if err == nil && full < 100 {
			continue
		}
		if !errors.Is(err, ErrRefused) || !strings.Contains(fmt.Sprint(err), "quota of 2 MiB; delete objects, or raise store.quota") {
			t.Fatalf("after %d objects: %v, want the quota refused", full, err)
		}
		break
	}
	if _, there, err := s.Get(testContext(t), poolRef(fmt.Sprintf("p%d", full))); there || err != nil {
		t.Errorf("what was refused is there: %v, %v", there, err)
	}
	for i := range full {
		commit(t, s, DeleteWrite(poolRef(fmt.Sprintf("p%d", i)), Any))
	}
	commit(t, s, PutWrite(big("again", 0), Absent))
}

// A full disk fails the store, not the process, and nothing acknowledged is
// lost.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=140m"); err != nil {
		t.Skip("cannot mount a small disk:", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	s := open(t, Config{Dir: dir})
	commit(t, s, PutWrite(pool("acknowledged", 1), Any))
	filler := filepath.Join(dir, "filler")
	file, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for chunk := make([]byte, 1<<16); err == nil; {
		_, err = file.Write(chunk)
	}
	file.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	for i := 0; err == nil || errors.Is(err, syscall.ENOSPC); i++ {
		p := pool("more", 1)
		p.Check.Path = "/" + strings.Repeat("x", 900_000) + strconv.Itoa(i)
		_, _, err = s.Commit(testContext(t), noFile, PutWrite(p, Any))
		if i > 300 {
			t.Fatal("a full disk takes everything")
		}
	}
	t.Log(err)
	if s.Err() == nil || !strings.Contains(s.Err().Error(), "free space on its disk") {
		t.Errorf("error = %v (store: %v), want the remedy", err, s.Err())
	}
	s.Close()
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	// What failed in etcd may hold its files as long as this process lives, so
	// the next process is one with a copy of them.
	next := filepath.Join(t.TempDir(), "store")
	if err := os.CopyFS(next, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	again := open(t, Config{Dir: next})
	if _, there, err := again.Get(testContext(t), poolRef("acknowledged")); !there {
		t.Errorf("after a full disk an acknowledged object is lost: %v", err)
	}
}
