package state

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"testing"

	"pharos/internal/cluster/document"
	"pharos/internal/dns/dnsname"
)

var update = flag.Bool("update", false, "rewrite golden files")

// put returns the change that puts r at a revision.
func put(revision int64, r Resource) Change {
	return Change{Ref: Ref{KindOf(r), r.Key()}, Op: Put, Revision: revision, Body: Body(r)}
}

func remove(revision int64, k Kind, name string) Change {
	return Change{Ref: Ref{k, name}, Op: Delete, Revision: revision}
}

func pool(name string) *Pool {
	p := &Pool{}
	document.SetDefaults(p)
	p.Name = name
	p.Members = []Member{{Name: "a", Address: netip.MustParseAddrPort("192.0.2.1:80"), Weight: 1}}
	return p
}

func routeTo(host, pool string) *Route { return &Route{Host: host, Path: "/", Pool: pool} }

func steered(name, pool string) *Steer {
	return &Steer{Name: dnsname.MustParse(name), Pool: pool, TTL: document.Duration(5e9)}
}

func TestApply(t *testing.T) {
	empty := New(&Resources{})
	s, effects := empty.Apply(put(3, pool("web")), put(4, routeTo("www.example.com", "web")), remove(5, KindSteer, "none"))
	want := `[pool "web" added route "www.example.com/" added steer "none" unchanged]`
	if got := fmt.Sprint(effects); got != want {
		t.Errorf("effects = %s, want %s", got, want)
	}
	if got := s.Revision(); got != 5 {
		t.Errorf("revision = %d, want 5", got)
	}
	if len(s.Resources().Pools) != 1 || s.Resources().CountRoutes() != 1 || len(s.Problems()) != 0 {
		t.Errorf("resources = %+v, problems %v", s.Resources(), s.Problems())
	}
	if len(empty.Resources().Pools) != 0 || empty.Revision() != 0 {
		t.Error("the state before the change was changed too")
	}

	bigger := pool("web")
	bigger.Members[0].Weight = 9
	_, effects = s.Apply(put(6, pool("web")), put(7, bigger))
	if got, want := fmt.Sprint(effects), `[pool "web" unchanged pool "web" replaced]`; got != want {
		t.Errorf("effects = %s, want %s", got, want)
	}
}

