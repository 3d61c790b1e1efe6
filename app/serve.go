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
	"sync"
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
	hashes := newHashWorker(log)
	defer func() { err = errors.Join(err, hashes.Close()) }()
	h, err := openWith(ctx, s, log, time.Now, func(c *frontdoor.Config) { c.Hashing.Key = hashes.key })
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
	fronts := []front{h.entrance(listener)}
	if s.MetricsListen != "" {
		l, err := net.Listen("tcp", s.MetricsListen)
		if err != nil {
			_ = listener.Close()
			return fmt.Errorf("cannot listen on %s for metrics: %w", s.MetricsListen, err)
		}
		fronts = append(fronts, front{newServer(h.metrics.page(s.MetricsPath), s.Limits, log), l, false})
		log.Info("serving metrics", "addr", l.Addr().String(), "path", s.MetricsPath)
	}
	if s.TLS.RedirectListen != "" {
		l, err := net.Listen("tcp", s.TLS.RedirectListen)
		if err != nil {
			for _, f := range fronts {
				_ = f.listener.Close()
			}
			return fmt.Errorf("cannot listen on %s for the redirect to HTTPS: %w; choose another with --tls-redirect-listen", s.TLS.RedirectListen, err)
		}
		fronts = append(fronts, h.redirect(l, listener.Addr()))
		log.Info("leading plain HTTP to HTTPS", "addr", l.Addr().String())
	}
	h.announce(ctx, listener.Addr(), std.Err)
	defer runtime.KeepAlive(collectLessOften())
	return run(ctx, h, fronts, log)
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
func run(ctx context.Context, h *house, fronts []front, log *slog.Logger) error {
	broken := make(chan error, len(fronts))
	for _, f := range fronts {
		go func() {
			if err := f.serve(); !errors.Is(err, http.ErrServerClosed) {
				broken <- fmt.Errorf("cannot serve on %s: %w", f.listener.Addr(), err)
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
	for _, f := range fronts {
		if err := f.Shutdown(stopping); err != nil {
			_ = f.Close() // what streams does not end by itself
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

	certificate *certificate // nil where TLS is not ours to speak
}

// open builds the house from the cellar up. What cannot be built says what to do next.
func open(ctx context.Context, s Settings, log *slog.Logger, now func() time.Time) (*house, error) {
	return openWith(ctx, s, log, now, func(*frontdoor.Config) {})
}

// openWith is open with a door of which change makes another.
func openWith(ctx context.Context, s Settings, log *slog.Logger, now func() time.Time, change func(*frontdoor.Config)) (_ *house, err error) {
	h := &house{settings: s, log: log, now: now}
	defer func() {
		if err != nil {
			_ = h.Close()
		}
	}()
	if err := errors.Join(cannotServe(s)...); err != nil {
		return nil, err
	}
	if err := h.openCertificate(); err != nil {
		return nil, err
	}
	h.metrics = newMetrics(h.certificate)
	c := s.doorConfig()
	c.Log, c.Now, c.Refused, c.Components, c.WarningsNow = log, now, h.metrics.refused, h.reachable(), h.certificate.warnings
	if s.MetricsListen == "" {
		c.Metrics = h.metrics.handler()
	}
	change(&c)
	if h.door, err = frontdoor.New(ctx, c); err != nil {
		return nil, err
	}
	h.store, h.authority, h.warnings = h.door.Store(), h.door.Authority(), append(h.warnings, h.door.Warnings()...)
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
	if err := cannotSpeakTLS(s); err != nil {
		problems = append(problems, err)
	}
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
	return sample.Config{Command: s.SampleCommand, Timeout: s.SampleTimeout, Logger: log, Pages: s.PathPrefix + "/auth"}
}

// runBeside starts what runs beside the requests; the function returned stops it and waits.
func (h *house) runBeside(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	all.Go(func() { h.door.Run(ctx) })
	all.Go(func() { h.certificate.follow(ctx) })
	return func() {
		cancel()
		all.Wait()
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
