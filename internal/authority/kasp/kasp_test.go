package kasp

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
)

// life is a machine with servers that show at once what it plans, and a parent that
// is told what to show.
type life struct {
	t       *testing.T
	m       *Machine
	start   time.Time
	now     time.Time
	passed  time.Duration
	shown   uint64 // generation that the servers show; stuck: no longer what is planned
	stuck   bool
	parent  [][]byte // nil with absent: nobody looks
	absent  bool
	delay   time.Duration // until the parent follows CDS; negative: it does not
	follows time.Time
	lines   []string
	offline *Offline
}

func newLife(t *testing.T, p Policy) *life {
	l := &life{t: t, m: New(dnsname.MustParse("example.com"), p), start: time.Unix(1e9, 0), delay: time.Hour}
	l.now = l.start
	return l
}

// step takes one step and notes what it changes.
func (l *life) step() Plan {
	l.t.Helper()
	f := Facts{Passed: l.passed, Shown: l.shown, DataTTL: day, Offline: l.offline}
	l.passed = 0
	if !l.absent {
		f.Parent = &Parent{Sets: [][][]byte{l.parent}, TTL: day}
	}
	plan := l.m.Step(l.now, f)
	for _, k := range plan.Generate {
		if err := l.m.Made(k.ID, []byte{byte(k.Role.Flags() >> 8), byte(k.Role.Flags()), 3, k.Algorithm, byte(k.ID)}, l.now); err != nil {
			l.t.Fatal(err)
		}
	}
	if len(plan.Generate) > 0 {
		return l.step()
	}
	if err := l.m.check(); err != nil {
		l.t.Errorf("after %v: %v", l.now.Sub(l.start), err)
	}
	var keys, cds []ID
	for _, k := range plan.Keys {
		keys = append(keys, k.ID)
	}
	for _, k := range plan.CDS {
		cds = append(cds, k.ID)
	}
	line := fmt.Sprintf("DNSKEY %v by %v, data by %v, CDS %v", keys, plan.KeySigners, plan.Signers, cds)
	if plan.DeleteDS {
		line += " delete"
	}
	if len(l.lines) == 0 || !strings.HasSuffix(l.lines[len(l.lines)-1], ": "+line) {
		l.lines = append(l.lines, fmt.Sprintf("%v: %s", span(l.now.Sub(l.start)), line))
	}
	if !l.stuck {
		l.shown = plan.Generation
	}
	if l.follow(plan) {
		return l.step()
	}
	return plan
}

// follow has the parent follow CDS after delay, and reports whether it does now.
func (l *life) follow(plan Plan) bool {
	var want [][]byte
	for _, k := range plan.CDS {
		want = append(want, k.DS(l.m.zone))
	}
	switch {
	case l.delay < 0, len(plan.CDS) == 0 && !plan.DeleteDS, fmt.Sprint(want) == fmt.Sprint(l.parent):
		l.follows = time.Time{}
	case l.follows.IsZero():
		l.follows = l.now.Add(l.delay)
	case !l.now.Before(l.follows):
		l.parent, l.follows = want, time.Time{}
		return true
	}
	return false
}

// run lets time pass, from one thing that happens to the next.
func (l *life) run(d time.Duration) *life {
	l.t.Helper()
	for end := l.now.Add(d); ; {
		was := l.shown
		plan := l.step()
		next := end
		if plan.Wait > 0 && l.now.Add(plan.Wait).Before(next) {
			next = l.now.Add(plan.Wait)
		}
		if !l.follows.IsZero() && l.follows.Before(next) {
			next = l.follows
		}
		if l.shown != was {
			next = l.now // the machine is told at once
		}
		if l.now == end && next == end {
			return l
		}
		l.passed += next.Sub(l.now)
		l.now = next
	}
}

// span writes a time with days.
func span(d time.Duration) string {
	if days := d / day; days > 0 {
		return fmt.Sprintf("%dd%v", days, d-days*day)
	}
	return d.String()
}

func (l *life) want(lines ...string) {
	l.t.Helper()
	if !slices.Equal(l.lines, lines) {
		l.t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(l.lines, "\n\t"), strings.Join(lines, "\n\t"))
	}
}

