package app

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// guarded is l as clients may use it: with a limit on the connections of one address, with
// deadlines that cost little, and by which nobody is cut who takes an answer slowly.
func (h *house) guarded(l net.Listener) net.Listener { return patrolled(h.limited(steady{l})) }

// steady is a listener of connections that take an answer in small steps.
type steady struct{ net.Listener }

// Accept waits for a connection.
func (l steady) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		takeLess(conn)
	}
	return conn, err
}

// limited is l with a limit on the connections of one address.
func (h *house) limited(l net.Listener) net.Listener {
	s := h.settings
	if s.Limits.Connections == 0 {
		return l
	}
	return &limitedListener{
		Listener: l, most: s.Limits.Connections, exempt: s.TrustedProxies,
		now: h.now, log: h.log, refused: h.metrics.tooMany.Inc,
		open: map[netip.Addr]*holder{},
	}
}

// limitedListener closes connections of an address that has as many as it may have. Nothing
// of them is read, and nothing of ours waits for them.
type limitedListener struct {
	net.Listener
	most    int
	exempt  []netip.Prefix // our own proxies, who come for many
	now     func() time.Time
	log     *slog.Logger
	refused func() // told of each

	mu   sync.Mutex
	open map[netip.Addr]*holder // who has connections; nobody else
}

// holder is one address and the connections that it has.
type holder struct {
	n      int
	logged time.Time // when it was last said that it wanted more
}

const sayAgain = time.Minute // between two lines in the log about one address

// Accept waits for a connection that may be had. An error of the listener is returned as it
// is, since http.Server knows which pass, such as having no file descriptor left.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, counts := l.holderOf(conn)
		if !counts {
			return conn, nil
		}
		if l.take(from) {
			return &countedConn{Conn: conn, gone: func() { l.leave(from) }}, nil
		}
		l.refused()
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // nothing is to be remembered of it, not even by the kernel
		}
		_ = conn.Close()
	}
}

// holderOf is whom a connection is counted for: an address, of IPv6 the network that one
// customer is given. It is nobody for loopback and trusted proxies.
func (l *limitedListener) holderOf(conn net.Conn) (from netip.Addr, counts bool) {
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return from, false // not from a network
	}
	from = at.Addr().WithZone("").Unmap()
	if from.IsLoopback() {
		return from, false
	}
	for _, p := range l.exempt {
		if p.Contains(from) {
			return from, false
		}
	}
	if from.Is6() {
		from = netip.PrefixFrom(from, 64).Masked().Addr()
	}
	return from, true
}

// take counts a connection of from, unless it has as many as it may have.
func (l *limitedListener) take(from netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.open[from]
	if h == nil {
		h = new(holder)
		l.open[from] = h
	}
	if h.n < l.most {
		h.n++
		return true
	}
	if now := l.now(); h.logged.IsZero() || now.Sub(h.logged) >= sayAgain {
		h.logged = now
		l.log.Warn("an address has as many connections as it may have; more are closed", "address", from.String(), "limit", l.most)
	}
	return false
}

func (l *limitedListener) leave(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.open[from]
	if h.n--; h.n == 0 {
		delete(l.open, from)
	}
}

// countedConn is a connection that says once when it is closed, by whomever.
type countedConn struct {
	net.Conn
	closed atomic.Bool
	gone   func()
}

// Close closes the connection; it no longer counts.
func (c *countedConn) Close() error {
	err := c.Conn.Close()
	if c.closed.CompareAndSwap(false, true) {
		c.gone()
	}
	return err
}

// CloseWrite lets one direction of a WebSocket end before the other.
func (c *countedConn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return nil
	}
	return half.CloseWrite()
}
