package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"pharos/internal/cluster/state"
)

// Keys; see the package comment. The number is the version of the layout.
const (
	objectPrefix = "/pharos/1/object/"
	headKey      = "/pharos/1/head"
)

// maxRequest is the largest commit, in octets: several of the largest objects.
const maxRequest = 8 << 20

// maxAttempts is how often a commit is tried again after another process won
// the head key. In a cluster of one there is no other process.
const maxAttempts = 16

// Expectations about an object before a write, beside a revision of it.
const (
	Any    int64 = 0  // whatever is there
	Absent int64 = -1 // nothing is there
)

// Write is one change to make. Its Revision is not used.
type Write struct {
	state.Change
	Expect int64 // Any, Absent, or the revision that the object must have
}

// PutWrite returns the write that puts r.
func PutWrite(r state.Resource, expect int64) Write {
	ref := state.Ref{Kind: state.KindOf(r), Name: r.Key()}
	return Write{state.Change{Ref: ref, Op: state.Put, Body: state.Body(r)}, expect}
}

// DeleteWrite returns the write that deletes an object.
func DeleteWrite(r state.Ref, expect int64) Write {
	return Write{state.Change{Ref: r, Op: state.Delete}, expect}
}

// Commit makes all writes at once, or none. When it returns nil they are on
// disk, at the revision it returns, which is the current one if they change
// nothing. base is a state with the resources of the configuration file.
//
// Errors: ErrRefused if a write would break the whole, ErrConflict if an
// expectation does not hold; after a timeout the outcome is not known, and the
// same commit can be repeated.
func (s *Store) Commit(ctx context.Context, base *state.State, writes ...Write) (int64, []state.Effect, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	client, ctx, done, err := s.use(ctx)
	if err != nil {
		return 0, nil, s.explain(ctx, err)
	}
	defer done()
	made, err := await(ctx, func() (commitment, error) {
		select {
		case s.turn <- struct{}{}:
			defer func() { <-s.turn }()
			return s.commit(ctx, client, base, writes)
		case <-ctx.Done():
			return commitment{}, ctx.Err()
		}
	})
	return made.revision, made.effects, s.explainCommit(ctx, err)
}

// commitment is what came of a commit.
type commitment struct {
	revision int64
	effects  []state.Effect
}

// commit makes the attempts at a commit. It has its turn.
func (s *Store) commit(ctx context.Context, client *clientv3.Client, base *state.State, writes []Write) (commitment, error) {
	healed := false
	for range maxAttempts {
		revision, effects, err := s.try(ctx, client, base, writes, false)
		if errors.Is(err, rpctypes.ErrNoSpace) && !healed {
			healed = true
			if err := s.heal(ctx, client); err != nil {
				return commitment{}, err
			}
			continue
		}
		if errors.Is(err, rpctypes.ErrNoSpace) && onlyDeletes(writes) {
			// A full store takes no puts, not even of the head key, but it
			// must be possible to make it emptier.
			revision, effects, err = s.try(ctx, client, base, writes, true)
		}
		if !errors.Is(err, errHeadMoved) {
			return commitment{revision, effects}, err
		}
	}
	return commitment{}, fmt.Errorf("%w: others are changing the store all the time; try again", ErrConflict)
}

// explainCommit is explain for errors that may be ours already.
func (s *Store) explainCommit(ctx context.Context, err error) error {
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrRefused) {
		return err
	}
	return s.explain(ctx, err)
}

// errHeadMoved means that another commit came between the list and the
// transaction.
var errHeadMoved = errors.New("the head key has moved")

func onlyDeletes(writes []Write) bool {
	for _, w := range writes {
		if w.Op != state.Delete {
			return false
		}
	}
	return true
}

// try makes one attempt at a commit.
func (s *Store) try(ctx context.Context, client *clientv3.Client, base *state.State, writes []Write, keepHead bool) (int64, []state.Effect, error) {
	head, err := s.look(ctx, client)
	if err != nil {
		return 0, nil, err
	}
	before := s.seen.Onto(base)
	s.seen = before
	changes := make([]state.Change, len(writes))
	for i, w := range writes {
		if err := w.expected(before); err != nil {
			return 0, nil, err
		}
		changes[i] = w.Change
		changes[i].Revision = 0
	}
	after, effects, err := before.Validate(changes...)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	ops := operations(before, after, changes)
	if len(ops) == 0 {
		return before.Revision(), effects, nil
	}
	if keepHead {
		s.head = 0
	} else {
		ops = append(ops, clientv3.OpPut(headKey, ""))
	}
	guard := clientv3.Compare(clientv3.ModRevision(headKey), "=", head)
	response, err := client.Txn(ctx).If(guard).Then(ops...).Commit()
	if errors.Is(err, rpctypes.ErrNoSpace) {
		// etcd looks at the quota before it proposes, and again after it has
		// applied. What only the second look refuses is there, and durable.
		revision, there, lookErr := landed(ctx, client, head, ops)
		if there {
			return revision, effects, nil
		}
		err = cmp.Or(lookErr, err)
	}
	if err != nil {
		return 0, nil, err
	}
	if !response.Succeeded {
		return 0, nil, errHeadMoved
	}
	if !keepHead {
		for i := range changes {
			changes[i].Revision = response.Header.Revision
		}
		s.seen, _ = before.Apply(slices.DeleteFunc(changes, func(c state.Change) bool { return isSame(before, after, c.Ref) })...)
		s.head = response.Header.Revision
	}
	return response.Header.Revision, effects, nil
}

