package iterate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

const wwwA = "NOERROR | www.example.com. 300 A 203.0.113.1"

// RFC 4035 §5: a chain of signatures from the root to an answer makes it secure;
// §3.2.3, RFC 6840 §5.8: AD is for who sets DO or AD; §3.2.1: signatures for who sets DO.
func TestSecure(t *testing.T) {
	for _, from := range []string{"network", "cache"} {
		w := newSignedWorld(t)
		if from == "cache" {
			w.query("www.example.com.", "A")
		}
		before := len(w.sent)
		plain := w.query("www.example.com.", "A")
		w.wantState(plain, rrcache.Secure, wwwA)
		if plain.AD || len(plain.Answer) != 1 {
			t.Errorf("%s: without DO: AD %v, %d records", from, plain.AD, len(plain.Answer))
		}
		if ad := w.query("www.example.com.", "A", "AD"); !ad.AD || len(ad.Answer) != 1 {
			t.Errorf("%s: with AD: AD %v, %d records", from, ad.AD, len(ad.Answer))
		}
		do := w.query("www.example.com.", "A", "DO")
		if !do.AD || len(do.Answer) != 2 || do.Answer[1].Type != rdata.TypeRRSIG {
			t.Errorf("%s: with DO: AD %v, %v", from, do.AD, do.Answer)
		}
		if from == "cache" && len(w.sent) != before {
			t.Errorf("the cache had it, but %q was asked", w.asked[before:])
		}
	}
}

// DESIGN: what is ready in wire form has its state with it.
func TestReadyHasAD(t *testing.T) {
	w := newSignedWorld(t)
	w.query("www.example.com.", "A", "DO")
	w.query("www.example.com.", "A")
	for _, test := range []struct{ do, ad, want bool }{{true, false, true}, {false, true, true}, {false, false, false}} {
		msg := dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: dnsname.MustParse("www.example.com."), Type: rdata.TypeA, Class: 1, EDNS: true, DO: test.do, AD: test.ad})
		var q dnswire.Query
		q.Parse(msg)
		var out dnswire.Builder
		out.Reset(&q, make([]byte, 4096), 4096)
		if !w.cache.Answer(w.now, &q, &out, 0) {
			t.Fatalf("%+v: nothing is ready", test)
		}
		m, err := dnswire.ParseMessage(out.Finish())
		if err != nil || m.AD != test.want || (len(m.Answer) == 2) != test.do {
			t.Errorf("%+v: AD %v, %v, %v", test, m.AD, m.Answer, err)
		}
	}
}

// Every kind of answer of a signed zone, with NSEC and NSEC3.
func TestSecureKinds(t *testing.T) {
	for _, nsec3 := range []int{-1, 0, 10} {
		w := newSignedWorld(t)
		w.example.nsec3, w.com.nsec3 = nsec3, nsec3
		w.wantState(w.query("alias.example.com.", "A"), rrcache.Secure, "NOERROR | alias.example.com. 300 CNAME www.example.com.; www.example.com. 300 A 203.0.113.1")
		w.wantState(w.query("www.d.example.com.", "A"), rrcache.Secure, "NOERROR | d.example.com. 300 DNAME example.com.; www.d.example.com. 300 CNAME www.example.com.; www.example.com.")
		w.wantState(w.query("www.example.com.", "AAAA"), rrcache.Secure, "NOERROR |  | example.com. 300 SOA SOA")
		w.wantState(w.query("ent.example.com.", "A"), rrcache.Secure, "NOERROR |  | example.com. 300 SOA SOA")
		w.wantState(w.query("no.such.example.com.", "A"), rrcache.Secure, "NXDOMAIN |  | example.com. 300 SOA SOA")
		w.wantState(w.query("com.", "DS"), rrcache.Secure, "NOERROR | com. 3600 DS")
		w.wantState(w.query("example.com.", "DNSKEY"), rrcache.Secure, "NOERROR | example.com. 3600 DNSKEY")
		w.wantState(w.query("www.plain.com.", "A"), rrcache.Insecure, "NOERROR | www.plain.com. 300 A 203.0.113.4")
		w.wantState(w.query("away.example.com.", "A"), rrcache.Insecure, "NOERROR | away.example.com. 300 CNAME www.plain.com.; www.plain.com.")
		w.wantState(w.query("plain.com.", "DS"), rrcache.Secure, "NOERROR |  | com. 300 SOA SOA")
		if a := w.query("no.plain.com.", "A", "DO"); a.State != rrcache.Insecure || a.AD || a.Rcode != dnswire.RcodeNXDomain {
			t.Errorf("NSEC3 %d: %v, AD %v, %v", nsec3, a.State, a.AD, a.Rcode)
		}
	}
}

