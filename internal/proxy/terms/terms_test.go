package terms

import (
	"testing"
	"time"
)

func TestParseGRPCTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"100m": 100 * time.Millisecond, "1H": time.Hour, "2M": 2 * time.Minute, "3S": 3 * time.Second, "5u": 5 * time.Microsecond, "7n": 7,
		"99999999H": 1<<63 - 1, "": 0, "1": 0, "m": 0, "-1S": 0, "1.5S": 0, "1s": 0, "123456789m": 0,
	} {
		got, ok := ParseGRPCTimeout([]byte(text))
		if got != want || ok != (want > 0) {
			t.Errorf("%q: got %v %v, want %v", text, got, ok, want)
		}
	}
}
