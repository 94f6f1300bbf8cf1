package httpproxy

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"pharos/internal/proxy/filter"
	"pharos/internal/proxy/route"
	"pharos/internal/proxy/served"
	"pharos/internal/traffic/pool"
)

// startGuarded serves everything, and /admin only to alice.
func startGuarded(t *testing.T, origin string) *gateway {
	t.Helper()
	var current atomic.Pointer[served.Table]
	g := startGateway(t, Config{Table: current.Load}, origin)
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users, err := filter.ParseUsers(fmt.Appendf(nil, "alice:%s\n", hash))
	if err != nil {
		t.Fatal(err)
	}
	means := filter.Means{Users: func(string) (func() *filter.Users, error) { return func() *filter.Users { return users }, nil }}
	web := []route.Share{{Pool: "web", Weight: 1}}
	table, errs := served.New([]route.Rule{{Pools: web}, {Path: "/admin", Pools: web}}, []*pool.Pool{g.table.PoolAt(0)}, nil, nil)
	sets := []filter.Set{{Name: "guard", Steps: []filter.Step{{Basic: &filter.Basic{Users: "f", Field: "X-User"}}}}}
	errs = append(errs, table.Filter(sets, []served.NeedsFilters{{}, {Sets: []string{"guard"}}}, means, nil)...)
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	g.table = table
	current.Store(table)
	return g
}

// TestGuardedPath: however the path of a route with a filter is written, either the filter is
// met or the origin server gets a path that it cannot take for that one.
func TestGuardedPath(t *testing.T) {
	g := startGuarded(t, startHTTPOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "served %s as %q", r.RequestURI, r.Header.Get("X-User"))
	}))
	for _, target := range []string{
		"/admin", "/admin/", "/admin/x", "//admin", "///admin//x", "/./admin", "/a/../admin", "/a/b/../../admin/x", "/%61dmin", "/%61%64min/x", "/admin?x", "/admin#x",
		"/a/%2e%2e/admin", "/a/%2E./admin", "/a/.%2e/admin", "/%2e/admin", "/a%2f..%2fadmin", "/a/..%2fadmin", "/admin%2fx", "/admin%00", "/admin\\x", "/a/..\\admin", "/a/%5c../admin",
		"/admin;x", "/admin;/x", "/;/admin", "/a;/../admin", "/admin/..", "/admin/../admin", "/%2561dmin", "/..//admin", "/../admin", "http://h/admin", "http://h//admin", "/admin.", "/admin%20", "/ADMIN", "/admin%", "/%u0061dmin",
	} {
		answer := g.ask("GET " + target + " HTTP/1.1\r\nHost: h\r\nX-User: alice\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
			if !strings.HasPrefix(answer, "HTTP/1.1 40") {
				t.Errorf("%s:\n%s", target, answer)
			}
			continue
		}
		_, got, _ := strings.Cut(answer, "served ")
		got, _, _ = strings.Cut(got, " as ")
		seen, _, _ := strings.Cut(got, "?")
		if clean := path.Clean(seen); clean == "/admin" || strings.HasPrefix(clean, "/admin/") || clean != strings.TrimSuffix(seen, "/") && seen != "/" {
			t.Errorf("%s is served as %s without the filter", target, got)
		}
	}
	key := base64.StdEncoding.EncodeToString([]byte("alice:secret"))
	answer := g.ask("GET /x/../admin/y HTTP/1.1\r\nHost: h\r\nX-User: root\r\nAuthorization: Basic " + key + "\r\nConnection: close\r\n\r\n")
	if !strings.Contains(answer, `served /admin/y as "alice"`) {
		t.Errorf("alice:\n%s", answer)
	}
	answer = g.ask("GET /admin HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 401 ") || !strings.Contains(answer, "\r\nWWW-Authenticate: Basic realm=\"guard\"") {
		t.Errorf("nobody:\n%s", answer)
	}
}
