package cookie

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVectors are the examples of RFC 9018 appendix A.
func TestVectors(t *testing.T) {
	for _, tt := range []struct {
		what, secret, client, option string
		now                          uint32
		want                         string
		good                         bool
	}{
		{"A.1: a new server cookie", "e5e973e5a6b2a43f48e7dc849e37bfcf", "198.51.100.100",
			"2464c4abcf10c957", 1559731985, "2464c4abcf10c957 010000005cf79f111f8130c3eee29480", false},
		{"A.2: a cookie that is not old is given back", "e5e973e5a6b2a43f48e7dc849e37bfcf", "198.51.100.100",
			"2464c4abcf10c957 010000005cf79f111f8130c3eee29480", 1559732385, "2464c4abcf10c957 010000005cf79f111f8130c3eee29480", true},
		{"A.2: another client", "e5e973e5a6b2a43f48e7dc849e37bfcf", "203.0.113.203",
			"fc93fc62807ddb86 01abcdef5cf78f71a314227b6679ebf5", 1559727985, "fc93fc62807ddb86 01abcdef5cf78f71a314227b6679ebf5", true},
		{"A.3: one older than half an hour is renewed", "e5e973e5a6b2a43f48e7dc849e37bfcf", "203.0.113.203",
			"fc93fc62807ddb86 01abcdef5cf78f71a314227b6679ebf5", 1559734700, "fc93fc62807ddb86 010000005cf7a9acf73a7810aca2381e", false},
		{"A.4: IPv6, a rolled secret", "445536bcd2513298075a5d379663c962", "2001:db8:220:1:59de:d0f4:8769:82b8",
			"22681ab97d52c298 010000005cf7c57926556bd0934c72f8", 1559741961, "22681ab97d52c298 010000005cf7c609a6bb79d16625507a", false},
	} {
		secret, err := ParseSecret(tt.secret)
		if err != nil {
			t.Fatal(err)
		}
		got, good := secret.Answer(unhex(t, tt.option), netip.MustParseAddr(tt.client), tt.now)
		if want := strings.ReplaceAll(tt.want, " ", ""); hex.EncodeToString(got[:]) != want || good != tt.good {
			t.Errorf("%s:\n got %x %v\nwant %s %v", tt.what, got, good, want, tt.good)
		}
	}
}

// TestAges: RFC 9018 §4.3.
func TestAges(t *testing.T) {
	secret, client := Secret{1}, netip.MustParseAddr("192.0.2.1")
	const made = 1<<32 - 100 // so that the clock wraps
	cookie, good := secret.Answer(make([]byte, ClientLen), client, made)
	if good {
		t.Error("a client cookie alone is good")
	}
	for age, want := range map[int64]bool{0: true, 1800: true, 1801: true, 3600: true, 3601: false, -300: true, -301: false, 1 << 30: false} {
		again, good := secret.Answer(cookie[:], client, uint32(int64(made)+age))
		if good != want || (again == cookie) != (want && age <= 1800) {
			t.Errorf("age %d: good %v, same %v", age, good, again == cookie)
		}
	}
}

// TestForgeries: any octet changed, another address or secret, another version or
// length, is no good.
func TestForgeries(t *testing.T) {
	secret, client := Secret{1}, netip.MustParseAddr("192.0.2.1")
	cookie, _ := secret.Answer(make([]byte, ClientLen), client, 1000)
	for i := range cookie {
		forged := cookie
		forged[i] ^= 1
		if _, good := secret.Answer(forged[:], client, 1000); good {
			t.Errorf("octet %d changed: good", i)
		}
	}
	if _, good := secret.Answer(cookie[:], netip.MustParseAddr("192.0.2.2"), 1000); good {
		t.Error("another address: good")
	}
	if _, good := (&Secret{2}).Answer(cookie[:], client, 1000); good {
		t.Error("another secret: good")
	}
	if _, good := secret.Answer(append(cookie[:], 0), client, 1000); good {
		t.Error("another length: good")
	}
	if _, good := secret.Answer(cookie[:], netip.MustParseAddr("::ffff:192.0.2.1"), 1000); !good {
		t.Error("an IPv4 address as IPv6 has it: not good")
	}
}

// TestRollover: RFC 9018 §5. Of three servers the first has only the old secret, the
// second makes cookies with the old one and takes both, the third makes them with
// the new one and takes both.
func TestRollover(t *testing.T) {
	before, after := Secret{1}, Secret{2}
	client := netip.MustParseAddr("192.0.2.1")
	servers := map[string]*Secrets{
		"old": {Current: before}, "told": {Current: before, Other: after, HasOther: true},
		"changed": {Current: after, Other: before, HasOther: true}, "new": {Current: after},
	}
	for _, tt := range []struct {
		from, to string
		good     bool
		same     bool // the cookie is kept
	}{
		{"old", "told", true, true}, {"told", "old", true, true}, {"old", "changed", true, false}, {"told", "changed", true, false},
		{"changed", "told", true, false}, {"changed", "new", true, true}, {"changed", "old", false, false}, {"old", "new", false, false},
	} {
		given, _ := servers[tt.from].Answer(make([]byte, ClientLen), client, 1000)
		got, good := servers[tt.to].Answer(given[:], client, 1001)
		if good != tt.good || (got == given) != tt.same {
			t.Errorf("from %s to %s: good %v, same %v", tt.from, tt.to, good, got == given)
		}
	}
}

func TestParseSecret(t *testing.T) {
	for _, text := range []string{"", "00", strings.Repeat("0", 33), strings.Repeat("0", 34), strings.Repeat("g", 32)} {
		if _, err := ParseSecret(text); err != ErrSecret {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestNoAllocs(t *testing.T) {
	secret, client, option := Secret{1}, netip.MustParseAddr("2001:db8::1"), make([]byte, Len)
	if got := testing.AllocsPerRun(100, func() { secret.Answer(option, client, 1) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkAnswer(b *testing.B) {
	secret, client := Secret{1}, netip.MustParseAddr("192.0.2.1")
	cookie, _ := secret.Answer(make([]byte, ClientLen), client, 1)
	for b.Loop() {
		secret.Answer(cookie[:], client, 2)
	}
}
