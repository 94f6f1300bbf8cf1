// Package childkeys decides what the DS RRset of a delegation becomes by what the child
// says of itself in CDS and CDNSKEY records.
//
// It owns what a parent may believe. It does not own who is asked, when, and how the zone is
// changed: that is package children's.
//
// Entry point: Decide.
//
// Concurrency: functions of their arguments.
//
// Sources: RFC 7344 §4.1 and §6, RFC 8078 §3 and §4, RFC 9615 §4.
package childkeys

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// MaxRecords is how many records an RRset of a child may have: the key sets in use have about
// a dozen keys. A child with more is refused, so that its DS RRset stays small.
const MaxRecords = 16

// Signed is an RRset as a server answers with it; without Data there is none.
type Signed struct {
	Data, Sigs [][]byte
	TTL        rdata.TTL
}

// Answer is what one name server of the child has said.
type Answer struct {
	Server            string // for people
	Err               error  // it could not be asked all three
	CDS, CDNSKEY, Key Signed // Key: DNSKEY
}

// Signal is what the zone of one name server says for the child (RFC 9615).
type Signal struct {
	Host         dnsname.Name
	Err          error
	Secure       bool // all of it was validated
	CDS, CDNSKEY [][]byte
}

// Rules are what the parent allows.
type Rules struct {
	Remove    bool // a child may have its DS records removed (RFC 8078 §4)
	Bootstrap bool // a child without DS records may get its first by signals (RFC 9615)
}

// Child is what there is to decide on.
type Child struct {
	Name    dnsname.Name
	DS      [][]byte // that the parent has; RDATA
	Answers []Answer // of every address of every name server of the delegation
	// Signals are asked for where there are no DS records: of every name server that is not
	// in the child itself.
	Signals []Signal
	// Since is the inception of the newest signature that was believed before; 0: none was.
	Since rdata.Serial
}

// Outcome is what comes of it.
type Outcome string

// Outcomes.
const (
	Silent  Outcome = "says nothing" // there are neither CDS nor CDNSKEY records
	Agrees  Outcome = "agrees"       // the DS records are as they should be
	Change  Outcome = "change"       // to Verdict.DS
	Remove  Outcome = "remove"       // the DS records go
	Refused Outcome = "refused"
	Unseen  Outcome = "not seen"       // a name server could not be asked, or has no answer
	Left    Outcome = "left to people" // by the Rules
)

// Verdict is the decision.
type Verdict struct {
	Outcome Outcome
	DS      [][]byte     // RDATA in ascending order
	Since   rdata.Serial // the new Child.Since
	Why     string       // nothing is to be done
}

func refused(format string, args ...any) Verdict {
	return Verdict{Outcome: Refused, Why: fmt.Sprintf(format, args...)}
}

// Decide returns what becomes of the DS records of a child.
func Decide(c Child, rules Rules, now time.Time) Verdict {
	said, v := c.consistent()
	if v.Outcome != "" {
		return v
	}
	wanted, removes, why := said.wanted(c.Name)
	switch {
	case why != "":
		return refused("%s", why)
	case removes && len(c.DS) == 0:
		return Verdict{Outcome: Agrees}
	case removes && !rules.Remove:
		return Verdict{Outcome: Left, Why: "it asks to have its DS records removed; zones[].children.keepSigned leaves that to people"}
	case len(c.DS) == 0:
		return c.bootstrap(said, wanted, rules, now)
	}
	since, why := c.vouched(c.DS, now)
	if why != "" {
		return refused("%s", why)
	}
	if !removes {
		if why := c.carries(wanted, now); why != "" {
			return refused("the chain of trust would break: %s", why)
		}
	}
	if slices.EqualFunc(wanted, sorted(c.DS), bytes.Equal) {
		return Verdict{Outcome: Agrees, DS: wanted, Since: since}
	}
	if why := c.replayed(since); why != "" {
		return refused("%s", why)
	}
	if removes {
		return Verdict{Outcome: Remove, Since: since}
	}
	return Verdict{Outcome: Change, DS: wanted, Since: since}
}

// replayed reports whether what is said is older than what was believed before (RFC 7344 §6.2).
func (c Child) replayed(since rdata.Serial) (why string) {
	if c.Since != 0 && since.Less(c.Since) {
		return "its signatures begin before those of what was taken over last: this has been said before"
	}
	return ""
}

// said is what all servers of the child say.
type said struct{ cds, keys [][]byte }

