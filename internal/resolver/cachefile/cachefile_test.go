package cachefile

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

var at = time.Unix(1750000000, 5)

func file(t testing.TB, trust Trust, payloads ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, trust, at)
	for _, p := range payloads {
		if err == nil {
			err = w.Segment(Entries, at, []byte(p))
		}
	}
	if err == nil {
		err = w.End(at)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(b []byte, trust Trust) (got []string, err error) {
	err = Read(bytes.NewReader(b), trust, func(s Segment) error {
		if !s.Made.Equal(at) || s.Kind != Entries {
			return errors.New("another time or kind")
		}
		got = append(got, string(s.Payload))
		return nil
	})
	return got, err
}

func TestReadWhatWasWritten(t *testing.T) {
	got, err := read(file(t, Trust{1}, "one", "", "three"), Trust{1})
	if strings.Join(got, ",") != "one,,three" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// What was learnt under other trust anchors is not even looked at.
func TestOtherTrust(t *testing.T) {
	if got, err := read(file(t, Trust{1}, "one"), Trust{2}); len(got) > 0 || !errors.Is(err, ErrOther) {
		t.Errorf("%q, %v", got, err)
	}
}

// Each octet of a file is covered: if one is changed nothing wrong is read, and it is
// said. A file that is cut off gives what is whole.
func TestDamage(t *testing.T) {
	whole := file(t, Trust{1}, "first", "second", "third")
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 0x20
		got, err := read(b, Trust{1})
		for _, payload := range got {
			if payload != "first" && payload != "second" && payload != "third" {
				t.Errorf("octet %d: read %q", i, payload)
			}
		}
		if err == nil {
			t.Errorf("octet %d: no error", i)
		}
		if i >= headSize+segmentHead && i < headSize+segmentHead+5 && strings.Join(got, ",") != "second,third" {
			t.Errorf("octet %d, of the first segment: read %q", i, got)
		}
	}
	for i := range whole {
		if got, err := read(whole[:i], Trust{1}); !errors.Is(err, ErrCut) || len(got) > 3 {
			t.Errorf("cut at %d: %q, %v", i, got, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(file(f, Trust{}, "one", "two"))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		read(b, Trust{})
	})
}
