package desk

import (
	"context"
	"fmt"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/authority/kasp"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/skr"
)

// KeyRequest makes the file that the machine with the KSK is to sign.
func (d *Desk) KeyRequest(_ context.Context, name string, from time.Time, span time.Duration) (api.KeyRequest, error) {
	z, _, err := d.findSigned(name)
	if err != nil {
		return api.KeyRequest{}, err
	}
	r, err := z.Signers.KeyRequest(z.Name, from, span)
	if err != nil {
		return api.KeyRequest{}, refused(err)
	}
	file, err := r.Encode()
	if err != nil {
		return api.KeyRequest{}, refused(err)
	}
	return api.KeyRequest{
		Name: z.Name.String(), File: string(file), Fingerprint: skr.Fingerprint(file), From: r.Row.From, Until: r.Row.Until,
		Sets: len(r.Sets), Signatures: r.Signatures(),
	}, nil
}

// TakeSigned takes in what that machine has signed.
func (d *Desk) TakeSigned(_ context.Context, name string, file []byte) (api.Applied, error) {
	z, _, err := d.findSigned(name)
	if err != nil {
		return api.Applied{}, err
	}
	r, err := skr.ParseResponse(file)
	if err != nil {
		return api.Applied{}, misunderstood("%w", err)
	}
	count, until, err := z.Signers.TakeSigned(z.Name, r)
	if err != nil {
		return api.Applied{}, refused(err)
	}
	return d.applied(fmt.Sprintf("zone %s: %d signatures taken in, the last ends %s", z.Name, count, until.UTC().Format(time.DateTime))), nil
}

// importOffline takes in the public half of a KSK that is elsewhere.
func (d *Desk) importOffline(z Zone, role kasp.Role, k *sign.Key) (api.Applied, error) {
	if k.Signer != nil {
		return api.Applied{}, misunderstood("this has the private half of key %d, which should not be here at all: import its public half, K*.key", k.Tag())
	}
	if err := z.Signers.ImportOffline(z.Name, role, k); err != nil {
		return api.Applied{}, refused(err)
	}
	return d.applied(fmt.Sprintf("zone %s: %s %d is known; it is published when there are signatures by it: \"pharos zone keys ksr %s\"", z.Name, role, k.Tag(), z.Name)), nil
}
