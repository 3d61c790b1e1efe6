package gate

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"doorward"
)

// The server has neither a read nor a write time-out, since streams to the service last as
// long as they last. This and Config.BodyTimeout bound what a client may hold up where
// there is no stream.
const unreadTimeout = time.Second // for a body that nobody reads

// limitBody bounds how long a client may keep one of our own doors waiting: a second for a body
// that the door does not ask for, Config.BodyTimeout from its first byte asked for on, and
// twice that for taking the answer, from its first byte on: what the door itself takes is not the
// client's time. It returns what the door is to answer to and to read.
func (g *Gate) limitBody(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
	// The connection's last answer has left a deadline behind.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	w = &timedAnswer{ResponseWriter: w, timeout: 2 * g.BodyTimeout}
	if r.ContentLength == 0 {
		return w, r
	}
	limitUnread(w, r)
	// A copy: net/http knows by the body that it made itself how much of it may be left.
	r2 := new(http.Request)
	*r2 = *r
	r2.Body = &timedBody{ReadCloser: r.Body, begin: func() { limitRest(w, r, g.BodyTimeout) }}
	return w, r2
}

// timedAnswer is an answer whose time begins with its first byte.
type timedAnswer struct {
	http.ResponseWriter
	timeout time.Duration
	begun   bool
}

func (a *timedAnswer) begin() {
	if !a.begun {
		a.begun = true
		limitAnswer(a.ResponseWriter, a.timeout)
	}
}

// WriteHeader is http.ResponseWriter's.
func (a *timedAnswer) WriteHeader(status int) {
	a.begin()
	a.ResponseWriter.WriteHeader(status)
}

// Write is http.ResponseWriter's.
func (a *timedAnswer) Write(b []byte) (int, error) {
	a.begin()
	return a.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (a *timedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// timedBody is a body whose time begins when it is first read.
type timedBody struct {
	io.ReadCloser
	begin func() // nil once it was read
}

func (b *timedBody) Read(p []byte) (int, error) {
	if b.begin != nil {
		b.begin()
		b.begin = nil
	}
	return b.ReadCloser.Read(p)
}

// limitUnread bounds how long a body is waited for that nobody reads any more. Before
// net/http sends an answer, or closes the connection after one, it reads some of what is left, so
// that the connection can be used again or the client get to read the answer, and by itself
// waits for a client that has stopped sending for as long as the client
// likes. What has not come by then is never taken for another request: the connection is
// closed. (To answer first and read then, with EnableFullDuplex, closes connections that
// could go on and leaves open some that cannot.) Over HTTP/2 nothing waits for a body, and a
// deadline that has passed stays passed.
func limitUnread(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 {
		limitRest(w, r, unreadTimeout)
	}
}

// restTaken is how much of a body is taken over HTTP/2 that nobody reads, as net/http does over HTTP/1.1.
const restTaken = 256 << 10

// takeRest takes what is left of a body over HTTP/2 before an answer that does not wait for it. Otherwise net/http
// resets the stream after the answer, and again, as one that is closed, for each frame that was under way: clients
// are known that drop the answer then. Who waits to be told to send is not told to.
func takeRest(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 2 || r.ContentLength == 0 || r.ContentLength > restTaken || len(r.Header["Expect"]) > 0 {
		return
	}
	body := r.Body
	if timed, ok := body.(*timedBody); ok {
		body = timed.ReadCloser // else its time would begin
	}
	limitRest(w, r, unreadTimeout)
	_, _ = io.CopyN(io.Discard, body, restTaken)
}

// closingBody is the body of a request after whose answer the connection is to be closed: by
// the client's word, as each is of HTTP/1.0. net/http then closes it at once, whatever has
// come or still comes of the body, and the system tells the client of a reset, often before
// it has read the answer (RFC 9112, section 9.6).
type closingBody struct {
	io.ReadCloser
	ended atomic.Bool
}

func (b *closingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.ended.Store(true)
	}
	return n, err
}

// watchClosing returns the request with such a body, and what is to be called after the answer: it
// has the connection linger where the body was not read to its end. Both do nothing for any other request.
func watchClosing(w http.ResponseWriter, r *http.Request) (*http.Request, func()) {
	if !r.Close || r.ProtoMajor != 1 || r.ContentLength == 0 {
		return r, func() {}
	}
	r2 := new(http.Request)
	*r2 = *r
	body := &closingBody{ReadCloser: r.Body}
	r2.Body = body
	return r2, func() {
		if !body.ended.Load() {
			linger(w)
		}
	}
}

// linger has net/http close the connection in two steps, the first for the client to read the answer.
// It does so by itself for a body over its limit, and for no other word.
func linger(w http.ResponseWriter) {
	for {
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = inner.Unwrap()
	}
	_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0).Read(make([]byte, 1))
}

// limitRest bounds how long the rest of a request's body may take to arrive. Not every
// writer of an embedder can do it.
func limitRest(w http.ResponseWriter, r *http.Request, timeout time.Duration) {
	if r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(timeout))
	}
}

// limitAnswer bounds how long a client may take to take an answer of ours, which is short: one that sends
// request after request and reads nothing would otherwise be waited for for ever.
func limitAnswer(w http.ResponseWriter, timeout time.Duration) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout))
}

// maxParameters is far above what any door of ours reads.
const maxParameters = 100

// checkQuery refuses a query to one of our own doors that is longer than anybody should
// take apart. What goes to the service goes as sent.
//
// Where a door asks who is there, a query must be one that can be read, each name in it once:
// what is left out of one that cannot may be what was to be done, and to whom.
func checkQuery(r *http.Request, d *Door) error {
	if strings.Count(r.URL.RawQuery, "&") >= maxParameters {
		return doorward.Invalid("query", "must not hold more than %d parameters", maxParameters)
	}
	if r.URL.RawQuery == "" || d.Reads == ReadsNothing {
		return nil
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return doorward.Invalid("query", "cannot be read: %%, ; and & in a value are written %%25, %%3B and %%26")
	}
	for _, values := range q {
		if len(values) > 1 {
			return doorward.Invalid("query", "must not give a name twice")
		}
	}
	return nil
}

// carry takes a request on to the service. A body too large by its own word is refused here, any other
// fails with *http.MaxBytesError where it gets too large.
func (g *Gate) carry(w http.ResponseWriter, r *http.Request, p *Pass) error {
	if p.maybeEnds() {
		defer g.streams.begin(p).over(p)
	}
	if r.ContentLength == 0 {
		p.carry(w, r, p)
		return nil
	}
	if g.MaxUpload > 0 {
		if r.ContentLength > g.MaxUpload {
			return &doorward.Error{Code: doorward.CodeTooLarge, Message: "body: must not exceed " + size(g.MaxUpload)}
		}
		// A copy: net/http knows by the body that it made itself how much of it may be left.
		r2 := new(http.Request)
		*r2 = *r
		r2.Body = http.MaxBytesReader(w, r.Body, g.MaxUpload)
		r = r2
	}
	p.carry(w, r, p)
	limitUnread(w, r)
	return nil
}

// size writes a number of bytes for people.
func size(n int64) string {
	for _, u := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return fmt.Sprintf("%d %s", n/u.bytes, u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
