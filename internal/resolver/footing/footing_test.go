package footing

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pharos/internal/dns/rdata"
)

// parse makes a record of each line, and none of a text with "bad".
func parse(path string, text []byte) ([]rdata.Record, error) {
	if strings.Contains(string(text), "bad") {
		return nil, errors.New(path + ":1: bad")
	}
	return make([]rdata.Record, strings.Count(string(text), "\n")), nil
}

// A file that is damaged takes away nothing that counted before, over a restart either.
func TestFollow(t *testing.T) {
	folder := t.TempDir()
	path, saved := filepath.Join(folder, "file"), filepath.Join(folder, "copy")
	write := func(text string) {
		t.Helper()
		if text == "" {
			os.Remove(path)
		} else if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := &File{Parse: parse, Copy: saved}
	for _, step := range []struct {
		what, text string
		restart    bool
		news       bool
		records    int
		problem    string
	}{
		{"never there", "", false, false, 0, "no such file"},
		{"damaged", "bad\n", false, false, 0, "file:1: bad"},
		{"good", "a\n", false, true, 1, ""},
		{"as before", "a\n", false, false, 1, ""},
		{"another", "a\nb\n", false, true, 2, ""},
		{"damaged again", "a\nbad\n", false, false, 2, "file:1: bad"},
		{"gone", "", false, false, 2, "no such file"},
		{"gone, restarted", "", true, true, 2, "no such file"},
		{"mended as it was", "a\nb\n", false, false, 2, ""},
		{"too large", strings.Repeat("a\n", most), false, false, 2, "at most"},
		{"restarted", "a\nb\nc\n", true, true, 3, ""},
	} {
		if step.restart {
			f = &File{Parse: parse, Copy: saved}
		}
		write(step.text)
		if f.path != "" && !f.HasChanged() && step.what != "as before" && !step.restart && step.text != "" {
			t.Errorf("%s: that the file has changed is not seen", step.what)
		}
		news := f.Follow(path)
		problem := ""
		if err := f.Problem(); err != nil {
			problem = err.Error()
		}
		if news != step.news || len(f.Records()) != step.records || (problem == "") != (step.problem == "") || !strings.Contains(problem, step.problem) {
			t.Errorf("%s: news %v, %d records, problem %q; want %v, %d, %q", step.what, news, len(f.Records()), problem, step.news, step.records, step.problem)
		}
	}
	if !f.Follow("") || f.Records() != nil || f.Problem() != nil || f.HasChanged() {
		t.Error("without a path something counts")
	}
}
