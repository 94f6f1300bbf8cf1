package serials

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pharos/internal/authority/journal"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

var zone = dnsname.MustParse("example.com.")

func open(t *testing.T, path string) *Memory {
	m := Open(path, slog.New(slog.DiscardHandler))
	t.Cleanup(m.Close)
	return m
}

// TestMemory: what was served and refused before is known after a restart, until
// something is noted.
func TestMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x", "serials")
	m := open(t, path)
	if _, _, ok := m.Last(zone); ok {
		t.Error("a new memory knows something")
	}
	for i := range 100 {
		m.Note(zone, rdata.Serial(i))
		m.Note(dnsname.MustParse(fmt.Sprintf("z%d.test", i)), 7)
	}
	m.Refuse(zone, 5, strings.Repeat("no", 400))
	m.Close()
	for range 3 { // also when nothing was noted meanwhile
		m = open(t, path)
		k, exact, ok := m.Last(zone)
		if !ok || !exact || k.Serial != 99 || k.Refused != 5 || len(k.Reason) != maxReason {
			t.Fatalf("known %+v, exact %v, %v", k, exact, ok)
		}
		if k, _, ok := m.Last(dnsname.MustParse("z50.test")); !ok || k.Serial != 7 {
			t.Errorf("known %+v, %v", k, ok)
		}
		m.Close()
	}
	m = open(t, path)
	m.Note(zone, 100)
	if _, _, ok := m.Last(zone); ok {
		t.Error("what was before is told after it has changed")
	}
	m.Close()
	if k, _, _ := open(t, path).Last(zone); k.Serial != 100 || k.Reason != "" {
		t.Errorf("known %+v", k)
	}
}

// TestAccept: that an operator has accepted a version is known after a restart, until
// another is served.
func TestAccept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "serials")
	for _, sum := range []uint32{0, 1, 0xFFFFFFFF} {
		m := open(t, path)
		m.Refuse(zone, 7, "too large")
		if m.Note(zone, 7); sum != 0 {
			m.Accept(zone, 7, sum)
		}
		m.Close()
		m = open(t, path)
		if k, _, ok := m.Last(zone); !ok || k.Accepted != sum || k.Serial != 7 || k.Refused != 0 || k.Reason != "" {
			t.Errorf("sum %d: known %+v, %v", sum, k, ok)
		}
		m.Note(zone, 8)
		m.Close()
		m = open(t, path)
		if k, _, _ := m.Last(zone); k.Accepted != 0 {
			t.Errorf("the next version has sum %d", k.Accepted)
		}
		m.Close()
	}
}

// TestKilled: without Close, what was written is known, and that it may not be all.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "serials")
	m := open(t, path)
	m.Note(zone, 1)
	m.Close()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := len(text) - 1; cut > len(text)-journal.FrameSize(0); cut-- {
		if err := os.WriteFile(path, text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if k, exact, ok := open(t, path).Last(zone); !ok || exact || k.Serial != 1 {
			t.Errorf("cut at %d of %d: %+v, exact %v, %v", cut, len(text), k, exact, ok)
		}
	}
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	m = open(t, path)
	m.Note(zone, 3)
	m.Close()
	if k, _, ok := open(t, path).Last(zone); !ok || k.Serial != 3 {
		t.Errorf("after nonsense: %+v, %v", k, ok)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(append([]byte(magic+"abcd"), frames(0x61626364, appendEntry(nil, zone, Known{Serial: 1, Refused: 2, Reason: "x"}))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		known, _, err := decode(b)
		if err != nil {
			return
		}
		var all []byte
		for n, k := range known {
			all = appendEntry(all, n, k)
		}
		again, _, err := decode(append([]byte(magic+"abcd"), frames(0x61626364, all)...))
		if err != nil || len(again) != len(known) {
			t.Errorf("%d entries became %d: %v", len(known), len(again), err)
		}
	})
}
