package proxy

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"doorward"
)

// closeWait is how long the end of a WebSocket may take: first until the frame is over that
// the service is in the middle of, then until the client has had the close frame.
const closeWait = 200 * time.Millisecond

// socket is a client's connection that has been taken over, as a WebSocket's is. What is
// written to it is followed from frame to frame, so that it can be ended with a close frame
// of ours where one frame is over and before the next begins (RFC 6455, section 5.5.1), or
// without one where that place does not come in time.
//
// Once it ends, nothing that the client sends reaches the service any more.
type socket struct {
	net.Conn
	patience time.Duration // for a write; 0 for ever
	closed   chan struct{}

	setting sync.Mutex // held by who sets the deadline for writes, for no longer than that
	cause   error      // why it ends; nil while it does not
	back    io.Closer  // what it is joined to, closed with it; may be nil

	writing sync.Mutex // held by who writes
	sent    frames
	over    bool        // nothing may be written any more
	said    atomic.Bool // a close frame of ours was the last

	shut     sync.Once
	shutting error
}

func newSocket(conn net.Conn, patience time.Duration, webSocket bool) *socket {
	return &socket{Conn: conn, patience: patience, closed: make(chan struct{}), sent: frames{unknown: !webSocket}}
}

// end ends the socket and what it is joined to, within three times closeWait. It does not
// wait for it.
func (s *socket) end(cause error, back io.Closer) {
	s.setting.Lock()
	defer s.setting.Unlock()
	if s.cause != nil {
		return // it has its time already
	}
	s.cause, s.back = cause, back
	_ = s.Conn.SetWriteDeadline(time.Now().Add(closeWait))
	// If the service is in the middle of a frame, whoever writes its end says the rest.
	go func() {
		s.writing.Lock()
		defer s.writing.Unlock()
		s.sayClose()
	}()
	time.AfterFunc(closeWait, s.cut)
}

// ending returns why the socket ends; nil while it does not.
func (s *socket) ending() error {
	s.setting.Lock()
	defer s.setting.Unlock()
	return s.cause
}

// sayClose writes the close frame, if it can stand here, and lets go of the service. It is
// called with writing held.
func (s *socket) sayClose() {
	if s.over || !s.sent.between() {
		return
	}
	s.over = true
	_ = s.Conn.SetWriteDeadline(time.Now().Add(closeWait)) // anew: the machine may be busy
	_, err := s.Conn.Write(closeFrame(s.ending()))
	s.said.Store(err == nil)
	s.letGo()
}

// letGo closes what the socket is joined to, upon which who copies from there closes the socket.
func (s *socket) letGo() {
	s.setting.Lock()
	back := s.back
	s.setting.Unlock()
	if back == nil {
		back = s
	}
	go back.Close() //nolint:errcheck // nobody is left to be told; over TLS it may take its time
}

// cut ends the socket wherever it stands, but lets the client read a close frame.
func (s *socket) cut() {
	s.writing.Lock() // who writes has no time left
	s.sayClose()     // if that has not come to it: the machine may be busy
	waits := s.over
	s.over = true
	s.writing.Unlock()
	if waits {
		time.AfterFunc(closeWait, s.force)
		return
	}
	s.force()
}

func (s *socket) force() {
	_ = s.Conn.SetDeadline(past)
	s.letGo()
}

// deadline sets how long the next write may take. An end has set it for good.
func (s *socket) deadline() error {
	s.setting.Lock()
	defer s.setting.Unlock()
	if s.cause != nil || s.patience == 0 {
		return nil
	}
	return s.Conn.SetWriteDeadline(time.Now().Add(s.patience))
}

// Write is net.Conn's. While the socket ends it writes on to the end of the frame that is
// under way, and no further.
func (s *socket) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.over {
		return 0, net.ErrClosed
	}
	if err := s.deadline(); err != nil {
		return 0, err
	}
	whole := len(p)
	if s.ending() != nil {
		p = p[:s.sent.rest(p)]
	}
	n, err := s.Conn.Write(p)
	s.sent.follow(p[:n])
	if err != nil {
		s.over = true // a frame may be half written
		return n, err
	}
	if s.ending() != nil {
		s.sayClose()
	}
	if n < whole {
		return n, net.ErrClosed
	}
	return n, nil
}

