package upgrade

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// world is a plain server and what it designates, as asked by a Driver.
type world struct {
	mu      sync.Mutex
	plain   map[string][]string // SVCB records by owner; nil: it does not answer
	up      bool                // the designated resolver answers
	names   bool                // its certificate names the server
	asked   map[bool]int        // encrypted or not
	changes []State
}

func (w *world) ask(_ context.Context, _ Source, via Found, name dnsname.Name, t rdata.Type) (records []rdata.Record, seen string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked[via != (Found{})]++
	switch {
	case via == (Found{}) && w.plain == nil:
		return nil, "", errors.New("timeout")
	case via != (Found{}) && !w.up:
		return nil, "", errors.New("connection refused")
	case via.Name != "" && !w.names:
		return nil, "", errors.New("wrong certificate")
	}
	for _, text := range w.plain[name.String()] {
		data, err := rdata.ParseText(t, dnsname.Root, text)
		if err != nil {
			continue // of another type
		}
		records = append(records, rdata.Record{Name: name, Type: t, TTL: 300, Data: data})
	}
	return records, "pin", nil
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

const own = "_dns.resolver.arpa."

// begin follows one source in a world.
func begin(t *testing.T, s Source, w *world) (*Driver, func() State) {
	w.asked = map[bool]int{}
	d := New(Config{Ask: w.ask, Log: slog.New(slog.DiscardHandler), OnChange: func(s State) { w.set(func() { w.changes = append(w.changes, s) }) }})
	t.Cleanup(d.Close)
	d.Set([]Source{s})
	return d, func() State { synctest.Wait(); return d.States()[0] }
}

// A designation is used once it is proven, kept while it works, given up by who may ask in
// the clear and by nobody else, and found again.
func TestLife(t *testing.T) {
	for _, strict := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{plain: map[string][]string{own: {"1 dns.example. alpn=dot ipv4hint=198.51.100.1"}}, up: true, names: true}
			s := Source{Server: netip.MustParseAddrPort("192.0.2.1:53"), Strict: strict}
			d, now := begin(t, s, w)
			want := Found{At: netip.MustParseAddrPort("198.51.100.1:853"), Over: 1, Name: "192.0.2.1"}
			if got := now(); got.Found != want || got.Problem != "" {
				t.Fatalf("got %+v, want %+v", got, want)
			}
			w.set(func() { w.plain = map[string][]string{}; w.asked = map[bool]int{} }) // somebody forges plain answers
			time.Sleep(time.Hour)
			if got := now(); got.Found != want || w.asked[false] != 0 || w.asked[true] == 0 || len(w.changes) != 1 {
				t.Errorf("after an hour: got %+v, asked %v", got, w.asked)
			}
			w.set(func() { w.up = false })
			time.Sleep(time.Minute)
			got := now()
			if _, ok := d.Known(s); ok != strict || !strings.Contains(got.Problem, "connection refused") {
				t.Errorf("strict %v, down: got %+v", strict, got)
			}
			w.set(func() {
				w.up = true
				w.plain = map[string][]string{own: {"1 dns.example. alpn=dot ipv4hint=198.51.100.1"}}
			})
			time.Sleep(time.Minute)
			if got := now(); got.Found != want || got.Problem != "" {
				t.Errorf("up again: got %+v", got)
			}
			d.Set(nil)
			synctest.Wait()
			if len(d.States()) != 0 {
				t.Error("what is not followed any more is still known")
			}
		})
	}
}

// At the TTL's end what is found is asked itself whom to ask from then on. It stays while
// what it says cannot be used.
func TestMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{plain: map[string][]string{own: {"1 d.example. alpn=dot ipv4hint=198.51.100.1"}}, up: true, names: true}
		_, now := begin(t, Source{Server: netip.MustParseAddrPort("192.0.2.1:53")}, w)
		first := now().Found
		w.set(func() { w.plain[own] = []string{"1 d.example. alpn=doq ipv4hint=198.51.100.2"} })
		time.Sleep(4 * time.Minute)
		if got := now(); got.Found != first {
			t.Errorf("before the TTL's end: got %+v", got)
		}
		time.Sleep(2 * time.Minute)
		if got := now(); got.Found.At != netip.MustParseAddrPort("198.51.100.2:853") || got.Found.Over.String() != "DoQ" {
			t.Errorf("after the TTL's end: got %+v", got)
		}
		w.set(func() { w.plain[own] = []string{"1 d.example. alpn=dot ipv4hint=127.0.0.1"} })
		time.Sleep(time.Hour)
		if got := now(); got.Found.At != netip.MustParseAddrPort("198.51.100.2:853") || w.asked[false] != 1 {
			t.Errorf("led astray: got %+v, %d questions in the clear", got, w.asked[false])
		}
	})
}

