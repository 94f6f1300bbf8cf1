package scale

import (
	"strings"
	"testing"
	"time"
)

func covers(t *testing.T, at, zone string, length time.Duration, when string) bool {
	t.Helper()
	location, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	w, err := ParseWindow(at, location, length)
	if err != nil {
		t.Fatal(err)
	}
	now, err := time.Parse(time.RFC3339, when)
	if err != nil {
		t.Fatal(err)
	}
	return w.Covers(now)
}

func TestWindow(t *testing.T) {
	for _, c := range []struct {
		at, zone string
		length   time.Duration
		when     string
		want     bool
	}{
		{"30 8 * * mon-fri", "UTC", 2 * time.Hour, "2026-03-02T08:29:59Z", false},
		{"30 8 * * mon-fri", "UTC", 2 * time.Hour, "2026-03-02T08:30:00Z", true},
		{"30 8 * * mon-fri", "UTC", 2 * time.Hour, "2026-03-02T10:29:59Z", true},
		{"30 8 * * mon-fri", "UTC", 2 * time.Hour, "2026-03-02T10:30:00Z", false},
		{"30 8 * * mon-fri", "UTC", 2 * time.Hour, "2026-03-01T09:00:00Z", false}, // a Sunday
		{"0 22 * * 7", "UTC", 5 * time.Hour, "2026-03-02T02:00:00Z", true},        // since Sunday
		{"*/20 * * * *", "UTC", time.Minute, "2026-03-02T10:40:59Z", true},
		{"*/20 * * * *", "UTC", time.Minute, "2026-03-02T10:41:00Z", false},
		{"0 0 1 * *", "UTC", MaxWindow, "2026-03-31T23:59:59Z", true},
		{"0 0 13 * fri", "UTC", time.Hour, "2026-03-06T00:30:00Z", true}, // either day, as in cron
		{"0 0 13 * fri", "UTC", time.Hour, "2026-04-13T00:30:00Z", true},
		{"0 0 13 * fri", "UTC", time.Hour, "2026-04-14T00:30:00Z", false},
		{"0 9 * jan,mar *", "UTC", time.Hour, "2026-02-02T09:00:00Z", false},
		{"0 9 * jan,mar *", "UTC", time.Hour, "2026-03-02T09:00:00Z", true},
		// In a named zone: summer time begins on March 29 at 2:00, and ends on October 25 at 3:00.
		{"0 9 * * *", "Europe/Berlin", time.Hour, "2026-03-28T08:00:00Z", true},
		{"0 9 * * *", "Europe/Berlin", time.Hour, "2026-03-30T07:00:00Z", true},
		{"0 9 * * *", "Europe/Berlin", time.Hour, "2026-03-30T08:00:00Z", false},
		{"30 2 * * *", "Europe/Berlin", time.Hour, "2026-03-29T00:59:59Z", false},
		{"30 2 * * *", "Europe/Berlin", time.Hour, "2026-03-29T01:00:00Z", true}, // 2:30 is jumped over
		{"30 2 * * *", "Europe/Berlin", 10 * time.Minute, "2026-10-25T00:35:00Z", true},
		{"30 2 * * *", "Europe/Berlin", 10 * time.Minute, "2026-10-25T01:35:00Z", true}, // a second time
	} {
		if got := covers(t, c.at, c.zone, c.length, c.when); got != c.want {
			t.Errorf("%s %s for %v covers %s: %v", c.at, c.zone, c.length, c.when, got)
		}
	}
}

