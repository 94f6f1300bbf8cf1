package signer

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pharos/internal/authority/kasp"
	"pharos/internal/authority/zone"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// What is kept of a zone, in a folder of its own below <data>/keys:
//
//	state.json       record: which keys there are, and how far their rollovers are
//	ID.key           a private key, encrypted; see seal.go
//	signed.copy      the signed version; docs/formats/signed-copy.md
//
// Each file is written beside, synced, renamed, and the folder synced. A private
// key is there before the state that speaks of it, and the state before anything
// that it plans is published.
const (
	stateFile = "state.json"
	keySuffix = ".key"
	copyFile  = "signed.copy"
)

// record is the state of a zone on disk.
type record struct {
	Format   int         `json:"format"`
	Zone     string      `json:"zone"`
	Memory   kasp.Memory `json:"memory"`
	Settings Settings    `json:"settings"` // the last, for when the configuration has none any more
	// Serial is that of the signed version published last, but for versions that
	// were not Saved: they had serials up to Reserved.
	Serial   rdata.Serial `json:"serial"`
	Reserved rdata.Serial `json:"reserved"`
	Saved    bool         `json:"saved"`
	// Firsts are the serials with which generations were first published.
	Firsts []first `json:"firsts,omitempty"`
	// ParentAt is when the parent was last seen.
	ParentAt time.Time `json:"parentAt,omitzero"`
}

type first struct {
	Generation uint64       `json:"generation"`
	Serial     rdata.Serial `json:"serial"`
}

const stateFormat = 1

// folderOf returns the folder of a zone.
func folderOf(folder string, name dnsname.Name) string {
	return filepath.Join(folder, name.FileName())
}

// writeFile puts content at path, whole or not at all, readable by nobody else.
func writeFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return diskfile.Replace(path, content)
}

// saveRecord and loadRecord keep the state: one line of JSON, and one with its sum.
func saveRecord(folder string, r *record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	text = append(text, '\n')
	text = append(hex.AppendEncode(text, sum[:]), '\n')
	return writeFile(filepath.Join(folder, stateFile), text)
}

// maxState bounds the state that is read: 32 keys of RSA take some 40 KiB.
const maxState = 4 << 20

