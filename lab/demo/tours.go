package demo

import (
	"context"
	"io"
)

// Tour is one of the tours of the lab.
type Tour struct {
	Name  string
	Short string // what it shows, in a line
	Run   func(ctx context.Context, once bool, out io.Writer) error
}

// Tours returns the tours; the first is the one that newcomers take.
func Tours() []Tour {
	return []Tour{
		{"internet", "a lookup from the root to a page, a server lost under load, and why an answer is what it is", Run},
		{"autoscaling", "a pool that gets members when there is something to do: from none to four, and back", Autoscaling},
		{"grey-failure", "a server that is neither up nor down, seen by its traffic, and what it still gets", GreyFailure},
	}
}
