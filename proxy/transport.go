package proxy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// newTransport keeps enough idle connections that a busy door does not dial anew for each
// request (net/http keeps two), takes no proxy from the environment, and leaves encodings
// and redirects to client and service. HTTP/1.1 only, also over TLS: one request, one
// connection, so that one which stalls holds up nobody else. Or, with h2c, only HTTP/2 in
// clear: many requests share a connection, whose other end is asked now and then whether it
// is still there, since no request of theirs would find that out in reasonable time.
//
// It tries a request again only as net/http does: when a kept connection turned out to be
// closed, and the method is idempotent or nothing was written.
func newTransport(timeout time.Duration, h2c bool) *http.Transport {
	dialer := net.Dialer{Timeout: min(10*time.Second, timeout), KeepAlive: 30 * time.Second}
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &patientConn{Conn: conn, patience: timeout, began: time.Now()}, nil
		},
		DisableCompression:     true,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    1024,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    min(10*time.Second, timeout),
		ResponseHeaderTimeout:  timeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 1 << 20,
	}
	if h2c {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetUnencryptedHTTP2(true)
		t.HTTP2 = &http.HTTP2Config{
			// What a slow client leaves lying here; net/http allows 4 MiB a request.
			MaxReceiveBufferPerStream: 512 << 10,
			SendPingTimeout:           min(30*time.Second, timeout),
			PingTimeout:               min(15*time.Second, timeout),
		}
	}
	return t
}

// patientConn is a connection on which a write may wait only so long. The transport's own
// time-out begins when the request is fully written, which a service that stops reading
// in the middle of it never lets happen.
type patientConn struct {
	net.Conn
	patience time.Duration
	began    time.Time
	until    atomic.Int64 // the deadline, in nanoseconds after began; 0 for none yet
}

// Write is net.Conn's, with patience for a time-out, or up to a quarter more: the deadline is
// moved on only when there is less than patience left, since to move one for each request
// costs as much as to judge it. It is for the socket, so it is counted by the clock of the machine.
func (c *patientConn) Write(b []byte) (int, error) {
	if now := time.Since(c.began); c.until.Load() < int64(now+c.patience) {
		until := now + c.patience + c.patience/4
		if err := c.SetWriteDeadline(c.began.Add(until)); err != nil {
			return 0, err
		}
		c.until.Store(int64(until))
	}
	return c.Conn.Write(b)
}

// CloseWrite lets one direction of a WebSocket end before the other.
func (c *patientConn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("%T cannot be closed for writing alone: %w", c.Conn, http.ErrNotSupported)
	}
	return half.CloseWrite()
}

// buffers are what answers are copied through.
type buffers struct{ pool sync.Pool }

type buffer [32 << 10]byte

// Get returns a buffer with whatever was in it.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*buffer); ok {
		return p[:]
	}
	return new(buffer)[:]
}

// Put takes a buffer back that came from Get.
func (b *buffers) Put(p []byte) { b.pool.Put((*buffer)(p)) }