// RFC 5155 §9.2, §8.6: an opt-out span proves an insecure delegation, and nothing
// securely.
func TestOptOutDelegation(t *testing.T) {
	w := newSignedWorld(t)
	w.com.nsec3, w.com.optOut = 0, true
	w.wantState(w.query("www.plain.com.", "A"), rrcache.Insecure, "NOERROR | www.plain.com.")
	w.wantState(w.query("www.example.com.", "A"), rrcache.Secure, wwwA)
	w.wantState(w.query("absent.com.", "A"), rrcache.Insecure, "NXDOMAIN")
}

// RFC 8914 §4: each way of being bogus has its extended error.
func TestBogus(t *testing.T) {
	strip := func(types ...rdata.Type) func(q, m *dnswire.Message) {
		return func(_, m *dnswire.Message) {
			drop := func(r rdata.Record) bool { return slices.Contains(types, r.Type) }
			m.Answer, m.Authority = slices.DeleteFunc(m.Answer, drop), slices.DeleteFunc(m.Authority, drop)
		}
	}
	for _, test := range []struct {
		name, ask, t string
		spoil        func(w *signedWorld)
		code         dnswire.EDE
		text         string
	}{
		{"expired", "www.example.com.", "A", func(w *signedWorld) { w.example.to = worldBegin.Add(-time.Minute) }, dnswire.EDESignatureExpired, "expired 2025-12-31"},
		{"not yet", "www.example.com.", "A", func(w *signedWorld) { w.example.from = worldBegin.Add(time.Hour) }, dnswire.EDESignatureNotYetValid, "valid from"},
		{"no signatures", "www.example.com.", "A", func(w *signedWorld) { w.example.change = strip(rdata.TypeRRSIG) }, dnswire.EDERRSIGsMissing, ""},
		{"no denial", "no.example.com.", "A", func(w *signedWorld) { w.example.change = strip(rdata.TypeNSEC) }, dnswire.EDENSECMissing, ""},
		{"no keys", "www.example.com.", "A", func(w *signedWorld) { w.example.change = strip(rdata.TypeDNSKEY) }, dnswire.EDEDNSKEYMissing, ""},
		{"keys unreachable", "www.example.com.", "A", func(w *signedWorld) {
			w.example.change = func(q, m *dnswire.Message) {
				if q.Question.Type == rdata.TypeDNSKEY {
					m.Rcode, m.Answer = dnswire.RcodeRefused, nil
				}
			}
		}, dnswire.EDEDNSKEYMissing, "cannot be had"},
		{"other key", "www.example.com.", "A", func(w *signedWorld) {
			z := newSignedZone(t, "example.com.")
			z.key.PublicKey = w.com.key.PublicKey
			w.com.records = slices.DeleteFunc(w.com.records, func(r rdata.Record) bool { return r.Type == rdata.TypeDS })
			w.com.add(z.ds())
		}, dnswire.EDEDNSKEYMissing, "parent"},
		{"no zone key", "www.example.com.", "A", func(w *signedWorld) {
			w.example.key.Flags = 1
			w.example.records = slices.DeleteFunc(w.example.records, func(r rdata.Record) bool { return r.Type == rdata.TypeDNSKEY })
			w.example.add(wireRecord(t, w.example.key))
			w.com.records = slices.DeleteFunc(w.com.records, func(r rdata.Record) bool { return r.Type == rdata.TypeDS })
			w.com.add(w.example.ds())
		}, dnswire.EDENoZoneKeyBitSet, ""},
		{"changed", "www.example.com.", "A", func(w *signedWorld) {
			w.example.change = func(_, m *dnswire.Message) {
				for _, r := range m.Answer {
					if r.Type == rdata.TypeA {
						r.Data[3] ^= 1
					}
				}
			}
		}, dnswire.EDEDNSSECBogus, "does not fit"},
		// Whoever can strip a DS RRset, but not sign, cannot make a zone insecure.
		{"stripped DS", "www.example.com.", "A", func(w *signedWorld) {
			w.com.change, w.example.change = strip(rdata.TypeDS), strip(rdata.TypeRRSIG)
		}, dnswire.EDERRSIGsMissing, "DS of example.com. is not signed"},
		{"stripped DS and proof", "www.example.com.", "A", func(w *signedWorld) {
			w.com.change, w.example.change = strip(rdata.TypeDS, rdata.TypeRRSIG), strip(rdata.TypeRRSIG)
		}, dnswire.EDERRSIGsMissing, ""},
		// A proof that another name has no DS proves nothing here.
		{"denial of another", "www.example.com.", "A", func(w *signedWorld) {
			other := w.com.signAll(w.com.deny(dnsname.MustParse("plain.com."), false))
			w.com.change = func(q, m *dnswire.Message) {
				if q.Question.Type == rdata.TypeDNSKEY {
					return
				}
				strip(rdata.TypeDS, rdata.TypeRRSIG)(q, m)
				m.Authority = append(m.Authority, other...)
			}
			w.example.change = strip(rdata.TypeRRSIG)
		}, dnswire.EDEDNSSECBogus, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newSignedWorld(t)
			w.t = t
			test.spoil(w)
			w.wantBogus(w.query(test.ask, test.t, "DO"), test.code, test.text)
			if a := w.query(test.ask, test.t, "DO", "CD"); a.Rcode == dnswire.RcodeServFail && test.name != "keys unreachable" || a.AD {
				t.Errorf("RFC 4035 §3.2.2: with CD: %v, AD %v, %v", a.Rcode, a.AD, a.Errors)
			}
			before := len(w.sent)
			if a := w.query(test.ask, test.t, "DO"); a.Rcode != dnswire.RcodeServFail || len(w.sent) != before {
				t.Errorf("RFC 4035 §4.7: again: %v, %d queries", a.Rcode, len(w.sent)-before)
			}
		})
	}
}

