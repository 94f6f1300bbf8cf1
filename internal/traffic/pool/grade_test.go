package pool

import (
	"net/netip"
	"testing"

	"pharos/internal/traffic/health"
)

// A member that is Poor is picked while others are Up, for a part of its share, under
// every policy that looks at shares and in every table.
func TestPoorKeepsAShare(t *testing.T) {
	slow, quick := netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("10.0.0.2:80")
	for p := range Policy(len(policyNames)) {
		spec := Spec{Name: "p", Policy: p, Members: []MemberSpec{{Name: "a", Address: slow}, {Name: "b", Address: quick}}}
		v := Compile(spec, func(target health.Target) health.Status {
			if target.Address == slow {
				return health.Status{State: health.Poor, Notes: health.Notes{Share: 250}}
			}
			return health.Status{State: health.Up}
		}, nil)
		v.check()
		if v.Tier != UpOnly || len(v.Eligible) != 2 || v.Members[0].Share != 250 || v.Members[1].Share != 1000 {
			t.Errorf("%v: tier %v, eligible %v, shares %d and %d", p, v.Tier, v.Eligible, v.Members[0].Share, v.Members[1].Share)
		}
		if p == First || p == Hash {
			continue
		}
		picked := map[int32]int{}
		for _, i := range v.Order {
			picked[i]++
		}
		if picked[1] != 4*picked[0] {
			t.Errorf("%v: picked %v, want four times as often", p, picked)
		}
	}
}
