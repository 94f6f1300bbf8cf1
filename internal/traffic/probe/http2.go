package probe

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"google.golang.org/protobuf/encoding/protowire"

	"pharos/internal/traffic/health"
)

// framer makes HTTP/2 connections out of others. It keeps none itself.
//
//lint:ignore SA1019 package net/http wants to make the connection; a probe times and names each step of it
var framer = &http2.Transport{AllowHTTP: true, DisableCompression: true, MaxHeaderListSize: maxLine * 4}

// roundTrip makes one request on an HTTP/2 connection of its own, *used, and gives the
// response to read.
func (t *target) roundTrip(ctx context.Context, dial dialer, req *http.Request, used **connection, read func(*http.Response) error) error {
	var protocols []string
	if t.tls != nil {
		protocols = []string{http2.NextProtoTLS}
	}
	c, err := t.connect(ctx, dial, "tcp", protocols)
	if err != nil {
		return err
	}
	defer c.Close()
	*used = c
	// RFC 9113 §3.2: over TLS the protocol is agreed on by ALPN; in clear text it is known.
	if agreed := c.state.NegotiatedProtocol; t.tls != nil && agreed != http2.NextProtoTLS {
		return fmt.Errorf("the member does not speak HTTP/2 (ALPN %q)", agreed)
	}
	//lint:ignore SA1019 as for framer
	conn, err := framer.NewClientConn(c)
	if err != nil {
		return fmt.Errorf("beginning HTTP/2: %w", err)
	}
	defer conn.Close()
	resp, err := conn.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return read(resp)
}

// newRequest returns a request over HTTP/2.
func (t *target) newRequest(method, path string, content io.Reader) (*http.Request, error) {
	req, err := http.NewRequest(method, "http://"+t.authority()+path, content)
	if err != nil {
		return nil, err
	}
	if t.tls != nil {
		req.URL.Scheme = "https"
	}
	req.Header.Set("User-Agent", userAgent)
	for line := range strings.Lines(t.terms().Fields) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\r\n"), ": ")
		req.Header.Add(name, value)
	}
	return req, nil
}

// exchange2 is exchange over HTTP/2.
func (t *target) exchange2(ctx context.Context, dial dialer, path string, used **connection) (out response, err error) {
	req, err := t.newRequest(cmp.Or(t.terms().Method, http.MethodGet), path, nil)
	if err != nil {
		return out, err
	}
	err = t.roundTrip(ctx, dial, req, used, func(r *http.Response) error {
		out = response{status: r.StatusCode, location: r.Header.Get("Location"), whole: true}
		if t.wantsContent() {
			out.content, out.whole, err = readContent(r.Body)
		}
		return err
	})
	return out, err
}

// grpcStates are the values of grpc.health.v1.HealthCheckResponse.ServingStatus.
var grpcStates = [...]string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

const grpcServing = 1

// maxHealth bounds the answer to a gRPC health check, in octets: it has one number.
const maxHealth = 4096

// askGRPC calls grpc.health.v1.Health/Check. It is one request over HTTP/2, whose
// content is a frame of 5 octets and a message with one text; a client library would
// keep a connection, which is what a probe must not do.
func (t *target) askGRPC(ctx context.Context, dial dialer) outcome {
	message := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), t.terms().Service)
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	req, err := t.newRequest(http.MethodPost, "/grpc.health.v1.Health/Check", bytes.NewReader(append(frame, message...)))
	if err != nil {
		return t.failed(err, "asking")
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	var o outcome
	var c *connection
	err = t.roundTrip(ctx, dial, req, &c, func(r *http.Response) error {
		content, _, err := readContent(io.LimitReader(r.Body, maxHealth))
		o = judgeGRPC(r, content)
		return err
	})
	if err != nil {
		o = t.failed(err, "waiting for a response")
	}
	return t.tls.noted(c, o)
}

// judgeGRPC says what a response to Health/Check means.
func judgeGRPC(r *http.Response, content []byte) outcome {
	if r.StatusCode != http.StatusOK {
		return outcome{cause: fmt.Sprintf("status %d, which is no answer of gRPC", r.StatusCode)}
	}
	status := cmp.Or(r.Trailer.Get("Grpc-Status"), r.Header.Get("Grpc-Status")) // the latter without a message
	if status != "0" {
		message, err := url.PathUnescape(cmp.Or(r.Trailer.Get("Grpc-Message"), r.Header.Get("Grpc-Message")))
		if err != nil || message == "" {
			message = "no message"
		}
		if _, err := strconv.Atoi(status); err != nil {
			return outcome{cause: fmt.Sprintf("no status of gRPC, but %.40q", status)}
		}
		return outcome{cause: fmt.Sprintf("gRPC status %s: %s", status, health.Printable(message))}
	}
	state, err := servingStatus(content)
	switch {
	case err != nil:
		return outcome{cause: "not grpc.health.v1: " + err.Error()}
	case state == grpcServing:
		return outcome{verdict: good, cause: "SERVING"}
	case state < uint64(len(grpcStates)):
		return outcome{cause: grpcStates[state]}
	}
	return outcome{cause: fmt.Sprintf("serving status %d", state)}
}

// servingStatus reads a frame with a HealthCheckResponse.
func servingStatus(frame []byte) (state uint64, err error) {
	if len(frame) < 5 || frame[0] != 0 || int64(binary.BigEndian.Uint32(frame[1:])) != int64(len(frame)-5) {
		return 0, fmt.Errorf("%d octets that are not one plain message", len(frame))
	}
	for message := frame[5:]; len(message) > 0; {
		number, wire, n := protowire.ConsumeTag(message)
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		message = message[n:]
		if number == 1 && wire == protowire.VarintType {
			if state, n = protowire.ConsumeVarint(message); n < 0 {
				return 0, protowire.ParseError(n)
			}
		} else if n = protowire.ConsumeFieldValue(number, wire, message); n < 0 {
			return 0, protowire.ParseError(n)
		}
		message = message[n:]
	}
	return state, nil
}
