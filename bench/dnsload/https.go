package dnsload

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// HTTPS is a load of DNS over HTTP/2 (RFC 8484, by POST): Config.Flows connections that
// stay open, each with Config.Window requests under way. It takes far more of a processor
// than the servers that it loads do, so it measures their CPU per answer and not how many
// answers they could give.
//
// Each request under way has a goroutine. Handshakes are over before anything is measured.
type HTTPS struct {
	cfg     Config
	url     string
	clients []*http.Client // one for each connection
}

// NewHTTPS connects Config.Flows times, to ask at a path.
func NewHTTPS(ctx context.Context, cfg Config, secure *tls.Config, path string) (*HTTPS, error) {
	if err := cfg.complete(64); err != nil { // each request under way counts by itself
		return nil, err
	}
	h := &HTTPS{cfg: cfg, url: "https://" + cfg.Server.String() + path}
	for i := range cfg.Flows {
		c := &http.Client{Timeout: cfg.Timeout, Transport: &http.Transport{TLSClientConfig: secure.Clone(), ForceAttemptHTTP2: true, DisableCompression: true}}
		h.clients = append(h.clients, c)
		var first Result
		if err := h.ask(ctx, c, i%len(cfg.Queries), &first); err != nil {
			h.Close()
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return h, nil
}

// Close closes the connections.
func (h *HTTPS) Close() {
	for _, c := range h.clients {
		c.CloseIdleConnections()
	}
}

// Run asks for the given time and waits for the last answers.
func (h *HTTPS) Run(ctx context.Context, d time.Duration) (Result, error) {
	return h.cfg.oneByOne(d, func(i, query int, res *Result) error { return h.ask(ctx, h.clients[i], query, res) })
}

// oneByOne has Window goroutines for each of the Flows ask for the given time, each one
// question at a time, and waits for the last answers.
func (c *Config) oneByOne(d time.Duration, ask func(flow, query int, res *Result) error) (Result, error) {
	began := time.Now()
	end := began.Add(d)
	total := c.Flows * c.Window
	results, errs := make([]Result, total), make([]error, total)
	var running sync.WaitGroup
	for i := range total {
		running.Go(func() { // ends with the time, or with an error
			next := i * len(c.Queries) / total
			for errs[i] == nil && time.Now().Before(end) {
				errs[i] = ask(i%c.Flows, next, &results[i])
				next = (next + 1) % len(c.Queries)
			}
		})
	}
	running.Wait()
	var sum Result
	for _, r := range results {
		sum = sum.Add(r)
	}
	sum.Elapsed = time.Since(began)
	return sum, errors.Join(errs...)
}

// ask asks one question. A connection that must be HTTP/1.1 is an error.
func (h *HTTPS) ask(ctx context.Context, c *http.Client, query int, res *Result) error {
	q := &h.cfg.Queries[query]
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(slices.Clone(q.Msg)))
	if err != nil {
		return err
	}
	request.Header["Content-Type"], request.Header["Accept"] = dnsMessage, dnsMessage
	res.Sent++
	response, err := c.Do(request)
	if err != nil {
		res.Lost++
		return err
	}
	defer response.Body.Close()
	msg, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	switch {
	case err != nil:
		res.Lost++
		return err
	case response.ProtoMajor != 2 || response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s over %s", response.Status, response.Proto)
	}
	res.answered(q, msg, h.cfg.Sample)
	return nil
}

// answered counts an answer, and checks it: one of so many in full.
func (r *Result) answered(q *Query, msg []byte, sample int) {
	r.Answered++
	problem := q.check(msg)
	if problem == "" && r.Answered%sample == 0 {
		r.Compared++
		problem = q.compare(msg)
	}
	if problem != "" {
		r.Wrong++
		if r.First == "" {
			r.First = q.describe() + ": " + problem
		}
	}
}

var dnsMessage = []string{"application/dns-message"}