// A zone that is mended is believed again as soon as the failure is forgotten.
func TestBogusIsForgotten(t *testing.T) {
	w := newSignedWorld(t)
	w.example.to = worldBegin.Add(-time.Minute)
	w.wantBogus(w.query("www.example.com.", "A"), dnswire.EDESignatureExpired, "")
	w.example.to = worldBegin.Add(time.Hour)
	w.pass(6 * time.Second)
	w.wantState(w.query("www.example.com.", "A"), rrcache.Secure, wwwA)
}

// One of two servers lies: the other one is asked.
func TestBogusServerIsLeft(t *testing.T) {
	for _, liar := range []string{"192.0.2.3", "192.0.2.33"} {
		w := newSignedWorld(t)
		for _, z := range []*signedZone{w.com, w.example} {
			z.add(rrs("example.com. 3600 NS ns2.example.com.", "ns2.example.com. 3600 A 192.0.2.33")...)
		}
		honest := w.example.serve()
		w.servers["192.0.2.3"], w.servers["192.0.2.33"] = honest, honest
		w.servers[liar] = func(q *dnswire.Message, tcp bool) [][]byte {
			m, _ := dnswire.ParseMessage(honest(q, tcp)[0])
			for _, r := range m.Answer {
				r.Data[len(r.Data)-1] ^= 1
			}
			return wire(m)
		}
		w.wantState(w.query("www.example.com.", "A"), rrcache.Secure, wwwA)
		w.wantState(w.query("www.example.com.", "AAAA"), rrcache.Secure, "NOERROR")
	}
}

// RFC 4035 §5.2: a zone signed only with what is not supported is insecure, and the
// client may know why.
func TestUnsupported(t *testing.T) {
	for _, test := range []struct {
		algorithm, digest byte
		want              dnswire.EDE
	}{{17, 2, dnswire.EDEUnsupportedDNSKEYAlgorithm}, {5, 2, dnswire.EDEUnsupportedDNSKEYAlgorithm}, {15, 3, dnswire.EDEUnsupportedDSDigest}} {
		w := newSignedWorld(t)
		for _, r := range w.com.at(dnsname.MustParse("example.com."), rdata.TypeDS) {
			r.Data[2], r.Data[3] = test.algorithm, test.digest
		}
		a := w.query("www.example.com.", "A", "DO")
		w.wantState(a, rrcache.Insecure, "NOERROR")
		if len(a.Errors) != 1 || a.Errors[0].Code != test.want || a.AD {
			t.Errorf("%+v: %v", test, a.Errors)
		}
	}
}

