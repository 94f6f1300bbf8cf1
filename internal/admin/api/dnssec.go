package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// DNSSECCalls are what can be asked about a zone that is signed here.
type DNSSECCalls struct {
	Keys      func(ctx context.Context, name string) (ZoneKeys, error)
	Import    func(ctx context.Context, name string, k KeyImport) (Applied, error)
	Withdraw  func(ctx context.Context, name string, tag uint16) (Applied, error)
	Rollover  func(ctx context.Context, name, role string, compromised bool) (Applied, error)
	DS        func(ctx context.Context, name string) (ZoneDS, error)
	Submitted func(ctx context.Context, name string) (Applied, error)
	OfflineCalls
}

// ZoneKeys is how a zone is signed.
type ZoneKeys struct {
	Name    string    `json:"name"`
	Policy  string    `json:"policy"`
	Serial  uint32    `json:"serial"`            // of the signed version
	Renew   time.Time `json:"renew,omitzero"`    // when the next signature is renewed
	Expires time.Time `json:"expires,omitzero"`  // when the first one ends, if it is not
	Done    int       `json:"done,omitempty"`    // while the zone is being signed: parts of the work
	Of      int       `json:"of,omitempty"`      // done, and in all
	Waiting []string  `json:"waiting,omitempty"` // servers that do not show the last step yet
	// Algorithm is how far a change of the algorithm is, in words; empty: none is under way.
	Algorithm string `json:"algorithm,omitempty"`
	Problem   string `json:"problem,omitempty"` // why it is not signed as it should be
	// Offline says how the signatures of a KSK elsewhere stand; absent: it is here.
	Offline *Offline  `json:"offline,omitempty"`
	Keys    []ZoneKey `json:"keys"`
}

// ZoneKey is a key of a zone.
type ZoneKey struct {
	Tag       uint16 `json:"tag"`
	Role      string `json:"role"` // "ksk", "zsk", "csk"
	Algorithm string `json:"algorithm"`
	State     string `json:"state"` // "generate", "publish", "ready", "active", "retire", "removed", "foreign"
	// How far the caches of the world know its records: "hidden", "rumoured",
	// "omnipresent", "unretentive".
	DNSKEY     string    `json:"dnskey"`
	Signatures string    `json:"signatures"`
	DS         string    `json:"ds"`
	Next       string    `json:"next"`             // what comes next
	At         time.Time `json:"at,omitzero"`      // when, if time alone brings it
	Made       time.Time `json:"made,omitzero"`    // when it was
	Active     time.Time `json:"active,omitzero"`  // since when it is relied on
	Retired    time.Time `json:"retired,omitzero"` // since when it is on its way out
	Record     string    `json:"record,omitempty"` // DNSKEY, as a line of a master file
}

// ZoneDS is what the parent of a zone should have, and has.
type ZoneDS struct {
	Name   string   `json:"name"`
	DS     []string `json:"ds"`     // lines of a master file; none: it should have no DS
	DNSKEY []string `json:"dnskey"` // the keys they are of, for registries that want these
	CDS    []string `json:"cds"`    // what the zone shows to parents that look for it
	// Ready: the parent may have the DS records now. Before, keys or signatures are
	// not known everywhere.
	Ready  bool      `json:"ready"`
	Remove bool      `json:"remove"`          // the parent should remove its DS records
	Shown  string    `json:"shown"`           // "yes", "no", "unknown"
	Tags   []uint16  `json:"tags,omitempty"`  // of the keys that it shows
	Others bool      `json:"others,omitzero"` // it also shows keys that the zone does not have
	Asked  time.Time `json:"asked,omitzero"`  // when it was last
	// Problem is why it could not be asked, or what is wrong with what it shows.
	Problem string `json:"problem,omitempty"`
	// Told is what became of telling the parent that there are new CDS records; nil: there was
	// nothing to tell since the start.
	Told *ParentTold `json:"told,omitempty"`
}

// ParentTold is what became of NOTIFY(CDS) to a parent (RFC 9859).
type ParentTold struct {
	To    string    `json:"to,omitempty"` // the target of its DSYNC record
	At    time.Time `json:"at,omitzero"`  // of the last try
	Tries int       `json:"tries"`
	Done  bool      `json:"done"` // the parent has answered, or there are no more tries
	Error string    `json:"error,omitempty"`
}

// KeyImport is a key that was made elsewhere. Without a private half it is that of
// another signer of the zone (RFC 8901).
type KeyImport struct {
	Role      string `json:"role,omitempty"`      // empty: by its flags, ksk or zsk
	Public    string `json:"public,omitempty"`    // a DNSKEY record, as in a file K*.key
	Private   string `json:"private,omitempty"`   // a file K*.private, with Public
	PEM       string `json:"pem,omitempty"`       // PKCS #8 in PEM
	Algorithm uint8  `json:"algorithm,omitempty"` // of PEM; 0: the usual one of its kind
	Offline   bool   `json:"offline,omitempty"`   // a KSK of our own whose private half stays elsewhere
}

// maxImport bounds a key import, in octets.
const maxImport = 256 << 10

func (c DNSSECCalls) routes(mux *http.ServeMux) {
	c.OfflineCalls.routes(mux)
	mux.HandleFunc("GET /api/zones/{name}/keys", reply(func(r *http.Request) (any, error) {
		return c.Keys(r.Context(), r.PathValue("name"))
	}))
	mux.HandleFunc("POST /api/zones/{name}/keys", reply(func(r *http.Request) (any, error) {
		var k KeyImport
		if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxImport)).Decode(&k); err != nil {
			return nil, refuse(http.StatusBadRequest, "this is no key to import: %w", err)
		}
		return c.Import(r.Context(), r.PathValue("name"), k)
	}))
	mux.HandleFunc("POST /api/zones/{name}/withdraw", reply(func(r *http.Request) (any, error) {
		tag, err := strconv.ParseUint(r.FormValue("tag"), 10, 16)
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "tag: %q is no key tag", r.FormValue("tag"))
		}
		return c.Withdraw(r.Context(), r.PathValue("name"), uint16(tag))
	}))
	mux.HandleFunc("POST /api/zones/{name}/rollover", reply(func(r *http.Request) (any, error) {
		return c.Rollover(r.Context(), r.PathValue("name"), r.FormValue("role"), r.FormValue("compromised") == "true")
	}))
	mux.HandleFunc("GET /api/zones/{name}/ds", reply(func(r *http.Request) (any, error) {
		return c.DS(r.Context(), r.PathValue("name"))
	}))
	mux.HandleFunc("POST /api/zones/{name}/ds", reply(func(r *http.Request) (any, error) {
		return c.Submitted(r.Context(), r.PathValue("name"))
	}))
}
