package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// OfflineCalls are what can be asked about a zone whose KSK is elsewhere.
type OfflineCalls struct {
	// Request makes a key signing request for the time from from on; zero: from now.
	Request func(ctx context.Context, name string, from time.Time, span time.Duration) (KeyRequest, error)
	// Take takes in a signed key response.
	Take func(ctx context.Context, name string, file []byte) (Applied, error)
}

// KeyRequest is a file for the machine with the KSK.
type KeyRequest struct {
	Name        string    `json:"name"`
	File        string    `json:"file"`        // a key signing request
	Fingerprint string    `json:"fingerprint"` // SHA-256 of File, in hexadecimal digits
	From        time.Time `json:"from"`
	Until       time.Time `json:"until"`
	Sets        int       `json:"sets"`       // RRsets
	Signatures  int       `json:"signatures"` // of each key
}

// KeyResponse is the file that comes back.
type KeyResponse struct {
	File string `json:"file"` // a signed key response
}

// Offline says how the signatures of a KSK that is elsewhere stand.
type Offline struct {
	Until time.Time `json:"until,omitzero"`  // when the last one ends
	Lacks string    `json:"lacks,omitempty"` // what has to be brought before anything goes on
}

// maxResponse bounds a signed key response within JSON, in octets.
const maxResponse = 64 << 20

func (c OfflineCalls) routes(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/zones/{name}/ksr", reply(func(r *http.Request) (any, error) {
		span, err := time.ParseDuration(r.FormValue("for"))
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "for: %q is no time; want one such as 8760h", r.FormValue("for"))
		}
		var from time.Time
		if text := r.FormValue("from"); text != "" {
			if from, err = time.Parse(time.RFC3339, text); err != nil {
				return nil, refuse(http.StatusBadRequest, "from: %q is no time; want one such as 2027-01-01T00:00:00Z", text)
			}
		}
		return c.Request(r.Context(), r.PathValue("name"), from, span)
	}))
	mux.HandleFunc("POST /api/zones/{name}/skr", reply(func(r *http.Request) (any, error) {
		var file KeyResponse
		if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxResponse)).Decode(&file); err != nil {
			return nil, refuse(http.StatusBadRequest, "this is no signed key response: %w", err)
		}
		return c.Take(r.Context(), r.PathValue("name"), []byte(file.File))
	}))
}
