package route

import "testing"

// TestScheme: a route for one scheme is passed over by requests of the other, and Explain
// says why.
func TestScheme(t *testing.T) {
	table := compiled(t, named("clear", "", "/", 0, When{Scheme: "http"}), named("all", "", "/", 0, When{}), named("secure", "", "/s", 0, When{Scheme: "https"}))
	for _, c := range []struct {
		path, want string
		q          Request
	}{
		{"/", "all", asked{}}, {"/", "clear", fixed{}}, {"/s", "secure", asked{}}, {"/s", "clear", fixed{}},
	} {
		r, _ := table.Match([]byte("h"), []byte(c.path), c.q)
		if got := nameOf(r); got != c.want {
			t.Errorf("%s over %s: got %q, want %q", c.path, c.q.Scheme(), got, c.want)
		}
		if trace := table.Explain("h", c.path, c.q, Policy{}); trace.Route != r {
			t.Errorf("%s over %s is explained as %+v", c.path, c.q.Scheme(), trace)
		}
	}
	if _, errs := Compile([]Rule{named("bad", "", "/", 0, When{Scheme: "ftp"})}, []string{"p"}); len(errs) != 1 {
		t.Errorf("ftp: %v", errs)
	}
}
