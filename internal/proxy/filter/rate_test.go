package filter

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func at(c *Chain, t *testing.T, r *request, now time.Duration) (Verdict, *Pass) {
	p := passOf(t, r)
	p.Now = began.Add(now)
	return c.Decide(p, nil), p
}

// TestRate: so many pass at once, then as many as the time brings; who is refused learns when
// to come again.
func TestRate(t *testing.T) {
	c := chainOf(t, Step{Rate: &Rate{Key: []string{"client"}, Requests: 60, Per: time.Minute, Burst: 3}})
	for i, e := range []struct {
		now    time.Duration
		client string
		want   int
		left   string
	}{
		{0, "192.0.2.1", 0, "r=2;t=1"}, {0, "192.0.2.1", 0, "r=1;t=2"}, {0, "192.0.2.1", 0, "r=0;t=3"}, {0, "192.0.2.1", 429, "r=0;t=3"},
		{0, "192.0.2.2", 0, "r=2;t=1"},
		{time.Second, "192.0.2.1", 0, "r=0;t=3"}, {time.Second, "192.0.2.1", 429, "r=0;t=3"}, {time.Minute, "192.0.2.1", 0, "r=2;t=1"},
		// A host has all addresses of a /64.
		{0, "2001:db8::1", 0, "r=2;t=1"}, {0, "2001:db8::2", 0, "r=1;t=2"}, {0, "2001:db8:0:1::1", 0, "r=2;t=1"},
	} {
		v, p := at(c, t, &request{client: e.client}, e.now)
		if v.Status != e.want || e.want != 0 && v.After != 1 {
			t.Errorf("%d: %+v, want %d", i, v, e.want)
		}
		want := "RateLimit-Policy: \"s\";q=60;w=60\r\nRateLimit: \"s\";" + e.left + "\r\n"
		if got := string(c.AppendResponse(nil, p, nil)); got != want {
			t.Errorf("%d: fields %q, want %q", i, got, want)
		}
	}
}

// TestRateKeys: requests share an account when all parts of their key are the same, and to
// leave a part out, or to move it into another, makes nobody free.
func TestRateKeys(t *testing.T) {
	c := chainOf(t, Step{Rate: &Rate{Key: []string{"field:X-Api-Key", "query:k"}, Requests: 1, Per: time.Hour}})
	key := func(field, query string) *request {
		r := &request{query: query, fields: map[string]string{}}
		if field != "" {
			r.fields["X-Api-Key"] = field
		}
		return r
	}
	for i, e := range []struct {
		r    *request
		want int
	}{
		{key("a", "?k=b"), 0}, {key("a", "?k=b"), 429}, {key("a", "?x=1&k=b&k=c"), 429}, {key("ab", "?k="), 0}, {key("b", "?k=a"), 0},
		{key("", ""), 0}, {key("", ""), 429}, {key("", "?k="), 429}, {key("", "?"), 429},
	} {
		if v, _ := at(c, t, e.r, 0); v.Status != e.want {
			t.Errorf("%d: %d, want %d", i, v.Status, e.want)
		}
	}
	other := key("", "")
	other.client = "192.0.2.99"
	if v, _ := at(c, t, other, 0); !v.Passes() {
		t.Errorf("who leaves the parts out uses up the account of others who do: %d", v.Status)
	}
	c = chainOf(t, Step{Rate: &Rate{Key: []string{"client"}, Requests: 1, Per: time.Hour}})
	for _, e := range []struct {
		client string
		want   int
	}{
		{"192.0.2.1", 0}, {"192.0.2.2", 0}, {"192.0.2.2", 429}, {"2001:db8::1", 0}, {"2001:db8::ffff:1", 429}, {"2001:db8:0:1::1", 0}, // a host has a /64
	} {
		if v, _ := at(c, t, &request{client: e.client}, 0); v.Status != e.want {
			t.Errorf("%s: %d, want %d", e.client, v.Status, e.want)
		}
	}
}

