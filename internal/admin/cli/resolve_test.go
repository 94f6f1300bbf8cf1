package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pharos/internal/resolver/bulk"
)

// TestContinueFile: after a kill at any octet, the whole lines are kept and nothing
// else, and what they answer is not asked again.
func TestContinueFile(t *testing.T) {
	const first = `{"name":"a.","type":"A","rcode":"NOERROR","queries":1,"took_ms":1}` + "\n"
	const second = `{"name":"b.","type":"A","rcode":"SERVFAIL","queries":1,"took_ms":1}` + "\n"
	whole := first + second
	for cut := range len(whole) + 1 {
		r := resolving{out: filepath.Join(t.TempDir(), "answers")}
		if err := os.WriteFile(r.out, []byte(whole[:cut]), 0o600); err != nil {
			t.Fatal(err)
		}
		done := new(bulk.Done)
		f, err := r.continueFile(done)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if _, err := f.WriteString("next\n"); err != nil {
			t.Fatal(err)
		}
		f.Close()
		want := ""
		if cut >= len(first) {
			want = first
		}
		if cut == len(whole) {
			want = whole
		}
		got, err := os.ReadFile(r.out)
		if err != nil || string(got) != want+"next\n" {
			t.Errorf("cut at %d: got %q (%v)", cut, got, err)
		}
		if done.Len() != strings.Count(want, "\n") || done.Has(bulk.Key("a.", "A")) != (want != "") {
			t.Errorf("cut at %d: %d are done", cut, done.Len())
		}
	}
}
