package config

import (
	"strings"
	"testing"

	"pharos/internal/dns/rdata"
)

func TestAnchors(t *testing.T) {
	r := Resolver{TrustAnchors: []string{
		". DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
		"example.com. 3600 IN DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=",
	}}
	got, err := r.Anchors()
	if err != nil || len(got) != 2 || got[0].Type != rdata.TypeDS || !got[0].Name.IsRoot() || len(got[0].Data) != 36 ||
		got[1].Type != rdata.TypeDNSKEY || got[1].Name.String() != "example.com." || len(got[1].Data) != 36 {
		t.Errorf("%v, %v", got, err)
	}
	for text, want := range map[string]string{
		"": "no record", "example.com. A 192.0.2.1": "want DS or DNSKEY", "example.com. 1 2 3": "has no type",
		". DS 1 8 2 zz": "", "a..b. DS 1 8 2 00": "",
	} {
		if _, err := (Resolver{TrustAnchors: []string{text}}).Anchors(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
