package http3

import (
	"strconv"

	"github.com/quic-go/qpack"

	"pharos/internal/proxy/section"
)

// sink takes what qpack writes.
type sink struct{ b []byte }

func (s *sink) Write(b []byte) (int, error) {
	s.b = append(s.b, b...)
	return len(b), nil
}

// appendSection appends a HEADERS frame; without a status it is one of trailers.
func appendSection(b []byte, status int, lines []byte) []byte {
	var s sink
	e := qpack.NewEncoder(&s)
	if status > 0 {
		e.WriteField(qpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)})
	}
	var room [64]byte
	for name, value := range section.Fields(lines) {
		if low := section.AppendLower(room[:0], name); !section.IsOfConnection(low) {
			e.WriteField(qpack.HeaderField{Name: string(low), Value: string(value)})
		}
	}
	return append(appendFrame(b, frameHeaders, len(s.b)), s.b...)
}