// plain has round times: KeyTTL 1h, propagation 5m; data and DS have a TTL of a day.
func plain() Policy {
	return Policy{Algorithm: 13, KeyTTL: time.Hour, Propagation: 5 * time.Minute, ParentTTL: day, ParentPropagation: time.Hour, Purge: 30 * day, CDS: CDSRollover}
}

// TestEnabling: keys and signatures go in at once, for nobody asks for them yet; the
// DS record when nobody can hold an unsigned version any more.
func TestEnabling(t *testing.T) {
	newLife(t, plain()).run(10*day).want(
		"0s: DNSKEY [1 2] by [1], data by [2], CDS []",
		"1d5m0s: DNSKEY [1 2] by [1], data by [2], CDS [1]",
		"1d1h5m0s: DNSKEY [1 2] by [1], data by [2], CDS []",
	)
}

// TestZSKPrePublication is RFC 7583 §3.2.1: the successor is published Ipub = Dprp +
// TTLkey before the lifetime ends, takes over then, and the key leaves Iret = Dprp +
// TTLsig later.
func TestZSKPrePublication(t *testing.T) {
	p := plain()
	p.ZSKLifetime = 30 * day
	newLife(t, p).run(35*day).want(
		"0s: DNSKEY [1 2] by [1], data by [2], CDS []",
		"1d5m0s: DNSKEY [1 2] by [1], data by [2], CDS [1]",
		"1d1h5m0s: DNSKEY [1 2] by [1], data by [2], CDS []",
		"29d22h55m0s: DNSKEY [1 2 3] by [1], data by [2], CDS []",
		"30d0s: DNSKEY [1 2 3] by [1], data by [3], CDS []",
		"31d5m0s: DNSKEY [1 3] by [1], data by [3], CDS []",
	)
}

// TestKSKDouble is RFC 7583 §3.3.1 with CDS (RFC 7344): the new DS is asked for when
// everybody has the new key, IpubC = DprpC + TTLkey; the old key leaves when nobody has
// the old DS, Iret = DprpP + TTLds.
func TestKSKDouble(t *testing.T) {
	l := newLife(t, plain()).run(10 * day)
	l.lines = nil
	if err := l.m.Roll(KSK, false, l.now); err != nil {
		t.Fatal(err)
	}
	if err := l.m.Roll(KSK, false, l.now); err == nil {
		t.Error("a key that is being replaced is to be replaced")
	}
	l.run(5*day).want(
		"10d0s: DNSKEY [1 2 3] by [1 3], data by [2], CDS []",
		"10d1h5m0s: DNSKEY [1 2 3] by [1 3], data by [2], CDS [3]",
		"10d2h5m0s: DNSKEY [1 2 3] by [1 3], data by [2], CDS []",
		"11d3h5m0s: DNSKEY [2 3] by [3], data by [2], CDS []",
	)
}

// TestCSK: one key takes both ways at once.
func TestCSK(t *testing.T) {
	p := plain()
	p.Single = true
	l := newLife(t, p).run(10 * day)
	l.lines = nil
	if err := l.m.Roll(CSK, false, l.now); err != nil {
		t.Fatal(err)
	}
	l.run(5*day).want(
		"10d0s: DNSKEY [1 2] by [1 2], data by [1], CDS []",
		"10d1h5m0s: DNSKEY [1 2] by [1 2], data by [2], CDS [2]",
		"10d2h5m0s: DNSKEY [1 2] by [1 2], data by [2], CDS []",
		"11d3h5m0s: DNSKEY [2] by [2], data by [2], CDS []",
	)
}

// TestAlgorithmRollover is the conservative way of RFC 6781 §4.1.4: signatures of the
// new algorithm before its keys, its DS after them, and the reverse for the old.
func TestAlgorithmRollover(t *testing.T) {
	l := newLife(t, plain()).run(10 * day)
	l.lines = nil
	p := plain()
	p.Algorithm = 15
	l.m.SetPolicy(p)
	l.run(10*day).want(
		"10d0s: DNSKEY [1 2] by [1], data by [2 4], CDS []",
		"11d5m0s: DNSKEY [1 2 3 4] by [1 3], data by [2 4], CDS []",
		"11d1h10m0s: DNSKEY [1 2 3 4] by [1 3], data by [2 4], CDS [3]",
		"11d2h10m0s: DNSKEY [1 2 3 4] by [1 3], data by [2 4], CDS []",
		"12d3h10m0s: DNSKEY [3 4] by [3], data by [2 4], CDS []",
		"12d4h15m0s: DNSKEY [3 4] by [3], data by [4], CDS []",
	)
}