func TestParseWindow(t *testing.T) {
	for at, want := range map[string]string{
		"":                "0 fields",
		"* * * *":         "4 fields",
		"60 * * * *":      `minute "60": "60" is not from 0 to 59`,
		"* 24 * * *":      "hour",
		"* * 0 * *":       "day of the month",
		"* * * 13 *":      "month",
		"* * * * 8":       "day of the week",
		"* * * * foo":     `"foo" is not from 0 to 7`,
		"5-1 * * * *":     "ends before it begins",
		"*/0 * * * *":     `step "0"`,
		"1,,2 * * * *":    `"" is not`,
		"1-2-3 * * * *":   `"2-3" is not`,
		"-1 * * * *":      `"" is not`,
		"*/99999 * * * *": "step",
	} {
		if _, err := ParseWindow(at, nil, time.Hour); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", at, err, want)
		}
	}
	for _, length := range []time.Duration{0, time.Second, MaxWindow + 1} {
		if _, err := ParseWindow("* * * * *", nil, length); err == nil {
			t.Errorf("a window of %v was taken", length)
		}
	}
	if w, err := ParseWindow(" 0  9 * * mon ", nil, time.Hour); err != nil || w.String() != "0 9 * * mon UTC for 1h0m0s" {
		t.Errorf("%v, %v", w, err)
	}
}

// FuzzParseWindow: nothing that is read makes a window that cannot be asked.
func FuzzParseWindow(f *testing.F) {
	f.Add("30 8 * * mon-fri", int64(time.Hour))
	f.Add("*/15 0-5 1,15 * *", int64(time.Minute))
	f.Fuzz(func(t *testing.T, at string, length int64) {
		if w, err := ParseWindow(at, time.UTC, time.Duration(length)%(48*time.Hour)); err == nil {
			w.Covers(start)
			if again, err := ParseWindow(w.At, time.UTC, w.For); err != nil || again.minutes != w.minutes || again.weekdays != w.weekdays {
				t.Errorf("%q reads as something else when written again: %v", at, err)
			}
		}
	})
}

func TestMeter(t *testing.T) {
	m := NewMeter(10 * time.Second)
	at := start
	add := func(samples ...Sample) [signals]Value {
		at = at.Add(time.Second)
		m.Add(at, samples)
		return m.Values()
	}
	if v := add(Sample{Name: "a", Counts: true}); v != ([signals]Value{}) {
		t.Errorf("one moment: %+v", v)
	}
	v := add(Sample{Name: "a", Counts: true, Served: 100, Active: 4, Spent: time.Second, Bits: 8e6})
	if v[Connections].Total != 4 || v[Requests].Known || v[Latency].Total != 10e6 || v[Bandwidth].Total != 8e6 || v[Load].Known {
		t.Errorf("two moments: %+v", v)
	}
	add(Sample{Name: "a", Counts: true, Served: 200, Active: 2, Spent: 2 * time.Second})
	v = add(Sample{Name: "a", Counts: true, Served: 300, Spent: 3 * time.Second, Reported: true, Load: 40},
		Sample{Name: "b", Served: 60, Active: 6, Spent: time.Hour})
	if v[Requests] != (Value{120, true}) || v[Connections].Total != 4 || v[Latency] != (Value{10e6, true}) || v[Load] != (Value{40, true}) {
		t.Errorf("with one that is warming up: %+v", v)
	}
	v = add(Sample{Name: "a", Counts: true, Served: 5, Spent: time.Second}, Sample{Name: "b", Served: 60})
	if v[Requests] != (Value{65. / 4, true}) {
		t.Errorf("another one under the name: %+v", v)
	}
	for range 30 {
		v = add(Sample{Name: "a", Counts: true, Served: 5, Spent: time.Second})
	}
	if v[Requests] != (Value{0, true}) || v[Latency] != (Value{0, true}) || v[Connections].Total != 0 || len(m.taken) > 12 {
		t.Errorf("idle: %+v, %d moments", v, len(m.taken))
	}
	v = add(Sample{Name: "a", Counts: true, Served: 5, Spent: time.Second, Active: 1})
	if v[Latency].Known {
		t.Errorf("one is under way and none has ended: %+v", v)
	}
	at = start
	if v = add(Sample{Name: "a"}); v[Requests].Known {
		t.Errorf("the clock was put back: %+v", v)
	}
}
