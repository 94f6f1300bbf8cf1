package iterate

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

var update = flag.Bool("update", false, "rewrite the recorded scenarios")

// recording is one scenario with signatures, which nobody can write by hand: the
// servers of a signedWorld say what is in it, the line after the questions says what
// has to come of it.
type recording struct {
	file, cites string
	packets     int // the most that the resolver may send
	spoil       func(w *signedWorld)
	asks        []recordedAsk
}

// recordedAsk is a question and what its answer must be: RCODE with AD, and the
// extended error.
type recordedAsk struct {
	name, t string
	cd      bool
	rcode   string
	ad      bool
	ede     dnswire.EDE // 0: none
}

func recordings(t *testing.T) []recording {
	www := func(rcode string, ad bool, ede dnswire.EDE) []recordedAsk {
		return []recordedAsk{{"www.example.com.", "A", false, rcode, ad, ede}}
	}
	stripTypes := func(types ...rdata.Type) func(q, m *dnswire.Message) {
		return func(_, m *dnswire.Message) {
			drop := func(r rdata.Record) bool { return slices.Contains(types, r.Type) }
			m.Answer, m.Authority = slices.DeleteFunc(m.Answer, drop), slices.DeleteFunc(m.Authority, drop)
		}
	}
	return []recording{
		{"secure", "RFC 4035 section 5: a chain of signatures from the trust anchor makes an answer secure; section 3.2.3: AD says so.", 7, nil,
			www("NOERROR", true, 0)},
		{"secure_denial", "RFC 4035 section 5.4: NSEC records prove that a name or a type does not exist.", 12, nil,
			[]recordedAsk{{"no.example.com.", "A", false, "NXDOMAIN", true, 0}, {"www.example.com.", "MX", false, "NOERROR", true, 0}, {"ent.example.com.", "A", false, "NOERROR", true, 0}}},
		{"secure_denial_nsec3", "RFC 5155 section 8: NSEC3 records prove the same.", 12, func(w *signedWorld) { w.example.nsec3 = 5 },
			[]recordedAsk{{"no.example.com.", "A", false, "NXDOMAIN", true, 0}, {"www.example.com.", "MX", false, "NOERROR", true, 0}, {"ent.example.com.", "A", false, "NOERROR", true, 0}}},
		{"secure_aliases", "RFC 4035 section 3.2.3: every RRset of the answer has to be authentic; RFC 6672 section 5.3.1: a DNAME's signature covers the CNAME made of it.", 12, nil,
			[]recordedAsk{{"alias.example.com.", "A", false, "NOERROR", true, 0}, {"www.d.example.com.", "A", false, "NOERROR", true, 0}, {"away.example.com.", "A", false, "NOERROR", false, 0}}},
		{"insecure_delegation", "RFC 4035 section 5.2: a signed proof that there is no DS makes the child insecure, not bogus.", 8, nil,
			[]recordedAsk{{"www.plain.com.", "A", false, "NOERROR", false, 0}}},
		{"opt_out", "RFC 5155 section 6 and 9.2: what lies in an opt-out span is insecure, and so is its denial.", 10,
			func(w *signedWorld) { w.com.nsec3, w.com.optOut = 0, true },
			[]recordedAsk{{"www.plain.com.", "A", false, "NOERROR", false, 0}, {"absent.com.", "A", false, "NXDOMAIN", false, 0}, {"www.example.com.", "A", false, "NOERROR", true, 0}}},
		{"bogus_expired", "RFC 4035 section 5.3.1: the time must not be after the end of the signature; RFC 8914 section 4.8. With CD the records are given out all the same (RFC 4035 section 3.2.2).", 14,
			func(w *signedWorld) { w.example.to = worldBegin.Add(-time.Minute) },
			append(www("SERVFAIL", false, dnswire.EDESignatureExpired), recordedAsk{"www.example.com.", "A", true, "NOERROR", false, 0}, www("SERVFAIL", false, dnswire.EDESignatureExpired)[0])},
		{"bogus_not_yet", "RFC 4035 section 5.3.1: nor before its beginning; RFC 8914 section 4.9.", 12,
			func(w *signedWorld) { w.example.from = worldBegin.Add(time.Hour) }, www("SERVFAIL", false, dnswire.EDESignatureNotYetValid)},
		{"bogus_unsigned", "RFC 4035 section 5.5: an answer of a signed zone without signatures is bogus; RFC 8914 section 4.11.", 14,
			func(w *signedWorld) {
				w.example.change = func(q, m *dnswire.Message) {
					if q.Question.Type == rdata.TypeA {
						stripTypes(rdata.TypeRRSIG)(q, m)
					}
				}
			}, www("SERVFAIL", false, dnswire.EDERRSIGsMissing)},
		{"bogus_stripped_ds", "RFC 4035 section 5.2: without DS and without proof that there is none, a zone does not become insecure.", 14,
			func(w *signedWorld) {
				w.com.change = func(q, m *dnswire.Message) {
					if q.Question.Type != rdata.TypeDNSKEY {
						stripTypes(rdata.TypeDS, rdata.TypeRRSIG, rdata.TypeNSEC)(q, m)
					}
				}
				w.example.change = stripTypes(rdata.TypeRRSIG)
			}, www("SERVFAIL", false, dnswire.EDERRSIGsMissing)},
		{"bogus_no_denial", "RFC 4035 section 5.4: a denial without NSEC records is bogus; RFC 8914 section 4.13.", 14,
			func(w *signedWorld) { w.example.change = stripTypes(rdata.TypeNSEC) },
			[]recordedAsk{{"no.example.com.", "A", false, "SERVFAIL", false, dnswire.EDENSECMissing}}},
		{"unsupported_algorithm", "RFC 4035 section 5.2: a zone signed with unknown algorithms only is insecure; RFC 8914 section 4.2 lets the client know.", 8,
			func(w *signedWorld) {
				for _, r := range w.com.at(dnsname.MustParse("example.com."), rdata.TypeDS) {
					r.Data[2] = 200
				}
			}, www("NOERROR", false, dnswire.EDEUnsupportedDNSKEYAlgorithm)},
		{"keytrap", "RFC 6840 section 5.11 wants any valid signature accepted; CVE-2023-50387 (KeyTrap) multiplies keys of one tag with signatures that fit none. The work is bounded, and ends with SERVFAIL.\n; at most 32 checks", 16,
			keyTrap, www("SERVFAIL", false, dnswire.EDEDNSSECBogus)},
		{"nsec3_iterations", "RFC 9276 section 3.2: more iterations than are worked with make a denial insecure (CVE-2023-50868).", 8,
			func(w *signedWorld) { w.example.nsec3 = 51 },
			[]recordedAsk{{"no.example.com.", "A", false, "NXDOMAIN", false, dnswire.EDENSEC3Iterations}}},
		{"nsec3_deep_name", "RFC 5155 section 8.3 hashes every ancestor of a name; of one question 64 (CVE-2023-50868).\n; at most 96 checks", 12,
			func(w *signedWorld) { w.example.nsec3 = 50 },
			[]recordedAsk{{strings.Repeat("a.", 100) + "example.com.", "A", false, "SERVFAIL", false, dnswire.EDEDNSSECBogus}}},
		{"wildcard_replay", "RFC 4035 section 5.3.4: a wildcard's signature does not stand for a name that exists.", 14,
			func(w *signedWorld) { replayWildcard(w, "www.example.com.") }, www("SERVFAIL", false, dnswire.EDEDNSSECBogus)},
		{"label_replay", "RFC 4035 section 2.3: an NSEC record is not made from a wildcard. The one of *.example.com, which has only TXT, does not stand for www.example.com, though its signature, whose label count is that of the wildcard, would fit (CVE-2026-46582).", 14,
			replayDenial, www("SERVFAIL", false, dnswire.EDEDNSSECBogus)},
		{"wildcard", "RFC 4035 section 5.3.4: with proof that nothing nearer exists, what a wildcard makes is secure.", 7,
			func(w *signedWorld) { replayWildcard(w, "new.example.com.") },
			[]recordedAsk{{"new.example.com.", "A", false, "NOERROR", true, 0}}},
		{"signature_ends_ttl", "RFC 4035 section 5.3.3: the TTL is not greater than the time that the signature has left.", 7,
			func(w *signedWorld) { w.example.to = worldBegin.Add(100 * time.Second) }, www("NOERROR", true, 0)},
	}
}