// consistent returns what all servers say, if it is the same: one that says something else
// may be the only one that is right.
func (c Child) consistent() (s said, v Verdict) {
	if len(c.Answers) == 0 {
		return s, Verdict{Outcome: Unseen, Why: "no address of a name server of it is known"}
	}
	for i, a := range c.Answers {
		if a.Err != nil {
			return s, Verdict{Outcome: Unseen, Why: fmt.Sprintf("server %s: %v", a.Server, a.Err)}
		}
		if max(len(a.CDS.Data), len(a.CDNSKEY.Data)) > MaxRecords {
			return s, refused("server %s has more than %d records of a type", a.Server, MaxRecords)
		}
		now := said{sorted(a.CDS.Data), sorted(a.CDNSKEY.Data)}
		if i > 0 && !now.equal(s) {
			return s, refused("servers %s and %s say different things", c.Answers[0].Server, a.Server)
		}
		s = now
	}
	if len(s.cds) == 0 && len(s.keys) == 0 {
		return s, Verdict{Outcome: Silent}
	}
	return s, v
}

func (s said) equal(o said) bool {
	return slices.EqualFunc(s.cds, o.cds, bytes.Equal) && slices.EqualFunc(s.keys, o.keys, bytes.Equal)
}

func sorted(set [][]byte) [][]byte {
	set = slices.SortedFunc(slices.Values(set), bytes.Compare)
	return slices.CompactFunc(set, bytes.Equal)
}

// RDATA that ask for the removal of the DS records: RFC 8078 §4.
var (
	removeCDS = []byte{0, 0, 0, 0, 0}
	removeKey = []byte{0, 0, 3, 0, 0}
)

// wanted returns the DS records that are asked for, or that they are to be removed.
func (s said) wanted(name dnsname.Name) (ds [][]byte, removes bool, why string) {
	isRemoval := func(set [][]byte, as []byte) bool { return len(set) == 1 && bytes.Equal(set[0], as) }
	switch a, b := isRemoval(s.cds, removeCDS), isRemoval(s.keys, removeKey); {
	case a && (b || len(s.keys) == 0), b && len(s.cds) == 0:
		return nil, true, ""
	}
	var keys []dnssec.Key
	for _, data := range s.keys {
		k, ok := dnssec.ParseKey(data)
		if !ok || k.Algorithm == 0 {
			return nil, false, "its CDNSKEY records are not all of keys, nor do all records ask for removal"
		}
		keys = append(keys, k)
		if d, ok := dnssec.MakeDS(name, data, dnssec.DigestSHA256); ok && len(s.cds) == 0 {
			ds = append(ds, d.AppendRDATA(nil))
		}
	}
	named := map[int]bool{}
	for _, data := range s.cds {
		d, ok := dnssec.ParseDS(data)
		if !ok || d.Algorithm == 0 {
			return nil, false, "its CDS records are not all of keys, nor do all records ask for removal"
		}
		// RFC 7344 §4: if both are there, they must match.
		at := slices.IndexFunc(keys, func(k dnssec.Key) bool { return d.IsOf(name, k) })
		if named[at] = true; len(keys) > 0 && at < 0 {
			return nil, false, fmt.Sprintf("its CDS record with key tag %d is of none of its CDNSKEY records", d.Tag)
		}
		ds = append(ds, data)
	}
	for i, k := range keys {
		if len(s.cds) > 0 && !named[i] {
			return nil, false, fmt.Sprintf("its CDNSKEY record with key tag %d has no CDS record", k.Tag)
		}
	}
	return sorted(ds), false, ""
}

// vouched reports whether, by every server, a key that ds names has signed what the child says
// (RFC 7344 §4.1: "MUST be signed with a key that is represented in both the current DNSKEY
// and DS RRsets"). It returns the inception of the oldest of the signatures that count.
func (c Child) vouched(ds [][]byte, now time.Time) (since rdata.Serial, why string) {
	first := true
	for _, a := range c.Answers {
		v := verifier(now)
		entry, why := c.entry(v, a, ds)
		if why != "" {
			return 0, why
		}
		for _, s := range []struct {
			t   rdata.Type
			set Signed
		}{{rdata.TypeCDS, a.CDS}, {rdata.TypeCDNSKEY, a.CDNSKEY}} {
			if len(s.set.Data) == 0 {
				continue
			}
			at, why := newest(v, c.rrset(s.t, s.set), s.set.Sigs, entry)
			if why != "" {
				return 0, fmt.Sprintf("server %s: no key that a DS record names has signed the %s records: %s", a.Server, s.t, why)
			}
			if first || at.Less(since) {
				since, first = at, false
			}
		}
	}
	return since, ""
}

