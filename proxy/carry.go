package proxy

import (
	"cmp"
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
	// Upstream is the service: http or https, a host, perhaps a base path under which
	// everything is asked for.
	Upstream *url.URL

	// Timeout is how long the service may take from the end of the request to the first
	// byte of its answer, and how long it may refuse to take a byte of a request; 0 is 10
	// minutes. Once it answers it may take as long as it likes.
	Timeout time.Duration

	Names
	Forward string       // "", or AsSent
	Log     *slog.Logger // nil logs nothing

	// Fail writes an error answer; nil writes the JSON {"error": message, "status": "error"}.
	Fail func(w http.ResponseWriter, r *http.Request, status int, message string)
}

// Proxy carries requests to one service. It is safe for concurrent use.
type Proxy struct {
	upstream  *url.URL
	path, raw string // the base path, decoded and escaped, without a final slash
	names     Names
	forward   string
	log       *slog.Logger
	fail      func(w http.ResponseWriter, r *http.Request, status int, message string)
	transport *http.Transport
	carriages sync.Pool // of *carriage
}

// New checks c and returns a Proxy. The service need not be up.
func New(c Config) (*Proxy, error) {
	u := c.Upstream
	switch {
	case u == nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Opaque != "":
		return nil, errors.New("upstream: must be an http or https URL with a host, such as http://localhost:3000")
	case u.User != nil:
		return nil, errors.New("upstream: must not hold a user name or password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("upstream: must not hold a query or a fragment")
	case c.Timeout < 0:
		return nil, errors.New("upstream_timeout: must not be negative")
	case c.Forward != "" && c.Forward != AsSent:
		return nil, errors.New("forward_credentials: must be off or " + AsSent)
	}
	p := &Proxy{
		upstream:  u,
		path:      strings.TrimSuffix(u.Path, "/"),
		raw:       strings.TrimSuffix(u.EscapedPath(), "/"),
		names:     c.Names,
		forward:   c.Forward,
		log:       c.Log,
		fail:      c.Fail,
		transport: newTransport(cmp.Or(c.Timeout, 10*time.Minute)),
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.fail == nil {
		p.fail = failJSON
	}
	logger, buffers := slog.NewLogLogger(p.log.Handler(), slog.LevelWarn), new(buffers)
	p.carriages.New = func() any {
		c := &carriage{p: p}
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
// r's context does, so whoever wants a stream to end with its session cancels that.
//
// If the service gives no usable answer, Config.Fail writes a 502 or a 504. If it breaks
// off in the middle of one, or r's context ended before it began, Carry panics with
// http.ErrAbortHandler, as net/http has it, so that the client sees a connection cut and
// never an answer that looks complete.
func (p *Proxy) Carry(w http.ResponseWriter, r *http.Request, pass Passage) {
	c := p.carriages.Get().(*carriage)
	c.w, c.r, c.pass = w, r, pass
	defer c.putBack()
	c.reverse.ServeHTTP(w, r)
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
	r    *http.Request
	pass Passage
	load *luggage // nil until rewrite has run
}

// luggage is what the transport's goroutines may still look at when Carry is over: the
// service can answer before it has read the request.
type luggage struct {
	values    [worn]string
	upload    *upload // nil if the request has no body
	webSocket bool    // asked for
	switched  bool    // the answer was a 101: the connection is, or is about to be, no longer HTTP
	notices   notices
	eager     eager
}

func (c *carriage) putBack() {
	c.w, c.r, c.pass, c.load = nil, nil, Passage{}, nil
	c.p.carriages.Put(c)
}

// rewrite makes the request to the service. ReverseProxy has already taken out what the
// client's Connection header names (RFC 9110, section 7.6.1), so what is written here
// stays.
func (c *carriage) rewrite(pr *httputil.ProxyRequest) {
	in, out := pr.In, pr.Out
	c.load = new(luggage)
	dress(out.Header, in, &c.pass, c.p.names, c.p.forward, &c.load.values)
	c.load.webSocket = asksWebSocket(in)
	setConnection(out.Header, c.load.webSocket)
	out.Trailer = nil
	if out.Body != nil {
		c.load.upload = &upload{ReadCloser: out.Body}
		out.Body = c.load.upload
	}

	path, raw := c.pass.target()
	if !strings.HasPrefix(path, "/") {
		path, raw = "/"+path, ""
	}
	if raw != "" || c.p.raw != c.p.path {
		if raw == "" {
			raw = (&url.URL{Path: path}).EscapedPath()
		}
		raw = c.p.raw + raw
	}
	// A query that net/url cannot parse was "cleaned" in out; in has it as sent. out.Host
	// stays the client's.
	*out.URL = url.URL{
		Scheme: c.p.upstream.Scheme, Host: c.p.upstream.Host,
		Path: c.p.path + path, RawPath: raw,
		RawQuery: in.URL.RawQuery, ForceQuery: in.URL.ForceQuery,
	}
}