// keyTrap makes 60 keys of one tag and 60 signatures that fit none.
func keyTrap(w *signedWorld) {
	w.example.change = func(q, m *dnswire.Message) {
		var out []rdata.Record
		for _, r := range m.Answer {
			copies := byte(1)
			if r.Type == rdata.TypeRRSIG || r.Type == rdata.TypeDNSKEY {
				copies = 60
			}
			for i := range copies {
				c := r
				c.Data = slices.Clone(r.Data)
				switch {
				case r.Type == rdata.TypeRRSIG:
					c.Data[len(c.Data)-1-int(i)] ^= 1
				case i > 0: // RFC 4034 appendix B: the tag is a sum
					c.Data[4] += i
					c.Data[6] -= i
				}
				out = append(out, c)
			}
		}
		m.Answer = out
	}
}

// replayWildcard answers one name with *.example.com., whether it exists or not.
func replayWildcard(w *signedWorld, name string) {
	wild := rrs("*.example.com. 300 A 203.0.113.66")
	w.example.add(wild...)
	sig, asked := w.example.sign(wild), dnsname.MustParse(name)
	w.example.change = func(q, m *dnswire.Message) {
		if q.Question.Name == asked && q.Question.Type == rdata.TypeA {
			r, s := wild[0], sig
			r.Name, s.Name = asked, asked
			m.Rcode, m.Answer = dnswire.RcodeNoError, []rdata.Record{r, s}
			m.Authority = w.example.signAll([]rdata.Record{w.example.nsecAt(w.example.owners(), asked)})
		}
	}
}

