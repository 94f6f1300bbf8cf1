package requestid

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestRequestIDs(t *testing.T) {
	now := time.UnixMilli(0x0123456789ab)
	seen := map[string]bool{}
	for range 1000 {
		id := string(Append(nil, now))
		if !strings.HasPrefix(id, "01234567-89ab-7") || len(id) != 36 || strings.IndexByte("89ab", id[19]) < 0 || seen[id] {
			t.Fatalf("%s is no new UUID of version 7", id)
		}
		seen[id] = true
	}
	for _, v := range []uint32{0, 0x01234567, 0x89abcdef, 0x9a9a9a9a, 0xffffffff} {
		var got [8]byte
		if binary.BigEndian.PutUint64(got[:], hex(v)); string(got[:]) != fmt.Sprintf("%08x", v) {
			t.Errorf("%08x is written as %q", v, got)
		}
	}
	for id, want := range map[string]bool{"a-b_c.d:e/f=+": true, "": false, "a b": false, "a\"": false, strings.Repeat("a", 129): false} {
		if got := IsOne([]byte(id)); got != want {
			t.Errorf("%q: got %t, want %t", id, got, want)
		}
	}
}
