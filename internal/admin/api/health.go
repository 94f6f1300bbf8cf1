package api

import (
	"net/http"
	"strconv"
	"time"
)

// HealthCalls are what can be asked about the health of members, beside how it is now.
type HealthCalls struct {
	History func(about string, limit int) ([]HealthEvent, error)
}

// HealthEvent is a change of the state of what is probed.
type HealthEvent struct {
	At      time.Time `json:"at"`
	Members []string  `json:"members"` // that it is now, as POOL/MEMBER
	Address string    `json:"address"`
	Check   string    `json:"check"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Cause   string    `json:"cause"`
}

func (c HealthCalls) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/health/history", reply(func(r *http.Request) (any, error) {
		limit := 0
		if text := r.FormValue("limit"); text != "" {
			var err error
			if limit, err = strconv.Atoi(text); err != nil || limit < 1 {
				return nil, refuse(http.StatusBadRequest, "limit: %q is no number above zero", text)
			}
		}
		return c.History(r.FormValue("about"), limit)
	}))
}
