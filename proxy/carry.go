package proxy

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Config says where requests are carried and how.
type Config struct {
	// Upstream is the service: http or https, which is HTTP/1.1, or h2c, which is HTTP/2 in
	// clear by prior knowledge (RFC 9113, section 3.3), as gRPC services speak it; a host,
	// perhaps a base path under which everything is asked for.
	Upstream *url.URL

	// Strip is a prefix of the decoded canonical path that the service does not know of: it
	// is taken off, in whole segments, from every path that begins with it. With /v1 the
	// service is asked for / and /x in place of /v1 and /v1/x. Empty is none.
	Strip string

	// Timeout is how long the service may take from the end of the request to the first
	// byte of its answer, and how long, or up to a quarter more, it may refuse to take a byte
	// of a request; 0 is 10 minutes. Once it answers it may take as long as it likes.
	Timeout time.Duration

	// Stall is how long a client may take nothing of an answer that is ready for it, and,
	// before the answer has begun, send nothing of a body that the service waits for; 0 is
	// for ever. The first is counted for pieces of up to 32 KiB; it cuts the connection, or
	// in HTTP/2 the stream, which also ends a WebSocket. The second is a 408. A client may be
	// silent for as long as it likes once the answer has begun.
	//
	// A kernel that takes megabytes of an answer, and then no more until it is rid of much of
	// them, makes who reads slowly look like who has stopped: let the server's listener bound
	// what lies unsent (TCP_NOTSENT_LOWAT).
	//
	// In HTTP/2 a client can also take nothing of the whole connection; the server's
	// HTTP2Config.WriteByteTimeout must then end that.
	Stall time.Duration

	Names
	Forward string       // "", or AsSent
	Log     *slog.Logger // nil logs nothing

	// Fail writes an error answer; nil writes the JSON {"error": message, "status": "error"}.
	Fail func(w http.ResponseWriter, r *http.Request, status int, message string)
}

// Proxy carries requests to one service. It is safe for concurrent use.
type Proxy struct {
	scheme    string // of the transport
	host      string
	h2c       bool
	path, raw string // the base path, decoded and escaped, without a final slash
	strip     string
	timeout   time.Duration
	stall     time.Duration
	names     Names
	forward   string
	log       *slog.Logger
	fail      func(w http.ResponseWriter, r *http.Request, status int, message string)
	transport *http.Transport
	carriages sync.Pool // of *carriage
	coats     sync.Pool // of *coat
}