// entry returns the keys that DS records name, if one of them has signed the key set.
func (c Child) entry(v *dnssec.Verifier, a Answer, ds [][]byte) (entry []dnssec.Key, why string) {
	usable, fault := v.Policy.Usable(ds)
	if len(usable) == 0 {
		if fault != nil {
			return nil, fault.Text
		}
		return nil, "there is no DS record that can be read"
	}
	set := c.rrset(rdata.TypeDNSKEY, a.Key)
	if _, verdict := v.Match(set, a.Key.Sigs, usable); verdict.Fault != nil {
		return nil, fmt.Sprintf("server %s: %s", a.Server, verdict.Fault.Text)
	}
	for _, k := range dnssec.ParseKeys(set.Data) {
		if slices.ContainsFunc(usable, func(d dnssec.DS) bool { return d.IsOf(c.Name, k) }) {
			entry = append(entry, k)
		}
	}
	return entry, ""
}

// newest returns the latest inception of the signatures of a set that keys have made.
func newest(v *dnssec.Verifier, set rdata.RRset, sigs [][]byte, keys []dnssec.Key) (at rdata.Serial, why string) {
	why, found := "it has no signature", false
	for _, sig := range sigs[:min(len(sigs), dnssec.MaxSignatures)] {
		verdict := v.Verify(set, [][]byte{sig}, keys, set.Name)
		if verdict.Fault != nil {
			why = verdict.Fault.Text
			continue
		}
		if parsed, _ := dnssec.ParseSignature(sig); !found || at.Less(parsed.Inception) {
			at, found = parsed.Inception, true
		}
	}
	if found {
		return at, ""
	}
	return 0, why
}

// carries reports whether DS records would leave the child secure by every one of its servers
// (RFC 7344 §4.1: "MUST NOT break the current delegation if applied"): each algorithm among
// them has a key that is in use, as who knows that algorithm alone needs one.
func (c Child) carries(ds [][]byte, now time.Time) (why string) {
	policy := dnssec.Policy{}
	algorithms := map[uint8][][]byte{}
	for _, data := range ds {
		d, ok := dnssec.ParseDS(data)
		switch {
		case !ok:
			return "a DS record could not be read"
		case !policy.Supports(d.Algorithm):
			return fmt.Sprintf("algorithm %d of a DS record is not supported, so that nobody can tell", d.Algorithm)
		case d.DigestType != dnssec.DigestSHA256 && d.DigestType != dnssec.DigestSHA384: // RFC 8624 §3.3
			return fmt.Sprintf("digest type %d must not be used for new DS records", d.DigestType)
		}
		algorithms[d.Algorithm] = append(algorithms[d.Algorithm], data)
	}
	if len(algorithms) == 0 {
		return "there would be no DS record"
	}
	for _, a := range c.Answers {
		for _, some := range algorithms {
			if _, why := c.entry(verifier(now), a, some); why != "" {
				return why
			}
		}
	}
	return ""
}

// bootstrap decides on the first DS records of a child: RFC 9615 §4.2.
func (c Child) bootstrap(s said, wanted [][]byte, rules Rules, now time.Time) Verdict {
	if !rules.Bootstrap {
		return Verdict{Outcome: Left, Why: "it asks for its first DS records; zones[].children.bootstrap would allow them, if its name servers vouch for them"}
	}
	if len(c.Signals) == 0 {
		return refused("it has no name server outside of itself whose zone could vouch for its first DS records")
	}
	for _, signal := range c.Signals {
		switch {
		case signal.Err != nil:
			return refused("the signal of name server %s: %v", signal.Host, signal.Err)
		case !signal.Secure:
			return refused("the signal of name server %s is not secure", signal.Host)
		case !s.equal(said{sorted(signal.CDS), sorted(signal.CDNSKEY)}):
			return refused("the zone of name server %s says something else than the child", signal.Host)
		}
	}
	if why := c.carries(wanted, now); why != "" {
		return refused("there would be no chain of trust: %s", why)
	}
	since, why := c.vouched(wanted, now)
	if why == "" {
		why = c.replayed(since)
	}
	if why != "" {
		return refused("%s", why)
	}
	return Verdict{Outcome: Change, DS: wanted, Since: since}
}

func (c Child) rrset(t rdata.Type, s Signed) rdata.RRset {
	return rdata.RRset{Name: c.Name, Type: t, Class: rdata.ClassIN, TTL: s.TTL, Data: s.Data}
}

// verifier returns what checks the answer of one server: as many signatures as its three
// RRsets may have, each with a collision of tags.
func verifier(now time.Time) *dnssec.Verifier {
	return &dnssec.Verifier{Now: now, Budget: &dnssec.Budget{Signatures: 3 * dnssec.MaxSignatures * dnssec.MaxCollisions}}
}
