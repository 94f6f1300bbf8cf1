package mirror

import "testing"

func TestTakes(t *testing.T) {
	for _, c := range []struct {
		spec   Spec
		isSafe bool
		drawn  int
		want   bool
	}{
		{Spec{Percent: 100}, true, 99, true}, {Spec{Percent: 10}, true, 9, true}, {Spec{Percent: 10}, true, 10, false},
		{Spec{Percent: 100}, false, 0, false}, {Spec{Percent: 100, Unsafe: true}, false, 0, true},
	} {
		if got := c.spec.Takes(c.isSafe, c.drawn); got != c.want {
			t.Errorf("%+v, safe %v, drawn %d: got %v", c.spec, c.isSafe, c.drawn, got)
		}
	}
}

func TestCounts(t *testing.T) {
	var c Counts
	if !c.Begin(1) || c.Begin(1) {
		t.Error("one is let in at a time")
	}
	c.End(true)
	if !c.Begin(1) {
		t.Error("there is room again")
	}
	c.End(false)
	c.Skip()
	if got, want := c.Read("r", "p"), (Reading{"r", "p", 0, 1, 1, 1, 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestCopy(t *testing.T) {
	y := &Copy{Most: 5}
	y.Add([]byte("abc"))
	y.Add([]byte("de"))
	if string(y.Content) != "abcde" || y.IsOver {
		t.Errorf("got %+v", y)
	}
	y.Add([]byte("f"))
	if y.Content != nil || !y.IsOver {
		t.Errorf("half of the content is kept: %+v", y)
	}
	(*Copy)(nil).Add([]byte("x"))
}
