package dnssec

import (
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
)

// TestEd448: the example of RFC 8080 §6.2, as erratum 4935 has its signature.
func TestEd448(t *testing.T) {
	rrs := parse(t, `example.com. 3600 IN DNSKEY 257 3 16 3kgROaDjrh0H2iuixWBrc8g2EpBBLCdGzHmn+G2MpTPhpj/OiBVHHSfPodx1FYYUcJKm1MDpJtIA`, `example.com. 3600 IN DS 9713 16 2 6ccf18d5bc5d7fc2fceb1d59d17321402f2aa8d368048db93dd811f5cb2b19c7`, `example.com. 3600 IN MX 10 mail.example.com.`, `example.com. 3600 IN RRSIG MX 16 2 3600 1440021600 1438207200 9713 example.com. 3cPAHkmlnxcDHMyg7vFC34l0blBhuG1qpwLmjInI8w1CMB29FkEAIJUA0amxWndkmnBZ6SKiwZSAxGILn/NBtOXft0+Gj7FSvOKxE/07+4RQvE581N3Aj/JtIyaiYVdnYtyMWbSNyGEY2213WKsJlwEA`)
	key, ok := ParseKey(record(t, rrs[0]).Data)
	ds, _ := ParseDS(record(t, rrs[1]).Data)
	if !ok || key.Tag != 9713 || !ds.IsOf(dnsname.MustParse("example.com."), key) {
		t.Fatalf("key %+v is not that of %+v", key, ds)
	}
	mx, sig := rrset(t, rrs[2]), record(t, rrs[3]).Data
	v := Verifier{Now: time.Unix(1439000000, 0), Budget: plenty()}
	if got := v.Verify(mx, [][]byte{sig}, []Key{key}, mx.Name); got.Fault != nil {
		t.Errorf("RFC 8080 §6.2: %+v", got.Fault)
	}
	sig[len(sig)-1] ^= 1
	if got := v.Verify(mx, [][]byte{sig}, []Key{key}, mx.Name); got.Fault == nil {
		t.Error("a changed signature is good")
	}
}
