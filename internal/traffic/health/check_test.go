package health

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestStatusSet(t *testing.T) {
	for _, c := range []struct {
		text, want string
		in, out    []int
	}{
		{"200-399,404", "200-399,404", []int{200, 301, 399, 404}, []int{199, 400, 403, 405}},
		{"", "200-399", []int{200, 399}, []int{100, 404, 500, 0, 999, -1}},
		{"204", "204", []int{204}, []int{203, 205}},
		{" 200 - 201 , 202 ", "200-202", []int{200, 201, 202}, []int{203}},
		{"100-599", "100-599", []int{100, 599}, []int{99, 600}},
	} {
		s, err := ParseStatusSet(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if got := s.String(); got != c.want {
			t.Errorf("%q: String is %q, want %q", c.text, got, c.want)
		}
		for _, code := range c.in {
			if !s.Has(code) {
				t.Errorf("%q has not %d", c.text, code)
			}
		}
		for _, code := range c.out {
			if s.Has(code) {
				t.Errorf("%q has %d", c.text, code)
			}
		}
	}
	for _, bad := range []string{"399-200", "20", "200,,201", "abc", "200-", "-200", "600", "1e3"} {
		if s, err := ParseStatusSet(bad); err == nil {
			t.Errorf("%q read as %v", bad, s)
		} else if !strings.Contains(err.Error(), "200-399,404") {
			t.Errorf("%q: the error shows no remedy: %v", bad, err)
		}
	}
}

func TestCheckValidate(t *testing.T) {
	for _, c := range []struct {
		check Check
		want  string // in the error; "" is no error
	}{
		{Check{}, ""},
		{Check{Kind: HTTP, Terms: Terms{Path: "/health?x=1", Host: "www.example.com", Fields: "X-Check: 1\r\n"}.Once()}, ""},
		{Check{Kind: 99}, "want one of none, tcp, http"},
		{Check{Kind: HTTP, Terms: Terms{Path: "health"}.Once()}, "begin with /"},
		{Check{Kind: HTTP, Terms: Terms{Path: "/a b"}.Once()}, "percent-encoded"},
		{Check{Kind: HTTP, Terms: Terms{Path: "/a\r\nX: y"}.Once()}, "control character"},
		{Check{Kind: HTTP, Terms: Terms{Host: "a\r\nX: y"}.Once()}, "control character"},
		{Check{Kind: HTTP, Terms: Terms{Method: "GET /"}.Once()}, "method"},
		{Check{Kind: HTTP, Terms: Terms{Fields: "X: a\r\nb\r\n"}.Once()}, "want a name"},
		{Check{Kind: HTTP, Terms: Terms{Fields: "X: a"}.Once()}, "want a name"},
		{Check{Kind: HTTP, Terms: Terms{Redirects: 6}.Once()}, "want 0 to 5"},
		{Check{Kind: HTTP, Terms: Terms{Match: Match{Regexp: "("}}.Once()}, "regexp"},
		{Check{Params: Params{Grace: -1}.Once()}, "startGrace"},
		{Check{Params: Params{Interval: time.Millisecond}.Once()}, "at least 10ms"},
		{Check{Params: Params{Timeout: -time.Second}.Once()}, "timeout"},
		{Check{Params: Params{Fall: 101}.Once()}, "want 1 to 100"},
	} {
		err := c.check.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.check, err, c.want)
		}
	}
}

// A target written with its state reads back as the same key.
func TestTargetJSON(t *testing.T) {
	set, _ := ParseStatusSet("200,404")
	want := Target{netip.MustParseAddrPort("[2001:db8::1]:80"), Check{
		Kind: HTTP, Port: 81, Terms: Terms{Host: "h", Path: "/p", Status: set, TLS: Encryption{CA: "ca.pem"}}.Once(), Params: Params{Interval: time.Second, Rise: 3}.Once(),
	}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Target
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("%s: got %+v, %v", text, got, err)
	}
	if want.ProbeAddress().String() != "[2001:db8::1]:81" {
		t.Errorf("probed at %v", want.ProbeAddress())
	}
	other := want
	other.Check.Params = Params{Interval: time.Minute}.Once()
	if other.Question() != want.Question() || other == want {
		t.Error("times make a question another one")
	}
}

func TestWords(t *testing.T) {
	for s := range State(4) {
		text, _ := s.MarshalText()
		var back State
		if err := back.UnmarshalText(text); err != nil || back != s {
			t.Errorf("%v: %v, %v", s, back, err)
		}
	}
	for k := range AgentHTTP + 1 {
		text, _ := k.MarshalText()
		var back Kind
		if err := back.UnmarshalText(text); err != nil || back != k {
			t.Errorf("%v: %v, %v", k, back, err)
		}
	}
	if (new(State)).UnmarshalText([]byte("upp")) == nil || (new(Kind)).UnmarshalText([]byte("ping")) == nil {
		t.Error("an unknown word was read")
	}
}
