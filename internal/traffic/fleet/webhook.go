package fleet

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"pharos/internal/clock"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/roster"
	"pharos/internal/traffic/scale"
)

// Message is what a server is told.
type Message struct {
	Pool string `json:"pool"`
	// Desired is how many members the pool is to have.
	Desired int `json:"desired"`
	// Remove are the members that are drained and can go first: fewer than before are
	// desired, or they have been down for long. Others are in use.
	Remove []string `json:"remove"`
	// Members are those that there are, by address, with their states.
	Members []MessageMember `json:"members"`
	Reason  string          `json:"reason"`
	At      time.Time       `json:"at"`
}

// MessageMember is a member as a message tells of it.
type MessageMember struct {
	Address string `json:"address"`
	State   string `json:"state"`
}

// Limits of the talk with a server.
const (
	maxAnswer   = roster.MaxDocument
	maxHead     = 16 << 10               // octets of the fields of a response
	firstRetry  = 500 * time.Millisecond // doubled each time
	mostRetry   = 30 * time.Second
	leastSecret = 16 // octets: what is shorter can be guessed
)

// hook is a maker that asks a server.
type hook struct {
	spec  *Webhook
	told  int       // what the server has agreed to; -1: nothing yet
	gone  []*member // that the server has agreed to remove
	at    time.Time // of the last message that was agreed to
	busy  bool      // a message is under way
	retry time.Time // not before, after one that failed for good
	why   string    // why it failed; empty: it was agreed to
	note  string    // what else somebody should know
	names bool      // its answers name members

	asked   int       // how many were asked for that are not there yet
	askedAt time.Time // the last of them
	present int       // when it was looked last
}

// hookRecord is what is remembered of a hook: a node that is started anew must not tell
// the server that nobody is wanted.
type hookRecord struct {
	Pool    string            `json:"pool"`
	Told    int               `json:"told"`
	Names   bool              `json:"names"`
	Members []pool.MemberSpec `json:"members"`
}

// equal reports whether two records say the same.
func (r hookRecord) equal(o hookRecord) bool {
	return r.Pool == o.Pool && r.Told == o.Told && r.Names == o.Names && slices.Equal(r.Members, o.Members)
}

// patience is after how many intervals members that were asked for are no longer waited
// for.
const patience = 3

func newHook(g *group, r *hookRecord, now time.Time) *hook {
	h := &hook{told: -1}
	if r == nil {
		return h
	}
	h.told, h.names, h.asked, h.askedAt = r.Told, r.Names, max(r.Told, 0), now
	for _, spec := range r.Members {
		g.members = append(g.members, &member{name: spec.Name, spec: spec, phase: serving, started: now, since: now})
	}
	return h
}

func (h *hook) follow(spec *Spec) { h.spec, h.retry = spec.Webhook, time.Time{} }

func (h *hook) promised(*group) int { return h.asked }

func (h *hook) trouble(time.Time) (text string, blocks bool) {
	return cmp.Or(h.why, h.note), h.why != ""
}

// grow is told by step.
func (h *hook) grow(_ *group, n int, now time.Time) { h.asked, h.askedAt = h.asked+n, now }

// stop leaves a member to the server: it is drained until it is gone.
func (h *hook) stop(*group, *member, time.Time) {}

func (h *hook) close(*group) {}

// look notes who has come of those that were asked for.
func (h *hook) look(g *group, seen []Seen, now time.Time) {
	present := 0
	for _, s := range seen {
		if m := g.find(s.Address); m == nil || m.phase < stopping {
			present++
		}
	}
	for _, m := range g.members {
		if m.phase < leaving && !slices.ContainsFunc(seen, func(s Seen) bool { return s.Address == m.spec.Address }) {
			present++
		}
	}
	h.asked = max(0, h.asked-max(0, present-h.present))
	h.present = present
	if h.asked == 0 {
		h.note = ""
	} else if now.Sub(h.askedAt) >= patience*h.spec.Interval {
		h.note = fmt.Sprintf("the server of the webhook agreed to %d members, but only %d have come", h.told, present)
		h.asked = 0
	}
}