// TestAlgorithmSteps: how far the change is can be seen at any time, and it does not
// move while a server or the parent does not.
func TestAlgorithmSteps(t *testing.T) {
	l := newLife(t, plain()).run(10 * day)
	if c, ok := l.m.AlgorithmChange(); ok {
		t.Errorf("nothing is under way: %+v", c)
	}
	p := plain()
	p.Algorithm = 15
	l.m.SetPolicy(p)
	if c, _ := l.m.AlgorithmChange(); c.Step != 1 || c.To != 15 || !slices.Equal(c.From, []uint8{13}) {
		t.Errorf("at the begin %+v", c)
	}
	at := func(after time.Duration, step int, text string) {
		t.Helper()
		l.run(after)
		if c, ok := l.m.AlgorithmChange(); !ok || c.Step != step || !strings.Contains(c.Text, text) {
			t.Errorf("after %v: %v %+v, want step %d %q", l.now.Sub(l.start), ok, c, step, text)
		}
	}
	l.stuck = true
	at(20*day, 1, "every server of the zone shows both signatures")
	l.stuck = false
	at(time.Hour, 1, "no cache can have")
	l.delay = -1
	at(day-30*time.Minute, 2, "the parent is asked for the new DS when no cache")
	at(30*day, 3, "waits until the parent shows")
	l.delay = time.Hour
	at(time.Hour+time.Minute, 3, "the parent shows the new DS")
	at(day+time.Hour, 4, "the old keys have left")
	at(2*time.Hour, 5, "the old signatures have left")
	l.run(2 * day)
	if c, ok := l.m.AlgorithmChange(); ok {
		t.Errorf("at the end %+v", c)
	}
}

// TestUnsigning is RFC 8078 §4: the parent drops its DS, and when nobody has it any
// more, keys and signatures go.
func TestUnsigning(t *testing.T) {
	l := newLife(t, plain()).run(10 * day)
	l.lines = nil
	p := plain()
	p.Off = true
	l.m.SetPolicy(p)
	l.run(5*day).want(
		"10d0s: DNSKEY [1 2] by [1], data by [2], CDS [] delete",
		"10d1h0m0s: DNSKEY [1 2] by [1], data by [2], CDS []",
		"11d2h0m0s: DNSKEY [] by [], data by [], CDS []",
	)
	// The way back serves the same keys again.
	l.lines = nil
	l.m.SetPolicy(plain())
	l.run(time.Hour).want("15d0s: DNSKEY [1 2] by [1], data by [2], CDS []")
}

// TestUnsigningWithoutAParent: as long as nobody has seen the parent drop its DS, the
// zone stays signed.
func TestUnsigningWithoutAParent(t *testing.T) {
	l := newLife(t, plain())
	l.absent, l.delay = true, -1
	l.run(10 * day)
	if err := l.m.Submitted(); err != nil {
		t.Fatal(err)
	}
	l.run(10 * day)
	p := plain()
	p.Off = true
	l.m.SetPolicy(p)
	if plan := l.run(100 * day).step(); len(plan.Signers) == 0 || !plan.DeleteDS {
		t.Errorf("the signatures are gone while the parent may have a DS: %+v", plan)
	}
	if err := l.m.Submitted(); err != nil {
		t.Fatal(err)
	}
	if plan := l.run(2 * day).step(); len(plan.Signers) != 0 || len(plan.Keys) != 0 {
		t.Errorf("still signed: %+v", plan)
	}
}

