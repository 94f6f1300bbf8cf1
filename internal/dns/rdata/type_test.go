package rdata

import (
	"strconv"
	"strings"
	"testing"
)

// TestTypeText: every type has one spelling, which is read in any case, and the
// generic one of RFC 3597 §5.
func TestTypeText(t *testing.T) {
	for number := range 1 << 16 {
		want := Type(number)
		text := want.String()
		if number == 0 && text != "TYPE0" {
			t.Errorf("type 0 is %q", text)
		}
		for _, spelling := range []string{text, strings.ToLower(text), "TYPE" + strconv.Itoa(number), "type" + strconv.Itoa(number)} {
			if got, ok := ParseType(spelling); !ok || got != want {
				t.Errorf("ParseType(%q) = %v, %v; want %v", spelling, got, ok, want)
			}
			if got, ok := ParseTypeField([]byte(spelling)); !ok || got != want {
				t.Errorf("ParseTypeField(%q) = %v, %v; want %v", spelling, got, ok, want)
			}
		}
	}
	for _, text := range []string{"", "TYPE", "TYPE65536", "TYPE-1", "TYPE+1", "NOSUCH", "None", "Reserved", "A "} {
		if got, ok := ParseType(text); ok {
			t.Errorf("ParseType(%q) = %v, want none", text, got)
		}
	}
}

func TestTypeMarshal(t *testing.T) {
	var got Type
	if err := got.UnmarshalText([]byte("aaaa")); err != nil || got != TypeAAAA {
		t.Errorf("got %v, %v", got, err)
	}
	text, err := got.MarshalText()
	if err != nil || string(text) != "AAAA" {
		t.Errorf("got %q, %v", text, err)
	}
	if err := got.UnmarshalText([]byte("AAAAA")); err == nil || !strings.Contains(err.Error(), "AAAAA") {
		t.Errorf("got %v, want an error that shows the text", err)
	}
}

// TestIsMeta: RFC 6895 §3.1: 0 is reserved, 128 to 255 are Q and meta types, 41
// (OPT) is a meta type with a number of its own.
func TestIsMeta(t *testing.T) {
	for number := range 1 << 16 {
		want := number == 0 || number == 41 || number >= 128 && number <= 255
		if got := Type(number).IsMeta(); got != want {
			t.Errorf("type %d: got %v, want %v", number, got, want)
		}
	}
}

func TestClassText(t *testing.T) {
	for number := range 1 << 16 {
		want := Class(number)
		for _, text := range []string{want.String(), strings.ToLower(want.String()), "CLASS" + strconv.Itoa(number)} {
			if got, ok := ParseClass(text); !ok || got != want {
				t.Errorf("ParseClass(%q) = %v, %v; want %v", text, got, ok, want)
			}
		}
	}
	if got, ok := ParseClass("CS"); ok { // RFC 1035 §3.2.4: obsolete
		t.Errorf("CS is %v", got)
	}
}

// TestSerialLess has the examples of RFC 1982 §5.2 in 32 bits, and §3.2's limits.
func TestSerialLess(t *testing.T) {
	tests := []struct {
		s, o Serial
		want bool
	}{
		{0, 0, false}, {0, 1, true}, {1, 0, false}, {44, 0, false}, {0, 44, true}, {1<<32 - 1, 0, true}, {0, 1<<32 - 1, false},
		{0, 1<<31 - 1, true}, {1<<31 - 1, 0, false}, {100, 100 + 1<<31 - 1, true},
		{0, 1 << 31, false}, {1 << 31, 0, false}, // not defined: false both ways
	}
	for _, test := range tests {
		if got := test.s.Less(test.o); got != test.want {
			t.Errorf("%d < %d: got %v, want %v", test.s, test.o, got, test.want)
		}
	}
}

func TestParseTTL(t *testing.T) {
	for text, want := range map[string]TTL{
		"0": 0, "3600": 3600, "2147483647": MaxTTL, "1h": 3600, "1H30M": 5400, "1w2d3h4m5s": 788645, "0s": 0,
	} {
		if got, ok := ParseTTL([]byte(text)); !ok || got != want {
			t.Errorf("ParseTTL(%q) = %d, %v; want %d", text, got, ok, want)
		}
	}
	// RFC 2181 §8: a TTL is 0 to 2147483647.
	for _, text := range []string{"", "h", "1x", "1h30", "-1", "2147483648", "4294967296", "99999999999999999999", "5000000w", "1 h", "1.5h"} {
		if got, ok := ParseTTL([]byte(text)); ok {
			t.Errorf("ParseTTL(%q) = %d, want none", text, got)
		}
	}
}