// What may not be used, and why: one case of each rule.
func TestNotUsed(t *testing.T) {
	for name, c := range map[string]struct {
		server  string
		strict  bool
		names   bool
		plain   map[string][]string
		problem string // empty: none
		found   Found
	}{
		"nothing designated":         {"192.0.2.1:53", false, true, map[string][]string{}, "", Found{}},
		"nothing designated, strict": {"192.0.2.1:53", true, true, map[string][]string{}, "designates no", Found{}},
		"no answer":                  {"192.0.2.1:53", false, true, nil, "timeout", Found{}},
		"wrong certificate":          {"192.0.2.1:53", false, false, map[string][]string{own: {"1 d.example. alpn=dot ipv4hint=192.0.2.1"}}, "wrong certificate", Found{}},
		"private, without a certificate": {"10.0.0.1:53", false, false, map[string][]string{own: {"1 d.example. alpn=dot ipv4hint=10.0.0.1"}}, "",
			Found{At: netip.MustParseAddrPort("10.0.0.1:853"), Over: 1, Pin: "pin"}},
		"private, strict":     {"10.0.0.1:53", true, false, map[string][]string{own: {"1 d.example. alpn=dot ipv4hint=10.0.0.1"}}, "wrong certificate", Found{}},
		"private, elsewhere":  {"10.0.0.1:53", false, false, map[string][]string{own: {"1 d.example. alpn=dot ipv4hint=10.0.0.2"}}, "wrong certificate", Found{}},
		"private, over HTTPS": {"10.0.0.1:53", false, false, map[string][]string{own: {"1 d.example. alpn=h2 key7=/q{?dns} ipv4hint=10.0.0.1"}}, "wrong certificate", Found{}},
		"into our network":    {"192.0.2.1:53", false, true, map[string][]string{own: {"1 d.example. alpn=dot ipv4hint=127.0.0.1"}}, "must not", Found{}},
		"no address":          {"192.0.2.1:53", false, true, map[string][]string{own: {"1 d.example. alpn=dot"}}, "no address", Found{}},
		"address of the target": {"192.0.2.1:53", false, true, map[string][]string{own: {"1 d.example. alpn=dot"}, "d.example.": {"198.51.100.7"}}, "",
			Found{At: netip.MustParseAddrPort("198.51.100.7:853"), Over: 1, Name: "192.0.2.1"}},
		"alias": {"192.0.2.1:53", false, true, map[string][]string{own: {"0 a.example."}, "a.example.": {"1 d.example. alpn=dot ipv4hint=198.51.100.7"}}, "",
			Found{At: netip.MustParseAddrPort("198.51.100.7:853"), Over: 1, Name: "192.0.2.1"}},
		"circle of aliases": {"192.0.2.1:53", false, true, map[string][]string{own: {"0 a.example."}, "a.example.": {"0 _dns.resolver.arpa."}}, "circle", Found{}},
		"of no use":         {"192.0.2.1:53", false, true, map[string][]string{own: {"1 d.example. alpn=h2 ipv4hint=198.51.100.7"}}, "dohpath", Found{}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{plain: c.plain, up: true, names: c.names}
			_, now := begin(t, Source{Server: netip.MustParseAddrPort(c.server), Strict: c.strict}, w)
			got := now()
			if got.Found != c.found || c.problem == "" != (got.Problem == "") || !strings.Contains(got.Problem, c.problem) {
				t.Errorf("%s: got %+v, want %+v, problem %q", name, got, c.found, c.problem)
			}
			if !got.Next.After(got.Checked) {
				t.Errorf("%s: next look at %v", name, got.Next)
			}
		})
	}
}