// replayDenial denies the address of www.example.com with the NSEC record of the wildcard.
func replayDenial(w *signedWorld) {
	w.example.add(rrs("*.example.com. 300 TXT x")...)
	wild := w.example.nsecAt(w.example.owners(), dnsname.MustParse("*.example.com."))
	sig, www := w.example.sign([]rdata.Record{wild}), dnsname.MustParse("www.example.com.")
	w.example.change = func(q, m *dnswire.Message) {
		if q.Question.Name == www && q.Question.Type == rdata.TypeA {
			r, s := wild, sig
			r.Name, s.Name = www, www
			soa := w.example.at(w.example.zone, rdata.TypeSOA)
			m.Rcode, m.Answer = dnswire.RcodeNoError, nil
			m.Authority = append(w.example.signAll(soa), r, s)
		}
	}
}

// TestRecordedScenarios: the signed scenarios in lab/scenarios are what these worlds
// say; -update writes them. That the resolver answers them as they ask is tested
// there, in every dialect of chance.
func TestRecordedScenarios(t *testing.T) {
	for _, rec := range recordings(t) {
		t.Run(rec.file, func(t *testing.T) {
			text := record(t, rec)
			path := filepath.Join("../../../lab/scenarios", "dnssec_"+rec.file+".rpl")
			if *update {
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			have, err := os.ReadFile(path)
			if err != nil || string(have) != text {
				t.Errorf("%s is not what is recorded (%v); write it with -update", path, err)
			}
		})
	}
}

func record(t *testing.T, rec recording) string {
	w := newSignedWorld(t)
	w.latency = 0 // as in the player
	if rec.spoil != nil {
		rec.spoil(w)
	}
	said := map[string]map[string]string{} // by address, by question: the entry
	for addr, serve := range w.servers {
		said[addr] = map[string]string{}
		w.servers[addr] = func(q *dnswire.Message, tcp bool) [][]byte {
			replies := serve(q, tcp)
			m, err := dnswire.ParseMessage(replies[0])
			if err != nil {
				t.Fatal(err)
			}
			m.RD, m.CD = false, false
			said[addr][fmt.Sprintf("%v %v", q.Question.Name, q.Question.Type)] = entry("MATCH opcode qtype qname\nADJUST copy_id\n", m, "")
			return replies
		}
	}
	var steps strings.Builder
	for seed := range byte(4) { // every choice of the resolver finds its reply
		w.now = worldBegin
		w.begin(func(c *Config) { c.Rand = rand.New(rand.NewChaCha8([32]byte{seed})) })
		steps.Reset()
		for i, ask := range rec.asks {
			flags := []string{"DO"}
			if ask.cd {
				flags = append(flags, "CD")
			}
			a := w.query(ask.name, ask.t, flags...)
			writeStep(t, &steps, i, ask, a)
			w.pass(time.Second)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "; %s\n; Recorded by internal/resolver/iterate: go test -run TestRecordedScenarios -update\n; at most %d packets\n", rec.cites, rec.packets)
	anchor := strings.ReplaceAll(w.root.ds().String(), "\t", " ")
	fmt.Fprintf(&b, "server:\n\tdo-ip6: no\n\ttrust-anchor: %q\n\tval-override-date: %q\nstub-zone:\n\tname: \".\"\n\tstub-addr: %s\nCONFIG_END\n\nSCENARIO_BEGIN %s\n",
		anchor, worldBegin.Format("20060102150405"), rootAddr, strings.ReplaceAll(rec.file, "_", " "))
	for _, addr := range []string{rootAddr, "192.0.2.2", "192.0.2.3", "192.0.2.4"} {
		if len(said[addr]) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\nRANGE_BEGIN 0 1000\n\tADDRESS %s\n", addr)
		var keys []string
		for k := range said[addr] {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			b.WriteString(said[addr][k])
		}
		b.WriteString("RANGE_END\n")
	}
	return b.String() + "\n" + steps.String() + "SCENARIO_END\n"
}

// writeStep writes a question and the answer that must come, which a has to be.
func writeStep(t *testing.T, b *strings.Builder, i int, ask recordedAsk, a Answer) {
	t.Helper()
	got := recordedAsk{ask.name, ask.t, ask.cd, a.Rcode.String(), a.AD, 0}
	if len(a.Errors) > 0 {
		got.ede = a.Errors[0].Code
		if got.ede == dnswire.EDECachedError { // it is the cause that a first answer has
			got.ede = ask.ede
		}
	}
	if got != ask {
		t.Errorf("got %+v, want %+v", got, ask)
	}
	qtype, _ := rdata.ParseType(ask.t)
	q := dnswire.Question{Name: dnsname.MustParse(ask.name), Type: qtype, Class: rdata.ClassIN}
	query := &dnswire.Message{RD: true, CD: ask.cd, HasQuestion: true, Question: q}
	fmt.Fprintf(b, "STEP %d QUERY\n%s", 10*i+1, entry("", query, " DO"))
	reply := &dnswire.Message{QR: true, RD: true, RA: true, AD: a.AD, CD: ask.cd, Rcode: a.Rcode, HasQuestion: true, Question: q, Answer: a.Answer, Authority: a.Authority}
	match := "MATCH all authority ttl"
	if len(a.Errors) > 0 {
		match += fmt.Sprintf(" ede=%d", a.Errors[0].Code)
		if a.Errors[0].Code == dnswire.EDECachedError { // a ready answer still has the cause
			match = "MATCH all authority ttl ede=any"
		}
	}
	fmt.Fprintf(b, "STEP %d CHECK_ANSWER\n%sSTEP %d TIME_PASSES ELAPSE 1\n\n", 10*i+2, entry(match+"\n", reply, " DO"), 10*i+3)
}

// entry writes a message in the language of .rpl files.
func entry(head string, m *dnswire.Message, more string) string {
	var b strings.Builder
	b.WriteString("ENTRY_BEGIN\n" + head + "REPLY")
	for _, f := range []struct {
		on   bool
		word string
	}{{m.QR, "QR"}, {m.AA, "AA"}, {m.RD, "RD"}, {m.RA, "RA"}, {m.AD, "AD"}, {m.CD, "CD"}} {
		if f.on {
			b.WriteString(" " + f.word)
		}
	}
	fmt.Fprintf(&b, "%s %v\nSECTION QUESTION\n%v IN %v\n", more, m.Rcode, m.Question.Name, m.Question.Type)
	for i, section := range [][]rdata.Record{m.Answer, m.Authority, m.Additional} {
		if len(section) > 0 {
			fmt.Fprintf(&b, "SECTION %s\n", [...]string{"ANSWER", "AUTHORITY", "ADDITIONAL"}[i])
		}
		for _, r := range section {
			b.WriteString(strings.ReplaceAll(r.String(), "\t", " ") + "\n")
		}
	}
	return b.String() + "ENTRY_END\n\n"
}
