package xfr

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// The file of a received zone; docs/formats/zone-copy.md.
const (
	copyMagic   = "PHAROSZC"
	copyFormat  = 1
	copyHeader  = 64
	copySum     = 32 // offset of the checksum
	copySuffix  = ".copy"
	longestName = 180 // octets of a file name that spells out the zone's name
)

// copyPath returns the file of a zone in folder. Letters, digits, hyphen,
// underscore and dot stand for themselves, other octets as =XX.
func copyPath(folder string, name dnsname.Name) string {
	var b strings.Builder
	text := strings.TrimSuffix(name.String(), ".")
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	if b.Len() == 0 {
		b.WriteString("=2E") // the root
	}
	if b.Len() > longestName {
		sum := sha256.Sum256([]byte(name.Wire()))
		return filepath.Join(folder, "=sha256-"+hex.EncodeToString(sum[:])+copySuffix)
	}
	return filepath.Join(folder, b.String()+copySuffix)
}

// saveCopy puts z on disk as the copy of its zone, whole or not at all: written
// beside, synced, renamed, and the folder synced.
func saveCopy(folder string, z *zone.Zone, confirmed time.Time) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	path := copyPath(folder, z.Origin())
	f, err := os.OpenFile(path+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = writeCopy(f, z)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Chtimes(f.Name(), confirmed, confirmed)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return syncFolder(folder)
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// writeCopy writes the records behind the place of the header, and then the
// header, which has to know them.
func writeCopy(f *os.File, z *zone.Zone) error {
	if _, err := f.Seek(copyHeader, io.SeekStart); err != nil {
		return err
	}
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, sum), 1<<16)
	var records, octets uint64
	var b []byte
	for r := range z.Records() {
		b = appendRecord(b[:0], r)
		records++
		octets += uint64(len(b))
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	header := make([]byte, copyHeader)
	copy(header, copyMagic)
	binary.BigEndian.PutUint32(header[8:], copyFormat)
	binary.BigEndian.PutUint32(header[12:], uint32(z.Serial()))
	binary.BigEndian.PutUint64(header[16:], records)
	binary.BigEndian.PutUint64(header[24:], octets)
	sum.Write(header[:copySum])
	sum.Sum(header[:copySum])
	_, err := f.WriteAt(header, 0)
	return err
}

func appendRecord(b []byte, r rdata.Record) []byte {
	b = append(b, byte(r.Name.Len()))
	b = r.Name.AppendWire(b)
	b = binary.BigEndian.AppendUint16(b, uint16(r.Type))
	b = binary.BigEndian.AppendUint32(b, uint32(r.TTL))
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Data)))
	return append(b, r.Data...)
}

// errDamaged means that a copy is not what was written.
var errDamaged = errors.New("the copy is damaged")

// loadCopy reads the copy of a zone, and when a primary last confirmed it, which
// is the file's time of change. The error is fs.ErrNotExist if there is none.
func loadCopy(folder string, name dnsname.Name) (z *zone.Zone, confirmed time.Time, err error) {
	f, err := os.Open(copyPath(folder, name))
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	z, err = readCopy(f, name, stat.Size())
	return z, stat.ModTime(), err
}

func readCopy(r io.Reader, name dnsname.Name, size int64) (*zone.Zone, error) {
	header := make([]byte, copyHeader)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, fmt.Errorf("%w: it is cut off in its header", errDamaged)
	}
	if string(header[:8]) != copyMagic {
		return nil, fmt.Errorf("%w: it is no copy of a zone", errDamaged)
	}
	if v := binary.BigEndian.Uint32(header[8:]); v != copyFormat {
		return nil, fmt.Errorf("the copy has format %d; this version reads %d", v, copyFormat)
	}
	octets := binary.BigEndian.Uint64(header[24:])
	if octets != uint64(size-copyHeader) {
		return nil, fmt.Errorf("%w: it has %d octets of records, not %d as its header says", errDamaged, size-copyHeader, octets)
	}
	sum := sha256.New()
	b := zone.NewBuilder(name)
	if err := readRecords(bufio.NewReaderSize(io.TeeReader(r, sum), 1<<16), b, binary.BigEndian.Uint64(header[16:])); err != nil {
		return nil, err
	}
	if !sumFits(sum, header) {
		return nil, fmt.Errorf("%w: its checksum does not fit", errDamaged)
	}
	z, problems := b.Finish()
	if z == nil {
		return nil, fmt.Errorf("%w: %v", errDamaged, problems)
	}
	return z, nil
}

func sumFits(sum hash.Hash, header []byte) bool {
	sum.Write(header[:copySum])
	return string(sum.Sum(nil)) == string(header[copySum:])
}

func readRecords(r *bufio.Reader, b *zone.Builder, count uint64) error {
	var buf [dnsname.MaxLen + 8]byte
	data := make([]byte, 1<<16)
	for range count {
		length, err := r.ReadByte()
		if err != nil {
			return fmt.Errorf("%w: it is cut off", errDamaged)
		}
		fixed := buf[:int(length)+8]
		if _, err := io.ReadFull(r, fixed); err != nil {
			return fmt.Errorf("%w: it is cut off", errDamaged)
		}
		owner, used, err := dnsname.FromWire(fixed)
		if err != nil || used != int(length) {
			return fmt.Errorf("%w: a bad name", errDamaged)
		}
		fixed = fixed[length:]
		rest := data[:binary.BigEndian.Uint16(fixed[6:])]
		if _, err := io.ReadFull(r, rest); err != nil {
			return fmt.Errorf("%w: it is cut off", errDamaged)
		}
		b.Add(rdata.Record{
			Name: owner, Type: rdata.Type(binary.BigEndian.Uint16(fixed)), Class: rdata.ClassIN,
			TTL: rdata.TTL(binary.BigEndian.Uint32(fixed[2:])), Data: rest,
		})
	}
	if _, err := r.ReadByte(); err != io.EOF {
		return fmt.Errorf("%w: it goes on after its last record", errDamaged)
	}
	return nil
}

// confirmCopy notes that a primary has confirmed the copy of a zone.
func confirmCopy(folder string, name dnsname.Name, at time.Time) error {
	return os.Chtimes(copyPath(folder, name), at, at)
}
