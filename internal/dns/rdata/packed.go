package rdata

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"pharos/internal/dns/dnsname"
)

// Packed records are the form in which they are kept in memory and on disk, one
// behind the other. The class is IN. Numbers are big-endian.
//
//	record   length of the owner u8 | owner | type u16 | TTL u32 | length u16 | RDATA
const packedFixed = 8 // octets between owner and RDATA

// ErrPacked means that octets are not packed records.
var ErrPacked = errors.New("not a row of records")

// AppendPacked appends r to b, packed.
func AppendPacked(b []byte, r Record) []byte {
	b = append(b, byte(r.Name.Len()))
	b = r.Name.AppendWire(b)
	b = binary.BigEndian.AppendUint16(b, uint16(r.Type))
	b = binary.BigEndian.AppendUint32(b, uint32(r.TTL))
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Data)))
	return append(b, r.Data...)
}

// Packed yields the records in b, which AppendPacked has made: what others have had in
// hand is for a PackedReader. Names and RDATA look at the memory of b.
func Packed(b []byte) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for at := 0; at < len(b); {
			end := at + 1 + int(b[at])
			r := Record{Name: dnsname.View(b[at+1 : end])}
			length := r.unpackFixed(b[end:])
			at = end + packedFixed + length
			r.Data = b[end+packedFixed : at]
			if !yield(r) {
				return
			}
		}
	}
}

// unpackFixed reads what stands between owner and RDATA, and returns the RDATA's length.
func (r *Record) unpackFixed(b []byte) (length int) {
	r.Class = ClassIN
	r.Type = Type(binary.BigEndian.Uint16(b))
	r.TTL = TTL(binary.BigEndian.Uint32(b[2:]))
	return int(binary.BigEndian.Uint16(b[6:]))
}

// ReadPacked reads count packed records from a file that may be damaged, and calls add
// for each, whose RDATA is good until add returns. They must be all that there is. It
// checks that they are whole and that their names are names; whether RDATA fits its
// type is for Validate. The error is ErrPacked, or that of from.
func ReadPacked(from *bufio.Reader, count uint64, add func(Record)) error {
	p := packedReader{from: from, data: make([]byte, 1<<16)}
	for range count {
		r, err := p.next()
		if err != nil {
			return cutOff(err)
		}
		add(r)
	}
	switch _, err := from.ReadByte(); err {
	case io.EOF:
		return nil
	case nil:
		return fmt.Errorf("%w: it goes on after its last record", ErrPacked)
	default:
		return err
	}
}

type packedReader struct {
	from  *bufio.Reader
	fixed [dnsname.MaxLen + packedFixed]byte
	data  []byte
}

// next reads one record, which the one after it overwrites.
func (p *packedReader) next() (Record, error) {
	length, err := p.from.ReadByte()
	if err != nil {
		return Record{}, err
	}
	fixed := p.fixed[:int(length)+packedFixed]
	if _, err := io.ReadFull(p.from, fixed); err != nil {
		return Record{}, err
	}
	owner, used, err := dnsname.FromWire(fixed[:length])
	if err != nil || used != int(length) {
		return Record{}, fmt.Errorf("%w: a bad name", ErrPacked)
	}
	r := Record{Name: owner}
	r.Data = p.data[:r.unpackFixed(fixed[length:])]
	_, err = io.ReadFull(p.from, r.Data)
	return r, err
}

// cutOff tells the end of a file before its time from one that cannot be read.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is cut off", ErrPacked)
	}
	return err
}