// look brings what was seen of the store up to date, and returns the revision of the head key.
// As long as that is where this process has put it, nothing has to be read.
func (s *Store) look(ctx context.Context, client *clientv3.Client) (head int64, err error) {
	if s.head > 0 {
		now, err := client.Get(ctx, headKey)
		if err != nil {
			return 0, err
		}
		if len(now.Kvs) == 1 && now.Kvs[0].ModRevision == s.head {
			s.seen = s.seen.AtRevision(now.Header.Revision)
			return s.head, nil
		}
	}
	current, head, err := list(ctx, client)
	if err != nil {
		return 0, err
	}
	s.seen, _ = current.ApplyTo(s.seen)
	s.head = head
	return head, nil
}

// landed reports whether ops were applied when the head key was at revision
// head, and the revision that they made. The head key is among ops.
func landed(ctx context.Context, client *clientv3.Client, head int64, ops []clientv3.Op) (int64, bool, error) {
	now, moved, err := list(ctx, client)
	if err != nil || moved == head {
		return 0, false, err
	}
	bodies := map[string]string{headKey: ""}
	for _, c := range now.Changes {
		if c.Revision == moved {
			bodies[keyOf(c.Ref)] = string(c.Body)
		}
	}
	for _, op := range ops {
		body, there := bodies[string(op.KeyBytes())]
		if there != op.IsPut() || body != string(op.ValueBytes()) {
			return 0, false, nil
		}
	}
	return moved, true, nil
}

// operations returns what turns the objects of before into those of after, one
// operation for each key, as etcd asks for.
func operations(before, after *state.State, changes []state.Change) []clientv3.Op {
	var ops []clientv3.Op
	seen := map[state.Ref]bool{}
	for _, c := range changes {
		if seen[c.Ref] {
			continue
		}
		seen[c.Ref] = true
		if isSame(before, after, c.Ref) {
			continue
		}
		if is, isThere := after.Object(c.Ref); isThere {
			ops = append(ops, clientv3.OpPut(keyOf(c.Ref), string(is.Body)))
		} else {
			ops = append(ops, clientv3.OpDelete(keyOf(c.Ref)))
		}
	}
	return ops
}

// isSame reports whether two states have an object alike, or neither has it.
func isSame(before, after *state.State, r state.Ref) bool {
	was, wasThere := before.Object(r)
	is, isThere := after.Object(r)
	return wasThere == isThere && (!isThere || string(was.Body) == string(is.Body))
}

// expected reports whether what w expects of its object holds in s.
func (w Write) expected(s *state.State) error {
	o, there := s.Object(w.Ref)
	switch {
	case w.Expect == Any, w.Expect == Absent && !there, there && o.Revision == w.Expect:
		return nil
	case w.Expect == Absent:
		return fmt.Errorf("%w: %s is already there, at revision %d", ErrConflict, w.Ref, o.Revision)
	case !there:
		return fmt.Errorf("%w: %s is gone, and was expected at revision %d", ErrConflict, w.Ref, w.Expect)
	}
	return fmt.Errorf("%w: %s is at revision %d, not %d; get it again", ErrConflict, w.Ref, o.Revision, w.Expect)
}

// heal frees what history takes up, after the quota was reached.
func (s *Store) heal(ctx context.Context, client *clientv3.Client) error {
	now, err := client.Get(ctx, headKey)
	if err != nil {
		return err
	}
	if _, err := client.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical()); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return err
	}
	// Not client.Defragment: it wants a part that only a listening etcd has.
	if err := s.etcd.Server.Backend().Defrag(); err != nil {
		return err
	}
	_, err = client.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	return err
}

// Get returns one object and reports whether it is there.
func (s *Store) Get(ctx context.Context, r state.Ref) (state.Change, bool, error) {
	client, ctx, done, err := s.use(ctx)
	if err != nil {
		return state.Change{}, false, s.explain(ctx, err)
	}
	defer done()
	response, err := await(ctx, func() (*clientv3.GetResponse, error) { return client.Get(ctx, keyOf(r)) })
	if err != nil || len(response.Kvs) == 0 {
		return state.Change{}, false, s.explain(ctx, err)
	}
	c, ok := changeOf(response.Kvs[0])
	return c, ok, nil
}

// List returns all objects as one Update.
func (s *Store) List(ctx context.Context) (Update, error) {
	client, ctx, done, err := s.use(ctx)
	if err != nil {
		return Update{}, s.explain(ctx, err)
	}
	defer done()
	u, err := await(ctx, func() (Update, error) { u, _, err := list(ctx, client); return u, err })
	return u, s.explain(ctx, err)
}

// list reads all objects and the revision of the head key, as of one instant.
func list(ctx context.Context, client *clientv3.Client) (u Update, head int64, err error) {
	response, err := client.Txn(ctx).Then(
		clientv3.OpGet(objectPrefix, clientv3.WithPrefix()),
		clientv3.OpGet(headKey),
	).Commit()
	if err != nil {
		return Update{}, 0, err
	}
	u = Update{Revision: response.Header.Revision, Reset: true}
	for _, kv := range response.Responses[0].GetResponseRange().Kvs {
		if c, ok := changeOf(kv); ok {
			u.Changes = append(u.Changes, c)
		}
	}
	for _, kv := range response.Responses[1].GetResponseRange().Kvs {
		head = kv.ModRevision
	}
	return u, head, nil
}

func keyOf(r state.Ref) string { return objectPrefix + string(r.Kind) + "/" + r.Name }

// changeOf returns the object that a key holds, as the change that put it.
func changeOf(kv *mvccpb.KeyValue) (state.Change, bool) {
	kind, name, ok := strings.Cut(strings.TrimPrefix(string(kv.Key), objectPrefix), "/")
	if !ok {
		return state.Change{}, false // not written by us
	}
	ref := state.Ref{Kind: state.Kind(kind), Name: name}
	return state.Change{Ref: ref, Op: state.Put, Revision: kv.ModRevision, Body: kv.Value}, true
}
