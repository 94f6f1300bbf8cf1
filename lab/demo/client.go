package demo

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// lookup asks server for the addresses of name, as a stub resolver does.
func lookup(ctx context.Context, server netip.AddrPort, name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	id := uint16(rand.Uint32())
	spec := dnswire.QuerySpec{ID: id, Name: dnsname.MustParse(name), Type: rdata.TypeA, Class: rdata.ClassIN, RD: true, EDNS: true}
	if _, err := conn.Write(dnswire.AppendQuery(nil, spec)); err != nil {
		return nil, err
	}
	buf := make([]byte, dnswire.MaxUDP)
	size, err := conn.Read(buf)
	if err != nil {
		return nil, err
	}
	m, err := dnswire.ParseMessage(buf[:size])
	if err != nil {
		return nil, err
	}
	if m.ID != id || m.Rcode != dnswire.RcodeNoError {
		return nil, fmt.Errorf("%s: %s", name, m.Rcode)
	}
	var addrs []netip.Addr
	for _, r := range m.Answer {
		if addr, ok := netip.AddrFromSlice(r.Data); ok && r.Type == rdata.TypeA {
			addrs = append(addrs, addr)
		}
	}
	return addrs, nil
}

// browser is an HTTP client that finds hosts by the lab's resolver.
func (w *world) browser() *http.Client {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		addrs, err := lookup(ctx, w.resolverAddress(), host)
		if err != nil {
			return nil, err
		}
		if len(addrs) == 0 {
			return nil, fmt.Errorf("%s has no address", host)
		}
		return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(addrs[0].String(), port))
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 16}, Timeout: 5 * time.Second}
}

// fetch gets a page and returns the origin that served it.
func fetch(client *http.Client, url string) (origin string, status int, size int, err error) {
	resp, err := client.Get(url)
	if err != nil {
		return "", 0, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.Header.Get("X-Origin"), resp.StatusCode, len(body), err
}
