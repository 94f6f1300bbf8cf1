package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Server is a tiny origin server that runs as a process of its own, for the tours.
type Server struct {
	Listen  string
	Name    string        // said in X-Origin; empty: Listen
	Takes   time.Duration // how long each request takes
	Workers int           // requests that are worked at at once; the others wait. 0: any number
}

// stopWithin is how long requests under way may take when a Server ends.
const stopWithin = 10 * time.Second

// ServeOrigin answers until ctx ends, and then lets what is under way finish.
func ServeOrigin(ctx context.Context, s Server) error {
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return err
	}
	if s.Name == "" {
		s.Name = l.Addr().String()
	}
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	fmt.Printf("origin %s listens at %s\n", s.Name, l.Addr())
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		within, cancel := context.WithTimeout(context.Background(), stopWithin)
		defer cancel()
		done <- server.Shutdown(within)
	})
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	err = <-done
	fmt.Printf("origin %s has ended\n", s.Name)
	return err
}

func (s Server) handler() http.Handler {
	var workers chan struct{} // nil: everybody waits for nobody
	if s.Workers > 0 {
		workers = make(chan struct{}, s.Workers)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "well") })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if workers != nil {
			select {
			case workers <- struct{}{}:
				defer func() { <-workers }()
			case <-r.Context().Done():
				return
			}
		}
		timer := time.NewTimer(s.Takes)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
		w.Header().Set("X-Origin", s.Name)
		fmt.Fprintln(w, s.Name)
	})
	return mux
}