// KeyTrap (CVE-2023-50387): keys that share a tag, times signatures that fit none,
// cost one question no more than its budget.
func TestKeyTrap(t *testing.T) {
	w := newSignedWorld(t)
	w.example.change = func(q, m *dnswire.Message) {
		if len(m.Answer) == 0 {
			return
		}
		var out []rdata.Record
		for _, r := range m.Answer {
			for i := range byte(60) {
				c := r
				c.Data = slices.Clone(r.Data)
				switch {
				case r.Type == rdata.TypeRRSIG: // another signature by the same tag
					c.Data[len(c.Data)-1-int(i)] ^= 1
				case r.Type == rdata.TypeDNSKEY && i > 0: // another key with the same tag: RFC 4034 appendix B is a sum
					c.Data[4] += i
					c.Data[6] -= i
				}
				if r.Type != rdata.TypeRRSIG && r.Type != rdata.TypeDNSKEY && i > 0 {
					continue
				}
				out = append(out, c)
			}
		}
		m.Answer = out
	}
	a := w.query("www.example.com.", "A")
	if a.Rcode != dnswire.RcodeServFail {
		t.Errorf("%s", render(a))
	}
	// Those for the root and com, and 16 that fail.
	if got := w.r.Counters().Signatures; got == 0 || got > 8+16 {
		t.Errorf("%d signature checks, want at most 24", got)
	}
	for i := range 20 { // and the next questions about the zone cost less still
		w.query(string(rune('a'+i))+".example.com.", "A")
	}
	if got := w.r.Counters().Signatures; got > 24+20*16 {
		t.Errorf("%d signature checks for 21 questions", got)
	}
}

// The budget of signature checks ends with SERVFAIL that says so.
func TestSignatureBudget(t *testing.T) {
	w := newSignedWorld(t)
	w.begin(func(c *Config) { c.Limits.Signatures = 4 })
	w.wantBogus(w.query("www.example.com.", "A"), dnswire.EDEDNSSECBogus, "more than 4 signature checks")
	if got := w.r.Counters().Signatures; got != 4 {
		t.Errorf("%d signature checks", got)
	}
}

// NSEC3 CPU exhaustion (CVE-2023-50868): more than 50 iterations are insecure without
// a hash (RFC 9276 §3.2), and the hashes of one question are bounded.
func TestNSEC3Work(t *testing.T) {
	w := newSignedWorld(t)
	w.example.nsec3 = 51
	a := w.query("no.example.com.", "A", "DO")
	w.wantState(a, rrcache.Insecure, "NXDOMAIN")
	if got := w.r.Counters().Hashes; got != 0 || len(a.Errors) != 1 || a.Errors[0].Code != dnswire.EDENSEC3Iterations {
		t.Errorf("%d hashes, %v", got, a.Errors)
	}
	w = newSignedWorld(t)
	w.example.nsec3 = 50
	w.wantState(w.query("no.example.com.", "A"), rrcache.Secure, "NXDOMAIN")
	before := w.r.Counters().Hashes
	w.wantBogus(w.query(strings.Repeat("a.", 100)+"example.com.", "A"), dnswire.EDEDNSSECBogus, "64 NSEC3 hashes")
	if got := w.r.Counters().Hashes - before; got > 64 {
		t.Errorf("%d hashes, want at most 64", got)
	}
}

// RFC 4035 §5.3.4, CVE-2026-44690: a wildcard's signature is not one for a name that
// exists, nor without proof that nothing nearer does.
func TestWildcardReplay(t *testing.T) {
	for _, proof := range []bool{true, false} {
		for _, name := range []string{"new.example.com.", "www.example.com."} {
			w := newSignedWorld(t)
			wild := rrs("*.example.com. 300 A 203.0.113.66")
			w.example.add(wild...)
			sig := w.example.sign(wild)
			asked := dnsname.MustParse(name)
			w.example.change = func(q, m *dnswire.Message) {
				if q.Question.Name != asked || q.Question.Type != rdata.TypeA {
					return
				}
				m.Rcode, m.Authority = dnswire.RcodeNoError, nil
				r, s := wild[0], sig
				r.Name, s.Name = asked, asked
				m.Answer = []rdata.Record{r, s}
				if proof {
					m.Authority = w.example.signAll([]rdata.Record{w.example.nsecAt(w.example.owners(), asked)})
				}
			}
			a := w.query(name, "A", "DO")
			if proof && name == "new.example.com." {
				w.wantState(a, rrcache.Secure, "NOERROR | new.example.com. 300 A 203.0.113.66")
				if len(a.Authority) == 0 {
					t.Error("the proof is not given to the client")
				}
				if b := w.query(name, "A", "DO"); !b.AD || len(b.Authority) != len(a.Authority) {
					t.Errorf("from the cache: %s", render(b))
				}
			} else if a.Rcode != dnswire.RcodeServFail || !isBogus(a.Errors[0].Code) {
				t.Errorf("proof %v, %s: %s, %v", proof, name, render(a), a.Errors)
			}
		}
	}
}