// TestLayoutChange: from KSK and ZSK to one CSK.
func TestLayoutChange(t *testing.T) {
	l := newLife(t, plain()).run(10 * day)
	l.lines = nil
	p := plain()
	p.Single = true
	l.m.SetPolicy(p)
	l.run(5*day).want(
		"10d0s: DNSKEY [1 2 3] by [1 3], data by [2], CDS []",
		"10d1h5m0s: DNSKEY [1 2 3] by [1 3], data by [3], CDS [3]",
		"10d2h5m0s: DNSKEY [1 2 3] by [1 3], data by [3], CDS []",
		"11d1h10m0s: DNSKEY [1 3] by [1 3], data by [3], CDS []",
		"11d3h5m0s: DNSKEY [3] by [3], data by [3], CDS []",
	)
}

// TestDeadSecondary: while one server of the zone is not seen to show a step, the next
// is not taken, however much time passes.
func TestDeadSecondary(t *testing.T) {
	l := newLife(t, plain()).run(10 * day)
	l.lines = nil
	if err := l.m.Roll(ZSK, false, l.now); err != nil {
		t.Fatal(err)
	}
	l.stuck = true
	l.run(365 * day).want("10d0s: DNSKEY [1 2 3] by [1], data by [2], CDS []")
	if l.m.Waiting() == 0 {
		t.Error("nothing waits")
	}
	l.stuck = false
	l.run(5*day).want(
		"10d0s: DNSKEY [1 2 3] by [1], data by [2], CDS []",
		"375d1h5m0s: DNSKEY [1 2 3] by [1], data by [3], CDS []",
		"376d1h10m0s: DNSKEY [1 3] by [1], data by [3], CDS []",
	)
}

// TestLateParent: a KSK stays until the parent shows the new DS, and the next rollover
// by lifetime does not begin before.
func TestLateParent(t *testing.T) {
	p := plain()
	p.KSKLifetime = 30 * day
	l := newLife(t, p).run(10 * day)
	l.delay = -1
	plan := l.run(200 * day).step()
	if got := len(plan.Keys); got != 3 {
		t.Errorf("%d keys in the DNSKEY RRset, want the old KSK, its successor and the ZSK", got)
	}
	if got := fmt.Sprint(plan.CDS[0].ID); got != "3" {
		t.Errorf("CDS asks for key %s, want 3", got)
	}
}

// TestClockJump: a wall clock that jumps ahead makes keys, and takes nothing away.
func TestClockJump(t *testing.T) {
	p := plain()
	p.ZSKLifetime, p.KSKLifetime = 30*day, 30*day
	l := newLife(t, p).run(10 * day)
	before := l.step()
	l.now = l.now.AddDate(5, 0, 0)
	for range 10 {
		l.passed = time.Second
		plan := l.step()
		for _, k := range before.Keys {
			if !slices.ContainsFunc(plan.Keys, func(have Key) bool { return have.ID == k.ID }) {
				t.Errorf("key %d has gone", k.ID)
			}
		}
		if !slices.Equal(plan.Signers, before.Signers) || len(plan.Purge) > 0 {
			t.Errorf("signers %v became %v, purged %v", before.Signers, plan.Signers, plan.Purge)
		}
	}
	l.now = l.now.AddDate(-10, 0, 0) // and far back
	for range 10 {
		l.passed = time.Second
		if plan := l.step(); !slices.Equal(plan.Signers, before.Signers) {
			t.Errorf("signers %v became %v", before.Signers, plan.Signers)
		}
	}
}

// TestParentGoesBack: a parent that shows the old DS again, after its key has left,
// gets the key back.
func TestParentGoesBack(t *testing.T) {
	l := newLife(t, plain()).run(10 * day)
	old := l.parent
	if err := l.m.Roll(KSK, false, l.now); err != nil {
		t.Fatal(err)
	}
	l.run(5 * day)
	if plan := l.step(); slices.ContainsFunc(plan.Keys, func(k Key) bool { return k.ID == 1 }) {
		t.Fatal("the old key is still there")
	}
	l.parent, l.delay = old, -1
	l.passed = time.Second
	plan := l.m.Step(l.now, Facts{Passed: time.Second, Shown: l.shown, DataTTL: day, Parent: &Parent{Sets: [][][]byte{old}, TTL: day}})
	if !slices.ContainsFunc(plan.Keys, func(k Key) bool { return k.ID == 1 }) {
		t.Errorf("keys %v: the key that the parent names is not among them", plan.Keys)
	}
}

