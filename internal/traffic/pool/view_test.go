package pool

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pharos/internal/traffic/health"
)

// specOf returns a pool of members a, b, c, ... with the given addresses; a word
// "*3" after an address is the weight, "drain" drains.
func specOf(name string, policy Policy, members ...string) Spec {
	s := Spec{Name: name, Policy: policy, Check: health.Check{Kind: health.TCP}}
	for i, text := range members {
		m := MemberSpec{Name: string(rune('a' + i))}
		for j, word := range strings.Fields(text) {
			switch {
			case j == 0:
				m.Address = netip.MustParseAddrPort(word)
			case word == "drain":
				m.Drain = true
			default:
				fmt.Sscanf(word, "*%d", &m.Weight)
			}
		}
		s.Members = append(s.Members, m)
	}
	return s
}

// statesOf makes a status function: targets[i] is in the state of the i-th letter
// (u: up, d: down, ?: unknown).
func statesOf(s Spec, letters string) func(health.Target) health.Status {
	states := map[health.Target]health.State{}
	for i, m := range s.Members {
		states[s.target(m)] = map[byte]health.State{'u': health.Up, 'd': health.Down, '?': health.Unknown}[letters[i]]
	}
	return func(t health.Target) health.Status { return health.Status{State: states[t], Cause: "as the test says"} }
}

// names writes members as the letters of their names.
func names(v *View, members []int32) string {
	var b strings.Builder
	for _, i := range members {
		b.WriteString(v.Members[i].Name)
	}
	return b.String()
}

// TestTiers: Up members are eligible; Unknown ones only when none is Up; Down ones
// only when there is nobody else; Draining ones never.
func TestTiers(t *testing.T) {
	for _, c := range []struct {
		states, drained string
		eligible, spare string
		tier            Tier
	}{
		{"uuu", "", "abc", "", UpOnly},
		{"udu", "", "ac", "", UpOnly},
		{"u?d", "", "a", "b", UpOnly},
		{"???", "", "abc", "", UnknownOnly},
		{"?dd", "", "a", "", UnknownOnly},
		{"ddd", "", "abc", "", Everybody},
		{"uuu", "b", "ac", "", UpOnly},
		{"udd", "a", "bc", "", Everybody},
		{"u?d", "a", "b", "", UnknownOnly},
		{"uuu", "abc", "", "", Nobody},
	} {
		spec := specOf("web", RoundRobin, "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
		for i := range spec.Members {
			spec.Members[i].Drain = strings.Contains(c.drained, spec.Members[i].Name)
		}
		v := Compile(spec, statesOf(spec, c.states), nil)
		v.check()
		if got := names(v, v.Eligible); got != c.eligible || names(v, v.Spare) != c.spare || v.Tier != c.tier {
			t.Errorf("%s drained %q: eligible %q spare %q tier %v, want %q %q %v",
				c.states, c.drained, got, names(v, v.Spare), v.Tier, c.eligible, c.spare, c.tier)
		}
		if v.AllDown != (c.tier == Everybody) {
			t.Errorf("%s drained %q: AllDown %v", c.states, c.drained, v.AllDown)
		}
	}
}

// TestFamilies: each family falls back by itself, so that an IPv4 client is not left
// without an address while IPv6 is well.
func TestFamilies(t *testing.T) {
	spec := specOf("web", RoundRobin, "10.0.0.1:80", "10.0.0.2:80", "[2001:db8::1]:80", "[::ffff:10.0.0.3]:80")
	v := Compile(spec, statesOf(spec, "ddud"), nil)
	v.check()
	if got := names(v, v.Eligible); got != "c" || v.AllDown {
		t.Errorf("eligible %q, all down %v; want c, false", got, v.AllDown)
	}
	if got := names(v, v.V4.Eligible); got != "abd" || !v.V4.AllDown {
		t.Errorf("IPv4 eligible %q, all down %v; want abd (d is an IPv4 address in IPv6 spelling), true", got, v.V4.AllDown)
	}
	if got := names(v, v.V6.Eligible); got != "c" || v.V6.AllDown {
		t.Errorf("IPv6 eligible %q, all down %v; want c, false", got, v.V6.AllDown)
	}
}

// TestOneAddressOnce: RFC 2181 §5: members of one address are one record, with the
// sum of their weights; to the gateway they stay two.
func TestOneAddressOnce(t *testing.T) {
	spec := specOf("web", WeightedRoundRobin, "10.0.0.1:80 *1", "10.0.0.1:81 *2", "10.0.0.2:80 *1")
	v := Compile(spec, statesOf(spec, "uuu"), nil)
	v.check()
	if got := names(v, v.Eligible); got != "abc" {
		t.Errorf("eligible %q, want abc", got)
	}
	if got := names(v, v.V4.Eligible); got != "ac" {
		t.Errorf("IPv4 eligible %q, want ac", got)
	}
	if got := names(v, v.V4.Order); got != "aaca" {
		t.Errorf("IPv4 order %q, want aaca", got)
	}
	v = Compile(spec, statesOf(spec, "duu"), nil)
	if got := names(v, v.V4.Eligible); got != "bc" {
		t.Errorf("with a down: IPv4 eligible %q, want bc: the address is well through b", got)
	}
}

func TestValidate(t *testing.T) {
	ok := specOf("web", RoundRobin, "10.0.0.1:80", "10.0.0.2:80")
	if err := ok.Validate(); err != nil {
		t.Error(err)
	}
	for want, spoil := range map[string]func(*Spec){
		"two members named":   func(s *Spec) { s.Members[1].Name = "a" },
		"want an IP address":  func(s *Spec) { s.Members[0].Address = netip.AddrPort{} },
		"address 10.0.0.1:0":  func(s *Spec) { s.Members[0].Address = netip.MustParseAddrPort("10.0.0.1:0") },
		"weight -1":           func(s *Spec) { s.Members[0].Weight = -1 },
		"weight 65537":        func(s *Spec) { s.Members[0].Weight = MaxWeight + 1 },
		"want it to begin":    func(s *Spec) { s.Check.Terms = health.Terms{Path: "x"}.Once() },
		"65537 members; at m": func(s *Spec) { s.Members = make([]MemberSpec, MaxMembers+1) },
	} {
		s := ok
		s.Members = slices.Clone(ok.Members)
		spoil(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `pool "web"`) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

// A view is shown as it is: words for states, no counters.
func TestViewJSON(t *testing.T) {
	spec := specOf("web", WeightedRoundRobin, "10.0.0.1:80 *2", "10.0.0.2:80 drain")
	text, err := json.Marshal(Compile(spec, statesOf(spec, "du"), nil))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"web","policy":"weightedRoundRobin","members":[` +
		`{"name":"a","address":"10.0.0.1:80","weight":2,"state":"down","cause":"as the test says","share":1000},` +
		`{"name":"b","address":"10.0.0.2:80","weight":1,"state":"draining","cause":"drained in the configuration","share":1000}],` +
		`"revision":1,"eligible":[0],"allDown":true,"tier":"all down, so everybody"}`
	if got := string(text); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
