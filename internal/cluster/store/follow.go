package store

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"pharos/internal/cluster/state"
)

// Update is what happened in the store since the last one.
type Update struct {
	Revision int64          // that this brings a state to
	Reset    bool           // Changes are all objects there are; forget the others
	Changes  []state.Change // in the order in which they were committed
}

// ApplyTo returns s after u, and what became of each object in u.
func (u Update) ApplyTo(s *state.State) (*state.State, []state.Effect) {
	if u.Reset {
		return s.Reset(u.Revision, u.Changes...)
	}
	next, effects := s.Apply(u.Changes...)
	return next.AtRevision(u.Revision), effects
}

// Follow calls apply with every update after a revision, in order, each once,
// from one goroutine: the caller's. With after 0, or a revision that the store
// no longer has or never had, the first update is a Reset. A commit is never
// split over two updates. Follow waits for the store to be ready, so that it never
// goes back behind what was followed before a restart. It returns when ctx ends
// or the store is over, with the cause.
func (s *Store) Follow(ctx context.Context, after int64, apply func(Update)) error {
	client, ctx, done, err := s.use(ctx)
	if err != nil {
		return s.explain(ctx, err)
	}
	defer done()
	for {
		u, err := await(ctx, func() (Update, error) { u, _, err := list(ctx, client); return u, err })
		if err != nil {
			return s.ended(ctx, err)
		}
		if after <= 0 || after > u.Revision {
			apply(u)
			after = u.Revision
		}
		if err := watch(ctx, client, &after, apply); err != nil {
			return s.ended(ctx, err)
		}
		after = 0 // the revision was compacted: list again
	}
}

// ended returns why Follow is over.
func (s *Store) ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return s.explain(ctx, err)
}

// watch calls apply with each update after *after and moves it forward. It
// returns nil when the revision after *after is compacted.
func watch(ctx context.Context, client *clientv3.Client, after *int64, apply func(Update)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the watch
	for response := range client.Watch(ctx, objectPrefix, clientv3.WithPrefix(), clientv3.WithRev(*after+1)) {
		if response.CompactRevision > 0 {
			return nil
		}
		if err := response.Err(); err != nil {
			return err
		}
		u := Update{Revision: response.Header.Revision}
		for _, event := range response.Events {
			c, ok := changeOf(event.Kv)
			if !ok {
				continue
			}
			if event.Type == clientv3.EventTypeDelete {
				c.Op, c.Body = state.Delete, nil
			}
			u.Changes = append(u.Changes, c)
		}
		if len(u.Changes) > 0 {
			// The header may be ahead of the events: more are on their way.
			u.Revision = u.Changes[len(u.Changes)-1].Revision
			*after = u.Revision
			apply(u)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return ErrClosed
}