// A committed change is never lost: what cannot be used is kept and used as
// soon as its cause has gone.
func TestUnusableObjectsAreKept(t *testing.T) {
	s, effects := New(&Resources{}).Apply(put(1, routeTo("*", "web")))
	if got, want := effects[0].Outcome, Unused; got != want {
		t.Errorf("outcome = %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(s.Problems()), `[route "*/" refers to pool "web", which does not exist; apply the pool first, or point it to another]`; got != want {
		t.Errorf("problems = %s, want %s", got, want)
	}
	if s.Resources().CountRoutes() != 0 {
		t.Error("a route without its pool is in use")
	}
	s, _ = s.Apply(put(2, pool("web")))
	if len(s.Problems()) != 0 || s.Resources().CountRoutes() != 1 {
		t.Errorf("with its pool the route is not in use: %v", s.Problems())
	}
}

// The file goes first when it names what the store holds, and the applied
// object comes back when the file gives the name up.
func TestFileWins(t *testing.T) {
	s, _ := New(&Resources{}).Apply(put(1, pool("web")))
	ours := *pool("web")
	ours.Policy = "weightedRoundRobin"
	s = s.Rebase(&Resources{Pools: []Pool{ours}})
	if got := s.Resources().Pools; len(got) != 1 || got[0].Policy != "weightedRoundRobin" {
		t.Errorf("pools = %+v, want only the file's", got)
	}
	if got, want := fmt.Sprint(s.Problems()), `[pool "web" is also in the configuration file, which goes first; change it there, or take it out of the file]`; got != want {
		t.Errorf("problems = %s, want %s", got, want)
	}
	s = s.Rebase(&Resources{})
	if got := s.Resources().Pools; len(got) != 1 || got[0].Policy != "roundRobin" || len(s.Problems()) != 0 {
		t.Errorf("pools = %+v, problems %v, want the applied one", got, s.Problems())
	}
}

// A list of the whole store replaces what was applied, and says what differs.
func TestReset(t *testing.T) {
	s, _ := New(&Resources{}).Apply(put(1, pool("same")), put(2, pool("gone")), put(3, pool("new")))
	heavier := pool("new")
	heavier.Members[0].Weight = 7
	next, effects := s.Reset(2, put(1, pool("same")), put(2, heavier), put(2, pool("more")))
	want := `[pool "same" unchanged pool "new" replaced pool "more" added pool "gone" removed]`
	if got := fmt.Sprint(effects); got != want {
		t.Errorf("effects = %s, want %s", got, want)
	}
	fresh, _ := New(&Resources{}).Reset(2, put(1, pool("same")), put(2, heavier), put(2, pool("more")))
	if got, want := string(next.Encode()), string(fresh.Encode()); got != want {
		t.Errorf("state = %s\nwant %s", got, want)
	}
}

func TestValidate(t *testing.T) {
	s, _ := New(&Resources{Pools: []Pool{*pool("base")}}).Apply(put(1, pool("web")), put(2, steered("www.example.com", "web")))
	slow := pool("slow")
	slow.Check.Timeout = 2 * slow.Check.Interval
	for _, test := range []struct {
		name    string
		changes []Change
		want    string // "" for allowed
	}{
		{"new pool", []Change{put(0, pool("api"))}, ""},
		{"pool and route together, in any order", []Change{put(0, routeTo("*", "api")), put(0, pool("api"))}, ""},
		{"route to the file's pool", []Change{put(0, routeTo("*", "base"))}, ""},
		{"unknown pool", []Change{put(0, routeTo("*", "wbe"))}, `refers to pool "wbe", which does not exist; did you mean "web"?`},
		{"pool in use", []Change{remove(0, KindPool, "web")}, `this would break what is in use: steer "www.example.com" refers to pool "web"`},
		{"pool and its user", []Change{remove(0, KindPool, "web"), remove(0, KindSteer, "www.example.com")}, ""},
		{"the file's name", []Change{put(0, pool("base"))}, `pool "base" is also in the configuration file`},
		{"rule within an object", []Change{put(0, slow)}, "the timeout 2s is longer than the interval 1s"},
		{"unknown key", []Change{{Ref: Ref{KindPool, "x"}, Op: Put, Body: []byte(`{"name":"x","polcy":"roundRobin"}`)}}, `polcy: unknown key; did you mean "policy"?`},
		{"not JSON", []Change{{Ref: Ref{KindPool, "x"}, Op: Put, Body: []byte(`{"name`)}}, "is not JSON"},
		{"another name", []Change{{Ref: Ref{KindRoute, "x/"}, Op: Put, Body: Body(routeTo("y", "web"))}}, `calls itself "y/"`},
		{"unknown kind", []Change{{Ref: Ref{"moon", "x"}, Op: Put, Body: []byte(`{}`)}}, `unknown kind "moon"`},
		{"too large", []Change{{Ref: Ref{KindPool, "x"}, Op: Put, Body: bytes.Repeat([]byte(" "), MaxBody+1)}}, "octets; at most 1048576"},
	} {
		_, _, err := s.Validate(test.changes...)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v, want it allowed", test.name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want an error with %q", test.name, err, test.want)
		}
	}
}

