package signer

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pharos/internal/authority/kasp"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/lab/tools"
)

// TestSmallDisk: without room for keys, state or a signed version the one before is
// served, with its signatures; what an operator asks for is refused, and not done later
// either; and when there is room again everything goes on, with every key there was.
func TestSmallDisk(t *testing.T) {
	folder := tools.OnSmallDisk(t, 1<<20)
	if folder == "" {
		return
	}
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late=%v", late), func(t *testing.T) { fullDisk(t, filepath.Join(folder, fmt.Sprint(late)), late) })
	}
}

func fullDisk(t *testing.T, folder string, late bool) {
	r := newRig(t, folder)
	if late { // as a large zone, whose versions follow on disk
		r.s.atOnce, r.s.delay = 0, time.Millisecond
	}
	r.heard = nil
	r.offer(parse(t, 1, "www A 192.0.2.1"))
	r.phases("ksk active, zsk active")
	r.eventually(func() string { return onDisk(r) })
	keys := tags(r)

	free := tools.Fill(t, filepath.Dir(folder))
	before := r.version().Serial()
	err := r.s.Roll(origin, kasp.ZSK, false)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "nothing is changed") {
		t.Fatalf("a rollover without room: %v", err)
	}
	r.offer(parse(t, 2, "www A 192.0.2.2"))
	r.eventually(func() string {
		st, _ := r.s.State(origin)
		if !strings.Contains(st.Problem, "no space left") {
			return fmt.Sprintf("problem %q, want one that tells of the disk; serial %d", st.Problem, r.version().Serial())
		}
		return ""
	})
	if got := r.version(); !late && got.Serial() != before || faults(got) != "" {
		t.Errorf("serial %d is served, %d was there: %s", got.Serial(), before, faults(got))
	}

	free()
	r.offer(parse(t, 3, "www A 192.0.2.3"))
	r.eventually(func() string {
		st, _ := r.s.State(origin)
		// What could not be signed may be tried again first: until the last source is served,
		// another version may follow.
		if r.version().Serial() <= before || st.Problem != "" || !isAt(r.version(), "www.example.com.", 3) {
			return fmt.Sprintf("serial %d is served, %d was there; problem %q", r.version().Serial(), before, st.Problem)
		}
		return onDisk(r)
	})
	if got := tags(r); !slices.Equal(got, keys) {
		t.Errorf("keys %v, want %v: a rollover that was refused", got, keys)
	}
	served := r.version().Serial()
	r.s.Close()

	again := newRig(t, folder)
	again.ds = r.ds
	again.offer(parse(t, 3, "www A 192.0.2.3"))
	switch got := again.version(); {
	case got == nil:
		t.Fatalf("after a restart nothing is served\n%s", again.log.String())
	case got.Serial() != served || faults(got) != "":
		t.Fatalf("after a restart serial %d is served, want %d: %s\nbefore:\n%safter:\n%s", got.Serial(), served, faults(got), r.log.String(), again.log.String())
	}
	if err := again.s.Roll(origin, kasp.ZSK, false); err != nil {
		t.Fatal(err)
	}
	again.phases("ksk active, zsk active")
	again.s.Close()
}

// isAt reports whether the address of name ends with host.
func isAt(z *zone.Zone, name string, host byte) bool {
	set, ok := z.RRset(z.Lookup(dnsname.MustParse(name)).Exact, rdata.TypeA)
	if !ok {
		return false
	}
	data, _, _ := set.Record(0)
	return data[3] == host
}

// tags returns those of the keys that are in use.
func tags(r *rig) []uint16 {
	st, _ := r.s.State(origin)
	all := map[uint16]bool{}
	for _, v := range st.Keys {
		if v.Phase != "removed" {
			all[dnssec.KeyTag(v.Key.DNSKEY)] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// onDisk returns "" when the version served is that on disk.
func onDisk(r *rig) string {
	z, _, err := loadCopy(folderOf(r.folder, origin), origin, nil)
	if err != nil || z.Serial() != r.version().Serial() {
		return fmt.Sprintf("serial %d is not on disk: %v", r.version().Serial(), err)
	}
	return ""
}
