//go:build unix

package pgtest

import (
	"bytes"
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// server is a postmaster under way.
type server struct {
	pid   int
	ready chan struct{} // closed when it can be asked
	gone  chan struct{} // closed when it and all its children are gone

	mu   sync.Mutex
	log  bytes.Buffer // what it said until it was ready, and the end of what it said since
	said bool
}

// logEnd is how much of a server's log is kept, for when it does not do what it should.
const logEnd = 16 << 10

// launch starts a server and returns when it can be asked.
func launch(postgres *exec.Cmd) (*server, error) {
	s := &server{ready: make(chan struct{}), gone: make(chan struct{})}
	postgres.Stderr = s
	postgres.WaitDelay = time.Minute
	started := make(chan error, 1)
	go func() {
		// The server is to end with this process, however that ends. What the kernel
		// watches is the thread that started it, so that must not be lent to another
		// goroutine, which might end it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		orphansEnd(postgres.SysProcAttr)
		err := postgres.Start()
		started <- err
		if err != nil {
			return
		}
		// Wait also waits for the end of its log, which all children hold open; so after
		// it nobody is attached to its memory.
		_ = postgres.Wait()
		close(s.gone)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	s.pid = postgres.Process.Pid
	select {
	case <-s.ready:
		return s, nil
	case <-s.gone:
		return nil, fmt.Errorf("the server did not start:\n%s", s.tail())
	case <-time.After(startTime):
		_ = s.end(syscall.SIGQUIT)
		return nil, fmt.Errorf("the server does not become ready:\n%s", s.tail())
	}
}

// Write takes the server's log.
func (s *server) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Write(p)
	if !s.said && bytes.Contains(s.log.Bytes(), []byte("database system is ready to accept")) {
		s.said = true
		close(s.ready)
	}
	if s.log.Len() > 2*logEnd {
		s.log.Next(s.log.Len() - logEnd)
	}
	return len(p), nil
}

func (s *server) tail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// end asks the server to end, by sig, and waits until it has.
func (s *server) end(sig syscall.Signal) error {
	if err := syscall.Kill(s.pid, sig); err != nil {
		return fmt.Errorf("cannot end the server: %w", err)
	}
	select {
	case <-s.gone:
		return nil
	case <-time.After(startTime):
		_ = syscall.Kill(s.pid, syscall.SIGKILL)
		return fmt.Errorf("the server does not end:\n%s", s.tail())
	}
}
