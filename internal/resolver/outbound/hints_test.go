package outbound

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadHints(t *testing.T) {
	path := filepath.Join(t.TempDir(), "named.root")
	for text, want := range map[string]string{
		". 3600000 NS a.root.\na.root. 3600000 A 192.0.2.1\n": "",
		"; nothing\n":                 "no NS records",
		". 3600000 NS a.root.\n":      "no addresses",
		". 3600000 NS\n":              "named.root:1:",
		". 3600000 A 192.0.2.400\n\n": "192.0.2.400",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		records, err := ReadHints(path)
		if want == "" && (err != nil || len(records) != 2) {
			t.Errorf("%q: %v, %v", text, records, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
	if _, err := ReadHints(path + ".missing"); err == nil {
		t.Error("a missing file was read")
	}
}
