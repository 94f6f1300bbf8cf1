package querytap

import (
	"encoding/json"
	"time"
)

// record is what a line of the log says.
type record struct {
	Time      time.Time `json:"time"` // when the query came
	Client    string    `json:"client"`
	Transport string    `json:"transport"`
	Name      string    `json:"name"`
	Type      string    `json:"type"`
	Rcode     string    `json:"rcode"` // empty: it was not answered
	View      string    `json:"view,omitempty"`
	Zone      string    `json:"zone,omitempty"` // of ours, that answered
	Octets    int       `json:"octets"`         // of the answer
	Took      int64     `json:"took_us"`
}

// line returns the line of an event, good until the next.
func (r *record) line(e *Event) []byte {
	*r = record{
		Time: e.Received.UTC(), Client: e.Client.String(), Transport: e.Transport, Name: e.Name.String(), Type: e.Type.String(),
		View: e.View, Zone: e.Zone, Octets: e.Octets, Took: e.Sent.Sub(e.Received).Microseconds(),
	}
	if e.Octets > 0 {
		r.Rcode = e.Rcode.String()
	}
	text, err := json.Marshal(r)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return append(text, '\n')
}
