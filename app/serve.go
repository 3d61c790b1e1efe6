package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"doorward"
	"doorward/api"
	"doorward/gate"
	"doorward/sample"
	"doorward/store"
	"doorward/web"
)

const (
	stopTimeout = 10 * time.Second // for requests under way when asked to stop; streams are cut then
	sweepEvery  = time.Minute
)

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
	hashing   doorward.HasherConfig // what a password costs; its zero value is what it should
	unlock    func() error          // gives up being the only server on the database
	store     doorward.Store
	authority *doorward.Authority
	sample    *sample.Service // nil with an upstream
	metrics   *metrics
	gate      *gate.Gate
	handler   http.Handler
	warnings  []string
}

// open builds the house from the cellar up. What cannot be built says what to do next.
func open(ctx context.Context, s Settings, log *slog.Logger, now func() time.Time) (*house, error) {
	return openOn(ctx, s, log, now, openStore, doorward.HasherConfig{})
}

// cellar opens the store that the settings name, with what gives up being the only server on it.
type cellar func(ctx context.Context, s Settings, now func() time.Time) (_ doorward.Store, unlock func() error, err error)

func openStore(ctx context.Context, s Settings, now func() time.Time) (_ doorward.Store, unlock func() error, err error) {
	if s.Database.URL != nil {
		kept, err := store.OpenPostgres(ctx, string(s.Database.URL))
		return kept, nil, err
	}
	if unlock, err = lockDatabase(s.Database.Path); err != nil {
		return nil, nil, err
	}
	kept, err := store.OpenSQLite(ctx, s.Database.Path, now)
	if err != nil {
		return nil, nil, errors.Join(err, unlock())
	}
	return kept, unlock, nil
}

func openOn(ctx context.Context, s Settings, log *slog.Logger, now func() time.Time, below cellar, hashing doorward.HasherConfig) (_ *house, err error) {
	hashing.Rand = rand.Reader
	h := &house{settings: s, log: log, now: now, hashing: hashing}
	defer func() {
		if err != nil {
			_ = h.Close()
		}
	}()
	if err := errors.Join(cannotServe(s)...); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data_dir: cannot make %s: %w", s.DataDir, err)
	}
	if s.Database.URL == nil {
		// Until this server follows the feed no secret may be rotated behind its back.
		unlock, err := lockSecrets(ctx, s.DataDir)
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	current, previous, warnings, err := signingSecrets(s, rand.Reader)
	if err != nil {
		return nil, err
	}
	h.warnings = append(h.warnings, warnings...)
	if h.store, h.unlock, err = below(ctx, s, now); err != nil {
		h.store = nil // not an interface that holds a nil
		return nil, err
	}
	if err := h.openAuthority(ctx, current, previous); err != nil {
		return nil, err
	}
	carry, err := h.openService()
	if err != nil {
		return nil, err
	}
	if err := h.openGate(carry); err != nil {
		return nil, err
	}
	return h, nil
}