// step sends a message when something else is wanted, or it is time to say it again.
func (h *hook) step(g *group, d *scale.Decision, seen []Seen, now time.Time) {
	h.forget(g, seen)
	var removed []*member // that have finished
	for _, m := range g.members {
		if m.phase == stopping && !slices.Contains(h.gone, m) {
			removed = append(removed, m)
		}
	}
	desired := h.present + h.asked
	for _, m := range removed { // counted when it was looked
		if m.since.Equal(now) {
			desired--
		}
	}
	news := h.told != desired || len(removed) > 0
	if h.busy || now.Before(h.retry) || !news && now.Sub(h.at) < h.spec.Interval {
		return
	}
	h.busy = true
	message := Message{Pool: g.name, Desired: desired, Remove: []string{}, Members: []MessageMember{}, Reason: d.Rule + ": " + d.Why, At: now.UTC()}
	for _, m := range removed {
		message.Remove = append(message.Remove, m.spec.Address.String())
	}
	for _, s := range seen {
		message.Members = append(message.Members, MessageMember{s.Address.String(), s.Status.State.String()})
	}
	spec := h.spec
	g.d.running.Go(func() { // ends with its last try, or with the group
		answer, err := spec.send(g.ctx, message)
		g.post(g.ctx.Done(), func(now time.Time) { h.take(g, message, answer, err, now) })
	})
}

// forget drops members that were removed and that no list has any more.
func (h *hook) forget(g *group, seen []Seen) {
	h.gone = slices.DeleteFunc(h.gone, func(m *member) bool {
		listed := slices.ContainsFunc(seen, func(s Seen) bool { return s.Address == m.spec.Address && s.Listed })
		if listed || h.names && slices.Contains(g.members, m) {
			return false
		}
		g.drop(m)
		return true
	})
}

// take takes in what became of a message. Whatever went wrong leaves the last good set of
// members.
func (h *hook) take(g *group, message Message, answer answer, err error, now time.Time) {
	h.busy, g.dirty = false, true
	if err != nil {
		g.counts.failed++
		h.retry = now.Add(min(h.spec.Interval, mostRetry))
		h.why = fmt.Sprintf("the server of the webhook was told to have %d members, in vain: %v; the members stay as they are", message.Desired, err)
		g.d.c.Log.Warn("webhook failed", "pool", g.name, "desired", message.Desired, "error", err)
		return
	}
	g.d.c.Log.Info("webhook agreed", "pool", g.name, "desired", message.Desired, "members_named", answer.names, "members", len(answer.members))
	for _, address := range message.Remove {
		if i := slices.IndexFunc(g.members, func(m *member) bool { return m.phase == stopping && m.spec.Address.String() == address }); i >= 0 {
			h.gone = append(h.gone, g.members[i])
		}
	}
	h.told, h.at, h.retry, h.why, h.note = message.Desired, now, time.Time{}, "", answer.faults
	if h.names = answer.names; h.names {
		h.replace(g, answer.members, now)
	}
}

// replace makes the members that an answer names the ones that there are. Those that it
// no longer names are gone, whatever they were doing: the server has ended them.
func (h *hook) replace(g *group, named []pool.MemberSpec, now time.Time) {
	here := make(map[netip.AddrPort]bool, len(named))
	for _, spec := range named {
		here[spec.Address] = true
		if m := g.find(spec.Address); m != nil {
			m.spec = spec
			continue
		}
		g.members = append(g.members, &member{name: spec.Name, spec: spec, started: now, since: now})
		g.counts.started++
		g.d.c.Log.Info("member named", "pool", g.name, "member", spec.Name)
	}
	for _, m := range slices.Clone(g.members) {
		if !here[m.spec.Address] {
			g.drop(m)
			g.d.c.Log.Info("member no longer named", "pool", g.name, "member", m.name)
		}
	}
}

func (h *hook) record(g *group) *hookRecord {
	r := &hookRecord{Pool: g.name, Told: h.told, Names: h.names}
	for _, m := range g.members {
		if h.names && m.phase == serving {
			r.Members = append(r.Members, m.spec)
		}
	}
	return r
}

// answer is what a server has said.
type answer struct {
	names   bool // it names members
	members []pool.MemberSpec
	faults  string // what was left out
}