// New checks c and returns a Proxy. The service need not be up.
func New(c Config) (*Proxy, error) {
	u := c.Upstream
	switch {
	case u == nil || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "h2c" || u.Host == "" || u.Opaque != "":
		return nil, errors.New("upstream: must be an http, https or h2c URL with a host, such as http://localhost:3000")
	case u.User != nil:
		return nil, errors.New("upstream: must not hold a user name or password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("upstream: must not hold a query or a fragment")
	case c.Timeout < 0:
		return nil, errors.New("upstream_timeout: must not be negative")
	case c.Stall < 0:
		return nil, errors.New("stall: must not be negative")
	case !cleanPrefix(c.Strip):
		return nil, errors.New("strip: must be a clean path such as /v1, with no slash at its end")
	case c.Forward != "" && c.Forward != AsSent:
		return nil, errors.New("forward_credentials: must be off or " + AsSent)
	}
	p := &Proxy{
		scheme:  u.Scheme,
		host:    u.Host,
		h2c:     u.Scheme == "h2c",
		path:    strings.TrimSuffix(u.Path, "/"),
		raw:     strings.TrimSuffix(u.EscapedPath(), "/"),
		strip:   c.Strip,
		timeout: cmp.Or(c.Timeout, 10*time.Minute),
		stall:   c.Stall,
		names:   c.Names,
		forward: c.Forward,
		log:     c.Log,
		fail:    c.Fail,
	}
	p.transport = newTransport(p.timeout, p.h2c)
	if p.h2c {
		p.scheme = "http"
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.fail == nil {
		p.fail = failJSON
	}
	logger, buffers := slog.NewLogLogger(p.log.Handler(), slog.LevelWarn), new(buffers)
	p.coats.New = func() any { return newCoat() }
	p.carriages.New = func() any {
		c := &carriage{p: p}
		c.out.stall, c.out.watch.late, c.out.hijacked = p.stall, c.tookNothing, c.hijacked
		c.ending.call = c.end
		c.giving.late, c.taking.late = c.gaveNothing, c.serviceTookNothing
		c.reverse = httputil.ReverseProxy{
			Rewrite:        c.rewrite,
			Transport:      c,
			ModifyResponse: c.answer,
			ErrorHandler:   c.refuse,
			BufferPool:     buffers,
			ErrorLog:       logger,
		}
		return c
	}
	return p, nil
}

// Carry sends r to the service as pass says and copies the answer to w, streaming both
// ways; a WebSocket ends when either side does. It returns when all is over. It ends when
// r's context does, or when pass.Ends says so: a WebSocket then with a close frame, anything
// else with a cut, also while a body is still on its way to the service.
//
// If the service gives no usable answer, Config.Fail writes a 502 or a 504. If it breaks
// off in the middle of one, or r's context ended before it began, Carry panics with
// http.ErrAbortHandler, as net/http has it, so that the client sees a connection cut and
// never an answer that looks complete.
func (p *Proxy) Carry(w http.ResponseWriter, r *http.Request, pass Passage) {
	c := p.carriages.Get().(*carriage)
	c.w, c.r, c.pass = w, r, pass
	defer c.putBack()
	if p.stall > 0 || asksWebSocket(r) {
		c.out.ResponseWriter = w
		w = &c.out
	}
	c.to = w
	if pass.Ends != nil {
		pass.Ends.EndWith(c.ending.begin(c))
	}
	c.reverse.ServeHTTP(w, r)
	if p.stall > 0 && !c.load.isSwitched() {
		// The server has yet to write what lies in buffers, and the end mark. It takes the
		// deadline back before the next request of the connection.
		_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(p.stall))
	}
}

// CloseIdle closes the connections to the service that carry nothing at the moment.
func (p *Proxy) CloseIdle() { p.transport.CloseIdleConnections() }

// carriage is one request on its way. It owns a ReverseProxy, whose hooks are then methods
// that know the Passage; a context value would cost two copies of the request. It is used
// again once ServeHTTP has returned; what may be in other hands for longer (luggage) is
// made anew for each request.
type carriage struct {
	p       *Proxy
	reverse httputil.ReverseProxy

	w    http.ResponseWriter
	to   http.ResponseWriter // w, watched if there is a Config.Stall
	r    *http.Request
	pass Passage
	load *luggage // nil until rewrite has run

	ending ending // before its time
	out    patientWriter
	giving watch // how long the client gives nothing of its body
	taking watch // how long an h2c service neither takes of it nor answers
}

// luggage is what the transport's goroutines may still look at when Carry is over: the
// service can answer before it has read the request.
type luggage struct {
	coat      *coat
	upload    *upload // nil if the request has no body
	body      upload  // what upload refers to
	webSocket bool    // asked for
	switched  bool    // the answer was a 101: the connection is, or is about to be, no longer HTTP
	notices   notices
	reply     reply
	giveUp    context.CancelCauseFunc // ends the request to an h2c service; nil to others
}

// isSwitched is false for nil, if nothing was sent to the service.
func (l *luggage) isSwitched() bool { return l != nil && l.switched }

func (c *carriage) putBack() {
	if c.pass.Ends != nil {
		c.pass.Ends.EndWith(nil)
		c.ending.over()
	}
	if c.load != nil {
		if c.load.upload != nil {
			c.load.upload.over()
		}
		if coat := c.load.coat; !c.p.h2c && coat.free() { // HTTP/2 in net/http promises less
			coat.wash()
			c.p.coats.Put(coat)
		}
		if c.load.giveUp != nil {
			c.load.giveUp(nil)
		}
	}
	c.w, c.to, c.out.ResponseWriter, c.r, c.pass, c.load = nil, nil, nil, nil, Passage{}, nil
	c.p.carriages.Put(c)
}

// rewrite makes the request to the service. ReverseProxy has already taken out what the
// client's Connection header names (RFC 9110, section 7.6.1), so what is written here
// stays.
func (c *carriage) rewrite(pr *httputil.ProxyRequest) {
	in, out := pr.In, pr.Out
	c.load = new(luggage)
	c.load.coat = c.p.coats.Get().(*coat)
	out.Header = c.load.coat.put(out.Header)
	dress(out.Header, in, &c.pass, c.p.names, c.p.forward, &c.load.coat.values)
	c.load.webSocket = asksWebSocket(in)
	setConnection(out.Header, c.load.webSocket)
	out.Trailer = nil
	if out.Body != nil {
		c.load.upload = &c.load.body
		c.load.upload.ReadCloser, c.load.upload.c = out.Body, c
		c.load.upload.read.L = &c.load.upload.mu
		out.Body = c.load.upload
		if c.load.upload.expect(in) {
			// Without this the transport would send the body after all once the service has
			// refused it, so as to use the connection again; HTTP/2 need not.
			out.Close = !c.p.h2c
		}
	}

	// A query that net/url cannot parse was "cleaned" in out; in has it as sent. out.Host
	// stays the client's.
	*out.URL = c.p.target(&c.pass, in.URL)
}
