package ledger

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// The base of a zone: one version whole; docs/formats/zone-ledger.md.
const (
	baseMagic  = "PHAROSZB"
	baseFormat = 1
	baseHeader = 96
	baseSum    = 64 // offset of the checksum
)

// base is a version of a zone as it is kept whole.
type base struct {
	zone    *zone.Zone
	version uint64
	sum     uint64
	time    time.Time
	size    int64
	header  []byte // of the file; its checksum is over all records
}

// writeBase writes the records behind the place of the header, and then the header,
// which has to know them.
func writeBase(f file, b *base) (size int64, err error) {
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(io.NewOffsetWriter(f, baseHeader), sum), 1<<18)
	var records, octets uint64
	var buf []byte
	for r := range b.zone.Records() {
		buf = rdata.AppendPacked(buf[:0], r)
		records++
		octets += uint64(len(buf))
		if _, err := w.Write(buf); err != nil {
			return 0, err
		}
	}
	if err := w.Flush(); err != nil {
		return 0, err
	}
	h := make([]byte, baseHeader)
	copy(h, baseMagic)
	binary.BigEndian.PutUint32(h[8:], baseFormat)
	binary.BigEndian.PutUint32(h[12:], uint32(b.zone.Serial()))
	binary.BigEndian.PutUint64(h[16:], records)
	binary.BigEndian.PutUint64(h[24:], octets)
	binary.BigEndian.PutUint64(h[32:], b.version)
	binary.BigEndian.PutUint64(h[40:], b.sum)
	binary.BigEndian.PutUint64(h[48:], uint64(b.time.UnixNano()))
	sum.Write(h[:baseSum])
	sum.Sum(h[:baseSum])
	_, err = f.WriteAt(h, 0)
	b.header = h
	return baseHeader + int64(octets), err
}

// readBase reads a base; the error is fs.ErrNotExist if there is none. If there is an
// image of the records that the header has the checksum of, they are not read.
func readBase(d disk, path string, name dnsname.Name, images Images) (base, error) {
	f, err := d.Open(path, os.O_RDONLY)
	if err != nil {
		return base{}, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return base{}, err
	}
	h := make([]byte, baseHeader)
	if _, err := io.ReadFull(f, h); err != nil || string(h[:8]) != baseMagic {
		return base{}, fmt.Errorf("%w: its header is not one", errDamaged)
	}
	if v := binary.BigEndian.Uint32(h[8:]); v != baseFormat {
		return base{}, fmt.Errorf("%w: format %d, this one reads %d", errFormat, v, baseFormat)
	}
	b := base{version: binary.BigEndian.Uint64(h[32:]), sum: binary.BigEndian.Uint64(h[40:]), time: time.Unix(0, int64(binary.BigEndian.Uint64(h[48:]))), size: size}
	if octets := binary.BigEndian.Uint64(h[24:]); octets != uint64(size-baseHeader) {
		return base{}, fmt.Errorf("%w: it has %d octets of records, not %d as its header says", errDamaged, size-baseHeader, octets)
	}
	b.header = h
	if images != nil {
		if b.zone = images.Take(name, h); b.zone != nil && uint32(b.zone.Serial()) == binary.BigEndian.Uint32(h[12:]) {
			return b, nil
		}
	}
	sum := sha256.New()
	build := zone.NewBuilder(name)
	var content uint64
	err = rdata.ReadPacked(bufio.NewReaderSize(io.TeeReader(f, sum), 1<<18), binary.BigEndian.Uint64(h[16:]), func(r rdata.Record) {
		content += journal.SumRecord(r)
		build.Add(r)
	})
	if err != nil {
		return base{}, fmt.Errorf("%w: %v", errDamaged, err)
	}
	sum.Write(h[:baseSum])
	if string(sum.Sum(nil)) != string(h[baseSum:]) || content != b.sum {
		return base{}, fmt.Errorf("%w: its checksum does not fit", errDamaged)
	}
	var problems []zone.Problem
	if b.zone, problems = build.Finish(); b.zone == nil {
		return base{}, fmt.Errorf("%w: %v", errDamaged, problems)
	}
	if images != nil {
		images.Put(b.zone, h)
	}
	return b, nil
}

// loadBase reads the newest base of a zone that can be used. There may be an older
// one to begin with when a disk returns other octets than were written: the log
// often goes back to it.
func (l *Ledger) loadBase(e *entry) (b base, found bool, problem error) {
	for _, suffix := range []string{".base", ".base.1"} {
		path := l.path(e, suffix)
		b, err := readBase(l.disk, path, e.name, l.config.Images)
		switch {
		case err == nil:
			return b, true, problem
		case errors.Is(err, fs.ErrNotExist):
		default:
			problem = errors.Join(problem, fmt.Errorf("%s: %w", path, err))
		}
	}
	return base{}, false, problem
}

// saveBase makes b the base of a zone, and the one there was the one before. It is
// durable when nil is returned; with an error nobody knows which of them is there.
func (l *Ledger) saveBase(e *entry, b base) (size int64, err error) {
	path := l.path(e, ".base")
	err = writeWhole(l.disk, path+".new", func(f file) error {
		size, err = writeBase(f, &b)
		return err
	})
	if err != nil {
		return 0, err
	}
	if err := l.disk.Rename(path, path+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if err := l.disk.Rename(path+".new", path); err != nil {
		return 0, err
	}
	if err := l.disk.SyncFolder(l.zonesFolder()); err != nil {
		return size, err
	}
	if l.config.Images != nil {
		l.config.Images.Put(b.zone, b.header)
	}
	return size, nil
}