// cannotServe says which settings, though well formed, this program or this machine cannot
// serve with. The command check asks it too: it must not say ok to what serve refuses.
func cannotServe(s Settings) []error {
	problems := cannotKeep(s)
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

// cannotKeep says where the state cannot be kept, as far as a look can tell: nothing is made
// or opened to find out.
func cannotKeep(s Settings) []error {
	if info, err := os.Stat(s.DataDir); err == nil && !info.IsDir() {
		return []error{fmt.Errorf("data_dir: %s is a file; name a directory", s.DataDir)}
	}
	if s.Database.URL != nil {
		return nil
	}
	// The file is not opened: closing it would give up the locks that this process may hold on
	// it (POSIX locks belong to the process).
	if info, err := os.Stat(s.Database.Path); err == nil && !info.Mode().IsRegular() {
		return []error{fmt.Errorf("cannot open store %s: it is not a regular file", s.Database.Path)}
	}
	return nil
}

func sampleConfig(s Settings, log *slog.Logger) sample.Config {
	return sample.Config{Command: s.SampleCommand, Timeout: s.SampleTimeout, Logger: log}
}

func (h *house) openAuthority(ctx context.Context, current doorward.Secret, previous []doorward.SigningKey) error {
	s := h.settings
	fresh := make([]byte, 32)
	if _, err := io.ReadFull(rand.Reader, fresh); err != nil {
		return fmt.Errorf("no randomness: %w", err)
	}
	salt, err := h.store.Salt(ctx, fresh)
	if err != nil {
		return fmt.Errorf("cannot read the database: %w", err)
	}
	keys, err := h.keyRing(ctx, salt, current, previous)
	if err != nil {
		return err
	}
	hasher, err := doorward.NewHasher(h.hashing)
	if err != nil {
		return err
	}
	rotation, why := h.rotateKeys()
	h.authority, err = doorward.New(ctx, doorward.Config{
		Store: h.store, Keys: keys, Salt: salt, Hasher: hasher,
		Credentials: configuredCredentials(s), OpenAllowed: openAllowed(s), KeyPrefix: s.KeyPrefix,
		AccessLife: s.JWTExpiry, RefreshLife: s.JWTRefreshExpiry,
		SessionLife: s.SessionLifetime, SessionMaxAge: s.SessionMaxAge,
		RefreshRules: doorward.RefreshRules{RetryWindow: s.RefreshRetryWindow, Strict: s.RefreshReuse == RefreshStrict},
		Lockout:      doorward.LockoutPolicy{Attempts: s.LockoutAttempts, Window: s.LockoutWindow, Duration: s.LockoutDuration},
		Guesses:      guessPolicy(s),
		Passwords:    doorward.PasswordPolicy{MinLength: s.PasswordMinLength},
		OutliveToken: s.StreamsOutliveToken,
		MaxStaleness: s.MaxStaleness, AuditRetention: s.AuditRetention,
		ReloadKeys: h.reloadKeys(salt), RotateKeys: rotation, NoRotation: why, AssertionIssuer: assertionIssuer(s),
		Now: h.now, Rand: rand.Reader, Log: h.log,
	})
	if err != nil {
		return err
	}
	return h.keepKeyID(ctx, keys)
}

func guessPolicy(s Settings) doorward.GuessPolicy {
	if !s.RateLimits {
		return doorward.GuessPolicy{}
	}
	return doorward.GuessPolicy{PerMinute: s.RateLimitMinute}
}

func configuredCredentials(s Settings) []doorward.ConfiguredCredential {
	var all []doorward.ConfiguredCredential
	if s.APIKey != nil {
		all = append(all, doorward.ConfiguredCredential{Secret: s.APIKey, Kind: doorward.KindKey, Name: "operator", Role: doorward.Admin})
	}
	for _, t := range s.APITokens {
		all = append(all, doorward.ConfiguredCredential{
			Secret: t.Token, Kind: doorward.KindClient, Name: t.Name, Role: t.Role, Workspace: t.Workspace, ClientIDs: t.ClientIDs,
		})
	}
	return all
}

// openAllowed says whether the service may stand open while nobody was ever set up: by
// itself only where nobody else can reach it and there is nothing behind to lose.
func openAllowed(s Settings) bool {
	if s.AuthEnabled != nil {
		return false // true: never; false: it stands open in a way of its own
	}
	switch s.OpenMode {
	case OpenAlways:
		return true
	case OpenNever:
		return false
	}
	return onLoopback(s.Listen) && len(s.behind()) == 0 && s.PublicURL == nil && len(s.TrustedProxies) == 0
}

// onLoopback reports whether a listening address is reached from this machine alone. A
// name other than localhost could be anything.
func onLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

func (h *house) openGate(carry func(http.ResponseWriter, *http.Request, *gate.Pass)) error {
	s := h.settings
	h.metrics = newMetrics(h.authority)
	health := &api.Health{
		Version: version(),
		Components: append([]api.Component{
			{Name: "database", Check: h.readable, Message: "cannot be read"},
		}, h.reachable()...),
	}
	if s.AuthEnabled != nil && !*s.AuthEnabled {
		health.Warnings = append(health.Warnings, "auth.enabled=false: the service is open to all")
	}
	running := &gate.Running{Authority: h.authority, Refusals: gate.NewRefusals(h.now()), Health: health.Report}
	for i, full := range inFull(s.behind()) {
		name := full // of the sample service
		if all := s.behind(); len(all) > 0 {
			name = all[i].Name
		}
		running.Upstreams = append(running.Upstreams, gate.UpstreamNames{Name: name, Full: full})
	}
	g, err := gate.New(gate.Config{
		Authority: h.authority, Carry: carry, Running: running, SignInPage: web.SignInPage(s.PathPrefix), SetupPage: web.SetupPage(s.PathPrefix),
		Rules: gate.Rules{
			Doors: doors(s, h.authority, running, health, h.metrics.handler()), Prefix: s.PathPrefix,
			Routes: s.Routes, Upstreams: patternsOf(s.behind()),
			Disabled: s.AuthEnabled != nil && !*s.AuthEnabled,
		},
		CookieName: s.CookieName, PublicURL: s.PublicURL, TrustedOrigins: s.TrustedOrigins, TrustedProxies: s.TrustedProxies,
		MaxHeaders: s.Limits.Headers, BodyTimeout: s.Limits.BodyTimeout, MaxUpload: s.Limits.BodyBytes,
		ForwardBearer: s.ForwardCredentials == ForwardBearer, Forward: h.forwardAuth(),
		Log: h.log, Refused: h.metrics.refused,
	})
	if err != nil {
		return err
	}
	h.gate, h.handler = g, h.metrics.count(g, h.log)
	return nil
}

// doors is the table of all that is ours to answer.
func doors(s Settings, a *doorward.Authority, running *gate.Running, health *api.Health, metrics http.Handler) []gate.Door {
	c := api.Config{Authority: a, Running: running, Prefix: s.PathPrefix, CookieName: s.CookieName, Health: health, HealthPath: s.HealthPath}
	if s.publishesKeys() {
		c.JWKSPath = s.JWKSPath
	}
	if s.MetricsListen == "" {
		c.Metrics, c.MetricsPath = metrics, s.MetricsPath
	}
	return append(api.Doors(c), web.Doors(web.Config{
		Authority: a, Running: running, Prefix: s.PathPrefix, CookieName: s.CookieName, MinPassword: s.PasswordMinLength, Look: s.Look,
	})...)
}

// doorsOf is that table to look at, with nobody behind the doors.
func doorsOf(s Settings) []gate.Door {
	return doors(s, nil, nil, &api.Health{}, http.NotFoundHandler())
}

// runBeside starts what runs beside the requests; the function returned stops it and waits.
func (h *house) runBeside(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	all.Go(func() { h.authority.Follow(ctx) })
	all.Go(func() { h.sweep(ctx) })
	all.Go(func() { h.gate.EndStreams(ctx) })
	all.Go(func() { h.authority.RecordKeyUse(ctx) })
	return func() {
		cancel()
		all.Wait()
	}
}

// readable reports why the database cannot be read, or has not been for so long that
// nobody is let in.
func (h *house) readable(ctx context.Context) error {
	if err := h.store.Ping(ctx); err != nil {
		return err
	}
	return h.authority.Current(ctx)
}

// sweep forgets every minute what need not be kept any more, until ctx ends.
func (h *house) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := h.authority.Sweep(ctx); err != nil && ctx.Err() == nil {
				h.log.Warn("cannot delete what is over from the database", "err", err)
			}
		}
	}
}

// Close closes the rooms that are open, from the top down.
func (h *house) Close() error {
	var errs []error
	if h.sample != nil {
		errs = append(errs, h.sample.Close())
	}
	if h.store != nil {
		if err := h.store.Close(); err != nil {
			errs = append(errs, fmt.Errorf("cannot close the database: %w", err))
		}
	}
	if h.unlock != nil {
		errs = append(errs, h.unlock())
	}
	return errors.Join(errs...)
}
