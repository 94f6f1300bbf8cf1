package http2

import (
	"golang.org/x/net/http2/hpack"

	"pharos/internal/proxy/section"
)

// block is a field block: gathered over frames, then decoded and held to RFC 9113 §8.
type block struct {
	most int // octets of a head

	// Gathering.
	open      bool
	stream    uint32
	endStream bool
	selfish   bool // its priority depends on itself
	frames    int  // CONTINUATION frames
	octets    []byte

	// Decoding.
	section section.Section
	broken  bool
	fields  int
	decoder *hpack.Decoder
}

func (k *block) begin(stream uint32, endStream, selfish bool) {
	k.open, k.stream, k.endStream, k.selfish, k.frames = true, stream, endStream, selfish, 0
	k.octets = k.octets[:0]
}

// decode decodes the whole block. It is decoded to its end even when it is malformed, as
// the blocks after it build on its table, unless it has so many fields that the connection is
// to end: isBomb.
func (k *block) decode(d *hpack.Decoder, b []byte, isTrailers bool) {
	if isTrailers {
		k.section.BeginTrailers()
	} else {
		k.section.Begin(k.most)
	}
	k.decoder, k.fields = d, 0
	d.SetEmitEnabled(true) // Trim has it pass nothing on
	for len(b) > 0 {
		n := min(len(b), decodedAtOnce)
		if _, err := d.Write(b[:n]); err != nil {
			k.broken = true
			return
		}
		if b = b[n:]; k.isBomb() {
			return
		}
	}
	k.broken = d.Close() != nil
}

// isBomb reports whether the block was of more fields than are worth decoding.
func (k *block) isBomb() bool { return k.fields > maxBlockFields }

// add takes the next field of the block.
func (k *block) add(f hpack.HeaderField) {
	if k.fields++; k.section.TooLarge() || k.section.Malformed() != "" {
		return // and only counted
	}
	k.section.Add(f.Name, f.Value)
}

// finishRequest gives s the head, or the reason why it is none.
func (k *block) finishRequest(s *Stream) {
	s.declared = k.section.Declared()
	s.Head, s.Protocol = k.section.AppendRequest(s.Head)
	s.Scheme = k.section.Scheme()
	s.Whole = s.Whole || s.Protocol != ""
	s.Malformed, s.TooLarge = k.section.Malformed(), k.section.TooLarge() && k.section.Malformed() == ""
}
