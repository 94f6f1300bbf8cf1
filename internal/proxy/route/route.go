// Package route decides which pool serves a request: a compiled table of hosts
// and paths, and the one normal form of a path that is matched and forwarded.
//
// It owns matching and path normalisation. It does not own pools, which it
// knows by name and number only, nor what a request is (package http1).
//
//	host: exact name, else the longest wildcard (*.example.com), else any ("")
//	  path: the longest prefix that ends at a segment boundary
//
// A host that has routes of its own is not helped out by less specific hosts:
// when none of its paths match there is no route, as with nginx and Envoy, so
// that a name's space never depends on somebody else's routes.
//
// Entry points: Compile, Table.Match, Table.Explain, Normalise.
//
// Concurrency: a Table is immutable. Match allocates nothing and takes no lock.
//
// Sources: RFC 3986 §6.2.2 (normalisation), RFC 9110 §4.2.3 (http normal form),
// RFC 9110 §7.4 (rejecting misdirected requests).
package route

import (
	"fmt"
	"sort"
	"strings"
)

// Rule is one route as the operator writes it.
type Rule struct {
	Host string // "www.example.com", "*.example.com" or "" for any
	Path string // prefix that begins with "/"; "" stands for "/"
	Pool string // name of the pool
}

// Route is a compiled Rule.
type Route struct {
	Host  string
	Path  string
	Pool  string
	Index int // of Pool in the names given to Compile
}

func (r *Route) String() string {
	host := r.Host
	if host == "" {
		host = "any host"
	}
	return fmt.Sprintf("%s%s -> %s", host, r.Path, r.Pool)
}

// Limits of a table; a rule beyond them is refused.
const (
	MaxPathLen = 2048 // octets of a configured prefix; bounds the look-ups of one match
	maxHostLen = 253  // a DNS name in text (RFC 1035 §2.3.4), without its last dot
)

// Table is compiled routes. The nil Table matches nothing.
type Table struct {
	exact     map[string]*paths
	wildcards map[string]*paths // by the part after "*."
	any       *paths
	count     int
}

// paths are the routes of one host.
type paths struct {
	host   string
	only   *Route // the only route, when that is "/"
	prefix map[string]*Route
	most   int // length of the longest prefix
}

// Len returns the number of routes.
func (t *Table) Len() int { return t.count }

// Compile makes a table of rules; pools are the names of the pools there are.
// It reports every bad rule, not only the first.
func Compile(rules []Rule, pools []string) (*Table, []error) {
	t := &Table{exact: map[string]*paths{}, wildcards: map[string]*paths{}}
	index := make(map[string]int, len(pools))
	for i, name := range pools {
		index[name] = i
	}
	var errs []error
	for i, rule := range rules {
		if err := t.add(rule, index, pools); err != nil {
			errs = append(errs, fmt.Errorf("route %d (host %q, path %q): %w", i+1, rule.Host, rule.Path, err))
		}
	}
	return t, errs
}

func (t *Table) add(rule Rule, index map[string]int, pools []string) error {
	host, err := normalHost(rule.Host)
	if err != nil {
		return err
	}
	path := rule.Path
	if path == "" {
		path = "/"
	}
	if err := checkPrefix(path); err != nil {
		return err
	}
	at, known := index[rule.Pool]
	if !known {
		return unknownPool(rule.Pool, pools)
	}
	p := t.pathsOf(host)
	if old := p.prefix[path]; old != nil {
		return fmt.Errorf("the same host and path already lead to pool %q; remove one of the two routes", old.Pool)
	}
	r := &Route{Host: host, Path: path, Pool: rule.Pool, Index: at}
	p.prefix[path] = r
	p.most = max(p.most, len(path))
	p.only = nil
	if path == "/" && len(p.prefix) == 1 {
		p.only = r
	}
	t.count++
	return nil
}

func (t *Table) pathsOf(host string) *paths {
	in, key := t.exact, host
	switch {
	case host == "":
		if t.any == nil {
			t.any = &paths{prefix: map[string]*Route{}}
		}
		return t.any
	case strings.HasPrefix(host, "*."):
		in, key = t.wildcards, host[2:]
	}
	if in[key] == nil {
		in[key] = &paths{host: host, prefix: map[string]*Route{}}
	}
	return in[key]
}

// normalHost checks a configured host and returns it in lower case without a
// last dot.
func normalHost(host string) (string, error) {
	if host == "" || host == "*" {
		return "", nil
	}
	h := strings.TrimSuffix(strings.ToLower(host), ".")
	name := strings.TrimPrefix(h, "*.")
	if len(h) > maxHostLen || name == "" {
		return "", fmt.Errorf("the host must be a name of 1 to %d characters", maxHostLen)
	}
	if strings.HasPrefix(name, "[") && strings.HasSuffix(name, "]") {
		return h, nil // an IPv6 address
	}
	for _, label := range strings.Split(name, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", fmt.Errorf("the host is not a name; write it without scheme, port and path, a wildcard as \"*.example.com\"")
		}
	}
	return h, nil
}

// checkPrefix holds configured paths to the form that requests are brought to,
// since any other could never match.
func checkPrefix(path string) error {
	if path[0] != '/' {
		return fmt.Errorf("the path must begin with \"/\"")
	}
	if len(path) > MaxPathLen {
		return fmt.Errorf("the path is longer than %d characters", MaxPathLen)
	}
	if i := strings.IndexAny(path, "?#\\ \t"); i >= 0 {
		return fmt.Errorf("the path has a %q, which no path has", path[i])
	}
	normal, problem := Normalise(nil, []byte(path), Policy{})
	if problem != nil {
		return fmt.Errorf("the path could never match: %s", problem.Text)
	}
	if string(normal) != path {
		return fmt.Errorf("the path is never matched in this spelling; write it as %q", normal)
	}
	return nil
}

func unknownPool(name string, pools []string) error {
	if near := nearest(name, pools); near != "" {
		return fmt.Errorf("there is no pool %q; did you mean %q?", name, near)
	}
	if len(pools) == 0 {
		return fmt.Errorf("there is no pool %q; no pools are configured, add one under \"pools\"", name)
	}
	have := append([]string(nil), pools...)
	sort.Strings(have)
	return fmt.Errorf("there is no pool %q; there are: %s", name, strings.Join(have[:min(len(have), 8)], ", "))
}

// nearest returns the name that takes fewest edits to reach, if those are few.
func nearest(name string, names []string) string {
	best, fewest := "", len(name)/3+2
	for _, n := range names {
		if d := edits(name, n); d < fewest {
			best, fewest = n, d
		}
	}
	return best
}

// edits is the Levenshtein distance of a and b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
