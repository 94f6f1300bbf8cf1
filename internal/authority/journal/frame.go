package journal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// Frames are how entries lie in a log file, so that what was cut off or changed is
// told from what is whole:
//
//	frame   "PHFR" | octets of the payload u32 | CRC of the payload u32 | CRC of the 12 octets before u32 | payload
//
// CRCs are CRC-32C, begun with the file's salt. A salt is random and known to
// nobody: who may write a TXT record could otherwise put a frame of his own into a
// payload, and have it found when the frame around it is damaged.
const (
	frameMagic  = "PHFR"
	frameHeader = 16
)

// MaxFrame is the largest payload of a frame. A larger length can only be damage.
const MaxFrame = 64 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendFrame appends a frame with payload.
func AppendFrame(b []byte, salt uint32, payload []byte) []byte {
	at := len(b)
	b = append(b, frameMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.BigEndian.AppendUint32(b, crc32.Update(salt, castagnoli, payload))
	b = binary.BigEndian.AppendUint32(b, crc32.Update(salt, castagnoli, b[at:]))
	return append(b, payload...)
}

// FrameSize returns how many octets a frame with a payload of so many takes.
func FrameSize(payload int) int { return frameHeader + payload }

// Frames is what is found in a log.
type Frames struct {
	Payloads [][]byte // of the whole frames; they look at the memory of the log
	Ends     []int    // where each of them ends
	Damage   []Range  // before the last whole frame
	Tail     Range    // behind the last whole frame: what was cut off, or nothing
}

// Range is the octets [From, To).
type Range struct{ From, To int }

// ScanFrames finds the whole frames in b. After damage it goes on at the next frame
// that is whole.
func ScanFrames(b []byte, salt uint32) Frames {
	var f Frames
	good := 0 // the end of the last whole frame
	for at := 0; ; {
		payload, ok := frameAt(b[at:], salt)
		if ok {
			if at > good {
				f.Damage = append(f.Damage, Range{good, at})
			}
			at += FrameSize(len(payload))
			good = at
			f.Payloads, f.Ends = append(f.Payloads, payload), append(f.Ends, at)
			continue
		}
		if at++; at > len(b) {
			break
		}
		next := bytes.Index(b[at:], []byte(frameMagic))
		if next < 0 {
			break
		}
		at += next
	}
	f.Tail = Range{good, len(b)}
	return f
}

// frameAt returns the payload of the frame that b begins with.
func frameAt(b []byte, salt uint32) ([]byte, bool) {
	if len(b) < frameHeader || string(b[:4]) != frameMagic || crc32.Update(salt, castagnoli, b[:12]) != binary.BigEndian.Uint32(b[12:]) {
		return nil, false
	}
	length := binary.BigEndian.Uint32(b[4:])
	if length > MaxFrame || int(length) > len(b)-frameHeader {
		return nil, false
	}
	payload := b[frameHeader : frameHeader+int(length)]
	return payload, crc32.Update(salt, castagnoli, payload) == binary.BigEndian.Uint32(b[8:])
}
