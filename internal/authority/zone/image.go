package zone

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unsafe"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// This file writes a built zone as it lies in memory, and takes it up again
// without building it; docs/formats/zone-image.md is the table of the octets. What
// is taken up is checked in full before it is used: verify.go.

const (
	imageMagic   = "PHAROSZI"
	imageVersion = 2

	// imageOrder is how the numbers of an image lie in memory: an image of a machine
	// with another order of octets is not taken.
	imageOrder = 0x01020304
)

// Offsets in the header of an image.
const (
	imageAtVersion = 8
	imageAtOrder   = 12
	imageAtSize    = 16 // of the whole image
	imageAtSum     = 24 // CRC-32C of all behind imageSummed
	imageSummed    = 32
	imageAtHash    = 32 // of the origin
	imageAtLengths = 40 // of the parts, in octets: ten numbers of 64 bits
	imageHeader    = 40 + 8*imageParts
)

// The parts of an image, each beginning at a multiple of eight.
const (
	partNote = iota
	partOrigin
	partParams
	partWarnings
	partArena
	partTable
	partKeys
	partNodes
	partHashes
	partTargets
	imageParts
)

// Errors of images.
var (
	errImageForeign = errors.New("written by another version of this program, or on another kind of machine")
	errImageCut     = errors.New("shorter or longer than it says it is")
	errImageSum     = errors.New("its checksum does not fit")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// WriteImage writes z as an image, with a note for whoever reads it. A zone that
// was edited is compacted first. The image has the seed of the zone's hashes, so
// who can read it can choose names that collide.
func (z *Zone) WriteImage(w io.Writer, note []byte) error {
	z = z.Compact()
	parts := z.imageParts(note)
	header := make([]byte, imageHeader)
	copy(header, imageMagic)
	binary.LittleEndian.PutUint32(header[imageAtVersion:], imageVersion)
	binary.NativeEndian.PutUint32(header[imageAtOrder:], imageOrder)
	binary.LittleEndian.PutUint64(header[imageAtHash:], z.originHash)
	size := uint64(imageHeader)
	for i, part := range parts {
		length := uint64(0)
		for _, piece := range part {
			length += uint64(len(piece))
		}
		binary.LittleEndian.PutUint64(header[imageAtLengths+8*i:], length)
		size += (length + 7) &^ 7
	}
	binary.LittleEndian.PutUint64(header[imageAtSize:], size)
	sum := crc32.Update(0, castagnoli, header[imageSummed:])
	eachPiece(parts, func(piece []byte) error {
		sum = crc32.Update(sum, castagnoli, piece)
		return nil
	})
	binary.LittleEndian.PutUint32(header[imageAtSum:], sum)
	if _, err := w.Write(header); err != nil {
		return err
	}
	return eachPiece(parts, func(piece []byte) error {
		_, err := w.Write(piece)
		return err
	})
}

// eachPiece calls do for the pieces of the parts, and for what fills each part up.
func eachPiece(parts [imageParts][][]byte, do func([]byte) error) error {
	var fill [8]byte
	for _, part := range parts {
		length := 0
		for _, piece := range part {
			if length += len(piece); len(piece) > 0 {
				if err := do(piece); err != nil {
					return err
				}
			}
		}
		if rest := -length & 7; rest > 0 {
			if err := do(fill[:rest]); err != nil {
				return err
			}
		}
	}
	return nil
}

// imageParts returns the parts as they lie in memory, in pieces.
func (z *Zone) imageParts(note []byte) (parts [imageParts][][]byte) {
	parts[partNote] = [][]byte{note}
	parts[partOrigin] = [][]byte{[]byte(z.origin.Wire())}
	parts[partParams] = [][]byte{z.nsec3.params}
	parts[partWarnings] = [][]byte{z.encodeWarnings()}
	parts[partTargets] = [][]byte{octetsOf(z.targets)}
	parts[partArena] = [][]byte{z.arena}
	parts[partTable] = [][]byte{octetsOf(z.table)}
	for _, c := range z.nsec.chunks {
		parts[partKeys] = append(parts[partKeys], octetsOf(c.keys))
		parts[partNodes] = append(parts[partNodes], octetsOf(c.nodes))
	}
	for _, page := range z.nsec3.pages {
		parts[partHashes] = append(parts[partHashes], octetsOf(page))
	}
	return parts
}

// octetsOf returns the memory of numbers.
func octetsOf[T ~uint32 | ~uint64 | nsecKey](list []T) []byte {
	if len(list) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&list[0])), len(list)*int(unsafe.Sizeof(list[0])))
}

// numbersIn returns the memory of a part, which begins at a multiple of eight, as
// numbers.
func numbersIn[T ~uint32 | ~uint64 | nsecKey](octets []byte) ([]T, error) {
	var zero T
	size := int(unsafe.Sizeof(zero))
	if len(octets)%size != 0 {
		return nil, errImageCut
	}
	if len(octets) == 0 {
		return nil, nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&octets[0])), len(octets)/size), nil
}

