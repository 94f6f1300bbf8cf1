package zonefile

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// sharedFile opens a gzipped file of the data that the project's tests share: in
// the folder PHAROS_SHARED, or ../shared beside the repository.
func sharedFile(tb testing.TB, name string) io.Reader {
	tb.Helper()
	shared := os.Getenv("PHAROS_SHARED")
	if shared == "" {
		shared = filepath.Join(repositoryRoot(tb), "..", "shared")
	}
	file, err := os.Open(filepath.Join(shared, "data", name))
	if err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatalf("the shared data must be there in CI: %v", err)
		}
		tb.Skipf("the shared data is not on this machine: %v", err)
	}
	tb.Cleanup(func() { file.Close() })
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		tb.Fatal(err)
	}
	return unzipped
}

// repositoryRoot returns the folder above this one that holds go.mod.
func repositoryRoot(tb testing.TB) string {
	tb.Helper()
	folder, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for ; folder != filepath.Dir(folder); folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
	}
	tb.Fatal("no go.mod above the working directory")
	return ""
}
