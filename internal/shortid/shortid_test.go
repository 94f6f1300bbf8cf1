package shortid

import (
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	for _, n := range []uint64{0, 1, 0x123456789a, 1<<Bits - 1} {
		text := Text("steer-", n)
		if got, err := Parse("steer-", strings.ToUpper(text), "an answer"); err != nil || got != n || len(text) != len("steer-")+8 {
			t.Errorf("%d: %s, %d, %v", n, text, got, err)
		}
	}
	for _, bad := range []string{"", "steer-", "steer-0", "steer-0123456", "steer-012345678", "steer-0123456l", "other-01234567", "01234567"} {
		if _, err := Parse("steer-", bad, "an answer"); err == nil || !strings.Contains(err.Error(), "is no id of an answer; want one such as steer-28t5cy4t") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
