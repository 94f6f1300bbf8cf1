// Package geoip says where addresses are, from a database in the format of MaxMind, and
// follows its file.
//
// It owns the file, what is read of its records, and the memory of what was asked for. It
// does not own what is done with a place (package steer).
//
//	file --read, verified--> Database --with the operator's networks--> steer.Edition -> Atlas
//	  ^ replaced: read again; damaged: the last good one stays, and there is a problem
//
// Entry points: Open, Database.Find; New, Follower.Set, Follower.Look.
//
// Concurrency: a Database is for any number of goroutines, and finding again what was found
// before takes no lock and allocates nothing. Set and Look of a Follower wait for each other.
//
// Sources: MaxMind DB file format specification 2.0.
package geoip

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/oschwald/maxminddb-golang/v2"

	"pharos/internal/diskfile"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/steer"
)

const (
	// maxFile is the largest database that is read: ten times that of cities. It is read
	// into memory, not mapped: of a mapped file that somebody shortens, the next look ends
	// the process.
	maxFile = 1 << 30
	// maxKnown is how many records are kept as places. A database of cities has more; one
	// that needs the place of another is read again, in half a microsecond.
	maxKnown = 1 << 13
	// tries is how often a file is read that changes meanwhile.
	tries = 3
	// sample is how many networks are looked at for one with a place.
	sample = 10000
)

// Database is one database, in memory.
type Database struct {
	reader *maxminddb.Reader
	source string // what it is called to people
	known  [maxKnown]atomic.Pointer[known]
}

// known is a record that was read.
type known struct {
	offset uintptr
	place  *steer.Located // nil: it has none
}

// Open reads and verifies the database at path. The error says what is wrong, and what to do.
func Open(path string) (*Database, error) {
	octets, err := read(path)
	if err != nil {
		return nil, err
	}
	r, err := maxminddb.OpenBytes(octets)
	if err == nil {
		err = verify(r)
	}
	if err != nil {
		return nil, fmt.Errorf("%s is no database that can be used: %w; copy it again, and put it in place by renaming", path, err)
	}
	d := &Database{reader: r, source: fmt.Sprintf("%s of %s", r.Metadata.DatabaseType, r.Metadata.BuildTime().UTC().Format("2006-01-02"))}
	if !d.hasPlaces() {
		return nil, fmt.Errorf("%s (%s) has no places; want a database of countries or cities", path, filepath.Base(r.Metadata.DatabaseType))
	}
	return d, nil
}

// verify is Verify of a library that others' octets are given to: should it trip over
// them, that is an error of theirs.
func verify(r *maxminddb.Reader) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it is damaged: %v", p)
		}
	}()
	return r.Verify()
}

// read returns the content of a file that did not change meanwhile.
func read(path string) ([]byte, error) {
	for range tries {
		before := diskfile.StampOf(path)
		if before.Size > maxFile {
			return nil, fmt.Errorf("%s is larger than %d MiB", path, maxFile>>20)
		}
		octets, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if before == diskfile.StampOf(path) && int64(len(octets)) == before.Size {
			return octets, nil
		}
	}
	return nil, errors.New(path + " is being written; put it in place by renaming")
}

// hasPlaces reports whether some record has a place.
func (d *Database) hasPlaces() bool {
	seen := 0
	for r := range d.reader.Networks() {
		if d.place(r) != nil {
			return true
		}
		if seen++; seen == sample {
			break
		}
	}
	return false
}

// Source returns what the database is called to people.
func (d *Database) Source() string { return d.source }

// record is what is read of one.
type record struct {
	Continent struct {
		Code string `maxminddb:"code"`
	} `maxminddb:"continent"`
	Country      country   `maxminddb:"country"`
	Registered   country   `maxminddb:"registered_country"`
	Subdivisions []country `maxminddb:"subdivisions"`
	Location     struct {
		Latitude  float64 `maxminddb:"latitude"`
		Longitude float64 `maxminddb:"longitude"`
	} `maxminddb:"location"`
}

type country struct {
	Code string `maxminddb:"iso_code"`
}

// Find returns the place of addr, nil if it has none, and for how many leading bits of it
// that is so.
func (d *Database) Find(addr netip.Addr) (place *steer.Located, bits int) {
	if !addr.IsValid() {
		return nil, 0
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() && d.reader.Metadata.IPVersion == 4 {
		return nil, 0
	}
	r := d.reader.Lookup(addr)
	if r.Err() != nil {
		return nil, 0
	}
	bits = r.Prefix().Bits()
	if addr.Is4() && r.Prefix().Addr().Is6() {
		bits = max(bits-96, 0)
	}
	return d.place(r), max(bits, 0)
}

// place returns the place of a record, read once.
func (d *Database) place(r maxminddb.Result) *steer.Located {
	if !r.Found() {
		return nil
	}
	at := &d.known[r.Offset()*0x9E3779B97F4A7C15>>16%maxKnown]
	if k := at.Load(); k != nil && k.offset == r.Offset() {
		return k.place
	}
	k := &known{offset: r.Offset()}
	var rec record
	if err := r.Decode(&rec); err == nil {
		if p := rec.place(); p != (pool.Place{}) {
			k.place = steer.Locate(p, d.source)
		}
	}
	at.Store(k)
	return k.place
}

func (r *record) place() pool.Place {
	p := pool.Place{
		Continent: r.Continent.Code, Country: r.Country.Code,
		Latitude: r.Location.Latitude, Longitude: r.Location.Longitude,
	}
	if p.Country == "" { // of networks that are used everywhere
		p.Country = r.Registered.Code
	}
	if len(r.Subdivisions) > 0 {
		p.Region = r.Subdivisions[0].Code
	}
	return p
}