func loadRecord(folder string, name dnsname.Name) (*record, error) {
	path := filepath.Join(folder, stateFile)
	stat, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if stat.Size() > maxState {
		return nil, fmt.Errorf("%s is larger than %d octets", path, maxState)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r, err := decodeRecord(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w; put back the file from a backup, else keys and what is published are no longer known", path, err)
	case r.Zone != name.String():
		return nil, fmt.Errorf("%s is that of zone %s", path, r.Zone)
	}
	return r, nil
}

func decodeRecord(text []byte) (*record, error) {
	line, rest, _ := strings.Cut(string(text), "\n")
	sum := sha256.Sum256([]byte(line))
	if strings.TrimSpace(rest) != hex.EncodeToString(sum[:]) {
		return nil, errors.New("it is damaged: its checksum does not fit")
	}
	r := new(record)
	if err := json.Unmarshal([]byte(line), r); err != nil {
		return nil, err
	}
	if r.Format != stateFormat {
		return nil, fmt.Errorf("it has format %d; this version reads %d", r.Format, stateFormat)
	}
	return r, nil
}

// The file of a signed version.
const (
	copyMagic  = "PHAROSSZ"
	copyFormat = 1
	copySum    = sha256.Size
	maxAbout   = 64 << 10 // octets of what is said about it
)

// about is what a signed version was made of.
type about struct {
	Zone       string        `json:"zone"`
	Records    uint64        `json:"records"`
	Generation uint64        `json:"generation"`
	Setup      string        `json:"setup"`  // keys and parameters it was signed with
	Source     uint64        `json:"source"` // journal.SumOf the unsigned version
	DataTTL    time.Duration `json:"dataTTL"`
	Steered    []string      `json:"steered,omitempty"` // names whose addresses are not the zone's to give
}

var errDamaged = errors.New("the copy of the signed version is damaged")

// saveCopy puts a signed version on disk, and returns what its image is known by.
func saveCopy(folder string, a about, z *zone.Zone) (key []byte, err error) {
	_, records, _ := z.Stats()
	a.Zone, a.Records = z.Origin().String(), uint64(records)
	text, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	err = diskfile.ReplaceWith(filepath.Join(folder, copyFile), func(f *os.File) error {
		sum := sha256.New()
		w := bufio.NewWriterSize(io.MultiWriter(f, sum), 1<<16)
		head := binary.BigEndian.AppendUint32([]byte(copyMagic), copyFormat)
		head = binary.BigEndian.AppendUint32(head, uint32(len(text)))
		w.Write(append(head, text...))
		var b []byte
		for r := range z.Records() {
			b = rdata.AppendPacked(b[:0], r)
			w.Write(b)
		}
		if err := w.Flush(); err != nil { // the first error of all
			return err
		}
		end := sum.Sum(nil)
		key = imageKey(text, end)
		_, err := f.Write(end)
		return err
	})
	return key, err
}

// imageKey is what the image of a copy is known by: what the copy says about itself, and
// the checksum at its end. So the image is of just this copy, and of one that is damaged
// where nobody looks when there is an image, at its records, it is as good as before.
func imageKey(text, end []byte) []byte {
	key := sha256.Sum256(append(slices.Clip(text), end...))
	return key[:]
}

// loadCopy reads the signed version of a zone. The error is fs.ErrNotExist if there is
// none.
func loadCopy(folder string, name dnsname.Name, images Images) (*zone.Zone, about, error) {
	f, err := os.Open(filepath.Join(folder, copyFile))
	if err != nil {
		return nil, about{}, err
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return nil, about{}, err
	}
	if images == nil {
		return readCopy(f, name, stat.Size())
	}
	a, text, err := readHead(f, name)
	if err != nil {
		return nil, a, err
	}
	end := make([]byte, copySum)
	if _, err := f.ReadAt(end, stat.Size()-copySum); err != nil {
		return nil, a, errDamaged
	}
	key := imageKey(text, end)
	if z := images.Take(name, key); z != nil {
		return z, a, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, a, err
	}
	z, a, err := readCopy(f, name, stat.Size())
	if err == nil {
		images.Put(z, key) // for the next start
	}
	return z, a, err
}

// readHead reads what a copy says about itself, which is also returned as text.
func readHead(r io.Reader, name dnsname.Name) (a about, text []byte, err error) {
	head := make([]byte, len(copyMagic)+8)
	if _, err := io.ReadFull(r, head); err != nil || string(head[:len(copyMagic)]) != copyMagic {
		return a, nil, errDamaged
	}
	if v := binary.BigEndian.Uint32(head[len(copyMagic):]); v != copyFormat {
		return a, nil, fmt.Errorf("the copy has format %d; this version reads %d", v, copyFormat)
	}
	length := binary.BigEndian.Uint32(head[len(copyMagic)+4:])
	if length > maxAbout {
		return a, nil, errDamaged
	}
	text = make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil || json.Unmarshal(text, &a) != nil || a.Zone != name.String() {
		return a, nil, errDamaged
	}
	return a, text, nil
}

func readCopy(f io.Reader, name dnsname.Name, size int64) (*zone.Zone, about, error) {
	sum := sha256.New()
	r := bufio.NewReaderSize(io.TeeReader(io.LimitReader(f, size-copySum), sum), 1<<16)
	a, _, err := readHead(r, name)
	if err != nil {
		return nil, a, err
	}
	b := zone.NewBuilder(name)
	for _, text := range a.Steered {
		text, word, _ := strings.Cut(text, " ") // without a word: written before there were several
		n, err := dnsname.Parse(text)
		how, ok := zone.ParseSteering(word)
		if err != nil || !ok || !n.IsSubdomainOf(name) {
			return nil, a, errDamaged
		}
		b.Steer(n, how)
	}
	if err := rdata.ReadPacked(r, a.Records, b.Add); err != nil {
		return nil, a, fmt.Errorf("%w: %v", errDamaged, err)
	}
	want := make([]byte, copySum)
	if _, err := io.ReadFull(f, want); err != nil || string(want) != string(sum.Sum(nil)) {
		return nil, a, errDamaged
	}
	z, _ := b.Finish()
	if z == nil {
		return nil, a, errDamaged
	}
	return z, a, nil
}
