//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"pharos/bench/assault"
	"pharos/bench/httpload"
	"pharos/bench/peer"
	"pharos/bench/table"
)

const (
	// honestRate is how often honest clients ask in a second, at a pace of their own, and
	// assaultRate how often the gateway is attacked meanwhile.
	honestRate, assaultRate = 300, 10 * honestRate
	honestConnections       = 16
	calmWork                = "300 requests a second, no attack"
)

// besideCalm compares honest clients with themselves.
var besideCalm = table.Metric{Name: "99 % of the responses beside that without an attack", Digits: 2}

func assaultWork(k assault.Kind) string {
	return fmt.Sprintf("300 requests a second, beside 3,000 attacks: %s", k.Name)
}

// assaults measures what honest clients have of the gateway while it is attacked.
func (a *arena) assaults() ([]table.Row, error) {
	programs, err := a.choose(peer.PharosGateway(a.pharos()))
	if err != nil {
		return nil, err
	}
	loop, err := httpload.Start(httpload.ShortContent)
	if err != nil {
		return nil, err
	}
	defer loop.Close()
	requests := gatewayRequests()
	perWork := map[string]*table.Samples{calmWork: {}}
	for _, k := range assault.Kinds {
		perWork[assaultWork(k)] = &table.Samples{}
	}
	_, err = a.hold("assault", contest{
		programs: programs, rounds: a.o.rounds,
		job:   peer.Job{Target: loop.Origin().String()},
		ready: func(s *peer.Server) error { return a.fetches(loop, s, requests) },
		measure: func(s *peer.Server, _ *table.Samples) error {
			calm, err := a.honestly(loop, s, requests, calmWork, perWork[calmWork])
			if err != nil {
				return err
			}
			for i, k := range assault.Kinds {
				end, err := a.attack(s, i)
				if err != nil {
					return err
				}
				beside, err := a.honestly(loop, s, requests, assaultWork(k), perWork[assaultWork(k)])
				if err := errors.Join(err, end()); err != nil {
					return fmt.Errorf("%s: %w", k.Name, err)
				}
				perWork[assaultWork(k)].Add(s.Name, besideCalm.Name, float64(beside)/float64(calm))
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	rows := []table.Row{perWork[calmWork].Row(calmWork, latencyHalf), perWork[calmWork].Row(calmWork, latencyMost)}
	for _, k := range assault.Kinds {
		rows = append(rows, perWork[assaultWork(k)].Row(assaultWork(k), latencyMost), perWork[assaultWork(k)].Row(assaultWork(k), besideCalm))
	}
	return rows, nil
}

// honestly asks at a pace on connections of its own, which are opened now. It returns how long
// all but one in a hundred took at most.
func (a *arena) honestly(loop *httpload.Loop, s *peer.Server, requests [][]byte, work string, samples *table.Samples) (time.Duration, error) {
	c, err := loop.Connect(address(s), honestConnections, requests)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var r httpload.Result
	if err := a.given(func(d time.Duration) error {
		r, err = c.Pace(a.ctx, honestRate, d)
		return errors.Join(err, r.Err())
	}); err != nil {
		return 0, err
	}
	samples.Add(s.Name, latencyHalf.Name, float64(r.Latency.Quantile(0.5).Microseconds()))
	samples.Add(s.Name, latencyMost.Name, float64(r.Latency.Quantile(0.99).Microseconds()))
	a.say("%-9s %s: half within %v, 99 %% within %v", s.Name, work, r.Latency.Quantile(0.5), r.Latency.Quantile(0.99))
	return r.Latency.Quantile(0.99), nil
}

// attack attacks s in one way for as long as is measured. The process for it has what is left of the
// processor that the honest clients are on. end waits for it.
func (a *arena) attack(s *peer.Server, kind int) (end func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	span := a.seconds() + 500*time.Millisecond
	cmd := exec.CommandContext(a.ctx, "nice", "-n", "19", self, assaultCommand, strconv.Itoa(kind), address(s).String(), strconv.Itoa(assaultRate), strconv.Itoa(int(span.Milliseconds())))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() error {
		var made int
		_, readErr := fmt.Fscan(out, &made)
		if err := errors.Join(readErr, cmd.Wait()); err != nil {
			return fmt.Errorf("the attack: %w", err)
		}
		a.say("%-9s %d attacks in %v", s.Name, made, span)
		if made == 0 {
			return errors.New("nobody has attacked")
		}
		return nil
	}, nil
}

// assaultCommand has the bench itself attack: see package assault.
const assaultCommand = "assault"
