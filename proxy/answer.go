package proxy

import (
	"context"
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
	errOneWay   = errors.New("a WebSocket cannot be carried to an h2c service")
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
		c.ending.switched(res.Body)
	case res.StatusCode < 200: // WriteHeader would panic
		return errStatus
	}
	c.own(h)
	if len(h["Strict-Transport-Security"]) > 0 {
		delete(c.w.Header(), "Strict-Transport-Security") // the service knows better what its hosts can do
	}
	if len(h["Content-Type"]) == 0 {
		// Else net/http guesses one, and what the service has left open, perhaps with nosniff
		// beside it, would be declared to be a page.
		c.w.Header()["Content-Type"] = nil
	}
	c.ownTrailer(res.Trailer) // what it announces
	c.closeUnread()
	if !c.load.switched && res.Body != http.NoBody {
		size := max(res.ContentLength, 0)
		c.load.reply = reply{ReadCloser: res.Body, c: c, res: res, left: size, unsent: size > 4<<10}
		res.Body = &c.load.reply
	}
	return nil
}

// reply is the body of an answer. A service may pause in the middle of one, so what came
// is flushed before the wait for more; but a short answer that comes in one piece leaves
// in one piece, together with its head. A FlushInterval of -1 does the former too, and
// costs every short answer a goroutine, five allocations and about a fifth of its time.
// Where the length is unknown, ReverseProxy flushes each piece by itself.
type reply struct {
	io.ReadCloser
	c      *carriage
	res    *http.Response
	left   int64 // bytes to come; 0 or less if the length is unknown
	unsent bool  // something was given out by Read, or is in the head, that may lie in a buffer
}

func (e *reply) Read(p []byte) (int, error) {
	if e.unsent {
		_ = http.NewResponseController(e.c.to).Flush() // a write that fails is seen by the next
	}
	n, err := e.ReadCloser.Read(p)
	e.left -= int64(n)
	e.unsent = e.left > 0
	return n, err
}

// Close is called when all is copied, or cannot be, and before ReverseProxy looks at the
// trailer.
func (e *reply) Close() error {
	if up := e.c.load.upload; up != nil {
		up.over() // the transport may wait in Close for whoever reads in it
	}
	err := e.ReadCloser.Close()
	e.c.ownTrailer(e.res.Trailer)
	return err
}

// ownTrailer does the same as own for an answer's trailer, whose fields ReverseProxy
// passes on whether or not they were announced, and takes out what has no place there and
// might be taken for framing (RFC 9110, section 6.5.1).
func (c *carriage) ownTrailer(t http.Header) {
	if len(t) == 0 {
		return
	}
	c.own(t)
	for _, name := range [...]string{"Connection", "Content-Length", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		delete(t, name)
	}
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
		c.load.coat.watch(trace, n) // ReverseProxy made trace for this request alone
	}
	roundTrip := c.p.transport.RoundTrip
	if c.p.h2c {
		roundTrip = c.roundTripH2C
	}
	if err := c.ending.asks(r); err != nil {
		return nil, err
	}
	res, err := roundTrip(r)
	n.close()
	c.load.coat.answered = err == nil
	if c.load.upload != nil {
		c.load.upload.answered()
	}
	return res, err
}

// roundTripH2C keeps Config.Timeout itself. The transport counts only from when a request
// is fully written; but here a service can refuse to take it, by flow control, on a
// connection that is well.
func (c *carriage) roundTripH2C(r *http.Request) (*http.Response, error) {
	if c.load.webSocket {
		return nil, errOneWay // HTTP/2 has no Upgrade, and RFC 8441 few services
	}
	ctx, giveUp := context.WithCancelCause(r.Context())
	c.load.giveUp = giveUp // at the latest when all is over: the answer's body ends with ctx
	c.ending.cancels(giveUp)
	c.taking.begin(c.p.timeout)
	res, err := c.p.transport.RoundTrip(r.WithContext(ctx))
	c.taking.end()
	if err != nil && context.Cause(ctx) == errTimeout {
		return nil, errTimeout
	}
	return res, err
}

// maxNotices is how many informational answers a service may give to a request: a 102
// every few seconds for as long as it thinks, but no flood. Each is bounded in size as the
// head of an answer is, and all of them in time by Config.Timeout.
const maxNotices = 200

// notices passes informational answers on (RFC 9110, section 15.2). The transport calls
// got from another goroutine, and may do so after it gave up; from close on it does nothing.
type notices struct {
	mu        sync.Mutex
	c         *carriage // nil when the carriage is no longer for this request
	n         int
	continued bool // the client was told to send its body
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
	if code == http.StatusContinue {
		if n.continued {
			return nil
		}
		n.continued = true
	}
	n.write(code, http.Header(header))
	return nil
}

// goOn reports whether a client that waits to be told to send its body may: the service
// said so, or it has not answered, and the client is told so now. net/http would do that
// by itself at the first read, but while it does nothing else must be written.
func (n *notices) goOn() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.continued:
		return true
	case n.c == nil:
		return false
	}
	n.continued = true
	n.write(http.StatusContinue, nil)
	return true
}

func (n *notices) write(code int, header http.Header) {
	h := n.c.w.Header()
	final := maps.Clone(h)
	n.c.own(header)
	clear(h)
	maps.Copy(h, header)
	n.c.to.WriteHeader(code)
	clear(h)
	maps.Copy(h, final)
}
