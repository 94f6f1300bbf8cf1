package state

import (
	"fmt"
	"slices"
	"strings"

	"pharos/internal/cluster/document"
)

// Passive is what is learned of members from the traffic that the gateway carries to
// them. A failure is the member's when there is no connection, no answer in time or no
// whole answer, and when it answers with one of Statuses what another member answers
// well. A member is compared with the others of its pool, so that in a pool where all are
// slow, or all fail, nobody is put out.
type Passive struct {
	// Enabled listens to traffic at all.
	Enabled bool `json:"enabled" default:"true" example:"false"`
	// Failures is how many requests in a row must fail before a member is ejected.
	Failures int `json:"failures" default:"3" min:"1" max:"100" example:"5"`
	// Statuses are the status codes by which a member answers with an error of its own.
	// A request that may be repeated is then taken to another member.
	Statuses StatusSet `json:"statuses" default:"500,502-504" example:"500-599"`
	// ErrorRate is the part of the requests, in percent over Window, that must fail before
	// a member is ejected though others succeed between. A fifth of it, above what its
	// peers have, makes it poor. 0: never.
	ErrorRate int `json:"errorRate" default:"50" min:"0" max:"100" example:"20"`
	// Slow is how many times the median response time of its peers makes a member poor.
	// 0: never.
	Slow int `json:"slow" default:"3" min:"0" max:"1000" example:"2"`
	// Window is the time over which error rates and response times are compared.
	Window document.Duration `json:"window" default:"5s" min:"1s" max:"10m" example:"30s"`
	// MinRequests is how many requests to a member in Window it takes to conclude anything.
	MinRequests int `json:"minRequests" default:"20" min:"1" max:"1000000" example:"100"`
	// Floor is the part of its weight, in percent, that a poor member keeps at least, so
	// that it can be seen to recover.
	Floor int `json:"floor" default:"5" min:"1" max:"100" example:"1"`
	// Ejection is how long a member is ejected: so long the first time, and so long more
	// each time, at most 5m. An ejection is forgotten after six times as long without one.
	Ejection document.Duration `json:"ejection" default:"10s" min:"10ms" max:"5m" example:"30s"`
	// MaxEjected is how much of the pool, in percent, may be ejected or held down by
	// damping at once; one member may always be, and the last that could serve never is.
	MaxEjected int `json:"maxEjected" default:"50" min:"1" max:"100" example:"30"`
}

// PoolAgent is what a pool asks its members beside the check.
type PoolAgent struct {
	// Type is agent, a line or JSON on a TCP connection; agentHTTP, the same at Path; or none.
	Type string `json:"type" enum:"none,agent,agentHTTP" default:"none" example:"agent"`
	// Port is where the agent listens. 0: the port of the member's address.
	Port uint16 `json:"port" default:"0" min:"0" max:"65535" example:"8282"`
	// Path is what is asked for with agentHTTP.
	Path string `json:"path" default:"/" example:"/agent"`
	// Host is the name that is asked for with agentHTTP. Empty: the member's address.
	Host string `json:"host" format:"hostname" default:"" example:"www.example.com"`
	// Send is what is sent first with agent: text, or octets as "hex:0a1b".
	Send string `json:"send" default:"" example:"state\n"`
	// Interval is the time from one question to the next.
	Interval document.Duration `json:"interval" default:"5s" min:"10ms" max:"1h" example:"1s"`
}

// Check returns how the agent is asked, as a check is written.
func (a PoolAgent) Check() Check {
	c := plainCheck()
	c.Type, c.Port, c.Path, c.Host, c.Send, c.Interval = a.Type, a.Port, a.Path, a.Host, a.Send, a.Interval
	c.Timeout, c.FastInterval = 0, 0
	c.Complete()
	return c
}

// checkPassive reports what is wrong with what a pool asks beside its check.
func (p *Pool) checkPassive(at string, report Report) {
	agent := p.Agent.Check()
	agent.check(at+"agent.", report)
	if p.Agent.Type != "none" && p.Agent.Type != "" && (p.Check.Type == "agent" || p.Check.Type == "agentHTTP") {
		report(at+"agent.type", "the check asks an agent already", "leave one of them out")
	}
	for i, name := range p.DependsOn {
		if slices.Contains(p.DependsOn[:i], name) {
			report(fmt.Sprintf("%sdependsOn[%d]", at, i), fmt.Sprintf("pool %q is there twice", name), "remove one of them")
		}
	}
}

// checkDependencies reports pools that are reached through themselves.
func (r *Resources) checkDependencies(pools *poolNames, report Report) {
	index := map[string]int{}
	for i := range r.Pools {
		index[r.Pools[i].Name] = i
	}
	const (
		unseen = iota
		open   // on the way that is being walked
		done
	)
	state := make([]int, len(r.Pools))
	var way []string
	var walk func(i int)
	walk = func(i int) {
		p := &r.Pools[i]
		state[i] = open
		way = append(way, p.Name)
		for k, name := range p.DependsOn {
			at := fmt.Sprintf("pools[%d].dependsOn[%d]", i, k)
			pools.require(at, name, report)
			next, known := index[name]
			switch {
			case !known || state[next] == done:
			case state[next] == open:
				circle := append(slices.Clone(way[slices.Index(way, name):]), name)
				report(at, "pools are reached through themselves: "+strings.Join(circle, " > "), "remove one of these; a gateway depends on nothing that is behind it")
			default:
				walk(next)
			}
		}
		way = way[:len(way)-1]
		state[i] = done
	}
	for i := range r.Pools {
		if state[i] == unseen {
			walk(i)
		}
	}
}
