package custody

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/internal/authority/sign"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/anchor"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
)

const day = 24 * time.Hour

var broken = dnsname.MustParse("broken.example.")

// world is a root zone, a broken domain, and what a resolver was told.
type world struct {
	t        *testing.T
	met      sync.Mutex // nothing is guarded by it: see meet
	folder   string
	shown    []*sign.Key
	signer   *sign.Key
	silent   bool
	state    rrcache.State // of the broken domain
	asked    []string
	anchors  []rdata.Record
	negative []dnsname.Name
	problems map[string]string
	config   Config
	k        *Custody
}

func newKey(t *testing.T) *sign.Key {
	t.Helper()
	k, err := sign.Generate(257, dnssec.Ed25519, 0)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, folder: filepath.Join(t.TempDir(), "data"), state: rrcache.Bogus, problems: map[string]string{}}
	w.signer = newKey(t)
	w.shown = []*sign.Key{w.signer}
	data, err := w.signer.DS(dnsname.Root, dnssec.DigestSHA256)
	if err != nil {
		t.Fatal(err)
	}
	w.config = Config{
		Folder: w.folder, Update: true, Ask: w.ask, Log: slog.New(slog.DiscardHandler),
		Anchors: []rdata.Record{{Name: dnsname.Root, Type: rdata.TypeDS, Class: rdata.ClassIN, Data: data}},
		Apply: func(a []rdata.Record, n []dnsname.Name) {
			w.meet()
			w.anchors, w.negative = a, n
		},
		Problem: func(code, about, text string) {
			w.meet()
			delete(w.problems, code+about)
			if text != "" {
				w.problems[code+about] = text
			}
		},
	}
	return w
}

func (w *world) open() {
	w.k = Open(w.config)
	w.k.Start()
	synctest.Wait()
}

// meet orders what the test has done before time passes and what the Custody does after it:
// the clock of a bubble does so, too, but the race detector does not know.
func (w *world) meet() {
	w.met.Lock()
	w.met.Unlock() //lint:ignore SA2001 it is there for the order alone
}

func (w *world) pass(d time.Duration) {
	w.meet()
	time.Sleep(d) // in a bubble
	synctest.Wait()
}

func (w *world) ask(_ context.Context, name dnsname.Name, t rdata.Type, cd bool) (iterate.Answer, error) {
	w.meet()
	w.asked = append(w.asked, name.String()+" "+t.String())
	if w.silent {
		return iterate.Answer{Rcode: dnswire.RcodeServFail, Errors: []dnswire.ExtendedError{{Code: dnswire.EDENoReachableAuthority, Text: "nobody is there"}}}, nil
	}
	if name == broken {
		if w.state == rrcache.Bogus {
			return iterate.Answer{Rcode: dnswire.RcodeServFail, Errors: []dnswire.ExtendedError{{Code: dnswire.EDESignatureExpired, Text: "the signature expired"}}}, nil
		}
		return iterate.Answer{State: w.state}, nil
	}
	if !cd {
		w.t.Error("the keys of a trust point are asked for validated")
	}
	set := rdata.RRset{Name: name, Type: t, Class: rdata.ClassIN, TTL: 172800}
	var a iterate.Answer
	for _, k := range w.shown {
		set.Data = append(set.Data, k.RDATA())
		a.Answer = append(a.Answer, rdata.Record{Name: name, Type: t, Class: rdata.ClassIN, TTL: set.TTL, Data: k.RDATA()})
	}
	sig, err := w.signer.SignRRset(set, name, time.Now().Add(-day), time.Now().Add(14*day))
	if err != nil {
		w.t.Error(err)
	}
	a.Answer = append(a.Answer, rdata.Record{Name: name, Type: rdata.TypeRRSIG, Class: rdata.ClassIN, TTL: set.TTL, Data: sig})
	return a, nil
}

func (w *world) states() string {
	var all []string
	for _, k := range w.k.Points()[0].Keys {
		all = append(all, k.State.String())
	}
	return strings.Join(all, " ")
}

// TestUpdate: a new key comes to be trusted while time passes, and what is known
// outlives restarts. RFC 5011 §2.4.1: 30 days.
func TestUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.open()
		if len(w.anchors) != 1 || w.anchors[0].Type != rdata.TypeDNSKEY {
			t.Errorf("anchors %v, want the key of the DS record", w.anchors)
		}
		w.shown = append(w.shown, newKey(t))
		w.pass(20 * day)
		w.k.Close()
		w.open()
		if got := w.states(); got != "valid add-pending" {
			t.Errorf("after 20 days and a restart: %s", got)
		}
		w.pass(12 * day)
		if got := w.states(); got != "valid valid" || len(w.anchors) != 2 {
			t.Errorf("after 32 days: %s, %d anchors", got, len(w.anchors))
		}
		if len(w.asked) > 60 {
			t.Errorf("%d questions in 32 days", len(w.asked))
		}
		w.signer = w.shown[1]
		w.shown = w.shown[1:]
		w.silent = true
		w.pass(5 * day)
		if text := w.problems[Failing+"."]; !strings.Contains(text, "nobody is there") {
			t.Errorf("silent for five days: %q", text)
		}
		w.silent = false
		w.pass(2 * day)
		if got := w.states(); got != "missing valid" || len(w.problems) != 0 {
			t.Errorf("later: %s, %v", got, w.problems)
		}
		w.k.Close()
	})
}

