package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"doorward"
	frontdoor "doorward/door"
	"doorward/sample"
)

// stopTimeout is for requests under way when asked to stop; streams are cut then.
const stopTimeout = 10 * time.Second

// serve runs the server until ctx ends, then lets requests under way finish.
func serve(ctx context.Context, s Settings, warnings []string, std Streams) (err error) {
	log := newLog(s, std.Err)
	h, err := open(ctx, s, log, time.Now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	for _, w := range append(warnings, h.warnings...) {
		log.Warn(w)
	}
	listener, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w; choose another with --listen", s.Listen, err)
	}
	servers := []*http.Server{newServer(h.handler, s.Limits, log)}
	listeners := []net.Listener{h.limited(listener)}
	if s.MetricsListen != "" {
		l, err := net.Listen("tcp", s.MetricsListen)
		if err != nil {
			_ = listener.Close()
			return fmt.Errorf("cannot listen on %s for metrics: %w", s.MetricsListen, err)
		}
		servers, listeners = append(servers, newServer(h.metrics.page(s.MetricsPath), s.Limits, log)), append(listeners, l)
		log.Info("serving metrics", "addr", l.Addr().String(), "path", s.MetricsPath)
	}
	h.announce(ctx, listener.Addr(), std.Err)
	defer runtime.KeepAlive(collectLessOften())
	return run(ctx, h, servers, listeners, log)
}

// heapFloor is about how much garbage may lie before the collector runs, in bytes. What a
// door keeps is small, a few MiB, so the collector, which by itself waits for as much again,
// would run many times a second under load and take a tenth of the time.
const heapFloor = 32 << 20

// collectLessOften returns memory that makes the collector wait; it is never touched, so
// it takes address space and none of the machine's memory. Whoever has set the collector by
// the environment is left alone: nothing is returned then.
func collectLessOften() []byte {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	return make([]byte, heapFloor)
}

// run serves until ctx ends or a listener breaks.
func run(ctx context.Context, h *house, servers []*http.Server, listeners []net.Listener, log *slog.Logger) error {
	broken := make(chan error, len(servers))
	for i, server := range servers {
		go func() {
			if err := server.Serve(listeners[i]); !errors.Is(err, http.ErrServerClosed) {
				broken <- fmt.Errorf("cannot serve on %s: %w", listeners[i].Addr(), err)
			}
		}()
	}
	stopBeside := h.runBeside(ctx)
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-broken:
	}
	log.Info("stopping: requests under way may finish", "timeout", stopTimeout)
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	defer stopBeside() // requests under way still need what it keeps up to date
	for _, server := range servers {
		if err := server.Shutdown(stopping); err != nil {
			_ = server.Close() // what streams does not end by itself
		}
	}
	log.Info("stopped")
	return failure
}

func newLog(s Settings, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: s.LogLevel}
	if s.LogFormat == LogJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// house is a server with all its rooms, before anything listens.
type house struct {
	settings  Settings
	log       *slog.Logger
	now       func() time.Time
	door      *frontdoor.Door
	store     doorward.Store
	authority *doorward.Authority
	sample    *sample.Service // nil with an upstream
	metrics   *metrics
	handler   http.Handler
	warnings  []string
}

// open builds the house from the cellar up. What cannot be built says what to do next.
func open(ctx context.Context, s Settings, log *slog.Logger, now func() time.Time) (*house, error) {
	return openWith(ctx, s, log, now, func(*frontdoor.Config) {})
}

// openWith is open with a door of which change makes another.
func openWith(ctx context.Context, s Settings, log *slog.Logger, now func() time.Time, change func(*frontdoor.Config)) (_ *house, err error) {
	h := &house{settings: s, log: log, now: now, metrics: newMetrics()}
	defer func() {
		if err != nil {
			_ = h.Close()
		}
	}()
	if err := errors.Join(cannotServe(s)...); err != nil {
		return nil, err
	}
	c := s.doorConfig()
	c.Log, c.Now, c.Refused, c.Components = log, now, h.metrics.refused, h.reachable()
	if s.MetricsListen == "" {
		c.Metrics = h.metrics.handler()
	}
	change(&c)
	if h.door, err = frontdoor.New(ctx, c); err != nil {
		return nil, err
	}
	h.store, h.authority, h.warnings = h.door.Store(), h.door.Authority(), h.door.Warnings()
	h.metrics.watch(h.authority)
	carry, err := h.openService()
	if err != nil {
		return nil, err
	}
	h.handler = h.metrics.count(h.door.Carrying(carry), log)
	return h, nil
}

// cannotServe says which settings, though well formed, this program or this machine cannot
// serve with. The command check asks it too: it must not say ok to what serve refuses.
func cannotServe(s Settings) []error {
	problems := s.doorConfig().Check()
	if len(s.behind()) == 0 {
		service, err := sample.New(sampleConfig(s, nil))
		if err != nil {
			problems = append(problems, err)
		} else {
			_ = service.Close() // always nil
		}
	}
	return problems
}

func sampleConfig(s Settings, log *slog.Logger) sample.Config {
	return sample.Config{Command: s.SampleCommand, Timeout: s.SampleTimeout, Logger: log}
}

// runBeside starts what runs beside the requests; the function returned stops it and waits.
func (h *house) runBeside(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.door.Run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// Close closes the rooms that are open, from the top down.
func (h *house) Close() error {
	var errs []error
	if h.sample != nil {
		errs = append(errs, h.sample.Close())
	}
	if h.door != nil {
		errs = append(errs, h.door.Close())
	}
	return errors.Join(errs...)
}
