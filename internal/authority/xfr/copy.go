package xfr

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// The file of a received zone; docs/formats/zone-copy.md.
const (
	copyMagic  = "PHAROSZC"
	copyFormat = 1
	copyHeader = 64
	copySum    = 32 // offset of the checksum
	copySuffix = ".copy"
)

// copyPath returns the file of a zone in folder.
func copyPath(folder string, name dnsname.Name) string {
	return filepath.Join(folder, name.FileName()+copySuffix)
}

// saveCopy puts z on disk as the copy of its zone, whole or not at all, and begins l with
// it. What had changed since the copy before goes.
func saveCopy(folder string, z *zone.Zone, confirmed time.Time, images Images, l *changeLog) error {
	l.zone = nil
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	var header []byte
	err := diskfile.ReplaceWith(copyPath(folder, z.Origin()), func(f *os.File) (err error) {
		if header, err = writeCopy(f, z); err != nil {
			return err
		}
		return os.Chtimes(f.Name(), confirmed, confirmed)
	})
	if err != nil {
		return err
	}
	l.begin(z, header)
	os.Remove(changesPath(folder, z.Origin())) // or they stay, and do not count
	if images != nil {
		images.Put(z, header)
	}
	return nil
}

// writeCopy writes the records behind the place of the header, and then the
// header, which has to know them.
func writeCopy(f *os.File, z *zone.Zone) (header []byte, err error) {
	if _, err := f.Seek(copyHeader, io.SeekStart); err != nil {
		return nil, err
	}
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, sum), 1<<16)
	var records, octets uint64
	var b []byte
	for r := range z.Records() {
		b = rdata.AppendPacked(b[:0], r)
		records++
		octets += uint64(len(b))
		if _, err := w.Write(b); err != nil {
			return nil, err
		}
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	header = make([]byte, copyHeader)
	copy(header, copyMagic)
	binary.BigEndian.PutUint32(header[8:], copyFormat)
	binary.BigEndian.PutUint32(header[12:], uint32(z.Serial()))
	binary.BigEndian.PutUint64(header[16:], records)
	binary.BigEndian.PutUint64(header[24:], octets)
	sum.Write(header[:copySum])
	sum.Sum(header[:copySum])
	_, err = f.WriteAt(header, 0)
	return header, err
}

// errDamaged means that a copy is not what was written.
var errDamaged = errors.New("the copy is damaged")

// loaded is the newest version of a zone on disk.
type loaded struct {
	changeLog
	confirmed time.Time // by a primary, last
	damage    error     // there was a newer one, which cannot be used
}

// loadCopy reads the copy of a zone with its changes, and when a primary last confirmed
// it, which is the copy's time of change. The error is fs.ErrNotExist if there is none.
func loadCopy(folder string, name dnsname.Name, images Images) (l loaded, err error) {
	f, err := os.Open(copyPath(folder, name))
	if err != nil {
		return l, err
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return l, err
	}
	header := make([]byte, copyHeader)
	z, err := readCopy(f, name, stat.Size(), images, header)
	if err != nil {
		return l, err
	}
	l.begin(z, header)
	l.confirmed = stat.ModTime()
	l.damage = l.replay(folder)
	return l, nil
}

// readCopy reads the zone of a copy, and its header. If there is an image of the records
// that the header has the checksum of, they are not read.
func readCopy(r io.Reader, name dnsname.Name, size int64, images Images, header []byte) (*zone.Zone, error) {
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
	if images != nil {
		if z := images.Take(name, header); z != nil && uint32(z.Serial()) == binary.BigEndian.Uint32(header[12:]) {
			return z, nil
		}
	}
	sum := sha256.New()
	b := zone.NewBuilder(name)
	if err := rdata.ReadPacked(bufio.NewReaderSize(io.TeeReader(r, sum), 1<<16), binary.BigEndian.Uint64(header[16:]), b.Add); err != nil {
		return nil, fmt.Errorf("%w: %v", errDamaged, err)
	}
	if !sumFits(sum, header) {
		return nil, fmt.Errorf("%w: its checksum does not fit", errDamaged)
	}
	z, problems := b.Finish()
	if z == nil {
		return nil, fmt.Errorf("%w: %v", errDamaged, problems)
	}
	if images != nil {
		images.Put(z, header)
	}
	return z, nil
}

func sumFits(sum hash.Hash, header []byte) bool {
	sum.Write(header[:copySum])
	return string(sum.Sum(nil)) == string(header[copySum:])
}

// confirmCopy notes that a primary has confirmed the copy of a zone.
func confirmCopy(folder string, name dnsname.Name, at time.Time) error {
	return os.Chtimes(copyPath(folder, name), at, at)
}
