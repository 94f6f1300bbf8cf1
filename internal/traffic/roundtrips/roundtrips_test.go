package roundtrips

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/internal/clock"
	"pharos/internal/traffic/steer"
)

var client, server = netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("10.0.0.1")

func logger() (*slog.Logger, *bytes.Buffer) {
	var out bytes.Buffer
	return slog.New(slog.NewTextHandler(&out, nil)), &out
}

// TestKeep: what was measured is there after a restart, whether the process was closed or
// killed a minute later; not what is an hour old by then. Nothing is written without need.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "sub", "round-trips")
		restored := func() int {
			l, log := steer.NewLatency(), slog.New(slog.DiscardHandler)
			Open(file, l, log).Close()
			_, networks := l.Stats()
			return networks
		}
		l, log := steer.NewLatency(), slog.New(slog.DiscardHandler)
		k := Open(file, l, log)
		if k.Close(); restored() != 0 {
			t.Error("something of nothing")
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("a file without need")
		}
		l.Observe(client, server, time.Millisecond, clock.Now())
		k.Look()
		synctest.Wait()
		if restored() != 0 {
			t.Error("written at once")
		}
		time.Sleep(Every)
		k.Look()
		synctest.Wait()
		if got := restored(); got != 2 {
			t.Errorf("a minute later: %d networks, want the client's and the one around", got)
		}
		os.Remove(file)
		time.Sleep(Every)
		k.Look()
		synctest.Wait()
		if restored() != 0 {
			t.Error("written without news")
		}
		l.Observe(netip.MustParseAddr("198.51.100.7"), server, time.Millisecond, clock.Now())
		if k.Close(); restored() != 4 {
			t.Errorf("closed: %d networks, want 4", restored())
		}
		time.Sleep(time.Hour)
		if got := restored(); got != 2 {
			t.Errorf("an hour later: %d networks, want those measured last", got)
		}
	})
}

// TestBadFile: a file that was cut, or is another one, or a folder, costs what it had.
func TestBadFile(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "round-trips")
	l := steer.NewLatency()
	l.Observe(client, server, time.Millisecond, clock.Now())
	good := l.AppendSaved(nil, clock.Now())
	for what, content := range map[string][]byte{"cut": good[:len(good)-1], "empty": {}, "giant": append(good, make([]byte, steer.MaxSaved)...)} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		log, out := logger()
		empty := steer.NewLatency()
		Open(file, empty, log)
		if _, networks := empty.Stats(); networks != 0 || !strings.Contains(out.String(), "not read") {
			t.Errorf("%s: %d networks, log %q", what, networks, out)
		}
	}
	log, out := logger()
	k := Open(folder, l, log)
	if k.Close(); !strings.Contains(out.String(), "not read") || !strings.Contains(out.String(), "not saved") {
		t.Errorf("a folder in its place: %s", out)
	}
	var none *Keeper
	none.Look()
	none.Close()
}
