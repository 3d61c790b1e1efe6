package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
)

// refuse answers for a service that gave no usable answer. ReverseProxy calls it.
func (c *carriage) refuse(w http.ResponseWriter, _ *http.Request, err error) {
	log := c.p.log.With("request_id", c.pass.RequestID, "method", c.r.Method, "path", c.pass.Path)
	if c.load == nil { // rewrite did not run: the one thing ReverseProxy refuses by itself
		log.Debug("request refused", "error", err)
		c.p.fail(w, c.r, http.StatusBadRequest, "Upgrade: is not the name of a protocol")
		return
	}
	ctx := c.r.Context()
	status, message := verdict(err)
	switch {
	case status < 500: // the client's fault, and nobody need get up for it
		log.Debug(message, "error", err)
	case errors.Is(ctx.Err(), context.Canceled):
		log.Debug("request ended before the service answered", "cause", context.Cause(ctx))
		abort(ctx)
		return
	case c.load.switched:
		log.Warn("switching protocols failed", "error", err)
		abort(ctx)
		return
	default:
		log.Warn(message, "error", err)
	}
	c.closeUnread()
	c.p.fail(w, c.r, status, message)
}

// verdict is the status and the sentence for a request that failed with err.
func verdict(err error) (status int, message string) {
	var fromClient *uploadError
	if errors.As(err, &fromClient) {
		var large *http.MaxBytesError
		switch {
		case errors.As(err, &large):
			return http.StatusRequestEntityTooLarge, "body: is too large"
		case errors.Is(err, os.ErrDeadlineExceeded):
			return http.StatusRequestTimeout, "body: did not arrive in time"
		}
		return http.StatusBadRequest, "body: could not be read"
	}
	var e net.Error
	if errors.As(err, &e) && e.Timeout() {
		return http.StatusGatewayTimeout, "service timed out"
	}
	return http.StatusBadGateway, "service unavailable"
}

// abort cuts the client's connection. Outside of a server, where nobody would catch it,
// it does nothing, as ReverseProxy does.
func abort(ctx context.Context) {
	if ctx.Value(http.ServerContextKey) != nil {
		panic(http.ErrAbortHandler)
	}
}

// upload is a request's body. It tells a client's failure to send from a service's failure
// to take, which the transport reports alike, and whether it was read to its end.
type upload struct {
	io.ReadCloser
	ended, closed atomic.Bool
}

type uploadError struct{ error }

func (e *uploadError) Unwrap() error { return e.error }

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	switch {
	case err == nil || u.closed.Load():
		return n, err
	case err == io.EOF:
		u.ended.Store(true)
		return n, err
	}
	return n, &uploadError{err}
}

func (u *upload) Close() error {
	u.closed.Store(true)
	return u.ReadCloser.Close()
}

func failJSON(w http.ResponseWriter, _ *http.Request, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": message, "status": "error"})
}
