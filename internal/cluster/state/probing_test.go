package state

import (
	"strings"
	"testing"
)

// Programs are run for the configuration file only, and not for who can call the admin
// listener.
func TestCommandIsNotApplied(t *testing.T) {
	body := `{"name": "web", "check": {"type": "command", "command": {"run": ["/bin/true"]}}, "members": [{"name": "a", "address": "192.0.2.1:80"}]}`
	if _, err := DecodeBody(KindPool, []byte(body)); err == nil || !strings.Contains(err.Error(), "check.type: a pool that is applied at run time cannot have commands run") {
		t.Errorf("got %v", err)
	}
	body = strings.ReplaceAll(body, `"type": "command", "command": {"run": ["/bin/true"]}`, `"type": "icmp"`)
	if _, err := DecodeBody(KindPool, []byte(body)); err != nil {
		t.Error(err)
	}
}

func TestOctets(t *testing.T) {
	for text, want := range map[string]string{"": "", "PING\n": "PING\n", "hex:": "", "hex:00ff": "\x00\xff", "hex:0a 1B": "\x0a\x1b"} {
		if got, err := Octets(text); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"hex:0", "hex:0g"} {
		if got, err := Octets(text); err == nil {
			t.Errorf("%q was read as %q", text, got)
		}
	}
}

// Files are read for the configuration file only.
func TestFilesAreNotApplied(t *testing.T) {
	for list, want := range map[string]string{
		`{"type": "file", "file": "/etc/passwd"}`:                            "discover[0].file: a pool that is applied at run time cannot have files read",
		`{"type": "http", "url": "https://x.example/", "ca": "/etc/passwd"}`: "discover[0].ca: a pool that is applied at run time cannot have files read",
		`{"type": "http", "url": "https://x.example/"}`:                      "",
	} {
		_, err := DecodeBody(KindPool, []byte(`{"name": "web", "discover": [`+list+`]}`))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", list, err, want)
		}
	}
}
