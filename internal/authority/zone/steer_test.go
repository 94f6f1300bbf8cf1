package zone

import (
	"testing"

	"pharos/internal/dns/dnsname"
)

// TestMaySteer: wherever a zone comes from, it knows whether it has steered names.
func TestMaySteer(t *testing.T) {
	plain := build(t, "example.", exampleText)
	edit := plain.Edit()
	edit.always = true
	edit.Steer(dnsname.MustParse("www.example."), SteersAddresses)
	steered, _ := edit.Finish()
	again := steered.Edit()
	again.always = true
	again.Steer(dnsname.MustParse("other.example."), SteersAddresses)
	twice, _ := again.Finish()
	taken, _, err := FromImage(imageOf(t, steered))
	if err != nil {
		t.Fatal(err)
	}
	for what, tt := range map[string]struct {
		z    *Zone
		want bool
	}{
		"built": {plain, false}, "edited": {steered, true}, "edited again": {twice, true}, "compacted": {twice.Compact(), true},
		"from an image": {taken, true},
	} {
		if got := tt.z.MaySteer(); got != tt.want {
			t.Errorf("%s: %v, want %v", what, got, tt.want)
		}
	}
}
