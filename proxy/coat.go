package proxy

import (
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync/atomic"
)

// coat is what a request wears on its way: its header as the service receives it. It is
// used again, since the headers that are ours would otherwise make each request's map
// grow, at three allocations or more; but only once the transport has provably let go of
// it. The service can answer before a request is written, and what writes it then still
// reads the map when Carry is over.
type coat struct {
	header  http.Header
	values  [worn]string // what header refers to
	notices *notices     // of the request that wears it

	conns    int          // connections that the request was given
	written  atomic.Int32 // how often the transport has written it, or given up to
	answered bool         // no informational answer can follow

	got     func(int, textproto.MIMEHeader) error
	gotConn func(httptrace.GotConnInfo)
	wrote   func(httptrace.WroteRequestInfo)
}

func newCoat() *coat {
	c := &coat{header: make(http.Header, 2*worn)}
	c.got = func(code int, header textproto.MIMEHeader) error { return c.notices.got(code, header) }
	c.gotConn = func(httptrace.GotConnInfo) { c.conns++ } // in RoundTrip itself
	c.wrote = func(httptrace.WroteRequestInfo) { c.written.Add(1) }
	return c
}

// put takes over h, which is left as it is.
func (c *coat) put(h http.Header) http.Header {
	for name, values := range h {
		c.header[name] = values
	}
	return c.header
}

// watch has trace, which is for this request alone, tell c how far the transport is.
func (c *coat) watch(trace *httptrace.ClientTrace, n *notices) {
	c.notices = n
	trace.Got1xxResponse, trace.GotConn, trace.WroteRequest = c.got, c.gotConn, c.wrote
}

// maxCoat is how many headers a coat may have had that is kept.
const maxCoat = 64

// free reports whether nobody looks at c any more: the request was sent on one connection,
// was written to its end, or as far as it ever will be, and has its answer.
func (c *coat) free() bool {
	return c.answered && c.conns == 1 && c.written.Load() == 1 && len(c.header) <= maxCoat
}

// wash makes c ready for the next request.
func (c *coat) wash() {
	clear(c.header)
	c.values, c.notices, c.conns, c.answered = [worn]string{}, nil, 0, false
	c.written.Store(0)
}
