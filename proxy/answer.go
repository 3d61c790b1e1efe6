package proxy

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
)

var (
	errStatus   = errors.New("the service answered with a status that is none")
	errSwitched = errors.New("the service switched to a protocol that was not asked for")
	errNotices  = errors.New("the service sent too many informational answers")
)

// answer judges the service's answer before it goes to the client.
func (c *carriage) answer(res *http.Response) error {
	h := res.Header
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols:
		// ReverseProxy takes an empty protocol for the one asked for if none was, and would
		// hand the client's connection, and what others may send on it, to the service.
		if !c.load.webSocket || !strings.EqualFold(h.Get("Upgrade"), "websocket") {
			return errSwitched
		}
		c.load.switched = true
	case res.StatusCode < 200: // WriteHeader would panic
		return errStatus
	}
	c.own(h)
	c.closeUnread()
	// Where the length is unknown, ReverseProxy flushes each piece by itself.
	if res.ContentLength > 0 && res.Body != http.NoBody {
		c.load.eager = eager{ReadCloser: res.Body, w: c.w, left: res.ContentLength, unsent: res.ContentLength > 4<<10}
		res.Body = &c.load.eager
	}
	return nil
}

// eager is the body of an answer of known length. A service may pause in the middle of
// one, so what came is flushed before the wait for more; but a short answer that comes in
// one piece leaves in one piece, together with its head. A FlushInterval of -1 does the
// former too, and costs every short answer a goroutine, five allocations and about a fifth
// of its time.
type eager struct {
	io.ReadCloser
	w      http.ResponseWriter
	left   int64 // bytes to come
	unsent bool  // something was given out by Read, or is in the head, that may lie in a buffer
}

func (e *eager) Read(p []byte) (int, error) {
	if e.unsent {
		_ = http.NewResponseController(e.w).Flush() // a write that fails is seen by the next
	}
	n, err := e.ReadCloser.Read(p)
	e.left -= int64(n)
	e.unsent = e.left > 0
	return n, err
}

// own takes out of an answer what is the door's to say.
func (c *carriage) own(h http.Header) {
	dropOurSetCookies(h, c.p.names.Cookies)
	if len(c.w.Header()["X-Request-Id"]) > 0 {
		delete(h, "X-Request-Id") // else the client had two, ours and the service's echo of it
	}
	delete(h, "Alt-Svc") // would send browsers, with our cookies, to a port that the door does not watch
}

// closeUnread has the connection to the client closed after an answer that comes before
// the end of the request's body. Otherwise net/http keeps such an answer back to read on
// in the body, for ever if the client waits for the answer before it sends more.
func (c *carriage) closeUnread() {
	if c.r.ProtoMajor == 1 && c.load.upload != nil && !c.load.upload.ended.Load() {
		c.w.Header().Set("Connection", "close")
	}
}

// RoundTrip is the transport that the ReverseProxy sees. It replaces how ReverseProxy
// passes on informational answers (1xx), which has no limit, and loses what was set on
// the ResponseWriter before.
func (c *carriage) RoundTrip(r *http.Request) (*http.Response, error) {
	n := &c.load.notices
	n.c = c
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil {
		trace.Got1xxResponse = n.got // ReverseProxy made trace for this request alone
	}
	res, err := c.p.transport.RoundTrip(r)
	n.close()
	return res, err
}

// maxNotices is how many informational answers a service may give to a request: a 102
// every few seconds for as long as it thinks, but no flood. Each is bounded in size as the
// head of an answer is, and all of them in time by Config.Timeout.
const maxNotices = 200

// notices passes informational answers on (RFC 9110, section 15.2). The transport calls
// got from another goroutine, and may do so after it gave up; from close on it does nothing.
type notices struct {
	mu sync.Mutex
	c  *carriage // nil when the carriage is no longer for this request
	n  int
}

func (n *notices) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.c = nil
}

func (n *notices) got(code int, header textproto.MIMEHeader) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.c == nil {
		return nil
	}
	if n.n++; n.n > maxNotices {
		return errNotices
	}
	if !n.c.r.ProtoAtLeast(1, 1) {
		return nil // HTTP/1.0 knows none
	}
	h := n.c.w.Header()
	final := maps.Clone(h)
	n.c.own(http.Header(header))
	clear(h)
	maps.Copy(h, http.Header(header))
	n.c.w.WriteHeader(code)
	clear(h)
	maps.Copy(h, final)
	return nil
}
