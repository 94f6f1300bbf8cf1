package state

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Format is the version of the bytes that Encode writes. Decode reads this and
// all earlier ones.
const Format = 1

// encoded is what Encode writes; docs/formats/snapshot.md describes it.
type encoded struct {
	Format   int       `json:"format"`
	Revision int64     `json:"revision"`
	Objects  []*Object `json:"objects"`
}

// Encode returns the applied objects of s in canonical form: equal states give
// equal bytes. The file's resources are not part of it; each node has its file.
func (s *State) Encode() []byte {
	objects := s.Objects()
	if objects == nil {
		objects = []*Object{}
	}
	return canonical(encoded{Format, s.revision, objects})
}

// Decode reads what Encode wrote and joins it to the resources of the file.
// Keys that this version does not know are passed over at the top and make an
// object unused in its body, so that an older program can start from a newer
// snapshot with what it understands.
func Decode(base *Resources, text []byte) (*State, error) {
	var e encoded
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&e); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if e.Format < 1 || e.Format > Format {
		return nil, fmt.Errorf("state: format %d is not known; this version reads 1 to %d", e.Format, Format)
	}
	changes := make([]Change, len(e.Objects))
	for i, o := range e.Objects {
		if o == nil {
			return nil, fmt.Errorf("state: object %d is null", i)
		}
		changes[i] = Change{Ref: o.Ref, Op: Put, Revision: o.Revision, Body: o.Body}
	}
	next, _ := New(base).Apply(changes...)
	return next.AtRevision(e.Revision), nil
}