func TestRateDryRun(t *testing.T) {
	c := chainOf(t, Step{Rate: &Rate{Key: []string{"route"}, Requests: 1, Per: time.Hour, DryRun: true}})
	tally := c.NewTally()
	for range 3 {
		if v := c.Decide(passOf(t, &request{}), tally); !v.Passes() {
			t.Errorf("%+v", v)
		}
	}
	if got := tally.Spared[0].Load(); got != 2 {
		t.Errorf("%d were spared, want 2", got)
	}
}

// A reload that leaves the key as it is gives nobody a new account; to explain takes nothing.
func TestRateOverReload(t *testing.T) {
	set := func(requests int) []Set {
		return []Set{{Name: "s", Steps: []Step{{Rate: &Rate{Key: []string{"client"}, Requests: requests, Per: time.Hour}}}}}
	}
	book, _ := Compile(set(2), Means{}, nil)
	c, _ := book.Chain([]string{"s"}, false)
	c.Decide(passOf(t, &request{}), nil)
	for range 5 {
		c.Explain(passOf(t, &request{}))
	}
	c.Decide(passOf(t, &request{}), nil)
	book, _ = Compile(set(1), Means{}, book)
	c, _ = book.Chain([]string{"s"}, false)
	if v := c.Decide(passOf(t, &request{}), nil); v.Status != 429 {
		t.Errorf("after a reload: %+v, want 429", v)
	}
}

// An account that is used up is not to be had anew by filling the table with others: what is
// pushed out are accounts that are nearly full. And what shares a place in one process does
// not in the next, so that nobody can look for it.
func TestRateFlood(t *testing.T) {
	c := chainOf(t, Step{Rate: &Rate{Key: []string{"field:K"}, Requests: 10, Per: time.Hour, Accounts: 1024}})
	ask := func(key string) int {
		v, _ := at(c, t, &request{fields: map[string]string{"K": key}}, 0)
		return v.Status
	}
	for range 10 {
		ask("victim")
	}
	for i := range 50_000 { // fifty times as many keys as there is room for
		ask(fmt.Sprint("flood ", i))
	}
	if got := ask("victim"); got != 429 {
		t.Errorf("after a flood of other keys: %d, want 429", got)
	}
	var one, other keyer
	one, _ = compileKey([]string{"field:K"})
	other, _ = compileKey([]string{"field:K"})
	p := passOf(t, &request{fields: map[string]string{"K": "a"}})
	if first, again := one.of(p), one.of(p); first != again || first == other.of(p) {
		t.Error("keys are hashed without a secret of their own")
	}
}

func TestBadRates(t *testing.T) {
	for _, c := range []struct {
		step Step
		want string
	}{
		{Step{Rate: &Rate{Key: []string{"client"}}}, "want how many"},
		{Step{Rate: &Rate{Requests: 1, Per: time.Second}}, "0 parts"},
		{Step{Rate: &Rate{Key: []string{"field"}, Requests: 1, Per: time.Second}}, "have a name"},
		{Step{Rate: &Rate{Key: []string{"path:x"}, Requests: 1, Per: time.Second}}, "have a name"},
		{Step{Rate: &Rate{Key: []string{"user"}, Requests: 1, Per: time.Second}}, "want client,"},
		{Step{Rate: &Rate{Key: []string{"client/33/64"}, Requests: 1, Per: time.Second}}, "lengths"},
		{Step{Rate: &Rate{Key: []string{"path/3"}, Requests: 1, Per: time.Second}}, "only clients"},
		{Step{Rate: &Rate{Key: []string{"client"}, Requests: 2_000_000, Per: time.Second}}, "more than a million"},
		{Step{Rate: &Rate{Key: []string{"client"}, Requests: 1, Per: 24 * time.Hour, Burst: 1000}}, "more than a year"},
		{Step{Crowd: &Crowd{Key: []string{"route"}}}, "under way"},
		{Step{Crowd: &Crowd{Key: []string{"route"}, Most: 1, Queue: 1}}, "how long"},
	} {
		errs := Check(&Set{Name: "s", Steps: []Step{c.step}})
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.step, errs, c.want)
		}
	}
}

