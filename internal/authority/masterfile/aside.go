package masterfile

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"pharos/internal/authority/zone"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/spare"
)

// This file has large zones that are read again read by another process, so that answers
// wait neither for a processor nor for a collection of what reading leaves behind:
//
//	here    an order as JSON ──stdin──> ReadAside, at low priority
//	here    <──stdout── a reply as JSON; the image of the zone in the file that is 3 there
//
// The image is then what a restart would take, and is kept for one.

const (
	// leastAside is from how many octets of master files on a process is started: some
	// 25,000 records. It takes 30 ms of a processor to start one.
	leastAside = 1 << 20

	// asideNice is added to the niceness of that process. Measured beside a busy loop: of
	// the times that a UDP loop wakes up it waits longer than a millisecond once in 250 with
	// 0, in 2,500 with 10 and in 5,000 with 19. It gets a sixtieth of a processor that answers
	// take all of, so that a reload takes minutes then, but ends.
	asideNice = 19

	// handedOver is behind the name of an image while it is handed over.
	handedOver = ".handed*"

	imageFD = 3 // of the image, in that process
)

// asideOrder is what is to be read.
type asideOrder struct {
	Origin  string `json:"origin"`
	File    string `json:"file"`
	Records int    `json:"records"`
	Octets  int64  `json:"octets"`
}

// asideReply is what has become of it. Without Refused there is an image.
type asideReply struct {
	Refused string      `json:"refused,omitempty"`
	Files   []imageFile `json:"files,omitempty"` // if it was refused; else they are in the image
}

// ReadWith names the program, ReadAside being what it does, that reads large zones of
// which a version is served. Without one, and when it fails, they are read here. It is
// called before anything is loaded.
func (i *Images) ReadWith(program ...string) { i.program = program }

// aside reports whether a zone should be read by another process.
func (i *Images) aside(w Wanted) bool {
	if i == nil || len(i.program) == 0 {
		return false
	}
	size := int64(0)
	for _, s := range w.Known {
		size += s.Size
	}
	return size >= leastAside
}

// loadAside has a zone read by another process. The error says why that could not be
// done; what is wrong with the zone is in what is loaded.
func (i *Images) loadAside(w Wanted) (*Loaded, error) {
	if err := os.MkdirAll(i.folder, 0o700); err != nil {
		return nil, err
	}
	image := i.fileOf(w.Origin, w.File)
	handed, err := os.CreateTemp(i.folder, filepath.Base(image)+handedOver) // the one before may not be in its place yet
	if err != nil {
		return nil, err
	}
	loaded, err := i.takeOver(w, handed)
	if err != nil || loaded.Err != nil {
		handed.Close()
		os.Remove(handed.Name())
		return loaded, err
	}
	i.log.Info("zone read by another process", "zone", w.Origin.String(), "serial", loaded.Zone.Serial())
	i.keep(image, loaded.Zone, func() error { return putInPlace(handed, image) }, func() {
		handed.Close()
		os.Remove(handed.Name())
	})
	return loaded, nil
}

// takeOver gives the order, and takes the zone that comes of it from an image.
func (i *Images) takeOver(w Wanted, handed *os.File) (*Loaded, error) {
	reply, err := i.order(asideOrder{w.Origin.String(), w.File, w.Limits.Records, w.Limits.Octets}, handed)
	if err != nil {
		return nil, err
	}
	if reply.Refused != "" {
		return &Loaded{Source{Stamps: stampsOf(reply.Files)}, errors.New(reply.Refused)}, nil
	}
	st, err := handed.Stat()
	if err != nil {
		return nil, err
	}
	if _, err := handed.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	head := make([]byte, min(st.Size(), noteRead))
	if _, err := io.ReadFull(handed, head); err != nil {
		return nil, err
	}
	s, _, err := takeNote(head, w.File) // files that have changed meanwhile will be seen to have
	if err != nil {
		return nil, err
	}
	spare.Run(func() { s.Zone, err = readRest(handed, head, st.Size(), w.Origin) })
	return &Loaded{Source: s}, err
}

// order has the program do what it is for, until it has or the node is stopped.
func (i *Images) order(o asideOrder, image *os.File) (reply asideReply, err error) {
	text, err := json.Marshal(o)
	if err != nil {
		return reply, err
	}
	ctx, cancel := context.WithCancel(i.context)
	defer cancel()
	cmd := exec.CommandContext(ctx, i.program[0], i.program[1:]...)
	cmd.Args[0] = os.Args[0] // a program may go by the name it is called by
	cmd.ExtraFiles = []*os.File{image}
	in, err := cmd.StdinPipe()
	if err != nil {
		return reply, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return reply, err
	}
	if err := cmd.Start(); err != nil {
		return reply, err
	}
	_, wrote := in.Write(text)
	in.Close()
	said, read := io.ReadAll(io.LimitReader(out, noteRead))
	if err := errors.Join(cmd.Wait(), wrote, read); err != nil {
		return reply, err
	}
	return reply, json.Unmarshal(said, &reply)
}

// putInPlace makes a file that is complete durable, and gives it its name.
func putInPlace(f *os.File, path string) error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return diskfile.SyncFolder(filepath.Dir(path))
}

// ReadAside is what the program of ReadWith does: it reads the order from in, writes the
// image of the zone to the file that it was given as 3, and what became of it to out.
func ReadAside(in io.Reader, out io.Writer) error {
	spare.LowerAll(asideNice)
	var o asideOrder
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return fmt.Errorf("the order cannot be read: %w; this command is for the node itself", err)
	}
	origin, err := dnsname.Parse(o.Origin)
	if err != nil {
		return err
	}
	s, err := Load(origin, o.File, Limits{o.Records, o.Octets})
	if err != nil {
		return json.NewEncoder(out).Encode(asideReply{Refused: err.Error(), Files: filesOf(s.Stamps)})
	}
	image := os.NewFile(imageFD, "image")
	if image == nil {
		return errors.New("there is no file for the image; this command is for the node itself")
	}
	if err := writeImage(image, s.Zone, imageNote{Files: filesOf(s.Stamps), Warnings: s.Warnings}); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(asideReply{})
}

// writeImage writes the image of a zone with a note.
func writeImage(w io.Writer, z *zone.Zone, note imageNote) error {
	octets, err := json.Marshal(note)
	if err != nil {
		return err
	}
	if len(octets) > noteRead/2 {
		return fmt.Errorf("it would have to name %d files", len(note.Files))
	}
	out := bufio.NewWriter(w)
	if err := z.WriteImage(out, octets); err != nil {
		return err
	}
	return out.Flush()
}
