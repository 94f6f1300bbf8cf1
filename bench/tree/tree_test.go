//go:build linux

package tree

import (
	"context"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestTwoTrees: two runs of the bench, or of its test, do not hold each other's addresses:
// each tree has a network of its own, and refers to servers there.
func TestTwoTrees(t *testing.T) {
	var roots [2]string
	for i := range roots {
		tree, err := Serve(Config{TTL: 60})
		if err != nil {
			t.Skipf("port %d cannot be had: %v", Port, err)
		}
		t.Cleanup(tree.Close)
		m, _, err := new(dns.Client).ExchangeContext(context.Background(), new(dns.Msg).SetQuestion("h1.d1.t1.", dns.TypeA), tree.Root().String())
		if err != nil {
			t.Fatal(err)
		}
		if roots[i] = tree.Root().String(); len(m.Extra) != 1 || m.Extra[0].(*dns.A).A.String() != tree.address(1, 1).String() {
			t.Errorf("the root at %s refers to %v, want %v", roots[i], m.Extra, tree.address(1, 1))
		}
	}
	if roots[0] == roots[1] {
		t.Errorf("the trees stand at %v", roots)
	}
}

func TestQuantiles(t *testing.T) {
	told := &Told{Took: []time.Duration{1, 2, 2, 3}}
	if told.Quantile(500) != 2 || told.Quantile(1000) != 3 || (&Told{}).Quantile(500) != 0 {
		t.Error("not the middle and the last of what was told")
	}
	for d, want := range map[time.Duration]int{0: 4, 1: 3, 2: 1, 3: 0, 9: 0} {
		if got := told.SlowerThan(d); got != want {
			t.Errorf("slower than %d: got %d, want %d", d, got, want)
		}
	}
}
