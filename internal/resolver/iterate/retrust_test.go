package iterate

import (
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
