package signer

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/kasp"
	"pharos/internal/clock"
)

func TestTrouble(t *testing.T) {
	old := kasp.View{Key: kasp.Key{Role: kasp.CSK, Wanted: true, Made: clock.Now().Add(-2 * patience)}}
	asks := kasp.Parental{Ask: []kasp.Key{old.Key}}
	for _, c := range []struct {
		name string
		st   State
		in   func(Trouble) string
		want string
	}{
		{"none", State{Signed: true, Expires: clock.Now()}, func(t Trouble) string {
			return t.Failed + t.Jumped + t.Expires + t.Lost + t.Offline + t.Waits + t.BehindOf
		}, ""},
		{"failed", State{Problem: "no key"}, func(t Trouble) string { return t.Failed }, "no key"},
		{"jumped", State{Jumped: time.Hour}, func(t Trouble) string { return t.Jumped }, "the clock has jumped by 1h0m0s"},
		{"ends and fails", State{Signed: true, Problem: "no key", Expires: clock.Now().Add(time.Hour)}, func(t Trouble) string { return t.Expires }, "the first signature ends in"},
		{"lost", State{Parent: kasp.Parental{Lost: "no key of tag 1"}}, func(t Trouble) string { return t.Lost }, "no key of tag 1; have the parent show what \"pharos zone ds example.@in\""},
		{"offline, soon", State{Elsewhere: &Elsewhere{Warn: true}}, func(t Trouble) string { return t.Offline }, "pharos zone keys ksr"},
		{"offline, lacks", State{Elsewhere: &Elsewhere{Lacks: "a KSK"}}, func(t Trouble) string { return t.Offline }, "a KSK"},
		{"offline, well", State{Elsewhere: &Elsewhere{}}, func(t Trouble) string { return t.Offline }, ""},
		{"parent unseen", State{ParentProblem: "timeout"}, func(t Trouble) string { return t.Waits }, "rollovers wait: timeout"},
		{"parent slow", State{Parent: asks, ParentAsks: true, Keys: []kasp.View{old}}, func(t Trouble) string { return t.Waits }, "the parent does not show"},
		{"nobody to ask", State{Parent: asks, ParentAsked: clock.Now()}, func(t Trouble) string { return t.Waits }, "--submitted"},
		{"a server behind", State{Waiting: 3, Servers: []Server{{Address: "192.0.2.1:53", Err: errors.New("refused")}}}, func(t Trouble) string { return t.BehindOf }, "server 192.0.2.1:53 cannot be seen"},
		{"nothing waits for it", State{Servers: []Server{{Err: errors.New("refused")}}}, func(t Trouble) string { return t.BehindOf }, ""},
	} {
		got := c.in(c.st.Trouble("example.@in"))
		if !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: got %q, want %q in it", c.name, got, c.want)
		}
	}
}
