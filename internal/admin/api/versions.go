package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// This file is the calls about the versions of a zone and the records in them. They
// are routed by versionRoutes:
//
//	GET    /api/zones/NAME/history    ?limit=: ZoneHistory
//	GET    /api/zones/NAME/diff       ?from=&to=: ZoneDiff, between two serials
//	GET    /api/zones/NAME/records    ?owner=&type=&serial=: ZoneRecords
//	GET    /api/zones/NAME/export     ?serial=: a master file
//	POST   /api/zones/NAME/records    []RecordEdit: ZoneChange
//	POST   /api/zones/NAME/import     a master file: ZoneChange
//	POST   /api/zones/NAME/rollback   ?serial=: ZoneChange
//
// Those that change something take ?by=, who does it, and ?dry_run=true, which shows
// what would change.

// Limits of the calls about versions.
const (
	// MaxImport is the largest master file that is taken, in octets: some 50 million
	// records. Larger zones are of kind file.
	MaxImport = 4 << 30
	// MaxEdits is how many edits one call may have; arbitrary, one import has any
	// number.
	MaxEdits = 10_000
	// MaxChanges is how many records a ZoneDiff shows; it counts all.
	MaxChanges = 10_000
	// maxBy is how many octets the name of who does it may have.
	maxBy = 64
)

// VersionCalls are what can be asked about the versions of a zone.
type VersionCalls struct {
	History  func(ctx context.Context, name string, most int) (ZoneHistory, error)
	Diff     func(ctx context.Context, name, from, to string) (ZoneDiff, error)
	Records  func(ctx context.Context, name string, of RecordsOf) (ZoneRecords, error)
	Export   func(ctx context.Context, name, serial string, w io.Writer) error
	Edit     func(ctx context.Context, name string, edits []RecordEdit, how How) (ZoneChange, error)
	Import   func(ctx context.Context, name string, file io.Reader, how How) (ZoneChange, error)
	Rollback func(ctx context.Context, name, serial string, how How) (ZoneChange, error)
}

// How is by whom a change is made, or whether it is only shown.
type How struct {
	By     string
	DryRun bool
}

// ZoneHistory is the versions of a zone that can be had again.
type ZoneHistory struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Versions []Past `json:"versions"` // newest first
}

// Past is one version. Of the oldest only the serial is known.
type Past struct {
	Serial  uint32    `json:"serial"`
	Time    time.Time `json:"time,omitzero"`
	By      string    `json:"by,omitempty"`
	Deleted int       `json:"deleted"` // records, against the version before; without SOA
	Added   int       `json:"added"`
}

// ZoneDiff is what differs between two versions.
type ZoneDiff struct {
	Name    string         `json:"name"`
	From    uint32         `json:"from"`
	To      uint32         `json:"to"`
	Deleted int            `json:"deleted"` // records, without SOA
	Added   int            `json:"added"`
	Changes []RecordChange `json:"changes"` // MaxChanges of them at most
}

// RecordChange is a record that only one of two versions has.
type RecordChange struct {
	Change string `json:"change"` // "deleted", "added"
	Record string `json:"record"` // a line of a master file
}

// RecordsOf says which records: of an owner name and of a type, or all; of the version
// with a serial, or of what is served.
type RecordsOf struct{ Owner, Type, Serial string }

// ZoneRecords is records of one version.
type ZoneRecords struct {
	Name    string   `json:"name"`
	Serial  uint32   `json:"serial"`
	Records []Record `json:"records"`
}

// Record is one record.
type Record struct {
	Name string `json:"name"`
	TTL  uint32 `json:"ttl"`
	Type string `json:"type"`
	Data string `json:"data"` // in presentation form
}

// RecordEdit is one change of records: they are carried out in their order, and all
// or none.
type RecordEdit struct {
	// Do is "add"; "replace", which is add instead of all there are of the type; or
	// "delete", which without Data is of all records of the type, and without Type of
	// all of the name.
	Do    string `json:"do"`
	Owner string `json:"owner"` // relative to the zone, "@" is its apex
	TTL   uint32 `json:"ttl"`
	Type  string `json:"type"`
	Data  string `json:"data"`
}

