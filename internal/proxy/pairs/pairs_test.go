package pairs

import "testing"

func TestParameter(t *testing.T) {
	for _, c := range []struct{ query, name, want string }{
		{"?a=1&b=2", "b", "2"}, {"?a=1&a=2", "a", "1"}, {"?ab=1", "a", ""}, {"?a", "a", ""}, {"", "a", ""}, {"?", "a", ""}, {"?b=&a=%20", "a", "%20"},
	} {
		if got := string(Parameter([]byte(c.query), c.name)); got != c.want {
			t.Errorf("%s in %q: got %q, want %q", c.name, c.query, got, c.want)
		}
	}
	if got := string(Value([]byte("x=1; a=2;a=3"), ';', "a")); got != "2" {
		t.Errorf("a cookie: got %q", got)
	}
}
