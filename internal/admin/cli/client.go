package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"pharos/internal/admin/api"
)

// client calls the admin listener of a running node.
type client struct{ address string }

// adminTimeout bounds one call. The longest is an explanation that resolves a
// name, which the resolver itself ends after 10 s.
const adminTimeout = 15 * time.Second

func adminFlag(c *cobra.Command) *client {
	address := "127.0.0.1:8053"
	if env := os.Getenv("PHAROS_ADMIN"); env != "" {
		address = env
	}
	admin := new(client)
	c.Flags().StringVar(&admin.address, "admin", address, "`address` of the node's admin listener; also PHAROS_ADMIN")
	return admin
}

// get fills into from the answer to GET path.
func (c *client) get(ctx context.Context, path string, into any) error {
	return c.call(ctx, http.MethodGet, path, nil, into)
}

func (c *client) call(ctx context.Context, method, path string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	return c.exchange(ctx, method, path, bytes.NewReader(body), into)
}

// request is a call that changes something.
type request struct {
	method, path string
	body         []byte
}

// change makes r, and prints what it has changed.
func (c *client) change(cmd *cobra.Command, o output, r request) error {
	var applied api.Applied
	if err := c.call(cmd.Context(), r.method, r.path, r.body, &applied); err != nil {
		return err
	}
	return o.print(cmd.OutOrStdout(), applied, writeApplied(applied))
}

// send is a call whose body is as long as a zone, and takes as long.
func (c *client) send(ctx context.Context, path string, body io.Reader, into any) error {
	return c.exchange(ctx, http.MethodPost, path, body, into)
}

func (c *client) exchange(ctx context.Context, method, path string, body io.Reader, into any) error {
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("admin listener %s: %w", c.address, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s is no admin listener of a Pharos node: %w", c.address, err)
	}
	return nil
}

// download copies the answer to GET path to w.
func (c *client) download(ctx context.Context, path string, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("admin listener %s: the answer was cut off: %w", c.address, err)
	}
	return nil
}

// do returns the response to a request, if it is 200; the caller closes its body.
func (c *client) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	if _, _, err := net.SplitHostPort(c.address); err != nil {
		return nil, fmt.Errorf("%w: --admin %s: want ADDRESS:PORT, as in listen.admin", errUsage, c.address)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.address+path, body)
	if err != nil {
		return nil, fmt.Errorf("admin listener %q: %w", c.address, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no node answers at %s: %w; is one running, and is listen.admin this address (--admin, PHAROS_ADMIN)?", c.address, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("admin listener %s: %w", c.address, err)
	}
	var said struct{ Error string }
	if json.Unmarshal(text, &said) == nil && said.Error != "" {
		return nil, errors.New(said.Error)
	}
	return nil, fmt.Errorf("admin listener %s: %s: %s", c.address, resp.Status, bytes.TrimSpace(text))
}