// FromImage returns the zone of an image and the note in it. The zone takes over
// the memory of image, which nobody may change from then on. An image that is
// damaged, or not what WriteImage writes, is an error, whatever is in it.
func FromImage(image []byte) (z *Zone, note []byte, err error) {
	parts, hash, err := splitImage(image)
	if err != nil {
		return nil, nil, err
	}
	if crc32.Checksum(image[imageSummed:], castagnoli) != binary.LittleEndian.Uint32(image[imageAtSum:]) {
		return nil, nil, errImageSum
	}
	z, err = newFromParts(parts, hash)
	if err != nil {
		return nil, nil, fmt.Errorf("its checksum fits, but not what it says: %w", err)
	}
	return z, parts[partNote], nil
}

// NoteOfImage returns the note of an image, given at least its header and the note.
// Nothing else is checked.
func NoteOfImage(image []byte) ([]byte, error) {
	if err := checkHeader(image); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint64(image[imageAtLengths:])
	if length > uint64(len(image)-imageHeader) {
		return nil, errImageCut
	}
	return image[imageHeader : imageHeader+int(length)], nil
}

func checkHeader(image []byte) error {
	switch {
	case len(image) < imageHeader:
		return errImageCut
	case string(image[:imageAtVersion]) != imageMagic,
		binary.LittleEndian.Uint32(image[imageAtVersion:]) != imageVersion,
		binary.NativeEndian.Uint32(image[imageAtOrder:]) != imageOrder:
		return errImageForeign
	}
	return nil
}

// splitImage returns the parts of an image and the hash of the origin.
func splitImage(image []byte) (parts [imageParts][]byte, hash uint64, err error) {
	if err := checkHeader(image); err != nil {
		return parts, 0, err
	}
	if uint64(len(image)) != binary.LittleEndian.Uint64(image[imageAtSize:]) {
		return parts, 0, errImageCut
	}
	if uintptr(unsafe.Pointer(&image[0]))%8 != 0 { // only small pieces of memory lie so
		image = append(make([]byte, 0, (len(image)+7)&^7), image...)
	}
	at := uint64(imageHeader)
	for i := range parts {
		length := binary.LittleEndian.Uint64(image[imageAtLengths+8*i:])
		if at > uint64(len(image)) || length > uint64(len(image))-at {
			return parts, 0, errImageCut
		}
		parts[i] = image[at : at+length : at+length]
		at += (length + 7) &^ 7
	}
	if at != uint64(len(image)) {
		return parts, 0, errImageCut
	}
	return parts, binary.LittleEndian.Uint64(image[imageAtHash:]), nil
}

// Flags before the warnings in an image.
const (
	imageMoreWarnings = 1 << iota
	imageLoose
	imageFlags // the first that there is not
)

// encodeWarnings writes warnings down, and what else an edit must know.
func (z *Zone) encodeWarnings() []byte {
	b := []byte{0}
	if z.warnings.more {
		b[0] |= imageMoreWarnings
	}
	if z.loose {
		b[0] |= imageLoose
	}
	for _, w := range z.warnings.list {
		b = append(b, byte(w.about))
		b = binary.LittleEndian.AppendUint16(b, uint16(w.Type))
		b = append(b, w.Name.Wire()...)
		b = binary.LittleEndian.AppendUint16(b, uint16(min(len(w.Text), 1<<16-1)))
		b = append(b, w.Text[:min(len(w.Text), 1<<16-1)]...)
	}
	return b
}

var errWarnings = errors.New("its warnings cannot be read")

// decodeWarnings is the reverse of encodeWarnings.
func (z *Zone) decodeWarnings(b []byte) error {
	if len(b) == 0 || b[0] >= imageFlags {
		return errWarnings
	}
	w := &z.warnings
	w.more, z.loose, b = b[0]&imageMoreWarnings != 0, b[0]&imageLoose != 0, b[1:]
	for len(b) > 0 {
		if len(b) < 3 || about(b[0]) > aboutZone || len(w.list) == maxProblems {
			return errWarnings
		}
		kind, t := about(b[0]), rdata.Type(binary.LittleEndian.Uint16(b[1:]))
		name, length, err := dnsname.FromWire(b[3:])
		if err != nil || len(b) < 3+length+2 {
			return errWarnings
		}
		b = b[3+length:]
		text := int(binary.LittleEndian.Uint16(b))
		if len(b) < 2+text {
			return errWarnings
		}
		w.list = append(w.list, warning{Problem{Warning, name.Clone(), t, string(b[2 : 2+text])}, kind})
		b = b[2+text:]
	}
	return nil
}

// Warnings returns what is wrong with z and will be for as long as its records are
// what they are: of the problems that Build or Finish returned, those that are not
// about records that were left out or mended.
func (z *Zone) Warnings() []Problem {
	var list []Problem
	for _, w := range z.warnings.list {
		list = append(list, w.Problem)
	}
	return list
}
