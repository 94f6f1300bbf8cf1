package vouch

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// endless counts what is read of it.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) {
	if e.read > 64*mostText {
		return 0, io.EOF
	}
	e.read += len(b)
	return copy(b, strings.Repeat(" ", len(b))), nil
}

func (e *endless) Close() error { return nil }

// TestLargeKeys: of an answer that is too large, packed or not, no more is read than an
// honest one has.
func TestLargeKeys(t *testing.T) {
	content := new(endless)
	d := newDesk()
	d.client = &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) {
		resp := httptest.NewRecorder().Result()
		resp.Body = content
		return resp, nil
	})}
	if _, err := d.readKeys(t.Context(), "https://id.example/keys", true); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("got %v", err)
	}
	if content.read > 2*mostText {
		t.Errorf("%d octets were read", content.read)
	}
}
