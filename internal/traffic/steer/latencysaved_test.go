package steer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// savedTrips returns a table of two networks, whose rounds trips are half an hour apart, and
// the view of their servers.
func savedTrips() (*Latency, *pool.View) {
	l := NewLatency()
	v := viewOf(pool.RoundRobin, member{"10.0.0.1:80", 1, health.Up}, member{"[2001:db8::2]:80", 1, health.Up})
	l.Observe(netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("10.0.0.1"), 20*time.Millisecond, noon)
	l.Observe(netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::2"), 30*time.Millisecond, noon.Add(30*time.Minute))
	l.Observe(netip.MustParseAddr("2001:db8:7::1"), netip.MustParseAddr("2001:db8::2"), 40*time.Millisecond, noon)
	return l, v
}

// TestLatencySaved: what is taken back is what was saved, but for what is too old by then,
// by a clock that was put back, too.
func TestLatencySaved(t *testing.T) {
	l, v := savedTrips()
	for _, c := range []struct {
		after    time.Duration
		networks int
		want     string
	}{
		{31 * time.Minute, 4, "[20ms 30ms] [0s 40ms]"},
		{time.Hour + time.Minute, 2, "[0s 30ms] []"},
		{3 * time.Hour, 0, "[] []"},
		{-3 * time.Hour, 0, "[] []"},
	} {
		now, next := noon.Add(c.after), NewLatency()
		networks, err := next.Restore(l.AppendSaved(nil, noon.Add(30*time.Minute)), now)
		got := fmt.Sprint(next.Trips(netip.MustParseAddr("192.0.2.9"), v, now), next.Trips(netip.MustParseAddr("2001:db8:7::9"), v, now))
		if err != nil || networks != c.networks || got != c.want {
			t.Errorf("after %v: %s of %d networks, %v; want %s of %d", c.after, got, networks, err, c.want, c.networks)
		}
	}
	// What is too old when it is saved is not saved.
	if next := NewLatency(); true {
		if networks, err := next.Restore(l.AppendSaved(nil, noon.Add(2*time.Hour)), noon); networks != 0 || err != nil {
			t.Errorf("saved too late: %d networks, %v", networks, err)
		}
	}
	// What was measured since goes before what was saved.
	next := NewLatency()
	next.Observe(netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.0.0.1"), time.Millisecond, noon)
	next.Restore(l.AppendSaved(nil, noon), noon)
	if got := fmt.Sprint(next.Trips(netip.MustParseAddr("192.0.2.9"), v, noon)); got != "[1ms 0s]" {
		t.Errorf("measured since: %s", got)
	}
}

// TestLatencySavedIsBounded: a table that is full is saved within MaxSaved, and taken back.
func TestLatencySavedIsBounded(t *testing.T) {
	l := NewLatency()
	for i := range 40_000 {
		client := netip.AddrFrom16([16]byte{0x20, 1, byte(i >> 16), byte(i >> 8), byte(i), 15: 1})
		for server := range byte(maxServers) {
			l.Observe(client, netip.AddrFrom16([16]byte{0x20, 2, 15: server}), time.Millisecond, noon)
		}
	}
	saved := l.AppendSaved(nil, noon)
	next := NewLatency()
	networks, err := next.Restore(saved, noon)
	if _, had := l.Stats(); err != nil || networks != had || len(saved) > MaxSaved || len(saved) < MaxSaved/2 {
		t.Errorf("%d octets of at most %d; %d networks of %d, %v", len(saved), MaxSaved, networks, had, err)
	}
}

// TestLatencyDamaged: of a file that is not whole nothing is taken.
func TestLatencyDamaged(t *testing.T) {
	l, _ := savedTrips()
	good := l.AppendSaved(nil, noon)
	refused := func(what string, saved []byte, want error) {
		t.Helper()
		next := NewLatency()
		networks, err := next.Restore(saved, noon)
		if _, kept := next.Stats(); !errors.Is(err, want) || networks != 0 || kept != 0 {
			t.Errorf("%s: %d networks, %v; want %v", what, networks, err, want)
		}
	}
	refused("nothing", nil, ErrNotTrips)
	refused("another version", append(append([]byte(savedMagic), 0, 0, 0, 2), good[12:]...), ErrNotTrips)
	for at := len(savedMagic) + 4; at < len(good); at++ {
		bad := slices.Clone(good)
		bad[at] ^= 0x10
		refused(fmt.Sprint("octet ", at), bad, ErrTripsDamaged)
	}
	for size := savedHead + savedSum; size < len(good); size++ {
		refused(fmt.Sprint("cut at ", size), good[:size], ErrTripsDamaged)
	}
	refused("more", resum(append(slices.Clone(good), 1, 2, 3)), ErrTripsDamaged)
}

// resum makes the last four octets the checksum of those before.
func resum(b []byte) []byte {
	end := len(b) - savedSum
	return binary.BigEndian.AppendUint32(b[:end:end], crc32.Checksum(b[:end], castagnoli))
}

// FuzzRestoreLatency: whatever a file has, whose checksum is right: all of it is taken and
// would be saved alike, or nothing is.
func FuzzRestoreLatency(f *testing.F) {
	l, _ := savedTrips()
	f.Add(l.AppendSaved(nil, noon))
	f.Add(NewLatency().AppendSaved(nil, noon))
	f.Fuzz(func(t *testing.T, saved []byte) {
		if len(saved) < savedSum {
			return
		}
		l := NewLatency()
		networks, err := l.Restore(resum(saved), noon)
		_, kept := l.Stats()
		if kept != networks || err != nil && kept != 0 {
			t.Fatalf("%d networks kept of %d, %v", kept, networks, err)
		}
		again := NewLatency()
		if n, err := again.Restore(l.AppendSaved(nil, noon), noon); n != networks || err != nil {
			t.Fatalf("saved again: %d networks of %d, %v", n, networks, err)
		}
	})
}
