package judges

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
	"pharos/lab/simnet"
)

var grownAt = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func grow(t *testing.T, now time.Time) *Tree {
	t.Helper()
	tree, err := Grow(now)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// resolver returns a resolver in a network that has nothing but the tree.
func resolver(tree *Tree, aggressive bool) (*simnet.Network, *simnet.Host) {
	network := simnet.New(simnet.Config{Start: grownAt, Seed: 1})
	for _, at := range Servers {
		udp, tcp := tree.Server(at)
		network.Serve(netip.AddrPortFrom(at, 53), udp, tcp)
	}
	core := iterate.New(iterate.Config{
		NoIPv6: true, Rand: rand.New(rand.NewPCG(1, 2)), Cache: rrcache.New(grownAt, rrcache.Limits{}), Hints: tree.Hints(),
		Validate: true, Anchors: []rdata.Record{tree.Anchor}, Minimise: true, Aggressive: aggressive,
	})
	return network, simnet.NewHost(network, netip.MustParseAddr("127.0.0.53"), netip.Addr{}, core)
}

// TestTree: every answer is what the RFCs say, whether or not what was proven before is
// used for other names (RFC 8198), and with a reason where it is none.
func TestTree(t *testing.T) {
	tree := grow(t, grownAt)
	if zones := len(tree.Zones); zones < 200 {
		t.Fatalf("%d zones, want at least 200", zones)
	}
	t.Logf("%d zones, %d questions", len(tree.Zones), len(tree.Questions))
	reasons := map[dnswire.EDE]int{}
	for _, q := range tree.Questions {
		reasons[dnswire.EDE(q.EDE)]++
	}
	for _, code := range []dnswire.EDE{1, 2, 6, 7, 8, 9, 10, 11, 12, 25, 27} { // 5 is for who gives up undecided, which we do not
		if reasons[code] == 0 {
			t.Errorf("no question has the reason %v", code)
		}
	}
	for _, aggressive := range []bool{false, true} {
		network, host := resolver(tree, aggressive)
		failed := 0
		for _, q := range tree.Questions {
			var a iterate.Answer
			host.Ask(iterate.Ask{Name: q.Name, Type: q.Type, DO: true}, func(got iterate.Answer) { a = got })
			if !network.Run(100000) {
				t.Fatalf("%v %v: no end in sight", q.Name, q.Type)
			}
			if text := differs(q, a); text != "" {
				if failed++; failed < 60 {
					t.Errorf("%v %v (%s), aggressive %v: %s", q.Name, q.Type, q.Label, aggressive, text)
				}
			}
		}
		for _, q := range tree.Questions { // RFC 4035 §3.2.2: who validates for himself gets it all the same
			if q.State != Bogus || q.Label != "positive" {
				continue
			}
			var a iterate.Answer
			host.Ask(iterate.Ask{Name: q.Name, Type: q.Type, DO: true}, func(iterate.Answer) {})
			network.Run(100000)
			host.Ask(iterate.Ask{Name: q.Name, Type: q.Type, DO: true, CD: true}, func(got iterate.Answer) { a = got })
			network.Run(100000)
			if a.Rcode != dnswire.RcodeNoError || len(a.Answer) == 0 || a.AD {
				t.Errorf("%v %v with CD: %v %v", q.Name, q.Type, a.Rcode, a.Errors)
			}
		}
		if failed > 0 {
			t.Errorf("%d of %d questions", failed, len(tree.Questions))
		}
	}
}

// differs says how an answer is not what was expected.
func differs(q Question, a iterate.Answer) string {
	state := State(a.State.String())
	if a.Rcode == dnswire.RcodeServFail {
		state = Bogus
	}
	switch {
	case state != q.State || a.AD != (state == Secure):
		return fmt.Sprintf("%s %v AD=%v, want %s (%s %v)", state, a.Rcode, a.AD, q.State, a.Why, a.Errors)
	case state != Bogus && int(a.Rcode) != q.Rcode:
		return fmt.Sprintf("%v, want %s", a.Rcode, dns.RcodeToString[q.Rcode])
	case state == Bogus && (len(a.Errors) != 1 || a.Errors[0].Text == ""):
		return "SERVFAIL without a reason"
	case state == Insecure && q.EDE != 0 && (len(a.Errors) != 1 || a.Errors[0].Code != dnswire.EDE(q.EDE)):
		return fmt.Sprintf("insecure with %v, want %v", a.Errors, dnswire.EDE(q.EDE))
	case state == Bogus && q.EDE != 0 && a.Errors[0].Code != dnswire.EDE(q.EDE) && a.Errors[0].Code != dnswire.EDECachedError:
		return fmt.Sprintf("the reason is %v, want %v", a.Errors, dnswire.EDE(q.EDE))
	}
	return ""
}
