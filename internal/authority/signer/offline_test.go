package signer

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pharos/internal/authority/kasp"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/skr"
	"pharos/internal/authority/zone"
)

// vault is a machine without a network, with KSKs.
type vault []*sign.Key

func newVault(t *testing.T, count int) (v vault) {
	t.Helper()
	for range count {
		k, err := sign.Generate(sign.KSK, 13, 0)
		if err != nil {
			t.Fatal(err)
		}
		v = append(v, k)
	}
	return v
}

func (v vault) public(i int) *sign.Key {
	k := *v[i]
	k.Signer = nil
	return &k
}

// hold has what will be needed for a time signed by the vault, by way of files.
func (v vault) hold(t *testing.T, s *Signers, span time.Duration) {
	t.Helper()
	r, err := s.KeyRequest(origin, time.Time{}, span)
	if err != nil {
		t.Fatal(err)
	}
	file, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if r, err = skr.ParseRequest(file); err != nil {
		t.Fatal(err)
	}
	signed, err := skr.Sign(r, skr.Fingerprint(file), v)
	if err != nil {
		t.Fatal(err)
	}
	if file, err = signed.Encode(); err != nil {
		t.Fatal(err)
	}
	if signed, err = skr.ParseResponse(file); err != nil {
		t.Fatal(err)
	}
	if _, until, err := s.TakeSigned(origin, signed); err != nil || time.Until(until) < span {
		t.Fatalf("taken in until %s: %v", until, err)
	}
}

func (r *rig) lacking(want string) {
	r.t.Helper()
	r.eventually(func() string {
		st, _ := r.s.State(origin)
		if st.Elsewhere == nil || !strings.Contains(st.Elsewhere.Lacks, want) || want == "" && st.Elsewhere.Lacks != "" {
			return fmt.Sprintf("%+v, want %q; %s", st.Elsewhere, want, st.Problem)
		}
		return ""
	})
}

func newOfflineRig(t *testing.T, folder string) (*rig, *atomic.Int64) {
	r := newRig(t, folder)
	r.settings.Policy.OfflineKSK, r.settings.Policy.ZSKLifetime = true, 30*24*time.Hour
	ahead := new(atomic.Int64)
	c := r.s.clock
	wall, steady := c.wall, c.steady
	c.wall = func() time.Time { return wall().Add(time.Duration(ahead.Load())) }
	c.steady = func() time.Duration { return steady() + time.Duration(ahead.Load()) }
	return r, ahead
}

func faultsAt(z *zone.Zone, now time.Time) string {
	for _, p := range sign.Verify(z, now, sign.Limits{}) {
		if p.Severity == zone.Fatal {
			return p.String()
		}
	}
	return ""
}

// TestOffline is the life of a zone whose KSK is elsewhere: nothing is published before it
// has signed; ZSKs roll; newer signatures take over as time passes; a restart changes
// nothing; the KSK is replaced.
func TestOffline(t *testing.T) {
	folder := t.TempDir()
	r, _ := newOfflineRig(t, folder)
	v := newVault(t, 2)
	r.offer(parse(t, 1, "www A 192.0.2.1"))
	r.lacking("it has no KSK")
	if _, err := r.s.KeyRequest(origin, time.Time{}, time.Hour); err == nil {
		t.Error("a request is made without a KSK")
	}
	if err := r.s.ImportOffline(origin, kasp.KSK, v.public(0)); err != nil {
		t.Fatal(err)
	}
	r.lacking("is not signed")
	if r.version().IsSigned() {
		t.Fatal("the zone is signed, and nothing leads to its signatures")
	}
	v[:1].hold(t, r.s, 100*24*time.Hour)
	r.phases("zsk active, ksk active")
	r.lacking("")
	if text := faults(r.version()); text != "" {
		t.Error(text)
	}
	if err := r.s.Roll(origin, kasp.ZSK, false); err != nil {
		t.Fatal(err)
	}
	r.phases("ksk active, zsk active")
	if text := faults(r.version()); text != "" {
		t.Error(text)
	}
	last := r.version().Serial()
	r.s.Close()

	ds := r.ds
	r, ahead := newOfflineRig(t, folder)
	r.ds = ds
	r.offer(parse(t, 1, "www A 192.0.2.1"))
	r.phases("ksk active, zsk active")
	if got := r.version().Serial(); got != last {
		t.Errorf("serial %d after the restart, %d before", got, last)
	}
	for days := 5; days <= 90; days += 5 { // by a clock that goes as fast as everything else
		ahead.Store(int64(time.Duration(days) * 24 * time.Hour))
		r.s.kick(r.s.entries[origin])
		now, _ := r.s.clock.read()
		r.eventually(func() string { return faultsAt(r.version(), now) })
	}
	if st, _ := r.s.State(origin); st.Problem != "" {
		t.Errorf("after 90 days: %s", st.Problem)
	}
	ahead.Store(0)

	if err := r.s.ImportOffline(origin, kasp.KSK, v.public(1)); err != nil {
		t.Fatal(err)
	}
	r.lacking("is not signed")
	v.hold(t, r.s, 50*24*time.Hour)
	r.lacking("")
	r.eventually(func() string {
		st, _ := r.s.State(origin)
		for _, k := range st.Keys {
			if k.Key.Tag() == v[1].Tag() && k.Phase == "active" && len(st.Keys) < 6 {
				return faults(r.version())
			}
		}
		return fmt.Sprintf("%+v", st.Keys)
	})
}

// TestOfflineForgery: a response for another zone, by another key, or one that was
// changed, is refused whole, and what there was stays.
func TestOfflineForgery(t *testing.T) {
	r, _ := newOfflineRig(t, t.TempDir())
	v := newVault(t, 2)
	r.offer(parse(t, 1, "www A 192.0.2.1"))
	if err := r.s.ImportOffline(origin, kasp.KSK, v.public(0)); err != nil {
		t.Fatal(err)
	}
	request, err := r.s.KeyRequest(origin, time.Time{}, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := skr.Sign(request, "", v[:1])
	if err != nil {
		t.Fatal(err)
	}
	other := *signed
	other.Zone = parse(t, 1).Origin().Parent()
	if _, _, err := r.s.TakeSigned(origin, &other); err == nil {
		t.Error("a response for another zone is taken")
	}
	forged := *request
	forged.Keys = append([][]byte{}, request.Keys...)
	for i, k := range forged.Keys {
		if string(k) == string(v[0].RDATA()) {
			forged.Keys[i] = v[1].RDATA()
		}
	}
	if signed, err = skr.Sign(&forged, "", v[1:]); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.s.TakeSigned(origin, signed); err == nil {
		t.Error("a response by another key is taken")
	}
	r.lacking("is not signed")
}
