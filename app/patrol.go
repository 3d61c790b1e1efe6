package app

import (
	"container/list"
	"net"
	"sync"
	"time"
)

// The deadlines of a connection move some eight times for each request: net/http has one for a
// head and one for what lies between two requests, we have one for an answer to be taken. To
// move a timer of the runtime costs more than to judge the request. So they are only noted
// here, and several times a second somebody goes round all connections and ends what has
// been waited for too long.

// patrolEvery is how late a deadline may be.
const patrolEvery = 100 * time.Millisecond

// patrol is a listener whose connections keep their deadlines so. It is safe for concurrent use.
type patrol struct {
	net.Listener
	began time.Time

	mu    sync.Mutex
	rests bool // nobody goes round: there is no connection
	n     int  // connections in all lists
	beats [16]beat
}

// beat is a part of the connections. Each has a lock, so that who opens or closes one never
// waits until somebody has been round all of them.
type beat struct {
	mu    sync.Mutex
	conns list.List // of *patrolledConn
}

func patrolled(l net.Listener) *patrol {
	return &patrol{Listener: l, began: time.Now(), rests: true}
}

// Accept waits for a connection.
func (p *patrol) Accept() (net.Conn, error) {
	conn, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return p.watch(conn), nil
}

func (p *patrol) watch(conn net.Conn) *patrolledConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := &p.beats[p.n%len(p.beats)]
	p.n++
	c := &patrolledConn{countedConn: &countedConn{Conn: conn}, patrol: p}
	e := b.add(c)
	c.gone = func() {
		b.remove(e)
		p.left()
	}
	if p.rests {
		p.rests = false
		go p.walk()
	}
	return c
}

// walk goes round for as long as there are connections, also when nothing is listened for any more.
func (p *patrol) walk() {
	tick := time.NewTicker(patrolEvery)
	defer tick.Stop()
	for range tick.C {
		if p.rest() {
			return
		}
		now := time.Now()
		for i := range p.beats {
			p.beats[i].walk(now)
		}
	}
}

func (p *patrol) rest() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rests = p.n == 0
	return p.rests
}

func (b *beat) add(c *patrolledConn) *list.Element {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.conns.PushBack(c)
}

func (b *beat) remove(e *list.Element) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns.Remove(e)
}

func (b *beat) walk(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for e := b.conns.Front(); e != nil; e = e.Next() {
		e.Value.(*patrolledConn).look(now)
	}
}

// patrolledConn is a connection of a patrol, until it is closed.
type patrolledConn struct {
	*countedConn
	patrol *patrol

	mu          sync.Mutex
	read, write deadline
}

// deadline is one of a connection. The true one, of the runtime, is none or long past.
type deadline struct {
	at     time.Time // zero for none
	passed bool      // and the true one says so
}

// longPast ends at once what waits.
var longPast = time.Unix(1, 0)

// move notes that d is at t, and lets set say so where it cannot wait. A deadline before
// the patrol began is one that is to end what waits, as net/http sets it.
func (c *patrolledConn) move(d *deadline, t time.Time, set func(time.Time) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	d.at = t
	passed := !t.IsZero() && t.Before(c.patrol.began)
	if passed == d.passed {
		return nil
	}
	d.passed = passed
	if passed {
		return set(longPast)
	}
	return set(time.Time{})
}

// look ends what is waited for too long.
func (c *patrolledConn) look(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// An error is that of a connection which is closed: then nothing waits.
	if c.read.late(now) {
		_ = c.Conn.SetReadDeadline(longPast)
	}
	if c.write.late(now) {
		_ = c.Conn.SetWriteDeadline(longPast)
	}
}

func (d *deadline) late(now time.Time) bool {
	if d.passed || d.at.IsZero() || now.Before(d.at) {
		return false
	}
	d.passed = true
	return true
}

// SetReadDeadline moves the deadline of reads that wait and of those to come; one in the
// future may be late by patrolEvery.
func (c *patrolledConn) SetReadDeadline(t time.Time) error {
	return c.move(&c.read, t, c.Conn.SetReadDeadline)
}

// SetWriteDeadline is SetReadDeadline for writes.
func (c *patrolledConn) SetWriteDeadline(t time.Time) error {
	return c.move(&c.write, t, c.Conn.SetWriteDeadline)
}

// SetDeadline moves both.
func (c *patrolledConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (p *patrol) left() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n--
}
