package alias

import (
	"iter"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Limits are when a target is asked for again.
type Limits struct {
	Least, Most time.Duration // between two answers, whatever TTL they have
}

// Waits after failures, doubled with each: soon, for most do not last, and not so
// often that a dead target is work.
const (
	firstRetry = 5 * time.Second
	lastRetry  = 5 * time.Minute
)

// Book keeps what is known of targets.
//
//	wanted --Due--> asking --Answered(ok)--> good, due again by TTL
//	                   ^---- Answered(why) -> as before, due again soon
type Book struct {
	limits  Limits
	targets map[dnsname.Name]*target
}

// target is one target. Invariant: asking is set exactly between Due and Answered.
type target struct {
	addresses Addresses
	known     bool // addresses were good once
	steered   dnsname.Name
	wanted    int // by how many records
	asking    bool
	due       time.Time
	failures  int    // in a row
	problem   string // of the last attempt
}

// NewBook returns a Book without targets.
func NewBook(l Limits) *Book { return &Book{limits: l, targets: map[dnsname.Name]*target{}} }

// Want says that a record has the target name. If it is a new one, it is due at once.
// It reports false if there are too many.
func (b *Book) Want(now time.Time, name dnsname.Name) bool {
	t := b.targets[name]
	if t == nil {
		if len(b.targets) >= MaxTargets {
			return false
		}
		t = &target{due: now}
		b.targets[name] = t
	}
	t.wanted++
	return true
}

// Release takes back one Want. What is known of a target that nobody wants any more is
// forgotten.
func (b *Book) Release(name dnsname.Name) {
	if t := b.targets[name]; t != nil {
		if t.wanted--; t.wanted <= 0 {
			delete(b.targets, name)
		}
	}
}

// MaxTargets is how many targets there can be: they are all looked at whenever one is
// due, and at the most frequent refresh they are some hundred questions in a second.
// Records with others are as if their target had never answered.
const MaxTargets = 10_000

// Restore says what was known of a target before a restart. It is due as soon as it is
// wanted.
func (b *Book) Restore(now time.Time, name dnsname.Name, a Addresses) {
	if len(b.targets) < MaxTargets {
		b.targets[name] = &target{due: now, addresses: a, known: true}
	}
}

// Targets returns all targets whose addresses are known.
func (b *Book) Targets() iter.Seq2[dnsname.Name, Addresses] {
	return func(yield func(dnsname.Name, Addresses) bool) {
		for name, t := range b.targets {
			if t.known && t.steered.IsZero() && !yield(name, t.addresses) {
				return
			}
		}
	}
}

// Due returns up to most targets that are to be asked for now; each comes back with
// Answered.
func (b *Book) Due(now time.Time, most int) []dnsname.Name {
	var names []dnsname.Name
	for name, t := range b.targets {
		if len(names) >= most {
			break
		}
		if t.wanted > 0 && !t.asking && !now.Before(t.due) {
			t.asking = true
			names = append(names, name)
		}
	}
	return names
}

// Next returns when the next target is due, or the zero time if none is.
func (b *Book) Next() (next time.Time) {
	for _, t := range b.targets {
		if t.wanted > 0 && !t.asking && (next.IsZero() || t.due.Before(next)) {
			next = t.due
		}
	}
	return next
}

// Outcome is what came of asking for a target: addresses, or a name of ours that is
// steered and has them, or why there are none.
type Outcome struct {
	Addresses Addresses
	TTL       rdata.TTL // of the addresses
	Steered   dnsname.Name
	Problem   string
}

// Answered takes what came of asking for a target, and reports whether what is known
// of it has changed. After a failure that stays as it was: addresses that were good an
// hour ago are better than none.
func (b *Book) Answered(now time.Time, name dnsname.Name, o Outcome) (changed bool) {
	t := b.targets[name]
	if t == nil {
		return false // no longer wanted
	}
	t.asking = false
	if o.Problem == "" && o.Steered.IsZero() && o.Addresses.IsEmpty() {
		o.Problem = "it has no addresses"
	}
	if t.problem = o.Problem; o.Problem != "" {
		wait := firstRetry << min(t.failures, 10)
		t.failures++
		t.due = now.Add(min(wait, lastRetry))
		return false
	}
	changed = !t.known || !t.addresses.equal(o.Addresses) || t.steered != o.Steered
	t.known, t.addresses, t.steered, t.failures = true, o.Addresses, o.Steered, 0
	t.due = now.Add(min(max(time.Duration(o.TTL)*time.Second, b.limits.Least), b.limits.Most))
	return changed
}

// Known returns the addresses of a target, if they were ever known.
func (b *Book) Known(name dnsname.Name) (Addresses, bool) {
	t := b.targets[name]
	if t == nil || !t.known {
		return Addresses{}, false
	}
	return t.addresses, true
}

// Steered returns the steered name of ours that a target is, if it is one.
func (b *Book) Steered(name dnsname.Name) (dnsname.Name, bool) {
	t := b.targets[name]
	if t == nil || t.steered.IsZero() {
		return dnsname.Name{}, false
	}
	return t.steered, true
}

// Problem returns why the last attempt at a target failed, or nothing.
func (b *Book) Problem(name dnsname.Name) string {
	if t := b.targets[name]; t != nil {
		return t.problem
	}
	return ""
}

// Len returns the number of targets.
func (b *Book) Len() int { return len(b.targets) }