// TestDamagedFile: what cannot be read is said, and the configured anchors count.
func TestDamagedFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.open()
		w.k.Close()
		path := filepath.Join(w.folder, FileName)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text[:len(text)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		w.silent = true
		w.k = Open(w.config)
		if text := w.problems[Damaged]; !strings.Contains(text, path) {
			t.Errorf("problems: %v", w.problems)
		}
		if records, _ := w.k.Anchors(); len(records) != 1 || records[0].Type != rdata.TypeDS {
			t.Errorf("anchors: %v", records)
		}
		w.k.Start()
		synctest.Wait()
		if kept, err := os.ReadFile(path + ".damaged"); err != nil || len(kept) != len(text)/2 {
			t.Errorf("the damaged file is gone: %v", err)
		}
		w.k.Close()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(path, 0o700); err != nil { // a folder in its place
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "full"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		w.open()
		if w.problems[Damaged] == "" || w.problems[Unsaved] == "" || len(w.anchors) != 1 {
			t.Errorf("%v, %d anchors", w.problems, len(w.anchors))
		}
		w.k.Close()
	})
}

// TestNegative is RFC 7646 §2 and §4: an end, a new try now and then, an early end, and
// all of that over a restart.
func TestNegative(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.open()
		if err := w.k.Add(broken, 30*24*time.Hour, "", false); err == nil {
			t.Error("a month is taken")
		}
		if err := w.k.Add(broken, 2*day, "their signer is down", false); err != nil || !slices.Equal(w.negative, []dnsname.Name{broken}) {
			t.Fatalf("%v, %v", err, w.negative)
		}
		w.k.Close()
		w.negative = nil
		w.open()
		if list := w.k.Negatives(); len(list) != 1 || list[0].Reason != "their signer is down" || len(w.negative) != 1 {
			t.Fatalf("after a restart: %+v", list)
		}
		w.pass(5 * time.Hour)
		if list := w.k.Negatives(); len(list) != 1 || list[0].Verdict != "the signature expired" {
			t.Errorf("while broken: %+v", list)
		}
		w.state = rrcache.Secure
		w.pass(2 * time.Hour)
		if list := w.k.Negatives(); len(list) != 0 || len(w.negative) != 0 {
			t.Errorf("mended: %+v", list)
		}
		if err := w.k.Add(broken, 2*day, "", true); err != nil {
			t.Fatal(err)
		}
		before := len(w.asked)
		w.pass(day + 20*time.Hour)
		if len(w.negative) != 1 || slices.Contains(w.asked[before:], broken.String()+" SOA") {
			t.Error("one that was to stay is gone, or was tried")
		}
		w.pass(5 * time.Hour)
		if len(w.negative) != 0 {
			t.Error("it has no end")
		}
		w.k.Configure([]dnsname.Name{broken})
		w.pass(2 * time.Hour)
		if len(w.negative) != 1 || !strings.Contains(w.problems[Mended+broken.String()], "resolver.negativeTrustAnchors") {
			t.Errorf("of the configuration: %v, %v", w.negative, w.problems)
		}
		w.k.Configure(nil)
		if len(w.negative) != 0 || len(w.problems) != 0 {
			t.Errorf("%v, %v", w.negative, w.problems)
		}
		if err := w.k.Remove(broken); err == nil {
			t.Error("what is not there can be removed")
		}
		w.k.Close()
	})
}

// TestReplaced: who configures other anchors is rid of the ones before.
func TestReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.open()
		w.k.Close()
		other := newWorld(t)
		other.config.Folder = w.folder
		other.open()
		if points := other.k.Points(); len(points) != 1 || len(points[0].Keys) != 1 || points[0].Keys[0].State != anchor.Valid || points[0].Keys[0].Tag() != other.signer.Tag() {
			t.Errorf("%+v", points)
		}
		other.k.Close()
		other.config.Update = false
		other.open()
		if len(other.anchors) != 1 || other.anchors[0].Type != rdata.TypeDS {
			t.Errorf("without updates: %v", other.anchors)
		}
		other.k.Close()
	})
}
