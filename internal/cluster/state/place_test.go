package state

import "testing"

func TestCoordinates(t *testing.T) {
	for text, want := range map[string]Coordinates{
		"52.52,13.4": {52.52, 13.4}, "-90,180": {-90, 180}, "90,-180": {90, -180}, "0,0.5": {0, 0.5}, "": {},
	} {
		var c Coordinates
		if err := c.UnmarshalText([]byte(text)); err != nil || c != want {
			t.Errorf("%q became %v, %v, want %v", text, c, err, want)
		}
		if got := c.String(); got != text {
			t.Errorf("%q is written %q", text, got)
		}
	}
	for _, text := range []string{"52.52", "52.52 13.4", "90.1,0", "0,180.5", "NaN,0", "0,Inf", "a,b", ",", "1,2,3"} {
		if err := new(Coordinates).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
