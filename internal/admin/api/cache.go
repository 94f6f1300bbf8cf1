package api

import (
	"bufio"
	"encoding/json"
	"net/http"
	"time"
)

// CacheCalls are what can be asked about what the resolver has learnt. view is empty for
// the resolver outside of views.
type CacheCalls struct {
	Stats   func() []CacheStats
	Servers func(view string) ([]CacheServer, error)
	Flush   func(CacheQuery) (CacheFlushed, error)
	// Dump gives every entry that is asked for to each, until that returns an error.
	Dump func(q CacheQuery, each func(CacheEntry) error) error
}

// CacheQuery selects entries of a cache.
type CacheQuery struct {
	View string
	Name string // empty: every name
	Tree bool   // and everything below
	Type string // empty: every type
}

// CacheEntry is one thing that is kept.
type CacheEntry struct {
	Level   string   `json:"level"` // "record" or, ready to be sent, "answer"
	Name    string   `json:"name"`
	Type    string   `json:"type,omitempty"` // empty: every type
	Kind    string   `json:"kind"`           // "records", "nodata", "nxdomain", "delegation", "failure"; of an answer its RCODE
	TTL     uint32   `json:"ttl"`            // left, in seconds; 0: kept to be given stale
	Trust   string   `json:"trust,omitempty"`
	State   string   `json:"state,omitempty"`   // of validation: "secure", "insecure", "bogus", "indeterminate"
	Records []string `json:"records,omitempty"` // as in a master file
	Popular bool     `json:"popular"`           // asked for again, and not the first to make room
	DO      bool     `json:"do,omitempty"`      // of an answer: for clients that want signatures
	CD      bool     `json:"cd,omitempty"`      // of an answer: for clients that validate themselves
	Error   string   `json:"error,omitempty"`   // of a failure
}

// CacheStats is how full a cache is.
type CacheStats struct {
	View           string          `json:"view,omitempty"`
	Records        int             `json:"records"`
	RecordOctets   int             `json:"record_octets"`
	RecordLimit    int             `json:"record_limit"`
	RecordsEvicted uint64          `json:"records_evicted"`
	Answers        int             `json:"answers"`
	AnswerOctets   int             `json:"answer_octets"`
	AnswerLimit    int             `json:"answer_limit"`
	AnswersEvicted uint64          `json:"answers_evicted"`
	Servers        int             `json:"servers"`
	Kept           json.RawMessage `json:"kept,omitempty"` // what is on disk: see CacheKept
}

// CacheKept is how a cache outlives the process.
type CacheKept struct {
	File       string        `json:"file"`
	Restored   int           `json:"restored"`
	RestoredIn time.Duration `json:"restored_in"` // nanoseconds
	Servers    int           `json:"servers"`
	Problem    string        `json:"problem,omitempty"` // why not everything was restored
	Saved      time.Time     `json:"saved,omitzero"`
	Octets     int           `json:"octets"`
	Busy       time.Duration `json:"busy"` // nanoseconds spent on writing
	SaveError  string        `json:"save_error,omitempty"`
}

// CacheServer is what is known of a server that is asked.
type CacheServer struct {
	Address   string        `json:"address"`
	Transport string        `json:"transport"`
	RTT       time.Duration `json:"rtt"` // nanoseconds, smoothed; 0: it has never answered
	Deviation time.Duration `json:"deviation"`
	Timeouts  int           `json:"timeouts"` // in a row
	Dead      time.Time     `json:"dead_until,omitzero"`
	NoEDNS    time.Time     `json:"no_edns_until,omitzero"`
	NoCase    time.Time     `json:"no_case_until,omitzero"`
	Lame      []string      `json:"lame,omitempty"`
	Suspect   []string      `json:"suspect,omitempty"`
}

// CacheFlushed is the outcome of a flush.
type CacheFlushed struct {
	Flushed int `json:"flushed"` // entries
}

func (c CacheCalls) routes(mux *http.ServeMux) {
	query := func(r *http.Request) CacheQuery {
		return CacheQuery{View: r.FormValue("view"), Name: r.FormValue("name"), Tree: r.FormValue("tree") == "true", Type: r.FormValue("type")}
	}
	mux.HandleFunc("GET /api/cache/stats", reply(func(*http.Request) (any, error) { return c.Stats(), nil }))
	mux.HandleFunc("GET /api/cache/servers", reply(func(r *http.Request) (any, error) { return c.Servers(r.FormValue("view")) }))
	mux.HandleFunc("POST /api/cache/flush", reply(func(r *http.Request) (any, error) { return c.Flush(query(r)) }))
	mux.HandleFunc("GET /api/cache", func(w http.ResponseWriter, r *http.Request) { c.dump(w, r, query(r)) })
}

// dump streams entries as JSON lines: there may be millions.
func (c CacheCalls) dump(w http.ResponseWriter, r *http.Request, q CacheQuery) {
	out := bufio.NewWriterSize(w, 64<<10)
	lines := json.NewEncoder(out)
	count := 0
	err := c.Dump(q, func(e CacheEntry) error {
		if count == 0 {
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
		count++
		if err := r.Context().Err(); err != nil { // the caller has gone
			return err
		}
		return lines.Encode(e)
	})
	if err != nil && count == 0 {
		reply(func(*http.Request) (any, error) { return nil, err })(w, r)
		return
	}
	out.Flush()
}
