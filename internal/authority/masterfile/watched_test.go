package masterfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
)

// A watched file is read, seen to change, and told of when it cannot be read.
func TestWatched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	at := time.Now()
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Second)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	w := &Watched{Origin: dnsname.MustParse("example."), Path: path}
	if z := w.Read(); z != nil || !strings.Contains(w.Problem(), path) {
		t.Errorf("no file: %v, %q", z, w.Problem())
	}
	write("@ 60 SOA ns host 7 1 1 1 1\n@ 60 NS ns\nns 60 A 192.0.2.1\n")
	if !w.HasChanged() {
		t.Error("the file that has come is not seen")
	}
	if z := w.Read(); z == nil || z.Serial() != 7 || w.Problem() != "" || w.HasChanged() {
		t.Errorf("%v, %q, changed %v", z, w.Problem(), w.HasChanged())
	}
	write("nonsense\n")
	if !w.HasChanged() || w.Read() != nil || w.Problem() == "" {
		t.Errorf("a bad file: %q", w.Problem())
	}
	if (&Watched{}).HasChanged() {
		t.Error("no file has changed")
	}
}
