package pgtest

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Proxy stands between a client and a server and passes the messages of PostgreSQL's
// protocol on, until it is told to cut. It is safe for concurrent use.
type Proxy struct {
	listener net.Listener
	server   string
	url      string

	mu     sync.Mutex
	conns  map[net.Conn]bool
	down   bool
	armed  bool
	stay   bool
	left   int // messages still to be passed before the cut
	passed int // since CutAt
	done   sync.WaitGroup
}

// NewProxy starts a proxy to the server at the URL of, which must say sslmode=disable. It
// ends with t.
func NewProxy(t testing.TB, of string) *Proxy {
	t.Helper()
	u, err := url.Parse(of)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, server: u.Host, conns: map[net.Conn]bool{}}
	u.Host = l.Addr().String()
	p.url = u.String()
	p.done.Go(p.accept)
	t.Cleanup(func() {
		p.listener.Close()
		p.Cut()
		p.done.Wait()
	})
	return p
}

// URL is the server's through the proxy.
func (p *Proxy) URL() string { return p.url }

// Cut ends all connections and refuses new ones until Heal.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

func (p *Proxy) cut() {
	p.down = true
	for conn := range p.conns {
		conn.Close()
	}
}

// Heal lets connections through, and no longer waits to cut them.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down, p.armed = false, false
}

// CutAt lets n messages pass from now on, in both directions together, and drops the next
// with the connection it is on. With stay it then cuts all others as well, until Heal.
func (p *Proxy) CutAt(n int, stay bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed, p.stay, p.left, p.passed = true, stay, n, 0
}

// Waiting reports whether the cut that CutAt asked for is still to come.
func (p *Proxy) Waiting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.armed
}

// Passed is how many messages have passed since CutAt.
func (p *Proxy) Passed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed
}

// pass says whether one more message may pass.
func (p *Proxy) pass() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.down:
		return false
	case p.armed && p.left == 0:
		p.armed = false
		if p.stay {
			p.cut()
		}
		return false
	case p.armed:
		p.left--
	}
	p.passed++
	return true
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil || !p.keep(client, server) {
			client.Close()
			if err == nil {
				server.Close()
			}
			continue
		}
		p.done.Go(func() { p.carry(server, client, true) })
		p.done.Go(func() { p.carry(client, server, false) })
	}
}

func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return false
	}
	for _, conn := range conns {
		p.conns[conn] = true
	}
	return true
}

// carry passes messages on until one may not pass; then it ends both connections. What a
// client says first has no type (Message Formats, in the manual's chapter on the protocol).
func (p *Proxy) carry(to, from net.Conn, untyped bool) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, conn := range []net.Conn{to, from} {
			conn.Close()
			delete(p.conns, conn)
		}
	}()
	in := bufio.NewReader(from)
	for {
		head := 5
		if untyped {
			head, untyped = 4, false
		}
		start, err := in.Peek(head)
		if err != nil {
			return
		}
		size := int64(binary.BigEndian.Uint32(start[head-4:])) + int64(head-4)
		if !p.pass() {
			return
		}
		if _, err := io.CopyN(to, in, size); err != nil {
			return
		}
	}
}
