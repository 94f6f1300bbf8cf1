package migrate

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pharos/internal/admin/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// languages are the three readers.
var languages = map[string]func(string, Source) (*Result, error){"bind": BIND, "nsd": NSD, "knot": Knot}

// disk reads the files of testdata.
var disk = Source{Read: os.ReadFile, Glob: filepath.Glob}

// TestGolden: configurations as people have them become the one beside them, with
// everything that is not in it listed; and it is a configuration of ours.
func TestGolden(t *testing.T) {
	for name, file := range map[string]string{"bind": "named.conf", "nsd": "nsd.conf", "knot": "knot.conf"} {
		t.Run(name, func(t *testing.T) {
			result, err := languages[name](filepath.Join("testdata", name, file), disk)
			if err != nil {
				t.Fatal(err)
			}
			got := result.YAML()
			if _, err := config.Parse("pharos.yaml", got); err != nil {
				t.Errorf("what was written is no configuration: %v\n%s", err, got)
			}
			golden := filepath.Join("testdata", name, "pharos.yaml")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// files are a Source in memory.
func files(all map[string]string) Source {
	return Source{
		Read: func(file string) ([]byte, error) {
			text, ok := all[file]
			if !ok {
				return nil, os.ErrNotExist
			}
			return []byte(text), nil
		},
		Glob: func(pattern string) (list []string, err error) {
			for file := range all {
				if ok, err := filepath.Match(pattern, file); err != nil {
					return nil, err
				} else if ok {
					list = append(list, file)
				}
			}
			return list, nil
		},
	}
}

// TestErrors: what cannot be read is said with its place.
func TestErrors(t *testing.T) {
	for _, tt := range []struct{ language, text, want string }{
		{"bind", "zone \"a\" { type primary; file \"x\";\n", "c:2: a block without its closing brace }"},
		{"bind", "options { };\n}\n", "c:2: a closing brace } that closes nothing"},
		{"bind", "options { directory \"x\"\n };", "c:1: \"directory \\\"x\\\"\" has no semicolon"},
		{"bind", "\n/* for ever", "c:2: a comment that begins with /*"},
		{"bind", "options {\n directory \"x;\n };", "c:2: a string without its closing"},
		{"bind", "include \"c\";", "c includes itself"},
		{"bind", "include \"d\";", "c:1: include: file does not exist"},
		{"bind", strings.Repeat("a {", 100), "blocks within each other"},
		{"nsd", "name: x\n", "c:1: name: stands in no section"},
		{"nsd", "server:\nfoo bar\n", "c:2: \"foo\" is no attribute"},
		{"nsd", "zone:\n name: \"x\n", "c:2: a string without its closing"},
		{"nsd", "include: c\n", "c includes itself"},
		{"nsd", "include: nothere\n", "c:1: include: file does not exist"},
		{"knot", "zone: x\n", "c:1: zone: a section has no value"},
		{"knot", "  - domain: x\n", "c:1: \"domain"},
		{"knot", "zone:\n  - domain: \"x\n", "c:2: a string without its closing"},
		{"knot", "server:\n    listen: [ 1.2.3.4\n", "c:2: a list without its closing bracket"},
		{"knot", "server:\n    word\n", "c:2: \"word\" belongs to no setting"},
		{"knot", "include: c\n", "c includes itself"},
	} {
		_, err := languages[tt.language]("c", files(map[string]string{"c": tt.text}))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %q: got %v, want %q", tt.language, tt.text, err, tt.want)
		}
	}
}

// TestDetails are readings that the manuals spell out and that are easily missed.
func TestDetails(t *testing.T) {
	for _, tt := range []struct {
		name, language, text string
		want                 []string // lines of the configuration
		without              []string
	}{
		{
			"BIND: three kinds of comments, also right behind a word", "bind",
			"zone a/* b */{ type primary;// c\nfile \"x//y#z\";#d\n};",
			[]string{`- name: "a."`, `file: "x/y#z"`}, nil, // paths are cleaned
		},
		{
			"BIND: a list of a list of a list", "bind",
			"acl a { b; }; acl b { { 10/8; }; }; zone z { type primary; file f; allow-transfer { a; }; };",
			[]string{`- {network: "10.0.0.0/8"}`}, nil,
		},
		{
			"BIND: lists that lead to each other", "bind",
			"acl a { b; }; acl b { a; }; zone z { type primary; file f; allow-transfer { a; }; };",
			[]string{"lists that lead to each other"}, []string{"transfer:\n"},
		},
		{
			"BIND: what stands behind an exception is not let in", "bind",
			"zone z { type primary; file f; allow-transfer { 10.0.0.1; !10.0.0.0/24; 10/8; any; 192.0.2.1; key k; }; };",
			[]string{`- {network: "10.0.0.1/32"}`, `- {network: "10.0.1.0/24"}`, `- {network: "10.128.0.0/9"}`, `- {network: "0.0.0.0/5"}`, `- {network: "192.0.2.1/32"}`, "key k: an exception"}, []string{`"10.0.0.0/8"`, `"10.0.0.0/24"`, `"0.0.0.0/0"`, `key: "k."`},
		},
		{
			"BIND: a view for some clients only", "bind",
			"view inside { match-clients { 10/8; }; zone z { type primary; file f; }; }; view outside { match-clients { any; }; zone y { type primary; file g; }; };",
			[]string{"zones:\n  - name: \"y.\"\n    file: \"g\"\nviews:\n  - name: \"inside\"\n    clients: [\"10.0.0.0/8\"]\n    isolated: true\n    zones:\n      - name: \"z.\"\n        file: \"f\"\n"}, nil,
		},
		{
			"BIND: a zone in two views, chosen by key or network", "bind",
			"key a { algorithm hmac-sha256; secret aaaa; }; key b { algorithm hmac-sha256; secret aaaa; }; acl in { 10/8; 2001:db8::/32; }; view in { match-clients { !key b; key a; in; }; recursion no; zone z { type primary; file f; allow-update { key a; }; }; }; view out { match-clients { key b; any; }; zone z { type primary; file g; }; };",
			[]string{"  - name: \"out\"\n    clients: [\"0.0.0.0/0\", \"::/0\"]\n    keys: [\"b.\"]\n", "  - name: \"in\"\n    clients: [\"10.0.0.0/8\", \"2001:db8::/32\"]\n    keys: [\"a.\"]\n    isolated: true\n    recursion: \"off\"\n", "        kind: store", "a key decides before networks do"}, []string{"a zone of this name already"},
		},
		{
			"BIND: views for clients with exceptions", "bind",
			"key k { algorithm hmac-sha256; secret aaaa; }; view inside { match-clients { !10.1/16; 10/8; }; zone x { type primary; file f; }; }; view keyed { match-clients { !10.1/16; key k; }; zone z { type primary; file f; }; }; view rec { match-recursive-only yes; zone y { type primary; file f; }; };",
			[]string{`clients: ["10.0.0.0/16", "10.2.0.0/15", "10.4.0.0/14", "10.8.0.0/13", "10.16.0.0/12", "10.32.0.0/11", "10.64.0.0/10", "10.128.0.0/9"]`, "zone z.: view keyed is for clients with a key, but for some networks", "zone y.: view rec is for some clients only"}, []string{`name: "keyed"`},
		},
		{
			"BIND: a zone takes transfer rules of its options, unless it has its own", "bind",
			"options { allow-transfer { 10.0.0.1; }; }; zone y { type primary; file f; }; zone z { type primary; file f; allow-transfer { none; }; };",
			[]string{"- name: \"y.\"\n    file: \"f\"\n    transfer:\n      - {network: \"10.0.0.1/32\"}\n  - name: \"z.\"\n    file: \"f\"\n\n"}, nil,
		},
		{
			"BIND: who may ask, and exceptions among them", "bind",
			"acl in { 10/8; }; options { allow-query { in; key k; }; }; key k { algorithm hmac-sha256; secret aaaa; }; zone y { type primary; file f; }; zone z { type primary; file f; allow-query { none; }; };",
			[]string{"    query:\n      - {network: \"10.0.0.0/8\"}\n      - {key: \"k.\"}\n", "nobody is left of those whom allow-query lets in"}, []string{`- name: "z."`},
		},
		{
			"BIND: who may ask is a key that is not taken", "bind",
			"key k { algorithm hmac-md5; secret aaaa; }; zone z { type primary; file f; allow-query { key k; }; };",
			[]string{"nobody is left who may ask for it"}, []string{`- name: "z."`},
		},
		{
			"BIND: updates make a zone one of kind store", "bind",
			`key k { algorithm hmac-sha256; secret aaaa; }; zone z.test { type primary; file f; update-policy { grant k name a.z.test A AAAA; grant k zonesub TXT; grant k subdomain other.test.; grant * self *; deny k zonesub; }; };`,
			[]string{"kind: store", `- {key: "k.", names: ["a.z.test."], types: ["A", "AAAA"]}`, `- {key: "k.", types: ["TXT"]}`, "rndc sync -clean", "deny k zonesub", "grant k subdomain other.test.", "grant * self *"}, []string{"subtrees"},
		},
		{
			"BIND: a secondary that hands updates on", "bind",
			`zone z.test { type secondary; primaries { 10.0.0.1; }; allow-update-forwarding { any; }; };`,
			[]string{"forwardUpdates: true"}, nil,
		},
		{
			"Knot: updates", "knot",
			"key:\n  - id: k\n    algorithm: hmac-sha256\n    secret: aaaa\nacl:\n  - id: a\n    key: k\n    action: [update, transfer]\n  - id: b\n    key: k\n    action: update\n    update-type: TXT\nzone:\n  - domain: a.test\n    acl: [a, b]\n",
			[]string{"kind: store", "updates:\n      - {key: \"k.\"}\n      - {key: \"k.\", types: [\"TXT\"]}\n", "knotc zone-flush"}, nil,
		},
		{
			"BIND: nobody is notified", "bind",
			"options { notify no; }; zone y { type primary; file f; also-notify { 10.0.0.1; }; };",
			[]string{"nobody is notified"}, []string{"notify:\n"},
		},
		{
			"BIND: no recursion", "bind", "options { recursion no; listen-on { any; }; };",
			[]string{"allow: []", `"0.0.0.0:53"`}, nil,
		},
		{
			"BIND: the key that md5 signed with takes its rules with it", "bind",
			"key k { algorithm hmac-md5; secret aaaa; }; zone y { type primary; file f; allow-transfer { key k; }; };",
			[]string{"its key k. was not carried over"}, []string{"transfer:\n", "keys:\n"},
		},
		{
			"NSD: several attributes in a line", "nsd", "zone: name: a.test zonefile: \"%s\"\n",
			[]string{`file: "a.test"`}, nil,
		},
		{
			"NSD: a range of addresses", "nsd", "zone:\n name: a.test\n zonefile: z\n provide-xfr: 10.0.0.1-10.0.0.6 NOKEY\n",
			[]string{`"10.0.0.1/32"`, `"10.0.0.2/31"`, `"10.0.0.4/31"`, `"10.0.0.6/32"`}, nil,
		},
		{
			"NSD: patterns that include each other", "nsd",
			"pattern:\n name: a\n include-pattern: b\npattern:\n name: b\n include-pattern: a\nzone:\n name: z\n zonefile: f\n include-pattern: a\n",
			[]string{"patterns that include each other", `- name: "z."`}, nil,
		},
		{
			"Knot: lists over several lines, and comments", "knot",
			"server:\n    listen: [ 127.0.0.1@53, # here\n              ::1@53 ]\nzone:\n  - domain: a.test # b\n    file: \"x # y\"\n",
			[]string{`["127.0.0.1:53", "[::1]:53"]`, `x # y`}, nil,
		},
		{
			"Knot: the domain may come after other settings", "knot",
			"zone:\n  - file: f\n    domain: a.test\n  - file: g\n    domain: b.test\n",
			[]string{`- name: "a.test."`, `- name: "b.test."`}, nil,
		},
		{
			"Knot: an acl without an action lets nobody in", "knot",
			"acl:\n  - id: a\n    address: 10.0.0.1\nzone:\n  - domain: a.test\n    acl: a\n",
			nil, []string{"transfer:\n"},
		},
		{
			"Knot: an acl without address and key is for everybody", "knot",
			"acl:\n  - id: a\n    action: transfer\nzone:\n  - domain: a.test\n    acl: a\n",
			[]string{`"0.0.0.0/0"`, `"::/0"`}, nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			carried(t, tt.language, tt.text, tt.want, tt.without)
		})
	}
}

// carried imports a configuration of somebody else, and says what is missing in ours, or
// should not be there.
func carried(t *testing.T, language, text string, want, without []string) *Result {
	t.Helper()
	result, err := languages[language]("c", files(map[string]string{"c": text}))
	if err != nil {
		t.Fatal(err)
	}
	got := string(result.YAML())
	for _, want := range want {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	for _, not := range without {
		if strings.Contains(got, not) {
			t.Errorf("%q should not be in\n%s", not, got)
		}
	}
	if _, err := config.Parse("pharos.yaml", []byte(got)); err != nil {
		t.Errorf("no configuration: %v\n%s", err, got)
	}
	return result
}

// fuzz: whatever the text, the reader ends, and what it writes is a configuration.
func fuzz(f *testing.F, language, file string) {
	text, err := os.ReadFile(filepath.Join("testdata", language, file))
	if err != nil {
		f.Fatal(err)
	}
	for part := range strings.SplitSeq(string(text), "\n\n") {
		f.Add(part)
	}
	fuzzText(f, language, string(text))
}

// fuzzText is fuzz that begins with a text.
func fuzzText(f *testing.F, language, text string) {
	f.Add(text)
	f.Fuzz(func(t *testing.T, text string) {
		result, err := languages[language]("c", files(map[string]string{"c": text, "d": "zone"}))
		if err != nil {
			return
		}
		if _, err := config.Parse("pharos.yaml", result.YAML()); err != nil {
			t.Errorf("%q became\n%s\nwhich is none: %v", text, result.YAML(), err)
		}
	})
}

func FuzzBIND(f *testing.F) { fuzz(f, "bind", "named.conf") }
func FuzzNSD(f *testing.F)  { fuzz(f, "nsd", "nsd.conf") }
func FuzzKnot(f *testing.F) { fuzz(f, "knot", "knot.conf") }
