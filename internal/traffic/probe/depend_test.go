package probe

import (
	"testing"
	"testing/synctest"
	"time"

	"pharos/internal/traffic/health"
)

// What lies behind a switch that is down is Unknown, not Down, at once and with the
// cause; through two of them as well. It is found out about anew when the switch is back.
func TestDepend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		for _, a := range []string{"10.0.0.1:80", "10.0.1.1:80", "10.0.2.1:80"} {
			n.serve(a, accepts)
		}
		p, h := start(n, Config{})
		defer p.Close()
		router, rack, server := targetAt("10.0.0.1:80", tcpCheck), targetAt("10.0.1.1:80", tcpCheck), targetAt("10.0.2.1:80", tcpCheck)
		p.Set([]health.Target{router, rack, server})
		p.Depend([]Dependency{
			{"rack", []health.Target{rack}, []health.Target{server, rack}}, // that it is behind itself says nothing
			{"router", []health.Target{router}, []health.Target{rack}},
		})
		time.Sleep(2 * time.Second)
		h.take()
		n.serve("10.0.2.1:80", nil)
		time.Sleep(3 * time.Second)
		h.take()
		if s := p.Status(server); s.State != health.Down {
			t.Fatalf("the server that died alone: %+v", s)
		}
		n.serve("10.0.0.1:80", nil)
		n.serve("10.0.1.1:80", nil)
		time.Sleep(5 * time.Second)
		for _, c := range []struct {
			target health.Target
			state  health.State
			cause  string
		}{
			{router, health.Down, ""},
			{rack, health.Unknown, "nothing can be known: pool router, which it is reached through, is down"},
			{server, health.Unknown, "nothing can be known: pool rack, which it is reached through, is down"},
		} {
			if s := p.Status(c.target); s.State != c.state || c.cause != "" && s.Cause != c.cause {
				t.Errorf("%v: %v (%s), want %v (%s)", c.target.Address, s.State, s.Cause, c.state, c.cause)
			}
		}
		for _, a := range []string{"10.0.0.1:80", "10.0.1.1:80", "10.0.2.1:80"} {
			n.serve(a, accepts)
		}
		time.Sleep(5 * time.Second)
		for _, target := range []health.Target{router, rack, server} {
			if s := p.Status(target); s.State != health.Up {
				t.Errorf("%v is %v (%s), want up", target.Address, s.State, s.Cause)
			}
		}
		if events := p.History(100, func(e health.Event) bool { return e.Target == server && e.To == health.Unknown }); len(events) != 1 {
			t.Errorf("the history has %v", events)
		}
		// A reload that takes the dependency away: a failure is the server's own again.
		n.serve("10.0.0.1:80", nil)
		n.serve("10.0.1.1:80", nil)
		n.serve("10.0.2.1:80", nil)
		time.Sleep(5 * time.Second)
		p.Depend(nil)
		time.Sleep(5 * time.Second)
		if s := p.Status(server); s.State != health.Down {
			t.Errorf("without its dependency it is %v (%s), want down", s.State, s.Cause)
		}
	})
}
