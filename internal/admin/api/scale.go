package api

import (
	"net/http"
	"strconv"
	"time"

	"pharos/internal/traffic/scale"
)

// Scale is how a pool scales.
type Scale struct {
	Pool      string           `json:"pool"`
	Driver    string           `json:"driver"`            // "process", "webhook"
	Rules     string           `json:"rules"`             // in words
	Trouble   string           `json:"trouble,omitempty"` // why members cannot be made
	Waiting   int              `json:"waiting"`           // requests that wait for a first member
	Members   []ScaleMember    `json:"members"`           // that were made
	Decisions []scale.Decision `json:"decisions"`         // the newest first
	Started   uint64           `json:"started"`           // members, since the node has
	Ended     uint64           `json:"ended"`             // members, by decision
	Failed    uint64           `json:"failed"`            // members that ended by themselves or did not get up; messages in vain
}

// ScaleMember is a member that was made.
type ScaleMember struct {
	Name    string    `json:"name"`
	Address string    `json:"address"`
	Phase   string    `json:"phase"` // "starting", "serving", "leaving", "stopping"
	Since   time.Time `json:"since"` // of the phase
	State   string    `json:"state,omitempty"`
	Active  int64     `json:"active"` // requests on it now
	PID     int       `json:"pid,omitempty"`
	Log     string    `json:"log,omitempty"` // its file
}

// ScaleCalls are what can be asked about pools that scale.
type ScaleCalls struct {
	Show func(pool string, limit int) (*Scale, error)
}

func (c ScaleCalls) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/pools/{name}/scale", reply(func(r *http.Request) (any, error) {
		limit := 0
		if text := r.FormValue("limit"); text != "" {
			var err error
			if limit, err = strconv.Atoi(text); err != nil || limit < 1 {
				return nil, refuse(http.StatusBadRequest, "limit: %q is no number above zero", text)
			}
		}
		return c.Show(r.PathValue("name"), limit)
	}))
}
