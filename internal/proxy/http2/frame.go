package http2

import "encoding/binary"

// Types of frames (RFC 9113 §6).
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameReset        = 0x3
	frameSettings     = 0x4
	framePush         = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindow       = 0x8
	frameContinuation = 0x9
)

// Flags of frames.
const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// Settings (RFC 9113 §6.5.2; RFC 8441 §3).
const (
	settingPush        = 0x2
	settingStreams     = 0x3
	settingWindow      = 0x4
	settingFrame       = 0x5
	settingFieldsSize  = 0x6
	settingConnectType = 0x8
)

const headerLen = 9

// frame is one frame that has come whole.
type frame struct {
	kind, flags uint8
	stream      uint32
	payload     []byte
}

func (f *frame) has(flag uint8) bool { return f.flags&flag != 0 }

// readHeader reads the header of a frame; b has headerLen octets or more.
func readHeader(b []byte) (f frame, length int) {
	length = int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	f.kind, f.flags = b[3], b[4]
	f.stream = binary.BigEndian.Uint32(b[5:]) & (1<<31 - 1)
	return f, length
}

// unpad returns the payload of a frame that may be padded; false: the padding is longer
// than the frame.
func (f *frame) unpad() ([]byte, bool) {
	b := f.payload
	if !f.has(flagPadded) {
		return b, true
	}
	if len(b) == 0 || int(b[0]) >= len(b) {
		return nil, false
	}
	return b[1 : len(b)-int(b[0])], true
}

func appendHeader(b []byte, length int, kind, flags uint8, stream uint32) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), kind, flags)
	return binary.BigEndian.AppendUint32(b, stream)
}

func appendSetting(b []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, id), value)
}

func appendReset(b []byte, stream uint32, code ErrCode) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(b, 4, frameReset, 0, stream), uint32(code))
}

func appendWindow(b []byte, stream uint32, n int) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(b, 4, frameWindow, 0, stream), uint32(n))
}

func appendGoAway(b []byte, last uint32, code ErrCode, text string) []byte {
	b = appendHeader(b, 8+len(text), frameGoAway, 0, 0)
	b = binary.BigEndian.AppendUint32(b, last)
	return append(binary.BigEndian.AppendUint32(b, uint32(code)), text...)
}
