package httpproxy

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pharos/lab/tools"
)

// TestCurl has a real client use the gateway in the ways curl knows.
func TestCurl(t *testing.T) {
	curl := tools.Path(t, "curl")
	origin := startHTTPOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", fmt.Sprint(r.Method, " ", r.ContentLength, " ", r.Header.Get("Expect")))
		fmt.Fprintf(w, "%s %s\n", r.URL.Path, sumOf(r.Body))
	})
	g := startGateway(t, Config{}, origin)
	file := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(file, []byte(strings.Repeat("0123456789", 300_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"get":              {nil, "GET 0"},
		"head":             {[]string{"--head"}, "HEAD 0"},
		"http 1.0":         {[]string{"--http1.0"}, "GET 0"},
		"small post":       {[]string{"--data", "abc"}, "POST 3"},
		"large put":        {[]string{"--upload-file", file}, "PUT 3000000"},
		"large, chunked":   {[]string{"--upload-file", file, "--header", "Transfer-Encoding: chunked"}, "PUT -1"},
		"100-continue":     {[]string{"--data-binary", "@" + file, "--header", "Expect: 100-continue"}, "POST 3000000 100-continue"},
		"path as is":       {[]string{"--path-as-is"}, "GET 0"},
		"two on one conn":  {[]string{"--next", "--silent", "--show-error", "--fail", "--include", "http://" + g.address + "/second"}, "GET 0"},
		"odd but honest":   {[]string{"--request", "PROPFIND"}, "PROPFIND 0"},
		"absolute, by -x":  {[]string{"--proxy", "http://" + g.address}, "GET 0"},
		"offers h2c":       {[]string{"--http2"}, "GET 0"},
		"accept encodings": {[]string{"--compressed"}, "GET 0"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"--silent", "--show-error", "--fail", "--max-time", "20", "--include", "http://" + g.address + "/a/../first"}, c.args...)
			out, err := exec.Command(curl, args...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "X-Seen: "+c.want) {
				t.Errorf("curl %q: %v\n%s", args, err, out)
			}
		})
	}
}