// RFC 7646: nothing is validated at and below a negative trust anchor.
func TestNegativeTrustAnchor(t *testing.T) {
	w := newSignedWorld(t)
	w.example.to = worldBegin.Add(-time.Minute)
	w.begin(func(c *Config) { c.Negative = []dnsname.Name{dnsname.MustParse("example.com.")} })
	a := w.query("www.example.com.", "A", "DO")
	w.wantState(a, rrcache.Insecure, "NOERROR")
	if !strings.Contains(a.Why, "negative trust anchor") || a.AD {
		t.Errorf("%q, AD %v", a.Why, a.AD)
	}
}

// An island of trust: above its anchor nothing is validated.
func TestIsland(t *testing.T) {
	w := newSignedWorld(t)
	w.begin(func(c *Config) { c.Anchors = []rdata.Record{wireRecord(t, w.example.key)} })
	w.wantState(w.query("www.example.com.", "A"), rrcache.Secure, wwwA)
	w.wantState(w.query("com.", "SOA"), rrcache.Insecure, "NOERROR")
	w.example.to = worldBegin.Add(-time.Minute)
	w.begin(func(c *Config) { c.Anchors = []rdata.Record{wireRecord(t, w.example.key)} })
	w.wantBogus(w.query("www.example.com.", "A"), dnswire.EDESignatureExpired, "")

	// The claim that the zone above has signed, which no anchor is over, leads nowhere.
	w.example.to = worldBegin.Add(time.Hour)
	w.example.change = func(q, m *dnswire.Message) {
		if q.Question.Type == rdata.TypeA {
			m.Answer = rrs("www.example.com. 300 A 203.0.113.66")
			m.Answer = append(m.Answer, w.com.sign(m.Answer))
		}
	}
	w.begin(func(c *Config) { c.Anchors = []rdata.Record{wireRecord(t, w.example.key)} })
	if a := w.query("www.example.com.", "A"); a.Rcode != dnswire.RcodeServFail {
		t.Errorf("%v: %s", a.State, render(a))
	}
}

// What a zone of our own delegates is not validated from outside.
func TestLocalDelegation(t *testing.T) {
	w := newSignedWorld(t)
	w.servers["192.0.2.5"] = authority("corp.", "corp. 900 SOA", "www.corp. 300 A 203.0.113.5")
	w.wantState(w.query("www.corp.", "A"), rrcache.Secure, "NXDOMAIN")
	w.begin(nil)
	w.cache.PutLocalDelegation(w.now, dnsname.MustParse("corp."), []rrcache.Server{{Name: dnsname.MustParse("ns.corp."), Addrs: addresses([][]byte{{192, 0, 2, 5}})}}, 3600, time.Time{})
	w.wantState(w.query("www.corp.", "A"), rrcache.Insecure, "NOERROR | www.corp. 300 A 203.0.113.5")
}

// RFC 4035 §5.3.3: nothing is believed longer than its signature is valid.
func TestSignatureEndsLifetime(t *testing.T) {
	w := newSignedWorld(t)
	w.query("example.com.", "DNSKEY")
	w.example.to = worldBegin.Add(100 * time.Second)
	a := w.query("www.example.com.", "A")
	if a.State != rrcache.Secure || a.Answer[0].TTL > 100 {
		t.Errorf("%v, TTL %d", a.State, a.Answer[0].TTL)
	}
	w.example.to = worldBegin.Add(time.Hour)
	before := len(w.sent)
	w.pass(101 * time.Second)
	w.wantState(w.query("www.example.com.", "A"), rrcache.Secure, wwwA)
	if len(w.sent) == before {
		t.Error("the cache still had it")
	}
}

// Two who ask at a time: one validation's lookups serve both.
func TestMergedValidation(t *testing.T) {
	w := newSignedWorld(t)
	first, second := w.ask("www.example.com.", "A"), w.ask("www.example.com.", "A")
	w.run()
	for _, token := range []uint64{first, second} {
		w.wantState(w.answers[token], rrcache.Secure, wwwA)
	}
	for _, question := range []string{"example.com. DNSKEY", " . DNSKEY", " com. DNSKEY"} {
		if got := w.count(question); got != 1 {
			t.Errorf("%s was asked %d times", question, got)
		}
	}
}