// Read is net.Conn's. While the socket ends, what the client sends is read and dropped: closing
// on what is unread could take the close frame from the client before it has read it.
func (s *socket) Read(p []byte) (int, error) {
	for {
		n, err := s.Conn.Read(p)
		if s.ending() == nil {
			return n, err
		}
		if err != nil {
			return 0, net.ErrClosed
		}
	}
}

// CloseWrite lets one direction end before the other.
func (s *socket) CloseWrite() error {
	half, ok := s.Conn.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("%T cannot be closed for writing alone: %w", s.Conn, http.ErrNotSupported)
	}
	return half.CloseWrite()
}

// Close is net.Conn's. After a close frame it waits a moment for the client to read it.
func (s *socket) Close() error {
	s.shut.Do(func() {
		if s.said.Load() && s.CloseWrite() == nil {
			_ = s.Conn.SetReadDeadline(time.Now().Add(closeWait))
			_, _ = io.Copy(io.Discard, s.Conn)
		}
		s.shutting = s.Conn.Close()
		close(s.closed)
	})
	return s.shutting
}

// closeFrame is a whole close frame of a server, so not masked (RFC 6455, section 5.5.1).
// Its code is policy violation, or, where it is only not known who may stay, try again
// later (1013 in IANA's registry).
func closeFrame(cause error) []byte {
	e, code := doorward.Refusal(cause), uint16(1008)
	if e.Code == doorward.CodeUnavailable {
		code = 1013
	}
	reason := e.Message[:min(len(e.Message), 123)]
	b := []byte{0x88, byte(2 + len(reason))}
	return append(binary.BigEndian.AppendUint16(b, code), reason...)
}

// frames follows what a server writes to a WebSocket: the head of its answer, and then one
// frame after the other (RFC 6455, section 5.2).
type frames struct {
	unknown bool     // it is no WebSocket
	begun   int      // bytes of the head's end that have been seen, of headEnd
	head    [14]byte // of the frame under way
	have    int      // bytes of it
	left    uint64   // bytes of the payload to come
	bye     bool     // a close frame was sent: no other may follow
}

const headEnd = "\r\n\r\n"

// between reports whether a frame of ours can stand here.
func (f *frames) between() bool {
	return !f.unknown && f.begun == len(headEnd) && f.have == 0 && f.left == 0 && !f.bye
}

// rest is how many bytes of p belong to what is under way.
func (f frames) rest(p []byte) int {
	if f.between() {
		return 0
	}
	n := 0
	for n < len(p) && !f.between() {
		n += f.step(p[n:])
	}
	return n
}

// follow takes note that p was sent.
func (f *frames) follow(p []byte) {
	for len(p) > 0 {
		p = p[f.step(p):]
	}
}

// step follows the beginning of p, which is not empty, and returns how long that is.
func (f *frames) step(p []byte) int {
	switch {
	case f.unknown:
		return len(p)
	case f.begun < len(headEnd):
		switch p[0] {
		case headEnd[f.begun]:
			f.begun++
		case '\r':
			f.begun = 1
		default:
			f.begun = 0
		}
		return 1
	case f.left > 0:
		n := min(f.left, uint64(len(p)))
		f.left -= n
		return int(n)
	}
	f.head[f.have] = p[0]
	if f.have++; f.have == f.headLen() {
		f.left = f.payload()
		f.bye = f.bye || f.head[0]&0x0f == 0x8
		f.have = 0
	}
	return 1
}

// headLen is how long the head of the frame is, as far as it has come.
func (f *frames) headLen() int {
	if f.have < 2 {
		return 2
	}
	n := 2
	switch f.head[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if f.head[1]&0x80 != 0 {
		n += 4 // a mask, though a server should have none
	}
	return n
}

func (f *frames) payload() uint64 {
	switch n := f.head[1] & 0x7f; n {
	case 126:
		return uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		return binary.BigEndian.Uint64(f.head[2:])
	default:
		return uint64(n)
	}
}
