package masterfile

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
)

// KeeperImages are the images of zones that somebody else keeps on disk by their
// records: the ledger of zones of kind store, and the copies of secondary zones. An
// image is good for exactly the records whose checksum is in it.
type KeeperImages struct {
	images *Images
	keeper string
}

// Of returns the images of a keeper, whose name tells them from those of others.
func (i *Images) Of(keeper string) KeeperImages { return KeeperImages{i, "keeper " + keeper} }

// Take returns the zone whose records have a checksum, nil if there is no image of just
// these, or none that can be used.
func (k KeeperImages) Take(origin dnsname.Name, sum []byte) *zone.Zone {
	image := k.images.asked(origin, k.keeper)
	if image == "" {
		return nil
	}
	z, err := readImageOf(image, origin, hex.EncodeToString(sum))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		k.images.log.Warn("zone image not used; the records are read instead", "zone", origin.String(), "image", image, "error", err)
	case z != nil:
		k.images.log.Info("zone taken from its image", "zone", origin.String(), "serial", z.Serial())
	}
	return z
}

// keeperPause is how long after one image of a keeper's zone the next is written at the
// earliest: a zone may change every second, and an image takes a second of one processor
// for a million records. A start then reads the records, and makes an image again.
const keeperPause = 10 * time.Minute

// Put begins to write the image of a zone whose records have a checksum, if that is
// worth it.
func (k KeeperImages) Put(z *zone.Zone, sum []byte) {
	if k.images == nil {
		return
	}
	image := k.images.fileOf(z.Origin(), k.keeper)
	if st, err := os.Stat(image); err == nil && clock.Since(st.ModTime()) < keeperPause && k.images.isMine(image) {
		return
	}
	k.images.put(image, z, imageNote{Of: hex.EncodeToString(sum)})
}

// isMine reports whether an image was written, or begun, by this process.
func (i *Images) isMine(image string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.newest[image] != nil
}

// readImageOf reads an image of records with a checksum. Without an error, no zone means
// that it is of others.
func readImageOf(image string, origin dnsname.Name, sum string) (*zone.Zone, error) {
	f, err := os.Open(image)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	head := make([]byte, min(st.Size(), noteRead))
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, err
	}
	octets, err := zone.NoteOfImage(head)
	if err != nil {
		return nil, err
	}
	var note imageNote
	if err := json.Unmarshal(octets, &note); err != nil {
		return nil, err
	}
	if note.Of != sum {
		return nil, nil
	}
	return readRest(f, head, st.Size(), origin)
}