// Nodes that saw the same changes have the same bytes, in whatever batches the
// changes came and through whatever snapshots the nodes went.
func TestDeterministic(t *testing.T) {
	base := &Resources{Pools: []Pool{*pool("p3")}}
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		var changes []Change
		for i := range 60 {
			revision, name := int64(i+1), fmt.Sprintf("p%d", random.IntN(6))
			switch random.IntN(5) {
			case 0:
				changes = append(changes, remove(revision, KindPool, name))
			case 1:
				changes = append(changes, put(revision, routeTo(name+".example", fmt.Sprintf("p%d", random.IntN(6)))))
			case 2:
				changes = append(changes, Change{Ref: Ref{Kind(name), "x"}, Op: Put, Revision: revision, Body: []byte(`{"a": 1}`)})
			default:
				changes = append(changes, put(revision, pool(name)))
			}
		}
		atOnce, _ := New(base).Apply(changes...)
		oneByOne := New(base)
		for _, c := range changes {
			oneByOne, _ = oneByOne.Apply(c)
			if random.IntN(4) == 0 {
				var err error
				if oneByOne, err = Decode(base, oneByOne.Encode()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got, want := oneByOne.Encode(), atOnce.Encode(); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: one by one:\n%s\nat once:\n%s", seed, got, want)
		}
		if got, want := fmt.Sprint(oneByOne.Problems()), fmt.Sprint(atOnce.Problems()); got != want {
			t.Fatalf("seed %d: problems\n%s\nwant\n%s", seed, got, want)
		}
		atOnce.Resources().Check(func(path, text, remedy string) {
			t.Errorf("seed %d: served resources are unsound: %s: %s", seed, path, text)
		})
	}
}

// The bytes of a state are a format on disk: they change only on purpose.
func TestEncodeGolden(t *testing.T) {
	s, _ := New(&Resources{}).Apply(
		put(11, routeTo("www.example.com", "web")), put(12, pool("web")), put(13, steered("www.example.com", "web")), put(14, pool("api")))
	got := append(s.Encode(), '\n')
	const golden = "testdata/encoded.json"
	if *update {
		if err := os.WriteFile(golden, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("encoded:\n%s\nwant, as in %s:\n%s", got, golden, want)
	}
}

// A snapshot of another version is read: absent keys take their defaults, and
// what is not understood is kept and left out, with its reason.
func TestDecodeOldAndNewSnapshots(t *testing.T) {
	text, err := os.ReadFile("testdata/snapshot-format1.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Decode(&Resources{}, text)
	if err != nil {
		t.Fatal(err)
	}
	r := s.Resources()
	if len(r.Pools) != 1 || r.Pools[0].Check.Interval.String() != "1s" || r.Pools[0].Members[0].Weight != 1 {
		t.Errorf("pools = %+v, want one with its defaults", r.Pools)
	}
	if len(r.Applied) != 1 || r.Applied[0].Path != "/" {
		t.Errorf("routes = %+v, want one with its defaults", r.Applied)
	}
	if len(s.Problems()) != 2 || len(s.Objects()) != 4 || s.Revision() != 7 {
		t.Errorf("problems = %v, %d objects, revision %d; want 2, 4, 7", s.Problems(), len(s.Objects()), s.Revision())
	}
	for _, bad := range []string{"", "{}", "[]", `{"format":2}`, `{"format":1,"objects":[null]}`, `{"format":1,"objects":[{"kind":1}]}`} {
		if _, err := Decode(&Resources{}, []byte(bad)); err == nil {
			t.Errorf("Decode(%q) took it", bad)
		}
	}
}

func TestParseKind(t *testing.T) {
	for text, want := range map[string]Kind{"pool": KindPool, "pools": KindPool, "steer": KindSteer, "routes": KindRoute} {
		if got, err := ParseKind(text); err != nil || got != want {
			t.Errorf("ParseKind(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	if _, err := ParseKind("poll"); err == nil || !strings.Contains(err.Error(), `did you mean "pool"?`) {
		t.Errorf("ParseKind(poll): %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	text, _ := os.ReadFile("testdata/snapshot-format1.json")
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Decode(&Resources{}, text)
		if err != nil {
			return
		}
		again, err := Decode(&Resources{}, s.Encode())
		if err != nil {
			t.Fatalf("what was written is not read: %v", err)
		}
		if !bytes.Equal(again.Encode(), s.Encode()) {
			t.Fatalf("not canonical:\n%s\n%s", s.Encode(), again.Encode())
		}
		s.Resources().Check(func(path, text, remedy string) { t.Errorf("unsound: %s: %s", path, text) })
	})
}