// crowdTest plays requests of one route.
type crowdTest struct {
	t     *testing.T
	chain *Chain
}

func (c crowdTest) come(now time.Duration) (Verdict, *Pass) { return at(c.chain, c.t, &request{}, now) }

func isReady(t *Ticket) bool {
	select {
	case <-t.Ready:
		return true
	default:
		return false
	}
}

// TestCrowd: so many are under way; others wait in turn, and not for longer than they should.
func TestCrowd(t *testing.T) {
	c := crowdTest{t, chainOf(t, Step{Crowd: &Crowd{Key: []string{"route"}, Most: 2, Queue: 2, Wait: time.Second}})}
	_, first := c.come(0)
	_, second := c.come(0)
	v3, third := c.come(0)
	v4, fourth := c.come(0)
	if v3.Waits == nil || v4.Waits == nil || isReady(v3.Waits) {
		t.Fatalf("%+v %+v, want that they wait", v3, v4)
	}
	if v, _ := c.come(0); v.Status != 503 || v.After != 1 {
		t.Errorf("the queue is full: %+v, want 503", v)
	}
	first.Leave(began)
	if !isReady(v3.Waits) || isReady(v4.Waits) {
		t.Error("the first who waits is not let in first")
	}
	if v := v3.Waits.Enter(third); !v.Passes() {
		t.Errorf("%+v", v)
	}
	if v := v4.Waits.Enter(fourth); v.Status != 503 { // its time is over
		t.Errorf("%+v, want 503", v)
	}
	second.Leave(began)
	third.Leave(began)
	third.Leave(began) // has no effect
	if v, p := c.come(0); !v.Passes() || v.Waits != nil {
		t.Errorf("%+v", v)
	} else {
		p.Leave(began)
	}
	made := c.chain.steps[0].(*crowd)
	if len(made.lines) != 0 {
		t.Errorf("%d keys are kept, want none", len(made.lines))
	}
}

// A request that is let in just when its time is over is let in: its place would be lost.
func TestCrowdRace(t *testing.T) {
	c := crowdTest{t, chainOf(t, Step{Crowd: &Crowd{Key: []string{"route"}, Most: 1, Queue: 1, Wait: time.Second}})}
	_, first := c.come(0)
	v, second := c.come(0)
	first.Leave(began)
	if got := v.Waits.Enter(second); !got.Passes() {
		t.Errorf("%+v", got)
	}
	second.Leave(began)
	if got := len(c.chain.steps[0].(*crowd).lines); got != 0 {
		t.Errorf("%d keys are kept, want none", got)
	}
}

// TestCrowdOverload: with a queue for longer than the longest wait, the newest go first, and
// the oldest make room.
func TestCrowdOverload(t *testing.T) {
	c := crowdTest{t, chainOf(t, Step{Crowd: &Crowd{Key: []string{"route"}, Most: 1, Queue: 2, Wait: time.Second}})}
	_, inside := c.come(0)
	v1, p1 := c.come(0)
	v2, _ := c.come(0)
	v3, p3 := c.come(2 * time.Second)
	if !isReady(v1.Waits) || v3.Waits == nil {
		t.Fatal("the oldest does not make room")
	}
	if v := v1.Waits.Enter(p1); v.Status != 503 {
		t.Errorf("%+v, want 503", v)
	}
	inside.Leave(began.Add(2 * time.Second))
	if !isReady(v3.Waits) || isReady(v2.Waits) {
		t.Error("the newest is not let in first")
	}
	if v := v3.Waits.Enter(p3); !v.Passes() {
		t.Errorf("%+v", v)
	}
}
