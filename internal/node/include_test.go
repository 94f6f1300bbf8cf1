package node

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestIncludeIsConfined: $INCLUDE reaches files in the zone's folder and below,
// and no others, by whatever path or link.
func TestIncludeIsConfined(t *testing.T) {
	f := newFolder(t)
	secret := filepath.Join(f.path, "secret")
	f.write("secret", "stolen TXT \"secret\"\n")
	zones := folder{t, filepath.Join(f.path, "zones")}
	if err := os.MkdirAll(filepath.Join(zones.path, "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(zones.path, "link")); err != nil {
		t.Fatal(err)
	}
	zones.write("below/part", "inside TXT \"fine\"\n")
	for include, wantError := range map[string]bool{
		"below/part": false, "../secret": true, "below/../../secret": true, secret: true, "link": true, "/etc/passwd": true,
	} {
		zones.write("example.zone", exampleZone+"$INCLUDE "+include+"\n")
		var report strings.Builder
		err := Check(f.config(`zones: [{name: example.com, file: zones/example.zone}]`), &report)
		if (err != nil) != wantError {
			t.Errorf("$INCLUDE %s: error %v, want one: %v", include, err, wantError)
		}
		if err != nil && (strings.Contains(err.Error(), "stolen") || !strings.Contains(err.Error(), "example.zone:10:")) {
			t.Errorf("$INCLUDE %s: message %q", include, err)
		}
	}
}

// TestZoneFileCannotBeOpened: the message has the whole path and the remedy.
func TestZoneFileCannotBeOpened(t *testing.T) {
	f := newFolder(t)
	for file, where := range map[string]string{
		"nothing.zone":     "zone file " + filepath.Join(f.path, "nothing.zone"),
		"nowhere/any.zone": "folder of the zone file " + filepath.Join(f.path, "nowhere"),
	} {
		err := Check(f.config("zones: [{name: example.com, file: "+file+"}]"), io.Discard)
		if err == nil || !strings.Contains(err.Error(), where+": no such file or directory; put it there, or correct zones[].file") {
			t.Errorf("%s: %v", file, err)
		}
	}
}
