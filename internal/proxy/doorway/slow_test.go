package doorway

import (
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/lab/testca"
)

// TestSlowArrivals: a client has a time for its whole handshake, in which octets that trickle
// in gain it nothing.
func TestSlowArrivals(t *testing.T) {
	d := tlsDoor(testca.New(t, "ca"), nil, nil, "www.test")
	// The beginning of a handshake record of 512 octets.
	for name, trickle := range map[string][]byte{"silence": nil, "trickle": append([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252}, make([]byte, 100)...)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				var sending sync.WaitGroup
				sending.Go(func() { // ends when the pipe does
					for _, c := range trickle {
						time.Sleep(time.Second)
						if _, err := far.Write([]byte{c}); err != nil {
							return
						}
					}
				})
				began := time.Now()
				if _, err := d.Admit(near, loopback, never); err == nil {
					t.Error("let in")
				}
				if took := time.Since(began); took != shakeTime {
					t.Errorf("after %v, want %v", took, shakeTime)
				}
				near.Close()
				far.Close()
				sending.Wait()
			})
		})
	}
}
