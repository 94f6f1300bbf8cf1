package health

// Outcome is how a request or a connection of real traffic went, as far as its member
// goes. Who carries traffic tells it: the gateway of each request, a layer 4 proxy of each
// connection.
//
// What is whose fault: that there is no connection, no answer in time or no whole and
// well-formed answer is the member's. An error that the member answers may be the
// request's: it is the member's when another member answers the same request well
// (Erred), the request's when another fails it too (Answered), and undecided when nobody
// else could be asked (Doubtful). What the client does to its own connection is no
// Outcome: it is not told.
type Outcome uint8

// The outcomes. The zero Outcome is Answered.
const (
	Answered  Outcome = iota // as it should, or with an error that is the request's
	Doubtful                 // with an error of the member that may be the request's
	Erred                    // with an error of the member, which another one did not make
	Unreached                // no connection
	Late                     // no answer in time
	Broken                   // the connection ended, or made no sense, before the whole answer
	outcomes
)

// Outcomes is how many there are.
const Outcomes = int(outcomes)

var outcomeNames = [...]string{"answered", "doubtful", "erred", "unreached", "late", "broken"}

// String returns the word of metrics: "late".
func (o Outcome) String() string { return outcomeNames[o] }

// IsFailure reports whether o speaks against the member.
func (o Outcome) IsFailure() bool { return o > Answered }

// IsCounted reports whether o counts in a run of failures, of which a few make a
// verdict. What is doubtful counts among many only, beside what others of the pool did.
func (o Outcome) IsCounted() bool { return o > Doubtful }

// Grade is how a target does beside its peers.
type Grade struct {
	Share int    // of its weight that it keeps, in permille; 0 or from 1000 on: all of it
	Cause string // the evidence
}

func (g Grade) isPoor() bool { return g.Share > 0 && g.Share < 1000 }

// Kept returns how much of its weight a target keeps, in permille: 1000 unless it is Poor.
func (n Notes) Kept() int {
	if n.Share <= 0 || n.Share > 1000 {
		return 1000
	}
	return n.Share
}
