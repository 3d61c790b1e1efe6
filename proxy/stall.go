package proxy

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"time"
)

// watch calls late when something takes longer than it may: between begin and end, each
// for the same time. It is made once for a carriage, and its timer is set anew only when
// it goes off, so watching each of many short waits costs no allocation and hardly any
// time. It is safe for concurrent use.
type watch struct {
	mu    sync.Mutex
	late  func()    // called with mu held: once end has returned, it is not called any more
	until time.Time // zero while nothing is watched
	timer *time.Timer
	runs  bool // the timer
}

// begin watches from now on, and if it did already, from now on anew.
func (s *watch) begin(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Now().Add(d)
	if s.runs {
		return // it will see, when it goes off, that it is early
	}
	s.runs = true
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.look)
		return
	}
	s.timer.Reset(d)
}

func (s *watch) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Time{}
}

// look is what the timer calls.
func (s *watch) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until.IsZero() {
		s.runs = false
		return
	}
	if left := time.Until(s.until); left > 0 {
		s.timer.Reset(left)
		return
	}
	s.runs, s.until = false, time.Time{}
	s.late()
}

// past is a deadline that ends at once what waits for a client. net/http counts deadlines
// by stream in HTTP/2 and by connection in HTTP/1, where one that is set before each wait
// would be in the way of the next request; so it is set only when the wait was too long.
var past = time.Unix(1, 0)

// patientWriter writes to a client that may take its time, but not for ever: each write,
// of 32 KiB at most, is watched, unless stall is 0.
type patientWriter struct {
	http.ResponseWriter
	stall    time.Duration
	watch    watch
	hijacked func(*socket) error // told of a connection that is given out
}

func (w *patientWriter) begin() {
	if w.stall > 0 {
		w.watch.begin(w.stall)
	}
}

func (w *patientWriter) Write(p []byte) (int, error) {
	w.begin()
	defer w.watch.end()
	return w.ResponseWriter.Write(p)
}

// WriteHeader is watched since an informational answer is written at once.
func (w *patientWriter) WriteHeader(code int) {
	w.begin()
	defer w.watch.end()
	w.ResponseWriter.WriteHeader(code)
}

// FlushError is what http.ResponseController flushes with.
func (w *patientWriter) FlushError() error {
	w.begin()
	defer w.watch.end()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack gives out a connection that is as patient, and can be ended.
func (w *patientWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return conn, rw, err
	}
	s := newSocket(conn, w.stall, true)
	if err := w.hijacked(s); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	rw.Writer.Reset(s) // the head of the answer goes the same way
	return s, rw, nil
}

// Unwrap lets http.ResponseController find the rest.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
