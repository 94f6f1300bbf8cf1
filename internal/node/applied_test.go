package node

import (
	"strings"
	"testing"
)

// Two routes that are applied under different names, for the same requests: the second is refused,
// and the node goes on.
func TestAppliedRoutesThatClash(t *testing.T) {
	f := newFolder(t)
	n, _ := start(t, f.config(`pools: [{name: web, check: {type: none}, members: [{name: a, address: "192.0.2.80:80"}]}]`))
	eventually(t, func() string {
		if s := n.storeStatus(); s != "ready" {
			return "store " + s
		}
		return ""
	})
	if _, err := n.Apply(t.Context(), []byte("routes: [{name: a, host: x.example, pool: web}]")); err != nil {
		t.Fatal(err)
	}
	_, err := n.Apply(t.Context(), []byte("routes: [{name: b, host: x.example, pool: web}]"))
	if err == nil || !strings.Contains(err.Error(), "already lead to") {
		t.Errorf("the second: %v, want that the requests already lead elsewhere", err)
	}
}
