package xfr

import (
	"testing"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
)

// memoryImages are images in memory.
type memoryImages map[string]*zone.Zone // by the header of their copy

func (m memoryImages) Take(_ dnsname.Name, header []byte) *zone.Zone { return m[string(header)] }
func (m memoryImages) Put(z *zone.Zone, header []byte)               { m[string(header)] = z }

// TestCopyImage: a copy is taken from its image, and read when there is none of it.
func TestCopyImage(t *testing.T) {
	folder, images := t.TempDir(), memoryImages{}
	first, second := parse(t, 1, "a A 192.0.2.1"), parse(t, 2, "a A 192.0.2.2")
	for _, z := range []*zone.Zone{first, second} {
		if err := saveCopy(folder, z, time.Now(), images, new(changeLog)); err != nil {
			t.Fatal(err)
		}
		if got, err := loadCopy(folder, z.Origin(), images); err != nil || got.zone != z {
			t.Errorf("serial %d: the image was not taken: %v", z.Serial(), err)
		}
	}
	clear(images)
	got, err := loadCopy(folder, second.Origin(), images)
	if err != nil || got.zone.Serial() != 2 {
		t.Fatalf("without an image: %v", err)
	}
	if len(images) != 1 {
		t.Error("no image is made of what was read")
	}
}
