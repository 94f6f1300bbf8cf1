package tlscert

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLoad: what is wanted is read, with one that is made here at its end; it is due
// again when a file has changed, or before the self-signed one ends. Then an operator
// is told.
func TestLoad(t *testing.T) {
	folder, now := t.TempDir(), time.Now()
	w := Wanted{Sources: []Source{write(t, folder, "one", false, "one.test")}, SelfSigned: filepath.Join(folder, "own"),
		Addrs: []netip.Addr{netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("::ffff:192.0.2.1")}}
	var s Store
	if err := s.Load(w, now); err != nil {
		t.Fatal(err)
	}
	all := s.Status()
	if len(all) != 2 || all[0].Names[0] != "one.test" {
		t.Fatalf("certificates %+v", all)
	}
	self := all[1]
	if got := strings.Join(self.Names, " "); !strings.HasPrefix(got, "localhost") || !strings.Contains(got, "192.0.2.1") || strings.Contains(got, "0.0.0.0") {
		t.Errorf("made out to %s", got)
	}
	if (&Store{}).IsDue(Wanted{}, now) {
		t.Error("nothing is wanted, and it is due")
	}
	for _, tt := range []struct {
		now  time.Time
		want string
	}{
		{now, ""}, {self.Until.Add(-RenewBefore + time.Hour), "put a new one in its place"}, {self.Until.Add(time.Hour), "clients refuse it"},
	} {
		if got := self.Ending(tt.now); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("at %v: %q, want %q", tt.now, got, tt.want)
		}
	}
	only := Wanted{SelfSigned: w.SelfSigned, Addrs: w.Addrs}
	if err := s.Load(only, now); err != nil {
		t.Fatal(err)
	}
	if s.IsDue(only, now) || !s.IsDue(only, self.Until.Add(-RenewBefore+time.Hour)) {
		t.Error("the self-signed one is due before its end, and not now")
	}
	later := self.Until.Add(-RenewBefore + time.Hour)
	if err := s.Load(only, later); err != nil || s.IsDue(only, later) {
		t.Errorf("made anew it is still due; %v", err)
	}
}
