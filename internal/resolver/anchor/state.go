package anchor

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pharos/internal/dns/dnsname"
)

// The states are kept as JSON behind a line with its digest, so that half a file is
// not taken for a whole one:
//
//	pharos trust 1 SHA-256
//	{"points": [...], "negative": [...]}

const stateHead = "pharos trust 1 "

// ErrDamaged is a file of states that is not as it was written.
var ErrDamaged = errors.New("the file of trust anchor states is damaged")

// Kept is what outlives a restart.
type Kept struct {
	Points   []*Point
	Negative []Negative
}

type keptPoint struct {
	Zone     string    `json:"zone"`
	Initial  []string  `json:"initial"`
	Keys     []keptKey `json:"keys"`
	Checked  time.Time `json:"checked,omitzero"`
	Next     time.Time `json:"next,omitzero"`
	Failures int       `json:"failures,omitempty"`
	Problem  string    `json:"problem,omitempty"`
}

type keptKey struct {
	DNSKEY string    `json:"dnskey"`
	Tag    uint16    `json:"tag"` // for who reads the file
	State  string    `json:"state"`
	Since  time.Time `json:"since"`
	Hold   int64     `json:"hold,omitempty"` // seconds
}

type keptNegative struct {
	Name   string    `json:"name"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Reason string    `json:"reason,omitempty"`
	Forced bool      `json:"forced,omitempty"`
}

type keptFile struct {
	Points   []keptPoint    `json:"points"`
	Negative []keptNegative `json:"negative"`
}

// Encode returns what is to be written. Negative anchors of the configuration are left
// out: they have no end.
func Encode(k Kept) []byte {
	file := keptFile{Points: []keptPoint{}, Negative: []keptNegative{}}
	for _, p := range k.Points {
		kept := keptPoint{Zone: p.Zone.String(), Initial: p.Initial, Keys: []keptKey{}, Checked: p.Checked, Next: p.Next, Failures: p.Failures, Problem: p.Problem}
		for _, key := range p.Keys {
			kept.Keys = append(kept.Keys, keptKey{
				base64.StdEncoding.EncodeToString(key.RDATA), key.Tag(), key.State.String(), key.Since, int64(key.Hold / time.Second)})
		}
		file.Points = append(file.Points, kept)
	}
	for _, n := range k.Negative {
		if !n.Until.IsZero() {
			file.Negative = append(file.Negative, keptNegative{n.Name.String(), n.Since, n.Until, n.Reason, n.Forced})
		}
	}
	body, err := json.MarshalIndent(file, "", " ")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	sum := sha256.Sum256(body)
	return append([]byte(stateHead+hex.EncodeToString(sum[:])+"\n"), body...)
}

// Decode reads what Encode made. Its error wraps ErrDamaged.
func Decode(text []byte) (Kept, error) {
	k, err := decode(text)
	if err != nil {
		return Kept{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return k, nil
}

func decode(text []byte) (k Kept, err error) {
	const head = len(stateHead) + 2*sha256.Size + 1
	if len(text) < head || string(text[:len(stateHead)]) != stateHead {
		return k, errors.New("it does not begin as it should")
	}
	body := text[head:]
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:])+"\n" != string(text[len(stateHead):head]) {
		return k, errors.New("its digest does not fit")
	}
	var file keptFile
	if err := json.Unmarshal(body, &file); err != nil {
		return k, err
	}
	for _, kept := range file.Points {
		p, err := kept.point()
		if err != nil {
			return k, err
		}
		k.Points = append(k.Points, p)
	}
	for _, kept := range file.Negative {
		name, err := dnsname.Parse(kept.Name)
		if err != nil || kept.Until.IsZero() {
			return k, fmt.Errorf("negative trust anchor %q: %w", kept.Name, errors.Join(err, errNoEnd))
		}
		k.Negative = append(k.Negative, Negative{Name: name, Since: kept.Since, Until: kept.Until, Retest: kept.Since, Reason: kept.Reason, Forced: kept.Forced})
	}
	return k, nil
}

var errNoEnd = errors.New("no name, or no end")

func (kept keptPoint) point() (*Point, error) {
	zone, err := dnsname.Parse(kept.Zone)
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", kept.Zone, err)
	}
	p := &Point{Zone: zone, Initial: kept.Initial, Checked: kept.Checked, Next: kept.Next, Failures: max(kept.Failures, 0), Problem: kept.Problem}
	for _, key := range kept.Keys {
		data, err := base64.StdEncoding.DecodeString(key.DNSKEY)
		state, ok := parseState(key.State)
		if err != nil || !ok || len(data) < 5 || data[1]&flagRevoke != 0 || p.key(data) != nil || len(p.Keys) == maxKeys {
			return nil, fmt.Errorf("key %d of %v cannot be read", key.Tag, zone)
		}
		// A hold-down shorter than that of RFC 5011 is nobody's to write.
		hold := time.Duration(key.Hold) * time.Second
		if state == AddPend {
			hold = between(addHold, hold, 365*24*time.Hour)
		}
		p.Keys = append(p.Keys, Key{RDATA: data, State: state, Since: key.Since, Hold: hold})
	}
	return p, nil
}
