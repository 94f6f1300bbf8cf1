package checkspec

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"pharos/internal/cluster/document"
	"pharos/internal/cluster/state"
	"pharos/internal/traffic/health"
)

func read(t *testing.T, text string) state.Check {
	t.Helper()
	var c state.Check
	root, problems := document.FromJSON("", []byte(text))
	if problems.Err() == nil {
		problems = document.Decode("", root, &c)
	}
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return c
}

// Each type asks what its keys say, and nothing that only another type has.
func TestOf(t *testing.T) {
	status := func(text string) health.StatusSet {
		s, err := health.ParseStatusSet(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for text, want := range map[string]health.Terms{
		`{}`:               {},
		`{"type": "none"}`: {},
		`{"type": "icmp"}`: {},
		`{"type": "http", "path": "/x", "host": "a.example", "fields": ["A: b", "C: d"], "status": "200, 404"}`: {
			Path: "/x", Host: "a.example", Method: "GET", Fields: "A: b\r\nC: d\r\n", Status: status("200,404"),
		},
		`{"type": "https", "version": "2", "redirects": 2, "match": {"json": "a.b", "value": "c"}, "tls": {"serverName": "s.example", "warn": "1d"}}`: {
			Path: "/", Method: "GET", HTTP2: true, Redirects: 2, Status: status("200-399"), Match: health.Match{JSON: "a.b", Value: "c"},
			TLS: health.Encryption{ServerName: "s.example", Warn: 24 * time.Hour},
		},
		`{"type": "tls", "tls": {"verify": false, "warn": "0s"}}`:                                       {TLS: health.Encryption{NoVerify: true}},
		`{"type": "grpc", "service": "a.B"}`:                                                            {Service: "a.B"},
		`{"type": "dns", "dns": {"name": "a.example", "rcodes": ["NOERROR", "NXDOMAIN"], "tcp": true}}`: {Question: health.Question{Name: "a.example", Type: "A", Rcodes: "NOERROR,NXDOMAIN", TCP: true}},
		`{"type": "udp", "send": "hex:00ff", "expect": "ok"}`:                                           {Send: "\x00\xff", Expect: "ok"},
		`{"type": "agent", "send": "a\n"}`:                                                              {Send: "a\n"},
		`{"type": "command", "command": {"run": ["/bin/x", "-a"], "environment": ["A=b"]}}`:             {Program: health.Program{Args: "/bin/x\x00-a", Env: "A=b", Folder: "/"}},
	} {
		got := Of(read(t, text))
		if got.Terms.Get() != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", text, got.Terms.Get(), want)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	slow := Of(read(t, `{"interval": "10s", "fastInterval": "1s", "timeout": "2s", "startGrace": "30s", "rise": 3, "fall": 4, "port": 81, "damping": {"halfLife": "5m", "suppress": 2000, "reuse": 500}}`))
	want := health.Check{Kind: health.TCP, Port: 81, Params: health.Params{Interval: 10 * time.Second, Confirm: time.Second, Timeout: 2 * time.Second, Grace: 30 * time.Second, Rise: 3, Fall: 4, HalfLife: 5 * time.Minute, Suppress: 2000, Reuse: 500}.Once()}
	if slow != want {
		t.Errorf("got %#v, want %#v", slow, want)
	}
	if never := Of(read(t, `{"damping": {"suppress": 0}}`)).Params.Get().Suppress; never >= 0 {
		t.Errorf("damping that is turned off suppresses at %d", never)
	}
}

// Every word of the configuration is a kind.
func TestEveryType(t *testing.T) {
	for _, f := range document.Fields(reflect.TypeFor[state.Check]()) {
		if f.Key != "type" {
			continue
		}
		for _, word := range f.Enum {
			if got := Of(read(t, fmt.Sprintf(`{"type": %q}`, word))).Kind.String(); got != word {
				t.Errorf("%s became %s", word, got)
			}
		}
		return
	}
	t.Error("a check has no type")
}
