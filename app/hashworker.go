package app

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"doorward"
)

// hashWorker is a second process of this program in which the server has the keys of
// passwords computed. Each takes 19 MiB and leaves them as garbage: in the server's own process the
// collector would have to follow every second one with a round through all connections there
// are, and who asks with a good token would wait for that. With two thousand sign-ins at once
// their p99 was 30 times an idle server's, and is about the same as that this way.
//
// It is begun with the first password and ends with the server, however that ends: its
// input does. Where it cannot be had the keys are computed here. Safe for concurrent use.
type hashWorker struct {
	log   *slog.Logger
	begin func() *exec.Cmd

	mu      sync.Mutex
	running *hashRun // nil while there is none
	given   int      // how often in a row it has failed
	closed  bool
}

const (
	hashPatience    = time.Minute // for one key; it takes some 20 ms, and more of a busy machine
	hashWorkerTries = 3           // failures in a row, after which it is done without
	hashWorkerEnds  = 2 * time.Second
)

// hashAsk and hashAnswer are what goes to the worker and comes back, in any order.
type (
	hashAsk struct {
		ID uint64
		doorward.Argon2
	}
	hashAnswer struct {
		ID  uint64
		Key []byte
	}
)

func newHashWorker(log *slog.Logger) *hashWorker {
	return &hashWorker{log: log, begin: func() *exec.Cmd {
		self := "/proc/self/exe" // this very program, also when another has taken its place
		if runtime.GOOS != "linux" {
			self = os.Args[0]
			if path, err := os.Executable(); err == nil {
				self = path
			}
		}
		cmd := exec.Command(self)
		cmd.Args = []string{os.Args[0], "hash-worker"}
		cmd.Env = []string{} // secrets may be there
		return cmd
	}}
}

// key is doorward.HasherConfig.Key.
func (w *hashWorker) key(a doorward.Argon2) ([]byte, error) {
	for range 2 { // the second time of a process that was begun just now
		run := w.run()
		if run == nil {
			break
		}
		key, err := run.key(a)
		if err != nil {
			w.failed(run, err)
			continue
		}
		w.mu.Lock()
		w.given = 0
		w.mu.Unlock()
		return key, nil
	}
	return a.Key(), nil
}

// run returns the process, which it begins where there is none; nil where there can be none.
func (w *hashWorker) run() *hashRun {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed || w.given >= hashWorkerTries:
		return nil
	case w.running != nil:
		return w.running
	}
	run, err := beginHashes(w.begin())
	if err != nil {
		w.fail(err)
		return nil
	}
	w.running = run
	return run
}

// failed gives up a process that does not do what it is there for.
func (w *hashWorker) failed(run *hashRun, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	run.stop(0)
	if w.running != run || w.closed {
		return // somebody else has noticed already
	}
	w.running = nil
	w.fail(err)
}

func (w *hashWorker) fail(err error) {
	w.given++
	next := "another takes its place"
	if w.given == hashWorkerTries {
		next = "they are computed in this process from now on; sign-ins may hold up other requests"
	}
	w.log.Warn("the process that computes password hashes has failed; "+next, "err", err)
}

// Close ends the process.
func (w *hashWorker) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.running != nil {
		w.running.stop(hashWorkerEnds)
		w.running = nil
	}
	return nil
}

// hashRun is one such process.
type hashRun struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	over chan struct{} // closed when it has ended

	mu      sync.Mutex
	to      *gob.Encoder
	last    uint64
	waiting map[uint64]chan []byte
	err     error // why it ended; to be read when over is closed
}

func beginHashes(cmd *exec.Cmd) (*hashRun, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &hashRun{cmd: cmd, in: in, over: make(chan struct{}), to: gob.NewEncoder(in), waiting: map[uint64]chan []byte{}}
	go r.read(out)
	return r, nil
}

// read hands the answers out until there are no more.
func (r *hashRun) read(out io.Reader) {
	from := gob.NewDecoder(out)
	for {
		var a hashAnswer
		err := from.Decode(&a)
		if err != nil {
			_ = r.in.Close()
			_ = r.cmd.Process.Kill()
			r.err = errors.Join(err, r.cmd.Wait())
			close(r.over)
			return
		}
		r.mu.Lock()
		asked := r.waiting[a.ID]
		delete(r.waiting, a.ID)
		r.mu.Unlock()
		if asked != nil {
			asked <- a.Key
		}
	}
}

func (r *hashRun) key(a doorward.Argon2) ([]byte, error) {
	answer := make(chan []byte, 1)
	r.mu.Lock()
	r.last++
	id := r.last
	r.waiting[id] = answer
	err := r.to.Encode(hashAsk{id, a})
	r.mu.Unlock()
	if err != nil {
		return nil, err
	}
	patience := time.NewTimer(hashPatience)
	defer patience.Stop()
	select {
	case key := <-answer:
		if len(key) != int(a.Length) {
			return nil, fmt.Errorf("it answered with %d bytes, not %d", len(key), a.Length)
		}
		return key, nil
	case <-r.over:
		return nil, r.err
	case <-patience.C:
		return nil, errors.New("it does not answer")
	}
}

// stop lets it end within that time, or ends it.
func (r *hashRun) stop(within time.Duration) {
	_ = r.in.Close()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-r.over:
	case <-timer.C:
		_ = r.cmd.Process.Kill()
		<-r.over
	}
}

// hashWorkerCmd is what the worker runs. It is no command for people.
type hashWorkerCmd struct{}

// Run computes what it is asked for until its input ends, and with it the server. What asks
// the server to end, it is not asked: a terminal and systemd tell both.
func (*hashWorkerCmd) Run(_ context.Context, p *program) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	return computeHashes(p.In, p.Out)
}

// computeHashes answers each ask by a goroutine of its own; who asks knows how many at once.
func computeHashes(in io.Reader, out io.Writer) error {
	var mu sync.Mutex
	from, to := gob.NewDecoder(in), gob.NewEncoder(out)
	var all sync.WaitGroup
	defer all.Wait()
	for {
		var ask hashAsk
		switch err := from.Decode(&ask); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("cannot read what to compute: %w; this command is for the server alone", err)
		}
		all.Go(func() {
			key := ask.Key()
			mu.Lock()
			defer mu.Unlock()
			_ = to.Encode(hashAnswer{ask.ID, key}) // who asked has gone, or reads it
		})
	}
}
