// Package sample is the room behind the door when nobody has moved in: a small service
// that answers prompts, keeps pipelines of them and shows callers who they are, so that
// a fresh Doorward has something to guard.
//
// It authenticates nobody. It believes the identity headers it receives, and so must
// only be reached through the door.
//
//	POST   /run                              {"prompt"}: 200 {"id","status":"completed","output"}
//	GET    /api/pipelines                    200 {"pipelines":[...]}, oldest first
//	POST   /api/pipelines                    {"name","steps"}: 201 the pipeline
//	GET    /api/pipelines/{id}               200 the pipeline
//	PUT    /api/pipelines/{id}               {"name","steps"}: 200, both replaced
//	PATCH  /api/pipelines/{id}               200, what is given replaced
//	DELETE /api/pipelines/{id}               204; its runs end and go with it
//	POST   /api/pipelines/{id}/run           202 the run, which goes on in the background
//	GET    /api/pipelines/{id}/runs          200 {"runs":[...]}, newest first, without outputs
//	GET    /api/pipelines/{id}/runs/{run}    200 the run
//	GET    .../{id}/runs/{run}/events        Server-Sent Events until the run ends
//	GET    /                                 who you are, as the service sees you
//
// Refusals are {"error","status":"error"}: 400 names the field, 404, 405, 409 (no room for
// another pipeline), 413 (a body above 1 MiB), 415 (a compressed body), 502 (the command
// failed or printed too much), 503 (busy, or closing) and 504 (the command took too long).
package sample

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config says how prompts are answered and how much is allowed. The zero value is a
// service with the built-in greeter.
type Config struct {
	// Command is the program that answers, with its arguments. It is started once a
	// prompt, without a shell, reads the prompt on its standard input and prints the
	// answer. Empty: the built-in greeter, which starts nothing.
	Command []string

	// Env is the command's environment, as KEY=value. Nil: this process's, without the
	// variables that configure Doorward, since those hold secrets.
	Env []string

	// Pages is the path below which the door's own pages are, as /auth, for the page that shows who one
	// is to lead there. Empty: it leads nowhere.
	Pages string

	Timeout       time.Duration // for one run of the command; 0: 60 s
	MaxOutput     int64         // bytes that one run, all its steps together, may print; 0: 1 MiB
	MaxConcurrent int           // commands at once, the others wait their turn; 0: two a core
	MaxPipelines  int           // pipelines kept; 0: 10,000

	Now    func() time.Time // for the times shown; nil: time.Now
	NewID  func() string    // never twice the same, safe for concurrent use; nil: random
	Logger *slog.Logger     // gets ids and errors, never prompts or answers; nil: none
}

// What a Config of zeros allows.
const (
	defaultTimeout      = 60 * time.Second
	defaultMaxOutput    = 1 << 20
	defaultMaxPipelines = 10_000
)

// Service is the sample service, an http.Handler. It keeps everything in memory. It is
// safe for concurrent use.
type Service struct {
	answer    answerer
	pages     string
	maxOutput int64
	now       func() time.Time
	newID     func() string
	log       *slog.Logger
	book      *book
	mux       *http.ServeMux

	beat  time.Duration // between signs of life on a quiet event stream
	stall time.Duration // for which a reader of events may take nothing

	asking atomic.Int64 // callers of /run who wait for their answer

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	mu     sync.Mutex // guards closed, and work.Add against work.Wait
	closed bool
	work   sync.WaitGroup // runs under way, asked for or in the background
}

// An answerer turns a prompt into an answer of at most limit bytes. Its errors are
// refusals; when ctx ends it leaves nothing running.
type answerer func(ctx context.Context, prompt string, limit int64) (string, error)

// New makes a Service, or says what is wrong with the configuration. The command must
// exist. Close the Service to end what it has running.
func New(c Config) (*Service, error) {
	switch {
	case c.Timeout < 0:
		return nil, fmt.Errorf("sample timeout: must not be negative, is %v", c.Timeout)
	case c.MaxOutput < 0:
		return nil, fmt.Errorf("sample output limit: must not be negative, is %d", c.MaxOutput)
	case c.MaxConcurrent < 0:
		return nil, fmt.Errorf("sample commands at once: must not be negative, is %d", c.MaxConcurrent)
	case c.MaxPipelines < 0:
		return nil, fmt.Errorf("sample pipelines: must not be negative, is %d", c.MaxPipelines)
	}

	s := &Service{
		answer:    greet,
		pages:     c.Pages,
		maxOutput: orElse(c.MaxOutput, defaultMaxOutput),
		now:       c.Now,
		newID:     c.NewID,
		log:       c.Logger,
		book:      newBook(orElse(c.MaxPipelines, defaultMaxPipelines)),
		beat:      15 * time.Second,
		stall:     30 * time.Second,
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.newID == nil {
		s.newID = func() string { return strings.ToLower(rand.Text()) }
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if len(c.Command) > 0 {
		cmd, err := newCommand(c, s.log)
		if err != nil {
			return nil, err
		}
		s.answer = cmd.answer
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mux = s.routes()
	return s, nil
}

func newCommand(c Config, log *slog.Logger) (*command, error) {
	if slices.ContainsFunc(c.Command, func(arg string) bool { return strings.ContainsRune(arg, 0) }) {
		return nil, errors.New("sample command: must not contain a NUL byte")
	}
	if _, err := exec.LookPath(c.Command[0]); err != nil {
		return nil, fmt.Errorf("cannot find the sample command, give a program on the PATH or its full path: %w", err)
	}
	env := c.Env
	if env == nil {
		env = withoutSecrets(os.Environ())
	}
	return &command{
		argv:    slices.Clone(c.Command),
		env:     slices.Clone(env),
		timeout: orElse(c.Timeout, defaultTimeout),
		most:    orElse(c.MaxOutput, defaultMaxOutput),
		slots:   make(chan struct{}, orElse(c.MaxConcurrent, 2*runtime.NumCPU())),
		log:     log,
	}, nil
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Close ends every run, kills the process groups of their commands and waits until they
// are gone. Event streams end with their runs, so close the Service before the
// http.Server shuts down. What would start a run afterwards is refused with 503. It
// always returns nil; closing twice is harmless.
func (s *Service) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.work.Wait()
	return nil
}

// enter announces a run that Close must wait for; leave it when it has ended.
func (s *Service) enter() (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errBusy
	}
	s.work.Add(1)
	return s.work.Done, nil
}
