package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
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
	if cause := c.ending.why(); cause != nil {
		log.Debug("request ended before the service answered", "cause", cause)
		abort(ctx)
		return
	}
	if up := c.load.upload; up != nil && up.late.Load() {
		err = &uploadError{os.ErrDeadlineExceeded} // net/http also ends ctx, and err may say only that
	}
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

var (
	errTimeout error = timeoutError{}
	errOver          = errors.New("the request is over")
)

type timeoutError struct{}

func (timeoutError) Error() string   { return "the service took too long" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// serviceTookNothing is called when taking is late, in whatever goroutine.
func (c *carriage) serviceTookNothing() { c.load.giveUp(errTimeout) }

// gaveNothing is called when giving is late: the read that waits ends with
// os.ErrDeadlineExceeded.
func (c *carriage) gaveNothing() {
	c.load.upload.late.Store(true)
	_ = http.NewResponseController(c.w).SetReadDeadline(past)
}

// tookNothing is called when out is late: the write that waits ends, and with it Carry.
func (c *carriage) tookNothing() {
	c.p.log.Debug("the client takes nothing of the answer", "request_id", c.pass.RequestID, "method", c.r.Method, "path", c.pass.Path)
	_ = http.NewResponseController(c.w).SetWriteDeadline(past)
}

// upload is a request's body. It tells a client's failure to send from a service's failure
// to take, which the transport reports alike, and whether it was read to its end.
//
// If the service has answered early, the transport may still read in it when the answer is
// over, and in HTTP/1 net/http reads on when Carry is. A client that sends no more would
// hold both for ever; so the first is ended then, and the second given a short time.
type upload struct {
	io.ReadCloser
	ended, closed atomic.Bool
	late          atomic.Bool // the client sent nothing for too long

	mu      sync.Mutex
	c       *carriage     // nil when all is over, since it may be another request's then
	reading bool          // the transport waits for the client
	read    sync.Cond     // a read has ended
	begun   bool          // the service has answered
	expects *notices      // the client waits to be told to send; nil if not, or once it is told
	refused chan struct{} // closed when it is over or closed; nil if the client never waited
}

// expect reports whether the client waits to be told to send (RFC 9110, section 10.1.1).
// In HTTP/2 net/http does not let us know, and tells it at the first read.
func (u *upload) expect(r *http.Request) bool {
	if r.ProtoMajor != 1 || !r.ProtoAtLeast(1, 1) || !strings.Contains(strings.ToLower(r.Header.Get("Expect")), "100-continue") {
		return false
	}
	u.expects, u.refused = &u.c.load.notices, make(chan struct{})
	return true
}

// linger is how long a client that was answered early may go on sending. Closing at once
// could make the answer disappear under what it sends meanwhile.
const linger = 500 * time.Millisecond

// over ends the reading, of now and of later.
func (u *upload) over() {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.c
	if c == nil {
		return
	}
	u.c = nil
	c.giving.end()
	c.taking.end()
	u.refuse()
	if u.ended.Load() {
		return
	}
	rc := http.NewResponseController(c.w)
	if u.reading && rc.SetReadDeadline(past) == nil {
		for u.reading { // net/http takes the deadline back if it finds someone reading
			u.read.Wait()
		}
	}
	if c.r.ProtoMajor == 1 { // the connection is closed after this: closeUnread
		_ = rc.SetReadDeadline(time.Now().Add(linger))
	}
}

// refuse is called with mu held.
func (u *upload) refuse() {
	if u.refused != nil {
		close(u.refused)
		u.refused = nil
	}
}

// answered ends the watching, not the reading.
func (u *upload) answered() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.begun = true
	if u.c != nil {
		u.c.giving.end()
		u.c.taking.end()
	}
}

// enter comes before a read, leave after it.
func (u *upload) enter() error {
	if u.expects != nil {
		if !u.expects.goOn() {
			u.mu.Lock()
			refused := u.refused
			u.mu.Unlock()
			if refused != nil {
				<-refused // failing sooner would cut the answer short
			}
			return errOver
		}
		u.expects = nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.c == nil {
		return errOver
	}
	u.reading = true
	if !u.begun {
		u.c.taking.end()
		if u.c.p.stall > 0 {
			u.c.giving.begin(u.c.p.stall)
		}
	}
	return nil
}

func (u *upload) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.reading = false
	u.read.Broadcast()
	if u.c == nil || u.begun {
		return
	}
	u.c.giving.end()
	if u.c.p.h2c {
		u.c.taking.begin(u.c.p.timeout)
	}
}

type uploadError struct{ error }

func (e *uploadError) Unwrap() error { return e.error }

func (u *upload) Read(p []byte) (int, error) {
	if err := u.enter(); err != nil {
		return 0, err
	}
	n, err := u.ReadCloser.Read(p)
	u.leave()
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
	u.mu.Lock()
	u.refuse()
	u.mu.Unlock()
	return u.ReadCloser.Close()
}

func failJSON(w http.ResponseWriter, _ *http.Request, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": message, "status": "error"})
}
