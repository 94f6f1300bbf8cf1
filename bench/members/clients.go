package members

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Load is what clients ask for.
type Load struct {
	Address string // of the gateway
	Rate    float64
	For     time.Duration
	Keys    uint64 // paths, of which few are asked for often
}

// Outcome is what clients saw.
type Outcome struct {
	Asked  int
	Failed int
	First  string          // the first failure, described
	took   []time.Duration // of those that were answered, sorted
}

// patience is how long a client waits for a response; what comes later has failed.
const patience = 5 * time.Second

// Quantile returns the time that the given part of the answered requests stayed below, from when they were
// due.
func (o *Outcome) Quantile(q float64) time.Duration {
	if len(o.took) == 0 {
		return 0
	}
	return o.took[int(q*float64(len(o.took)-1))]
}

// Ask asks at a constant rate, each client on a connection that no other one uses meanwhile. A request is
// due at its time whether those before are answered or not, and it is measured from then on: who waits
// because the gateway, or this program, is behind is late as well ("coordinated omission" leaves these out).
func Ask(ctx context.Context, l Load) (*Outcome, error) {
	transport := &http.Transport{
		DialContext: (&net.Dialer{Timeout: patience}).DialContext, MaxIdleConnsPerHost: 4096, DisableCompression: true,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	o := &Outcome{}
	var mu sync.Mutex
	var all sync.WaitGroup
	zipf := rand.NewZipf(rand.New(rand.NewPCG(3, 5)), 1.1, 1, l.Keys-1)
	began := time.Now()
	for ; ctx.Err() == nil; o.Asked++ {
		due := began.Add(time.Duration(float64(o.Asked) / l.Rate * float64(time.Second)))
		if due.Sub(began) >= l.For {
			break
		}
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
		}
		url := fmt.Sprintf("http://%s/item/%d", l.Address, zipf.Uint64())
		all.Go(func() {
			problem := get(ctx, client, url)
			took := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			if problem == nil {
				o.took = append(o.took, took)
				return
			}
			if o.Failed++; o.First == "" {
				o.First = problem.Error()
			}
		})
	}
	all.Wait()
	slices.Sort(o.took)
	return o, ctx.Err()
}

func get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r, err := client.Do(request)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if want := request.URL.Path + "\n"; r.StatusCode != http.StatusOK || string(content) != want {
		return fmt.Errorf("status %d, content %.40q, want 200, %q", r.StatusCode, content, want)
	}
	return nil
}