// A name below a proven NXDOMAIN does not exist either (RFC 8020 §2).
func TestSecureCut(t *testing.T) {
	w := newSignedWorld(t)
	w.query("no.example.com.", "A")
	before := len(w.sent)
	w.wantState(w.query("deep.down.no.example.com.", "AAAA"), rrcache.Secure, "NXDOMAIN")
	if len(w.sent) != before {
		t.Errorf("%q was asked", w.asked[before:])
	}
}

// DESIGN: DS records come with referrals, and keys are asked for side by side: a
// cold answer of a signed zone takes at most one round trip more.
func TestOneRoundTripMore(t *testing.T) {
	w := newSignedWorld(t)
	signed := w.query("www.example.com.", "A")
	w.begin(func(c *Config) { c.Validate = false })
	plain := w.query("www.example.com.", "A")
	if more := signed.Elapsed - plain.Elapsed; more > w.latency {
		t.Errorf("%v more, want at most %v", more, w.latency)
		for _, s := range signed.Trace {
			t.Log(s)
		}
	}
}

// The trace tells the chain and the verdict.
func TestTraceOfValidation(t *testing.T) {
	w := newSignedWorld(t)
	var lines []string
	for _, s := range w.query("www.example.com.", "A").Trace {
		lines = append(lines, s.String())
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{"zone . is secure", "zone com. is secure", "zone example.com. is secure", "www.example.com. A is secure"} {
		if !strings.Contains(text, want) {
			t.Errorf("the trace lacks %q:\n%s", want, text)
		}
	}
}

// RFC 4509 §3: a DS with SHA-1 beside a better one does not count.
func TestWeakDigest(t *testing.T) {
	w := newSignedWorld(t)
	weak := wireRecord(t, w.example.key.ToDS(dns.SHA1))
	weak.TTL = 3600
	good := w.com.at(dnsname.MustParse("example.com."), rdata.TypeDS)
	good[0].Data[10] ^= 1
	w.com.add(weak)
	w.wantBogus(w.query("www.example.com.", "A"), dnswire.EDEDNSKEYMissing, "")
}

// BenchmarkColdValidation is what a question costs the machine in CPU, from an empty
// cache, with the servers' work aside as far as signatures are concerned.
func BenchmarkColdValidation(b *testing.B) {
	w := newSignedWorld(&testing.T{})
	answers := map[string][][]byte{}
	for addr, serve := range w.servers {
		w.servers[addr] = func(q *dnswire.Message, tcp bool) [][]byte {
			key := addr + q.Question.Name.String() + q.Question.Type.String() + map[bool]string{true: "DO"}[q.EDNS.DO]
			if answers[key] == nil {
				answers[key] = serve(q, tcp)
			}
			msg := slices.Clone(answers[key][0])
			msg[0], msg[1] = byte(q.ID>>8), byte(q.ID)
			return [][]byte{msg}
		}
	}
	for _, on := range []bool{false, true} {
		b.Run(map[bool]string{false: "off", true: "on"}[on], func(b *testing.B) {
			for b.Loop() {
				w.begin(func(c *Config) { c.Validate = on })
				if a := w.resolve("www.example.com.", "A"); a.Rcode != dnswire.RcodeNoError {
					b.Fatal(a.Errors)
				}
			}
		})
	}
}

// That there is no DS at a name is proven for an empty non-terminal too. It must not
// make an NXDOMAIN secure that came with that proof, under which all below would
// vanish (RFC 8020).
func TestNoDSIsNotNXDomain(t *testing.T) {
	w := newSignedWorld(t)
	ent := dnsname.MustParse("ent.example.com.")
	w.example.change = func(q, m *dnswire.Message) {
		switch {
		case q.Question.Name == ent:
			m.Rcode = dnswire.RcodeNXDomain
		case q.Question.Type == rdata.TypeTXT: // so that the cuts above are looked for
			m.Answer = slices.DeleteFunc(m.Answer, func(r rdata.Record) bool { return r.Type == rdata.TypeRRSIG })
		}
	}
	w.wantBogus(w.query("a.ent.example.com.", "TXT"), dnswire.EDERRSIGsMissing, "")
	if w.count("ent.example.com. DS") == 0 {
		t.Fatalf("asked %q", w.asked)
	}
	w.example.change = nil
	w.pass(6 * time.Second)
	w.wantState(w.query("a.ent.example.com.", "TXT"), rrcache.Secure, "NOERROR | a.ent.example.com.")
}
