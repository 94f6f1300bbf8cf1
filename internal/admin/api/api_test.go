package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pharos/internal/admin/explain"
)

func example() Calls {
	return Calls{
		Status: func() Status {
			return Status{Version: "test", Problems: []Problem{{Code: "pool-all-down", Severity: "error", Text: `pool <web>`}}}
		},
		Ready: func() error { return errors.New("zone example.com: not loaded") },
		Pools: func() []Pool {
			return []Pool{{Name: "web", Members: []Member{{Name: "a", State: "down", Cause: "refused"}}}}
		},
		Zones: func() []Zone { return []Zone{{Name: "example.com."}} },
		Zone: ZoneCalls{
			Check: func(_ context.Context, name string) (ZoneCheck, error) { return ZoneCheck{Name: name, Serial: 7}, nil },
			Notify: func(_ context.Context, name string) (Applied, error) {
				return Applied{Changed: []string{"told " + name}}, nil
			},
			Refresh: func(_ context.Context, name string, force bool) (Applied, error) {
				return Applied{Changed: []string{fmt.Sprintf("asked %s %v", name, force)}}, nil
			},
		},
		Explain: func(_ context.Context, r ExplainRequest) (*explain.Explanation, error) {
			return &explain.Explanation{Question: r.Name + r.URL, Client: r.From.String()}, nil
		},
		Objects: func(context.Context, string) ([]Object, error) { return []Object{}, nil },
		Apply: func(_ context.Context, d []byte) (Applied, error) {
			return Applied{Changed: []string{string(d)}}, nil
		},
		Delete: func(_ context.Context, kind, name string) (Applied, error) {
			return Applied{Changed: []string{kind + " " + name}}, nil
		},
		Reload:  func(context.Context) (Applied, error) { return Applied{}, refuse(422, "line 3: bad") },
		Metrics: http.NotFoundHandler(),
	}
}

func call(h http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:8053"+target, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		} else {
			r.Header.Set(header[i], header[i+1])
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestCalls(t *testing.T) {
	h := Handler(example())
	for _, tt := range []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"GET", "/healthz", "", 200, "ok"},
		{"GET", "/readyz", "", 503, "not loaded"},
		{"GET", "/api/status", "", 200, `"pool-all-down"`},
		{"GET", "/api/pools", "", 200, `"cause": "refused"`},
		{"GET", "/api/zones", "", 200, `"example.com."`},
		{"GET", "/api/zones/example.com/check", "", 200, `"serial": 7`},
		{"POST", "/api/zones/example.com/notify", "", 200, "told example.com"},
		{"POST", "/api/zones/2.0%2F25.example.com/refresh", "", 200, "asked 2.0/25.example.com false"},
		{"POST", "/api/zones/example.com/refresh?force=true", "", 200, "asked example.com true"},
		{"GET", "/api/objects", "", 200, `[]`},
		{"GET", "/api/explain?name=www.example.com&from=192.0.2.7", "", 200, `"client": "192.0.2.7"`},
		{"GET", "/api/explain?name=www.example.com&from=nobody", "", 400, "no IP address"},
		{"GET", "/api/explain", "", 400, "give a name, a url or an id"},
		{"POST", "/api/objects", "pools: []", 200, "pools: []"},
		{"POST", "/api/objects", strings.Repeat("x", MaxDocument+1), 413, "split it"},
		{"POST", "/api/zones/example.com/records", "[" + strings.Repeat("{},", MaxEdits) + "{}]", 400, "10001 edits; send 1 to 10000"},
		{"DELETE", "/api/objects/pool/web", "", 200, "pool web"},
		{"POST", "/api/reload", "", 422, "line 3: bad"},
		{"GET", "/nowhere", "", 404, ""},
		{"PUT", "/api/status", "", 405, ""},
	} {
		w := call(h, tt.method, tt.target, tt.body)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s %.40s: %d %s, want %d and %q", tt.method, tt.target, w.Code, w.Body, tt.status, tt.want)
		}
		if strings.HasPrefix(tt.target, "/api/") && tt.status != 405 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %.40s: not JSON: %s", tt.method, tt.target, w.Body)
		}
	}
}

// TestPage: what is wrong is shown, and nothing that a name contains becomes
// markup.
func TestPage(t *testing.T) {
	w := call(Handler(example()), "GET", "/", "")
	body := w.Body.String()
	if !strings.Contains(body, "pool &lt;web&gt;") || !strings.Contains(body, "refused") || !strings.Contains(body, "</html>") {
		t.Errorf("page:\n%s", body)
	}
}

// TestBrowsersCannotChangeThings: a page elsewhere can make a browser connect to
// the loopback, but not without one of these marks.
func TestBrowsersCannotChangeThings(t *testing.T) {
	h := Handler(example())
	for _, tt := range []struct {
		method string
		header []string
		want   int
	}{
		{"GET", []string{"Host", "attacker.example:8053"}, http.StatusMisdirectedRequest},
		{"POST", []string{"Host", "attacker.example:8053"}, http.StatusMisdirectedRequest},
		{"POST", []string{"Origin", "https://attacker.example"}, http.StatusForbidden},
		{"POST", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{"POST", []string{"Host", "localhost:8053"}, http.StatusOK},
		{"POST", []string{"Host", "[::1]:8053"}, http.StatusOK},
	} {
		if w := call(h, tt.method, "/api/objects", "pools: []", tt.header...); w.Code != tt.want {
			t.Errorf("%s with %v: %d, want %d", tt.method, tt.header, w.Code, tt.want)
		}
	}
}