// TestForeignDS: a parent with DS records that nobody knows is told of, and is no
// reason to change anything.
func TestForeignDS(t *testing.T) {
	l := newLife(t, plain()).run(10 * day)
	before := l.step()
	l.delay = -1
	l.parent = [][]byte{{1, 2, 13, 2, 3, 4}}
	l.passed = time.Hour
	after := l.step()
	if len(after.Keys) != len(before.Keys) || l.m.Parent().Lost == "" || !l.m.Parent().Others {
		t.Errorf("keys %v, parent %+v", after.Keys, l.m.Parent())
	}
}

// TestImport: a key that comes from elsewhere takes over like one that was made here;
// that of another signer is published, and withdrawn when nobody is asked to.
func TestImport(t *testing.T) {
	l := newLife(t, plain()).run(10 * day)
	l.lines = nil
	if _, err := l.m.Import(ZSK, []byte{1, 0, 3, 13, 99}, false, l.now); err != nil {
		t.Fatal(err)
	}
	if _, err := l.m.Import(ZSK, []byte{1, 0, 3, 13, 99}, false, l.now); err == nil {
		t.Error("the same key is taken twice")
	}
	for _, bad := range []struct {
		role Role
		key  []byte
		want string
	}{
		{CSK, []byte{1, 1, 3, 13, 96}, "has keys: ksk-zsk, so a csk would be taken out again"},
		{ZSK, []byte{1, 0, 3, 15, 96}, "signs with algorithm 13, so a key of algorithm 15 would be taken out again"},
	} {
		if _, err := l.m.Import(bad.role, bad.key, false, l.now); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("a %s that the policy has no use for: %v, want %q", bad.role, err, bad.want)
		}
	}
	for flags, want := range map[byte]Role{0: ZSK, 1: KSK} {
		if got := l.m.RoleOf([]byte{1, flags, 3, 13, 96}); got != want {
			t.Errorf("flags 25%d: a %s, want a %s", 6+flags, got, want)
		}
	}
	one := plain()
	one.Single = true
	if got := newLife(t, one).m.RoleOf([]byte{1, 1, 3, 13, 96}); got != CSK {
		t.Errorf("flags 257 under a policy with one key: a %s, want a csk", got)
	}
	if _, err := l.m.Import(KSK, []byte{1, 0, 3, 13, 98}, false, l.now); err == nil {
		t.Error("a ZSK is taken for a KSK")
	}
	foreign, err := l.m.Import(ZSK, []byte{1, 0, 3, 8, 97}, true, l.now)
	if err != nil {
		t.Fatal(err)
	}
	l.run(5 * day)
	if err := l.m.Withdraw(foreign, l.now); err != nil {
		t.Fatal(err)
	}
	if err := l.m.Withdraw(1, l.now); err == nil {
		t.Error("an own key is withdrawn")
	}
	l.run(5*day).want(
		"10d0s: DNSKEY [1 2 3 4] by [1], data by [2], CDS []",
		"10d1h5m0s: DNSKEY [1 2 3 4] by [1], data by [3], CDS []",
		"11d1h10m0s: DNSKEY [1 3 4] by [1], data by [3], CDS []",
		"15d0s: DNSKEY [1 3] by [1], data by [3], CDS []",
	)
}

