package app

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// elsewhere is a listener whose connections come from where they are said to, since all that a test can
// really come from is loopback.
type elsewhere struct {
	net.Listener
	from  func() string // HOST:PORT
	fails atomic.Int64  // how often Accept fails before it works
}

type fromElsewhere struct {
	net.Conn
	addr net.Addr
}

func (c fromElsewhere) RemoteAddr() net.Addr { return c.addr }

func (l *elsewhere) Accept() (net.Conn, error) {
	if l.fails.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return fromElsewhere{conn, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(l.from()))}, nil
}

// limitedServer serves with at most limit connections of an address, which from gives.
func limitedServer(t *testing.T, limit int, from func() string) (l *limitedListener, source *elsewhere, refused *atomic.Int64, log *logBuffer) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused, log, source = new(atomic.Int64), new(logBuffer), &elsewhere{Listener: inner, from: from}
	l = &limitedListener{
		Listener: source, most: limit, exempt: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, now: time.Now,
		log: slog.New(slog.NewTextHandler(log, nil)), refused: func() { refused.Add(1) }, open: map[netip.Addr]*holder{},
	}
	server := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hijack" {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}), defaultLimits(t), slog.New(slog.DiscardHandler))
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return l, source, refused, log
}

// defaultLimits are the limits that a server has when nothing is set.
func defaultLimits(t *testing.T) Limits {
	t.Helper()
	l := load(sources{})
	if err := l.err(); err != nil {
		t.Fatal(err)
	}
	return l.Limits
}

// answers reports whether the server answers on conn.
func answers(conn net.Conn, path string) bool {
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	n, _ := conn.Read(make([]byte, 16))
	return n > 0
}

// waitForNobody waits until no connection counts any more, and nothing is remembered.
func (l *limitedListener) waitForNobody(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		n := len(l.open)
		l.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d addresses are remembered", n)
		}
	}
}

func TestAnAddressHasSoManyConnections(t *testing.T) {
	t.Parallel()
	var from atomic.Value
	from.Store("192.0.2.1:1")
	l, _, refused, log := limitedServer(t, 3, func() string { return from.Load().(string) })
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	var held []net.Conn
	for i, path := range []string{"/", "/hijack", "/"} {
		held = append(held, dial())
		if !answers(held[i], path) {
			t.Fatalf("connection %d is not served", i)
		}
	}
	for range 100 {
		if conn := dial(); answers(conn, "/") {
			t.Fatal("one too many is served")
		}
	}
	if n := refused.Load(); n != 100 {
		t.Errorf("%d refusals are counted", n)
	}
	if n := strings.Count(log.String(), "as many connections"); n != 1 || !strings.Contains(log.String(), "192.0.2.1") {
		t.Errorf("logged %d times: %s", n, log)
	}
	// Others are not concerned, and those who come for many have no limit.
	for _, addr := range []string{"192.0.2.2:1", "[2001:db8::1]:1", "10.1.2.3:4", "127.0.0.1:5", "[::1]:5", "[::ffff:127.0.0.1]:5", "[::ffff:10.0.0.1]:5"} {
		from.Store(addr)
		if !answers(dial(), "/") {
			t.Errorf("%s is not served", addr)
		}
	}
	// An IPv4 address is the same written as IPv6; a /64 is one address.
	from.Store("[::ffff:192.0.2.1]:9")
	if answers(dial(), "/") {
		t.Error("an IPv4 address written as IPv6 is another")
	}
	for i := range 4 {
		from.Store(fmt.Sprintf("[2001:db8:0:7::%x]:1", i))
		if answers(dial(), "/") != (i < 3) {
			t.Errorf("connection %d of a /64", i)
		}
	}
	from.Store("10.1.2.3:4")
	for range 20 {
		if !answers(dial(), "/") {
			t.Fatal("a trusted proxy is not served")
		}
	}
	// A place that is given up can be had again: by the client's doing, the upgraded connection too.
	from.Store("192.0.2.1:1")
	for _, conn := range held {
		_ = conn.(*net.TCPConn).SetLinger(0) // an abrupt end
		_ = conn.Close()
		for !answers(dial(), "/") {
			time.Sleep(time.Millisecond) // until the server has seen it
		}
	}
}

// TestCountsAreRightWhenManyComeAndGo: 64 at once, who leave in every way there is.
func TestCountsAreRightWhenManyComeAndGo(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	l, _, refused, _ := limitedServer(t, 10, func() string { return fmt.Sprintf("192.0.2.%d:1", n.Add(1)%4) })
	var all sync.WaitGroup
	var ok atomic.Int64
	for i := range 64 {
		all.Go(func() {
			for j := range 20 {
				conn, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				path := "/"
				if (i+j)%5 == 0 {
					path = "/hijack"
				}
				if answers(conn, path) {
					ok.Add(1)
				}
				if (i+j)%3 == 0 {
					_ = conn.(*net.TCPConn).SetLinger(0)
				}
				_ = conn.Close()
			}
		})
	}
	all.Wait()
	l.waitForNobody(t)
	if ok.Load()+refused.Load() != 64*20 || ok.Load() == 0 {
		t.Errorf("%d served and %d refused are not %d", ok.Load(), refused.Load(), 64*20)
	}
}

// TestRE5NoFileDescriptorsLeft: the server outlives a time in which it can accept nobody.
func TestRE5NoFileDescriptorsLeft(t *testing.T) {
	t.Parallel()
	l, source, _, _ := limitedServer(t, 1, func() string { return "192.0.2.1:1" })
	source.fails.Store(5)
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if !answers(conn, "/") { // taken by the Accept that was under way
		t.Error("not served")
	}
	_ = conn.Close()
	l.waitForNobody(t)
	again, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if !answers(again, "/") {
		t.Error("the server is gone")
	}
	if left := source.fails.Load(); left > 0 {
		t.Errorf("Accept did not fail %d times", left)
	}
	_ = l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}
