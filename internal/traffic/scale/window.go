package scale

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Window is a time in which a pool has other bounds: it begins whenever the clock of its
// zone reads what At says, and lasts For.
//
// At is like a line of cron: minute, hour, day of the month, month, day of the week, each
// a list of numbers and ranges with steps: "30 8 * * mon-fri", "*/15 0-5 1,15 * *". When
// both days are restricted either may match, as in cron. Where clocks are put forward
// over a beginning, it begins then; where they are put back over one, it begins twice.
type Window struct {
	At       string
	Zone     *time.Location // nil: UTC
	For      time.Duration  // at least a minute
	Min, Max int            // in place of those of the pool

	minutes, hours, days, months, weekdays uint64 // bit sets
	anyDay, anyWeekday                     bool
}

// MaxWindow is how long a window lasts at most: whoever needs more begins it each day.
const MaxWindow = 31 * 24 * time.Hour

var (
	monthNames   = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
	weekdayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
)

// ParseWindow returns a Window with its bounds unset.
func ParseWindow(at string, zone *time.Location, length time.Duration) (w Window, err error) {
	fields := strings.Fields(at)
	if len(fields) != 5 {
		return w, fmt.Errorf("%q has %d fields; want minute, hour, day of the month, month, day of the week", at, len(fields))
	}
	if length < time.Minute || length > MaxWindow {
		return w, fmt.Errorf("it lasts %v; want 1m to %v", length, MaxWindow)
	}
	w = Window{At: strings.Join(fields, " "), Zone: zone, For: length, anyDay: fields[2] == "*", anyWeekday: fields[4] == "*"}
	for i, f := range []struct {
		set         *uint64
		least, most int
		names       []string
		what        string
	}{
		{&w.minutes, 0, 59, nil, "minute"}, {&w.hours, 0, 23, nil, "hour"}, {&w.days, 1, 31, nil, "day of the month"},
		{&w.months, 1, 12, monthNames, "month"}, {&w.weekdays, 0, 7, weekdayNames, "day of the week"},
	} {
		if *f.set, err = parseSet(strings.ToLower(fields[i]), f.least, f.most, f.names); err != nil {
			return w, fmt.Errorf("%s %q: %w", f.what, fields[i], err)
		}
	}
	w.weekdays |= w.weekdays >> 7 & 1 // 7 is Sunday, too
	return w, nil
}

// parseSet reads a list of numbers, names, ranges and steps.
func parseSet(text string, least, most int, names []string) (set uint64, err error) {
	number := func(word string) (int, error) {
		if i := slices.Index(names, word); i >= 0 {
			return i + least, nil
		}
		n, err := strconv.Atoi(word)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("%q is not from %d to %d", word, least, most)
		}
		return n, nil
	}
	for _, part := range strings.Split(text, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		first, last, step := least, most, 1
		if stepped {
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 || step > most {
				return 0, fmt.Errorf("step %q is not from 1 to %d", stepText, most)
			}
		}
		if span != "*" {
			from, to, ranged := strings.Cut(span, "-")
			if first, err = number(from); err != nil {
				return 0, err
			}
			if !ranged && !stepped {
				last = first
			}
			if ranged {
				if last, err = number(to); err != nil {
					return 0, err
				}
			}
			if last < first {
				return 0, fmt.Errorf("the range %q ends before it begins", span)
			}
		}
		for n := first; n <= last; n += step {
			set |= 1 << n
		}
	}
	return set, nil
}

// String returns the window as a person reads it.
func (w *Window) String() string {
	return fmt.Sprintf("%s %s for %v", w.At, w.zone(), w.For)
}

func (w *Window) zone() *time.Location {
	if w.Zone == nil {
		return time.UTC
	}
	return w.Zone
}

// begins reports whether a clock that reads so begins w.
func (w *Window) begins(wall time.Time) bool {
	has := func(set uint64, n int) bool { return set>>n&1 == 1 }
	if !has(w.minutes, wall.Minute()) || !has(w.hours, wall.Hour()) || !has(w.months, int(wall.Month())) {
		return false
	}
	day, weekday := has(w.days, wall.Day()), has(w.weekdays, int(wall.Weekday()))
	if w.anyDay || w.anyWeekday {
		return day && weekday
	}
	return day || weekday
}

// Covers reports whether now lies in w.
func (w *Window) Covers(now time.Time) bool {
	minute := now.Truncate(time.Minute)
	for t := minute; now.Sub(t) < w.For; t = t.Add(-time.Minute) {
		wall := wallOf(t.In(w.zone()))
		if w.begins(wall) {
			return true
		}
		// What the clock has jumped over begins when it has.
		for skipped := wallOf(t.Add(-time.Minute).In(w.zone())).Add(time.Minute); skipped.Before(wall); skipped = skipped.Add(time.Minute) {
			if w.begins(skipped) {
				return true
			}
		}
	}
	return false
}

// wallOf returns what the clock reads, as a time without a zone.
func wallOf(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), 0, 0, time.UTC)
}

// activeWindows remembers for a minute which windows are on: to find out means to look at
// every minute of a window.
type activeWindows struct {
	minute time.Time
	known  [maxRules]int8 // 0: not looked at; 1: on; -1: off
}

func (a *activeWindows) isOn(i int, w *Window, now time.Time) bool {
	if minute := now.Truncate(time.Minute); !minute.Equal(a.minute) {
		*a = activeWindows{minute: minute}
	}
	if a.known[i] == 0 {
		a.known[i] = -1
		if w.Covers(now) {
			a.known[i] = 1
		}
	}
	return a.known[i] > 0
}
