package tracecontext

import (
	"encoding/binary"
	"strings"
	"testing"
)

const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// W3C Trace Context §3.2.2 and §4.3: what is a traceparent.
func TestParse(t *testing.T) {
	for value, want := range map[string]string{
		good:                           good,
		good[:len(good)-2] + "00":      good[:len(good)-2] + "00",
		good[:len(good)-2] + "ff":      good,
		good[:len(good)-2] + "fe":      good[:len(good)-2] + "00",
		"cc" + good[2:]:                good,
		"cc" + good[2:] + "-what.came": good,

		"":                              "",
		good[:len(good)-1]:              "",
		good + "-":                      "",
		good + " ":                      "",
		"cc" + good[2:] + "x":           "",
		"ff" + good[2:]:                 "",
		"0" + good[1:len(good)-1] + "g": "",
		strings.ToUpper(good):           "",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": "",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01": "",
		"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01": "",
		"00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01": "",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01": "",
		"00-4bf92f3577b34da6a3ce929d0e0e473G-00f067aa0ba902b7-01": "",
		"0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01": "",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x": "",
		".0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01": "",
	} {
		c, ok := Parse([]byte(value))
		if got := string(c.Append(nil)); ok != (want != "") || ok && got != want {
			t.Errorf("%q: got %q, %t, want %q", value, got, ok, want)
		}
	}
}

// §3.3: what is a tracestate.
func TestParseState(t *testing.T) {
	many := strings.Repeat("a=1,", 32)
	for value, want := range map[string]int{
		"": 0, "rojo=00f067aa0ba902b7": 1, "rojo=1 2, congo=t61rcWkgMzE": 2, "a=1,,\t,b=2": 2, "0tenant@sys=x": 1, "a_-*/9=!": 1, many: 32, " a=1 ": 1,
		many + "b=1": -1, "a": -1, "a=": -1, "=1": -1, "A=1": -1, "9=1": -1, "a=b=c": -1, "a@9=1": -1, "@a=1": -1, "a@=1": -1, "a=\x7f": -1, "a =1": -1,
		"a=" + strings.Repeat("x", 257): -1, strings.Repeat("a", 257) + "=1": -1, strings.Repeat("a=1 ,", 200): -1,
	} {
		n, ok := ParseState([]byte(value))
		if ok != (want >= 0) || ok && n != want {
			t.Errorf("%q: got %d, %t, want %d", value, n, ok, want)
		}
	}
}

// TestSampled: one trace of so many is recorded, evenly, and by its id alone.
func TestSampled(t *testing.T) {
	for _, every := range []int{1, 2, 10, 100} {
		kept := 0
		const n = 100_000
		for i := range uint64(n) {
			var id TraceID
			binary.BigEndian.PutUint64(id[8:], i*0x9e3779b97f4a7c15)
			if IsSampled(id, every) {
				kept++
			}
		}
		if want := n / every; kept < want*9/10 || kept > want*11/10 {
			t.Errorf("1 of %d: %d of %d were, want about %d", every, kept, n, want)
		}
	}
	if IsSampled(TraceID{}, 0) {
		t.Error("of none one was")
	}
}

func TestNoAllocs(t *testing.T) {
	b, value, state := make([]byte, 0, 64), []byte(good), []byte("a=1,b@c=2")
	if n := testing.AllocsPerRun(100, func() {
		c, _ := Parse(value)
		b = c.Append(b[:0])
		ParseState(state)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("cc" + good[2:] + "-x")
	f.Fuzz(func(t *testing.T, value string) {
		c, ok := Parse([]byte(value))
		if !ok {
			if c != (Context{}) {
				t.Errorf("%q is none, and has %v", value, c)
			}
			return
		}
		written := string(c.Append(nil))
		if again, ok := Parse([]byte(written)); !ok || again != c || written[3:SpanAt+16] != value[3:SpanAt+16] {
			t.Errorf("%q was written as %q", value, written)
		}
	})
}

func FuzzParseState(f *testing.F) {
	f.Add("a=1,b@c=2")
	f.Fuzz(func(t *testing.T, value string) {
		n, ok := ParseState([]byte(value))
		if ok && (n > maxStateMembers || n > strings.Count(value, "=") || strings.ContainsAny(value, "\r\n\x00")) {
			t.Errorf("%q has %d members", value, n)
		}
	})
}
