package xfr

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrUnsent means that nothing has reached the peer: another may be asked.
var ErrUnsent = errors.New("not sent")

// Forward sends a request of somebody else to a peer over TCP, and returns the
// response with the request's id. Neither is looked into: a signature in them is
// between the two ends, which know each other's original id (RFC 8945 §5.5).
func Forward(ctx context.Context, p Peer, request []byte) ([]byte, error) {
	p.Key = nil
	msg := append([]byte(nil), request...)
	binary.BigEndian.PutUint16(msg, newID()) // RFC 2136 §6.2
	s, err := p.open(ctx, msg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsent, err)
	}
	defer s.close()
	response, err := s.next()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Address, err)
	}
	copy(response, request[:2])
	return response, nil
}

// Relay forwards a request to one peer after the other until one answers. Once a
// request has reached one, no other is asked: it could be carried out twice.
func Relay(ctx context.Context, peers []Peer, request []byte) (response []byte, err error) {
	var errs []error
	for _, p := range peers {
		response, err := Forward(ctx, p, request)
		if err == nil {
			return response, nil
		}
		errs = append(errs, err)
		if !errors.Is(err, ErrUnsent) {
			break
		}
	}
	return nil, errors.Join(errs...)
}
