package affinity

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

func cookies(names ...string) *Affinity {
	return New("web", names, Spec{Kind: Cookie, Name: "at", Path: "/", SameSite: "Lax", HTTPOnly: true, Secure: true, TTL: time.Hour, Secret: secret}, nil)
}

func valueOf(t *testing.T, a *Affinity, member int) string {
	t.Helper()
	line := string(a.AppendCookie(nil, member))
	value, rest, ok := strings.Cut(strings.TrimPrefix(line, "Set-Cookie: at="), ";")
	if want := " Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax\r\n"; !ok || rest != want {
		t.Fatalf("cookie %q, want attributes %q", line, want)
	}
	return value
}

// A cookie names its member whatever the order of members, says nothing of its name,
// and is good in no other pool and under no other secret.
func TestCookie(t *testing.T) {
	a := cookies("alpha", "beta", "gamma")
	value := valueOf(t, a, 1)
	if got := a.ByCookie([]byte(value)); got != 1 {
		t.Errorf("member %d, want 1", got)
	}
	if got := cookies("gamma", "new", "alpha", "beta").ByCookie([]byte(value)); got != 3 {
		t.Errorf("in another order: member %d, want 3", got)
	}
	if got := cookies("alpha", "gamma").ByCookie([]byte(value)); got != -1 {
		t.Errorf("of a member that is gone: %d, want -1", got)
	}
	if strings.Contains(value, "beta") || len(value) != 22 {
		t.Errorf("value %q", value)
	}
	spec := *a.Spec()
	if got := New("other", []string{"alpha", "beta"}, spec, nil).ByCookie([]byte(value)); got != -1 {
		t.Errorf("in another pool: %d, want -1", got)
	}
	spec.Secret = []byte("another secret of thirty-two oct")
	if got := New("web", []string{"alpha", "beta"}, spec, nil).ByCookie([]byte(value)); got != -1 {
		t.Errorf("under another secret: %d, want -1", got)
	}
	for _, forged := range []string{"", "beta", value[:21], value + "A", strings.ToUpper(value)} {
		if got := a.ByCookie([]byte(forged)); got != -1 {
			t.Errorf("%q: member %d, want -1", forged, got)
		}
	}
}

func keyed(most int, ttl time.Duration, prev *Affinity, names ...string) *Affinity {
	return New("web", names, Spec{Kind: Key, TTL: ttl, Most: most, Drain: time.Minute}, prev)
}

// Keys are remembered over a reload, by the names of members, for as long as they are
// used.
func TestLearn(t *testing.T) {
	a := keyed(100, time.Minute, nil, "a", "b", "c")
	if got := a.ByKey(7, 0); got != -1 {
		t.Errorf("an unknown key: %d", got)
	}
	a.Learn(7, 1, 0)
	if got := a.ByKey(7, 50*time.Second); got != 1 {
		t.Errorf("member %d, want 1", got)
	}
	b := keyed(100, time.Minute, a, "c", "b")
	if got := b.ByKey(7, 100*time.Second); got != 1 {
		t.Errorf("after a reload: member %d, want 1", got)
	}
	if got := keyed(100, time.Minute, b, "c", "a").ByKey(7, 100*time.Second); got != -1 {
		t.Errorf("of a member that is gone: %d, want -1", got)
	}
	if got := b.ByKey(7, 161*time.Second); got != -1 {
		t.Errorf("after its time: %d, want -1", got)
	}
	if got := b.Known(); got != 0 {
		t.Errorf("%d keys are remembered, want 0", got)
	}
}

// The table against a plain one: what is forgotten is what was used the longest ago.
func TestTableIsLRU(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const most = 2 * shards
	tab := newTable(most)
	lists := map[*shard][]uint64{} // latest first
	members := map[uint64]uint64{}
	for now := range time.Duration(20_000) {
		key := uint64(r.IntN(100)) * 0x9E3779B97F4A7C15
		s := tab.part(key)
		list := lists[s]
		at := -1
		for i, k := range list {
			if k == key {
				at = i
			}
		}
		want := uint64(0)
		if at >= 0 {
			want = members[key]
			list = append(list[:at:at], list[at+1:]...)
		}
		if got := tab.find(key, now, 0); got != want {
			t.Fatalf("step %d: found %d, want %d", now, got, want)
		}
		if at < 0 {
			members[key] = uint64(now) + 1
			tab.learn(key, uint64(now)+1, now)
		}
		lists[s] = append([]uint64{key}, list...)
		if len(lists[s]) > most/shards {
			lists[s] = lists[s][:most/shards]
		}
	}
	if got := tab.len(); got > most {
		t.Errorf("%d keys, want at most %d", got, most)
	}
	tab.resize(shards)
	if got := tab.len(); got > shards {
		t.Errorf("%d keys after the resize, want at most %d", got, shards)
	}
	for i := range tab.parts {
		if s := &tab.parts[i]; len(s.entries) > most/shards+2 {
			t.Errorf("shard %d has %d entries for %d keys", i, len(s.entries), s.most)
		}
	}
}

// Affinity breaks when the member is down and lasts through the beginning of its
// draining.
func TestIsUsable(t *testing.T) {
	spec := pool.Spec{Name: "web"}
	for i := range 3 {
		spec.Members = append(spec.Members, pool.MemberSpec{Name: fmt.Sprint(i), Address: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(80+i))})
	}
	view := func(prev *pool.View, states ...health.State) *pool.View {
		return pool.Compile(spec, func(t health.Target) health.Status {
			return health.Status{State: states[t.Address.Port()-80]}
		}, prev)
	}
	a := keyed(10, 0, nil, "0", "1", "2")
	v := view(nil, health.Up, health.Draining, health.Down)
	for _, c := range []struct {
		member int
		now    time.Duration
		want   bool
	}{{0, 1, true}, {1, 1, true}, {2, 1, false}, {3, 1, false}, {-1, 1, false}, {1, time.Minute, true}, {1, time.Minute + 1, false}} {
		if got := a.IsUsable(v, c.member, c.now); got != c.want {
			t.Errorf("member %d at %v: %v, want %v", c.member, c.now, got, c.want)
		}
	}
	up := view(v, health.Up, health.Up, health.Down)
	if !a.IsUsable(up, 1, 2*time.Minute) {
		t.Error("not usable when it is up again")
	}
	again := view(up, health.Up, health.Draining, health.Down)
	if !a.IsUsable(again, 1, 3*time.Minute) {
		t.Error("a second draining does not begin anew")
	}
}

func TestNoAllocs(t *testing.T) {
	a, b := cookies("a", "b"), keyed(100, time.Hour, nil, "a", "b")
	value := []byte(valueOf(t, a, 1))
	b.Learn(5, 1, 0)
	if n := testing.AllocsPerRun(1000, func() { a.ByCookie(value) }); n != 0 {
		t.Errorf("ByCookie: %v allocations", n)
	}
	if n := testing.AllocsPerRun(1000, func() { b.ByKey(5, 1); b.Learn(5, 0, 2) }); n != 0 {
		t.Errorf("ByKey and Learn: %v allocations", n)
	}
}