// send sends a message until it is agreed to, so often as is configured, with one key.
func (w *Webhook) send(ctx context.Context, m Message) (a answer, err error) {
	content, err := json.Marshal(m)
	if err != nil {
		panic("BUG: a message that cannot be written: " + err.Error())
	}
	client, err := w.client()
	if err != nil {
		return a, err
	}
	defer client.CloseIdleConnections()
	key := rand.Text()
	pause := firstRetry
	for try := 1; ; try++ {
		var again bool
		if a, again, err = w.post(ctx, client, content, key); err == nil || !again || try == w.Tries {
			if err != nil && try > 1 {
				err = fmt.Errorf("%w (tried %d times)", err, try)
			}
			return a, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return a, ctx.Err()
		case <-timer.C:
		}
		pause = min(2*pause, mostRetry)
	}
}

// client makes a client. Redirects are not followed: they would have this node call
// whomever the server likes.
func (w *Webhook) client() (*http.Client, error) {
	config := &tls.Config{Time: clock.Now}
	if w.CA != "" {
		text, err := os.ReadFile(w.CA)
		if err != nil {
			return nil, fmt.Errorf("scale.webhook.ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("scale.webhook.ca: %s has no certificate in PEM form", w.CA)
		}
	}
	return &http.Client{
		Timeout:       w.Timeout,
		Transport:     &http.Transport{TLSClientConfig: config, DisableCompression: true, MaxResponseHeaderBytes: maxHead},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// post sends a message once, and reports whether it may be sent again: not if the server
// has understood it and does not want it.
func (w *Webhook) post(ctx context.Context, client *http.Client, content []byte, key string) (a answer, again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(content))
	if err != nil {
		return a, false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "pharos-scale")
	req.Header.Set("Idempotency-Key", key)
	if w.SecretFile != "" {
		signature, err := w.sign(content, clock.Now())
		if err != nil {
			return a, false, err
		}
		req.Header.Set("Pharos-Signature", signature)
	}
	resp, err := client.Do(req)
	if err != nil {
		return a, true, errors.Unwrap(err) // of *url.Error, whose URL is known
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		again := resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout
		return a, again, fmt.Errorf("status %d, want 2xx", resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return a, true, fmt.Errorf("the answer is cut off: %w", err)
	}
	a, err = w.read(text)
	return a, false, err
}

// sign returns the field that proves who sends a message, and when: "t=1790000000,
// v1=HEX", the HMAC-SHA-256 of the time, a dot, and the content.
func (w *Webhook) sign(content []byte, now time.Time) (string, error) {
	secret, err := os.ReadFile(w.SecretFile)
	if err != nil {
		return "", fmt.Errorf("scale.webhook.secretFile: %w", err)
	}
	if secret = bytes.TrimSpace(secret); len(secret) < leastSecret {
		return "", fmt.Errorf("scale.webhook.secretFile: %s has %d octets; want at least %d", w.SecretFile, len(secret), leastSecret)
	}
	at := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(at + "."))
	mac.Write(content)
	return "t=" + at + ",v1=" + hex.EncodeToString(mac.Sum(nil)), nil
}

// read reads an answer: nothing, or {"members": [...]} with groups of targets in the form
// of Prometheus' http_sd. Other keys are passed over.
func (w *Webhook) read(text []byte) (a answer, err error) {
	if len(text) > maxAnswer {
		return a, fmt.Errorf("the answer is longer than %d octets", maxAnswer)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return a, nil
	}
	var said struct {
		Members json.RawMessage `json:"members"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return a, errors.New(`the answer is not JSON; want {"members": [{"targets": ["10.0.0.1:80"]}]}, or nothing`)
	}
	if said.Members == nil || string(said.Members) == "null" {
		return a, nil
	}
	groups, err := roster.ParseGroups(said.Members)
	if err != nil {
		return a, fmt.Errorf("members: %w", err)
	}
	members, faults := roster.OfGroups(groups, w.Port)
	kept, more := roster.Filter(members, w.Networks, w.Most)
	if text := faults.String(); text != "" {
		return a, fmt.Errorf("members: %s", text)
	}
	return answer{names: true, members: kept, faults: more.String()}, nil
}
