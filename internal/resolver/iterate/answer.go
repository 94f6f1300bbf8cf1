package iterate

import (
	"net/netip"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// Answer is what the resolver has to say to a question. Its records are complete
// and minimal: the aliases followed and the RRset asked for, or the SOA of a
// negative answer (RFC 2308 §3). Slices are not to be written to.
type Answer struct {
	Rcode      dnswire.Rcode
	Answer     []rdata.Record
	Authority  []rdata.Record
	Additional []rdata.Record          // glue, in referrals only
	Errors     []dnswire.ExtendedError // why it is SERVFAIL, or why it could not be validated; at most one
	Cached     bool                    // nothing was sent for it
	Referral   bool                    // FromCache only: the best known delegation, not an answer
	Scope      int                     // length of the prefix of Ask.Near that it is good for; 0: for all
	Sent       int                     // outgoing queries it cost
	Spent      Spent                   // what it cost in all
	Limit      Limit                   // of SERVFAIL: the limit it met, if one
	Elapsed    time.Duration
	State      rrcache.State // what validation says; Indeterminate when it is off or was not wanted
	AD         bool          // the client is to be told that it is Secure
	Why        string        // of an insecure answer: what proves it; of a bogus one see Errors
	Late       bool          // it took so long that it had better not be sent: see package outbound
	Failure    FailureID     // of a SERVFAIL: what its story can be asked for by
	Trace      []Step        // if Ask.Trace, or Failure is set
}

// Write puts a into out, which must have been Reset to the query it answers:
// records as far as they fit, TC if they did not (RFC 2181 §9), RA, and the
// extended error.
func (a *Answer) Write(out *dnswire.Builder) {
	out.SetRcode(a.Rcode)
	out.SetRA(true)
	out.SetAD(a.AD)
	for _, e := range a.Errors {
		e = a.told(e)
		out.SetEDE(e.Code, e.Text)
	}
	begin := out.Mark()
	for section, records := range [...][]rdata.Record{a.Answer, a.Authority, a.Additional} {
		for _, r := range records {
			if out.Add(dnswire.Section(section), r.Name, r.Type, r.Class, r.TTL, r.Data) {
				continue
			}
			if dnswire.Section(section) == dnswire.Additional {
				return // glue that does not fit may be missing
			}
			out.Rollback(begin)
			out.SetTC(true)
			return
		}
	}
}

// told returns an extended error as clients are told it: with the id of the failure.
func (a *Answer) told(e dnswire.ExtendedError) dnswire.ExtendedError {
	if a.Failure != 0 {
		e.Text = a.Failure.String() + ": " + e.Text
	}
	return e
}

// StepKind is the kind of one step of a resolution.
type StepKind uint8

// What can happen on the way to an answer.
const (
	StepCacheHit   StepKind = iota // the cache had it
	StepSent                       // Server was asked
	StepReferral                   // it knows servers of Target, a zone nearer to the name
	StepAnswer                     // it has the records
	StepAlias                      // it has an alias to Target
	StepNoData                     // the name has no such records
	StepNXDomain                   // the name does not exist
	StepTimeout                    // no reply in time
	StepFailed                     // the network said no
	StepRefused                    // a reply with an error code: see Rcode
	StepLame                       // the server does not serve the zone
	StepIgnored                    // a packet that is no reply to the question
	StepTruncated                  // again over TCP
	StepPlain                      // again without EDNS
	StepNeedServer                 // the address of name server Target is looked up first
	StepGaveUp                     // see Note
	StepTrust                      // the keys of zone Target, or that it needs none: see State, Note
	StepStale                      // answered with what has expired: see Note
	StepJudged                     // what came is secure, insecure or bogus: see State, Note
	StepLimit                      // a limit was met: see Note
)

// Step is one step of a resolution, in the order in which they happened.
type Step struct {
	At         time.Duration // since the question came; less than 0 in a lookup that others had begun
	Kind       StepKind
	TCP        bool
	Rcode      dnswire.Rcode  // of replies
	State      rrcache.State  // of trust and judgement
	Type       rdata.Type     // what was looked up, with Name
	AskedType  rdata.Type     // what was sent, with Asked, if it was less than the question
	Depth      int32          // 0: the question itself; more: lookups it needed
	Records    int32          // of answers
	Name       dnsname.Name   //
	Asked      dnsname.Name   //
	Zone       dnsname.Name   // whose server was asked
	Server     netip.AddrPort // who was asked, if somebody was
	ServerName dnsname.Name
	Over       Transport     // of StepSent
	RTT        time.Duration // of replies
	Target     dnsname.Name  // of referrals, aliases and needed servers
	Note       string

	number uint64 // of all steps; At is since the machine began until it is told
}
