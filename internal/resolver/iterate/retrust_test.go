package iterate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// anew asks whatever is known, and past negative trust anchors.
func (w *signedWorld) anew(name string, t rdata.Type) Answer {
	w.t.Helper()
	w.tokens++
	w.step(Ask{Token: w.tokens, Name: dnsname.MustParse(name), Type: t, DO: true, Trace: true, Anew: true})
	w.run()
	return w.answers[w.tokens]
}

// RFC 7646 at run time: a broken zone is let through, looked at without that, and
// validated again when it is mended. Nobody sees what was meant for somebody else.
func TestNegativeTrustAnchorLater(t *testing.T) {
	w := newSignedWorld(t)
	good := w.example.to
	w.example.to = worldBegin.Add(-time.Minute)
	w.begin(nil)
	root, broken := []rdata.Record{w.root.ds()}, []dnsname.Name{w.example.zone}
	w.wantBogus(w.query("www.example.com.", "A", "DO"), dnswire.EDESignatureExpired, "")
	w.step(Trust{Anchors: root, Negative: broken})
	let := func(when string) {
		t.Helper()
		a := w.query("www.example.com.", "A", "DO")
		w.wantState(a, rrcache.Insecure, "NOERROR")
		if a.AD || len(a.Errors) != 1 || a.Errors[0].Code != dnswire.EDENegativeTrustAnchor {
			t.Errorf("%s: AD %v, %v", when, a.AD, a.Errors)
		}
	}
	let("with the anchor")
	w.wantBogus(w.anew("www.example.com.", rdata.TypeA), dnswire.EDESignatureExpired, "")
	let("after a look past it")
	w.example.to = good
	w.now = w.now.Add(time.Minute)
	w.wantState(w.anew("www.example.com.", rdata.TypeA), rrcache.Secure, "NOERROR")
	let("mended, but the anchor is there")
	w.step(Trust{Anchors: root})
	if a := w.query("www.example.com.", "A", "DO"); a.State != rrcache.Secure || !a.AD || len(a.Errors) > 0 {
		t.Errorf("without the anchor: %v, AD %v, %v", a.State, a.AD, a.Errors)
	}
}

// RFC 5011: another key is trusted, and the one before it is not, at once.
func TestAnchorsChange(t *testing.T) {
	w := newSignedWorld(t)
	w.wantState(w.query("www.example.com.", "A"), rrcache.Secure, "NOERROR")
	w.step(Trust{Anchors: []rdata.Record{w.com.ds()}}) // a DS record of a key that the root does not have
	w.wantState(w.query("other.example.com.", "A"), rrcache.Secure, "NXDOMAIN")
	w.wantState(w.query("nowhere.", "A"), rrcache.Insecure, "NXDOMAIN")
	stranger := w.com.ds()
	stranger.Name = dnsname.Root
	w.step(Trust{Anchors: []rdata.Record{stranger}})
	w.wantBogus(w.query("another.example.com.", "A"), dnswire.EDEDNSKEYMissing, "")
	w.step(Trust{}) // no anchor is left (RFC 5011 §5)
	w.now = w.now.Add(time.Minute)
	w.wantState(w.query("last.example.com.", "A"), rrcache.Insecure, "NXDOMAIN")
}

// A question that is to be asked anew reaches the servers, whatever is known, and its
// answer is nobody else's.
func TestAskedAnew(t *testing.T) {
	w := newSignedWorld(t)
	w.query("www.example.com.", "A")
	for range 2 {
		before := len(w.sent)
		if a := w.anew("www.example.com.", rdata.TypeA); len(w.sent) == before || a.Rcode != dnswire.RcodeNoError || a.Cached {
			t.Errorf("%s, %d packets", render(a), len(w.sent)-before)
		}
	}
}

// What was secure by an anchor that is gone is judged anew; what came by the same keys is
// kept when an anchor changes by them (RFC 5011: first a DS record, then the key it is of).
func TestAnchorsReplaced(t *testing.T) {
	w := newSignedWorld(t)
	w.begin(func(c *Config) { c.Aggressive = true })
	w.wantState(w.query("www.example.com.", "A"), rrcache.Secure, "NOERROR")
	w.wantState(w.query("zz.example.com.", "A"), rrcache.Secure, "NXDOMAIN")
	key := wireRecord(t, w.root.key)
	w.step(Trust{Anchors: []rdata.Record{key}})
	w.asked = nil
	w.wantState(w.query("www.example.com.", "A"), rrcache.Secure, "NOERROR")
	w.wantAsked()
	w.step(Trust{Anchors: []rdata.Record{w.com.ds()}}) // an island: nothing is said of the root
	w.wantState(w.query("www.example.com.", "A"), rrcache.Secure, "NOERROR")
	w.wantState(w.query("a.root.", "A"), rrcache.Insecure, "NOERROR")
	wrong := w.com.ds()
	wrong.Data = append([]byte(nil), wrong.Data...)
	wrong.Data[len(wrong.Data)-1]++
	w.step(Trust{Anchors: []rdata.Record{wrong}})
	for _, name := range []string{"www.example.com.", "zz.example.com.", "zzz.example.com."} {
		if a := w.query(name, "A"); a.Rcode != dnswire.RcodeServFail {
			t.Errorf("%s by the anchor of no key: %s", name, render(a))
		}
	}
	w.step(Trust{Anchors: []rdata.Record{w.root.ds()}})
	w.wantState(w.query("a.root.", "A"), rrcache.Secure, "NOERROR")
	w.r.check()
}

// Hints of another root have everything asked for anew, what is being looked up too; those
// of the same root change nothing that was learnt; without any, nobody is asked.
func TestHints(t *testing.T) {
	w := newSignedWorld(t)
	w.begin(nil)
	hints := func(addr string) []rdata.Record {
		return rrs(". 518400 NS b.root.", "b.root. 518400 A "+addr)
	}
	w.wantState(w.query("www.example.com.", "A"), rrcache.Secure, "NOERROR")
	w.step(Hints{Records: hints(rootAddr)})
	w.asked = nil
	w.wantState(w.query("www.example.com.", "A"), rrcache.Secure, "NOERROR")
	w.wantAsked()
	w.step(Hints{})
	a := w.query("www.example.com.", "A")
	if w.wantAsked(); a.Rcode != dnswire.RcodeServFail || len(a.Errors) != 1 || a.Errors[0].Code != dnswire.EDENoReachableAuthority || !strings.Contains(a.Errors[0].Text, "there are no hints") {
		t.Errorf("without hints: %s, %v", render(a), a.Errors)
	}
	w.servers["192.0.2.99"] = w.root.serve()
	w.step(Hints{Records: hints("192.0.2.98")}) // nobody is there
	token := w.ask("www.example.com.", "A")
	w.asked = nil
	w.step(Hints{Records: hints("192.0.2.99")})
	w.run()
	if got := render(w.answers[token]); !strings.HasPrefix(got, "NOERROR | www.example.com. 300 A 203.0.113.1") || !slices.Contains(w.asked, "192.0.2.99 . NS") {
		t.Errorf("%s, asked %q: want the servers of the other root asked", got, w.asked)
	}
	w.r.check()
}

// New without hints, and told to take none, asks nobody.
func TestNoHints(t *testing.T) {
	w := newSignedWorld(t)
	w.begin(func(c *Config) { c.Hints, c.NoHints = nil, true })
	if a := w.query("www.example.com.", "A"); a.Rcode != dnswire.RcodeServFail || len(w.asked) != 0 {
		t.Errorf("%s, asked %q", render(a), w.asked)
	}
}
