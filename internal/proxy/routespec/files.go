package routespec

import (
	"fmt"

	"pharos/internal/cluster/state"
	"pharos/internal/proxy/pages"
	"pharos/internal/proxy/served"
)

// leastFixed is from how many octets on a fixed response is treated as a file, with a
// validator and compressed; less is not worth the fields.
const leastFixed = 256

// answerFiles gives the table the files that routes answer with. All errors are returned.
func answerFiles(table *served.Table, r *state.Resources, read pages.Read) (errs []error) {
	var all []func() *pages.File
	for i, t := range r.EveryRoute() {
		file, err := answerFile(&t.Respond, read)
		if err != nil {
			errs = append(errs, fmt.Errorf("routes[%d].respond.file: %w", i, err))
		}
		if file == nil {
			continue
		}
		if all == nil {
			all = make([]func() *pages.File, r.CountRoutes())
		}
		all[i] = file
	}
	table.Files(all)
	return errs
}

// answerFile returns how to get at what a route answers with; nil: it is no file, nor as long
// as one.
func answerFile(r *state.RouteRespond, read pages.Read) (func() *pages.File, error) {
	switch {
	case r.File != "" && read != nil:
		return read(r.File)
	case len(r.Content) >= leastFixed:
		f := pages.NewFile([]byte(r.Content))
		return func() *pages.File { return f }, nil
	}
	return nil, nil
}