// TestCompromised: no margins, and the key is not taken back even if the parent goes
// on naming it; but it stays as long as anybody needs it.
func TestCompromised(t *testing.T) {
	p := plain()
	p.Single, p.Safety = true, 10*day
	l := newLife(t, p).run(50 * day)
	l.lines = nil
	if err := l.m.Roll(CSK, true, l.now); err != nil {
		t.Fatal(err)
	}
	l.run(20 * day)
	if got, want := l.lines[1], "50d1h5m0s: DNSKEY [1 2] by [1 2], data by [2], CDS [2]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestPurge: a key that nobody needs is forgotten after a while that really passes.
func TestPurge(t *testing.T) {
	l := newLife(t, plain()).run(10 * day)
	if err := l.m.Roll(ZSK, false, l.now); err != nil {
		t.Fatal(err)
	}
	l.run(31 * day)
	if _, ok := l.m.Key(2); !ok {
		t.Error("the old key is forgotten already")
	}
	l.run(3 * day)
	if _, ok := l.m.Key(2); ok {
		t.Error("the old key is still known")
	}
}

// TestMemory: what is restored goes on where it was, and what cannot be is refused.
func TestMemory(t *testing.T) {
	l := newLife(t, plain()).run(10 * day)
	text, err := json.Marshal(l.m.Memory())
	if err != nil {
		t.Fatal(err)
	}
	var memory Memory
	if err := json.Unmarshal(text, &memory); err != nil {
		t.Fatal(err)
	}
	again, err := Restore(l.m.zone, plain(), memory)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(again.Views(l.now)), fmt.Sprint(l.m.Views(l.now)); len(got) != len(want) {
		t.Errorf("got %s, want %s", got, want)
	}
	for what, damage := range map[string]func(*Memory){
		"nothing published": func(m *Memory) { m.Data = nil },
		"a key of no role":  func(m *Memory) { m.Keys[0].Role = 9 },
		"a key from beyond": func(m *Memory) { m.Keys[0].ID = 99 },
		"an unknown key":    func(m *Memory) { m.Data[0].Keys = []ID{77} },
		"two newest":        func(m *Memory) { m.Data = append(m.Data, m.Data[0]) },
	} {
		bad := clone(memory)
		damage(&bad)
		if _, err := Restore(l.m.zone, plain(), bad); err == nil {
			t.Errorf("%s was restored", what)
		}
	}
}

// TestManyRollovers: whoever rolls again and again, with a dead secondary, meets
// limits and no panic.
func TestManyRollovers(t *testing.T) {
	l := newLife(t, plain()).run(10 * day)
	l.stuck = true
	refused := false
	for range 200 {
		refused = l.m.Roll(ZSK, false, l.now) != nil || refused
		l.run(time.Hour)
	}
	if !refused || len(l.m.memory.Keys) > MaxKeys || len(l.m.memory.Data) > maxContents {
		t.Errorf("refused %v, %d keys, %d contents", refused, len(l.m.memory.Keys), len(l.m.memory.Data))
	}
	l.stuck = false
	l.run(100 * day)
	if got := len(l.m.memory.Keys); got != 2 {
		t.Errorf("%d keys are left, want 2: %s", got, fmt.Sprint(l.m.memory.Keys))
	}
}

// TestViews tells the life of a ZSK and a KSK as an operator sees it.
func TestViews(t *testing.T) {
	l := newLife(t, plain())
	l.step()
	seen := []string{}
	look := func() {
		line := ""
		for _, v := range l.m.Views(l.now) {
			line += fmt.Sprintf("%v %s: %s; ", v.Key.Role, v.Phase, v.Next)
		}
		if len(seen) == 0 || seen[len(seen)-1] != line {
			seen = append(seen, line)
		}
	}
	for range 26 * 4 {
		l.run(15 * time.Minute)
		look()
	}
	for range 2 {
		l.run(2 * day)
	}
	look()
	l.m.Roll(ZSK, false, l.now)
	l.step()
	look()
	l.run(2 * time.Hour)
	look()
	l.run(2 * day)
	look()
	want := []string{
		"ksk publish: is used when no cache can have anything but the DNSKEY RRset with it; zsk publish: is used when no cache can have anything but the DNSKEY RRset with it; ",
		"ksk ready: waits until the parent shows its DS; zsk active: is in use until it is rolled; ",
		"ksk active: the DS records before it may be cached; zsk active: is in use until it is rolled; ",
		"ksk active: is in use until it is rolled; zsk active: is in use until it is rolled; ",
		"ksk active: is in use until it is rolled; zsk active: signs until its successor is known everywhere; zsk publish: is used when every server of the zone shows the DNSKEY RRset with it (generation 3); ",
		"ksk active: is in use until it is rolled; zsk retire: leaves when no cache can have anything but the signatures without it; zsk active: is in use until it is rolled; ",
		"ksk active: is in use until it is rolled; zsk removed: is deleted; zsk active: is in use until it is rolled; ",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(seen, "\n\t"), strings.Join(want, "\n\t"))
	}
}
