package proxy

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Ends is who may end a request before its time: the door does when the session ends that
// it was let in for.
type Ends interface {
	// EndWith gives what ends the request. It may be called, with the reason, more than
	// once and in another goroutine, until EndWith(nil) returns; at once if the request has
	// to end already.
	EndWith(end func(cause error))
}

// ending ends a carriage before its time. It uses no context, since one of its own would
// cost each request five allocations. It is safe for concurrent use.
type ending struct {
	call func(cause error) // carriage.end, made once

	mu     sync.Mutex
	cause  error                   // not nil once it has to end
	w      http.ResponseWriter     // nil while nothing is carried
	asked  *http.Request           // as the transport knows it
	giveUp context.CancelCauseFunc // to an h2c service
	back   io.Closer               // the connection to a service that has switched protocols
	socket *socket                 // the one to its client
}

func (e *ending) begin(c *carriage) func(error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.w = c.w
	return e.call
}

func (e *ending) over() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cause, e.w, e.asked, e.giveUp, e.back, e.socket = nil, nil, nil, nil, nil, nil
}

// why is why the request has to end; nil while it has not.
func (e *ending) why() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cause
}

// asks is told of the request that the transport is about to be given.
func (e *ending) asks(r *http.Request) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = r
	return e.cause
}

func (e *ending) cancels(giveUp context.CancelCauseFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.giveUp = giveUp
	if e.cause != nil {
		giveUp(e.cause)
	}
}

func (e *ending) switched(back io.Closer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.back = back
}

// hijacked is told that the connection to the client is no longer HTTP.
func (c *carriage) hijacked(s *socket) error {
	c.ending.mu.Lock()
	defer c.ending.mu.Unlock()
	c.ending.socket = s
	return c.ending.cause
}

// end ends what c carries. What waits for the service, for the client to send, or for it to
// take, waits no longer, and ReverseProxy then cuts the client's connection (in HTTP/2 the
// stream): nothing that was broken off looks complete.
func (c *carriage) end(cause error) {
	e := &c.ending
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.w == nil {
		return
	}
	e.cause = cause
	switch {
	case e.socket != nil:
		e.socket.end(cause, e.back)
		return
	case e.back != nil:
		return // Hijack is about to see it
	case e.giveUp != nil:
		e.giveUp(cause)
	case e.asked != nil:
		// The one way to end a request to the service that costs all others nothing. One that
		// the transport does not know yet, or any more, is left alone; the door asks again.
		//lint:ignore SA1019 it does nothing for HTTP/2, which is not asked of it here; should it ever do nothing at all, TestAnEndReachesWhoHasSentMore says so
		c.p.transport.CancelRequest(e.asked)
	}
	rc := http.NewResponseController(e.w)
	_ = rc.SetReadDeadline(past)
	_ = rc.SetWriteDeadline(past)
}

// Serve lets a handler in this process answer r, which Dress has made, and ends it when
// ends says so: its context is cancelled, with the reason as the cause, what waits for the
// client waits no longer, and when the handler has returned the client sees a connection
// cut. A WebSocket whose connection the handler has taken over (http.Hijacker) gets a close
// frame, and is closed. Serve returns when the handler has, and such a connection is closed.
func Serve(w http.ResponseWriter, r *http.Request, ends Ends, h http.Handler) {
	if ends == nil {
		h.ServeHTTP(w, r)
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	s := &served{ResponseWriter: w, cancel: cancel, webSocket: asksWebSocket(r)}
	ends.EndWith(s.end)
	defer ends.EndWith(nil)
	h.ServeHTTP(s, r.WithContext(ctx))
	socket, cause := s.outcome()
	switch {
	case socket != nil:
		<-socket.closed
	case cause != nil:
		abort(ctx)
	}
}

// served is the answer of a handler in this process.
type served struct {
	http.ResponseWriter
	cancel    context.CancelCauseFunc
	webSocket bool

	mu     sync.Mutex
	cause  error
	socket *socket
}

func (s *served) end(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cause = cause
	s.cancel(cause)
	if s.socket != nil {
		s.socket.end(cause, nil)
		return
	}
	rc := http.NewResponseController(s.ResponseWriter)
	_ = rc.SetReadDeadline(past)
	_ = rc.SetWriteDeadline(past)
}

func (s *served) outcome() (*socket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.socket, s.cause
}

// Hijack is http.Hijacker's.
func (s *served) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return nil, nil, s.cause
	}
	conn, rw, err := http.NewResponseController(s.ResponseWriter).Hijack()
	if err != nil {
		return conn, rw, err
	}
	s.socket = newSocket(conn, 0, s.webSocket)
	if n := rw.Reader.Buffered(); n > 0 {
		unread, _ := rw.Reader.Peek(n)
		rw.Reader.Reset(io.MultiReader(bytes.NewReader(bytes.Clone(unread)), s.socket))
	} else {
		rw.Reader.Reset(s.socket)
	}
	rw.Writer.Reset(s.socket)
	return s.socket, rw, nil
}

// Flush is http.Flusher's, which many handlers of events ask for by a type assertion.
func (s *served) Flush() { _ = s.FlushError() }

// FlushError is for http.ResponseController.
func (s *served) FlushError() error { return http.NewResponseController(s.ResponseWriter).Flush() }

// SetReadDeadline is for http.ResponseController. Once the request has to end a handler that
// keeps moving its deadlines on, as one that streams may, moves them no more.
func (s *served) SetReadDeadline(until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return s.cause
	}
	return http.NewResponseController(s.ResponseWriter).SetReadDeadline(until)
}

// SetWriteDeadline is SetReadDeadline's other half.
func (s *served) SetWriteDeadline(until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return s.cause
	}
	return http.NewResponseController(s.ResponseWriter).SetWriteDeadline(until)
}

// Unwrap is for http.ResponseController.
func (s *served) Unwrap() http.ResponseWriter { return s.ResponseWriter }
