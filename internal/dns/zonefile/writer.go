package zonefile

import (
	"bufio"
	"io"
	"iter"
	"strconv"

	"pharos/internal/dns/rdata"
)

// Writer writes records as a master file that every server and tool reads back:
// one record a line, names absolute, TTL and class always stated, and the generic
// form of RFC 3597 for the types that not all of them know.
type Writer struct {
	w    *bufio.Writer
	line []byte
}

// NewWriter returns a Writer to w. What is written comes out with Flush at the
// latest.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, bufferBytes)} }

// Write writes one record.
func (w *Writer) Write(record rdata.Record) error {
	w.line = AppendRecord(w.line[:0], record)
	_, err := w.w.Write(w.line)
	return err
}

// Flush writes out what is still buffered.
func (w *Writer) Flush() error { return w.w.Flush() }

// Write writes records to w, in the order in which they come. A server that loads
// the file wants the SOA record first.
func Write(w io.Writer, records iter.Seq[rdata.Record]) error {
	writer := NewWriter(w)
	for record := range records {
		if err := writer.Write(record); err != nil {
			return err
		}
	}
	return writer.Flush()
}

// AppendRecord appends record to b as a line of a master file.
func AppendRecord(b []byte, record rdata.Record) []byte {
	b = record.Name.AppendText(b)
	b = append(b, '\t')
	b = strconv.AppendUint(b, uint64(record.TTL), 10)
	b = append(b, '\t')
	b = append(b, record.Class.String()...)
	b = append(b, '\t')
	b = rdata.AppendType(b, record.Type)
	b = append(b, '\t')
	if record.Type.IsPortable() {
		b = rdata.AppendText(b, record.Type, record.Data)
	} else {
		b = rdata.AppendGenericText(b, record.Data)
	}
	return append(b, '\n')
}
