package vouch

import (
	"crypto/x509"
	"fmt"
	"io"
	"net/http"

	"pharos/internal/proxy/filter"
)

// mostAsked is how many questions a server has before it at once; arbitrary: at a millisecond
// each it is 256,000 a second. More are refused, so that a server that hangs does not have
// every request of its routes hang.
const mostAsked = 256

// mostRefusal is how much of the content of a refusal goes on to the client, in octets.
const mostRefusal = 64 << 10

// asks returns how the server of a is asked.
func (d *Desk) asks(a *filter.Ask) (func(*filter.Question) (*filter.Answer, error), error) {
	var roots *x509.CertPool
	if a.CA != "" {
		text, err := readFile(a.CA)
		if err != nil {
			return nil, err
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s: no certificate in PEM", a.CA)
		}
	}
	c, places := client(roots, a.Timeout), make(chan struct{}, mostAsked)
	return func(q *filter.Question) (*filter.Answer, error) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			return nil, errBusy
		}
		return ask(c, q)
	}, nil
}

func ask(c *http.Client, q *filter.Question) (*filter.Answer, error) {
	req, err := http.NewRequest(http.MethodGet, q.Spec.URL, nil)
	if err != nil {
		return nil, err
	}
	for _, f := range q.Fields {
		req.Header.Set(f.Name, f.Value)
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, mostRefusal))
	if err != nil {
		return nil, err
	}
	return &filter.Answer{Status: resp.StatusCode, Field: resp.Header.Values, Content: content}, nil
}