// ZoneChange is what became of a change, or what would.
type ZoneChange struct {
	ZoneDiff
	Changed bool `json:"changed"`
	DryRun  bool `json:"dry_run"`
}

func (c Calls) versionRoutes(mux *http.ServeMux) {
	v := c.Versions
	mux.HandleFunc("GET /api/zones/{name}/history", reply(func(r *http.Request) (any, error) {
		most, err := strconv.Atoi(r.FormValue("limit"))
		if r.FormValue("limit") != "" && (err != nil || most < 0) {
			return nil, refuse(http.StatusBadRequest, "limit: %q is no number of versions", r.FormValue("limit"))
		}
		return v.History(r.Context(), r.PathValue("name"), most)
	}))
	mux.HandleFunc("GET /api/zones/{name}/diff", reply(func(r *http.Request) (any, error) {
		return v.Diff(r.Context(), r.PathValue("name"), r.FormValue("from"), r.FormValue("to"))
	}))
	mux.HandleFunc("GET /api/zones/{name}/records", reply(func(r *http.Request) (any, error) {
		return v.Records(r.Context(), r.PathValue("name"), RecordsOf{r.FormValue("owner"), r.FormValue("type"), r.FormValue("serial")})
	}))
	mux.HandleFunc("GET /api/zones/{name}/export", c.export)
	mux.HandleFunc("POST /api/zones/{name}/records", reply(func(r *http.Request) (any, error) {
		how, err := howOf(r)
		if err != nil {
			return nil, err
		}
		var edits []RecordEdit
		if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, MaxDocument)).Decode(&edits); err != nil {
			return nil, refuse(http.StatusBadRequest, "the edits cannot be read: %w; send a JSON list of {do, owner, ttl, type, data}", err)
		}
		if len(edits) == 0 || len(edits) > MaxEdits {
			return nil, refuse(http.StatusBadRequest, "%d edits; send 1 to %d, or import a master file", len(edits), MaxEdits)
		}
		return v.Edit(r.Context(), r.PathValue("name"), edits, how)
	}))
	mux.HandleFunc("POST /api/zones/{name}/import", reply(func(r *http.Request) (any, error) {
		how, err := howOf(r)
		if err != nil {
			return nil, err
		}
		return v.Import(r.Context(), r.PathValue("name"), http.MaxBytesReader(nil, r.Body, MaxImport), how)
	}))
	mux.HandleFunc("POST /api/zones/{name}/rollback", reply(func(r *http.Request) (any, error) {
		how, err := howOf(r)
		if err != nil {
			return nil, err
		}
		return v.Rollback(r.Context(), r.PathValue("name"), r.URL.Query().Get("serial"), how)
	}))
}

// howOf reads how a change is to be made. The body is not looked at.
func howOf(r *http.Request) (How, error) {
	q := r.URL.Query()
	how := How{By: q.Get("by"), DryRun: q.Get("dry_run") == "true"}
	if how.By == "" {
		how.By = "admin listener"
	}
	if len(how.By) > maxBy {
		return how, refuse(http.StatusBadRequest, "by: more than %d octets", maxBy)
	}
	for _, c := range []byte(how.By) {
		if c < ' ' || c == 0x7F {
			return how, refuse(http.StatusBadRequest, "by: control characters are not taken")
		}
	}
	return how, nil
}

// export writes a zone as it goes: what goes wrong after the first octets cuts the
// response off.
func (c Calls) export(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/dns")
	b := bufio.NewWriterSize(w, 1<<16)
	err := c.Versions.Export(r.Context(), r.PathValue("name"), r.FormValue("serial"), b)
	if refused := (*Refused)(nil); errors.As(err, &refused) {
		reply(func(*http.Request) (any, error) { return nil, err })(w, r)
		return
	}
	if err == nil {
		err = b.Flush()
	}
	if err != nil {
		panic(http.ErrAbortHandler) // the client sees that there is no end
	}
}
