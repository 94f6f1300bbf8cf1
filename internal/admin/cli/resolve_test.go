package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/bulk"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
)

// newBulkAnswer is what the line about an answer says.
func newBulkAnswer(r bulk.Result) bulkAnswer {
	a := bulkAnswer{
		Name: r.Name.String(), Type: r.Type.String(), Rcode: r.Answer.Rcode.String(), Answer: lines(r.Answer.Answer),
		Queries: r.Answer.Sent, TookMS: float64(r.Answer.Elapsed.Round(time.Microsecond)) / float64(time.Millisecond),
	}
	if r.Answer.State == rrcache.Secure || r.Answer.State == rrcache.Insecure {
		a.Security = r.Answer.State.String()
	}
	for _, e := range r.Answer.Errors {
		a.Error = fmt.Sprintf("%s: %s", e.Code, e.Text)
	}
	return a
}

// TestAppendAnswer: lines are what encoding/json makes of them, whatever is in names,
// texts and errors.
func TestAppendAnswer(t *testing.T) {
	record := func(owner string, rrtype rdata.Type, data string) rdata.Record {
		return rdata.Record{Name: dnsname.MustParse(owner), Type: rrtype, Class: rdata.ClassIN, TTL: 300, Data: []byte(data)}
	}
	for _, r := range []bulk.Result{
		{Question: bulk.Question{Name: dnsname.Root, Type: rdata.TypeNS}},
		{Question: bulk.Question{Name: dnsname.MustParse("www.example.com."), Type: rdata.TypeA}, Answer: iterate.Answer{
			Answer: []rdata.Record{record("www.example.com.", rdata.TypeA, "\x7f\x00\x00\x01"), record("www.example.com.", rdata.TypeA, "\x0a\x00\x00\x01")},
			State:  rrcache.Secure, Sent: 3, Elapsed: 20*time.Millisecond + 345678}},
		{Question: bulk.Question{Name: dnsname.MustParse(`a\"b\.\\<\001\255.example.`), Type: rdata.Type(65280)}, Answer: iterate.Answer{
			Answer: []rdata.Record{record(`\&.example.`, rdata.TypeTXT, "\x05<\"\\>&\x03\x00\xe4\n"), record("x.", rdata.Type(65280), "\x00")},
			State:  rrcache.Insecure, Rcode: dnswire.RcodeNXDomain, Elapsed: 499}},
		{Question: bulk.Question{Name: dnsname.MustParse("broken.example."), Type: rdata.TypeAAAA}, Answer: iterate.Answer{
			Rcode: dnswire.RcodeServFail, Sent: 12, Elapsed: 10 * time.Second, State: rrcache.Bogus,
			Errors: []dnswire.ExtendedError{{Code: dnswire.EDEDNSSECBogus, Text: "no <key> & \"no\" way: \u00fc\t"}}}},
	} {
		want, err := json.Marshal(newBulkAnswer(r))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(appendAnswer(nil, &r)); got != string(want)+"\n" {
			t.Errorf("got  %swant %s", got, want)
		}
	}
}

// TestContinueFile: after a kill at any octet, the whole lines are kept and nothing
// else, and what they answer is not asked again.
func TestContinueFile(t *testing.T) {
	const first = `{"name":"a.","type":"A","rcode":"NOERROR","queries":1,"took_ms":1}` + "\n"
	const second = `{"name":"b.","type":"A","rcode":"SERVFAIL","queries":1,"took_ms":1}` + "\n"
	whole := first + second
	for cut := range len(whole) + 1 {
		r := resolving{out: filepath.Join(t.TempDir(), "answers")}
		if err := os.WriteFile(r.out, []byte(whole[:cut]), 0o600); err != nil {
			t.Fatal(err)
		}
		done := new(bulk.Done)
		f, err := r.continueFile(done)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if _, err := f.WriteString("next\n"); err != nil {
			t.Fatal(err)
		}
		f.Close()
		want := ""
		if cut >= len(first) {
			want = first
		}
		if cut == len(whole) {
			want = whole
		}
		got, err := os.ReadFile(r.out)
		if err != nil || string(got) != want+"next\n" {
			t.Errorf("cut at %d: got %q (%v)", cut, got, err)
		}
		if done.Len() != strings.Count(want, "\n") || done.Has(bulk.Key("a.", "A")) != (want != "") {
			t.Errorf("cut at %d: %d are done", cut, done.Len())
		}
	}
}
