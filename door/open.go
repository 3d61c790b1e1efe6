package door

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"doorward"
	"doorward/api"
	"doorward/gate"
	"doorward/proxy"
	"doorward/safe"
	"doorward/web"
)

// sweepEvery is how often is forgotten what need not be kept any more.
const sweepEvery = time.Minute

// Door is one door of a program: what it knows, what it keeps, and the gate in front. Make
// one with Open, or with New and Run. It is safe for concurrent use.
type Door struct {
	config    Config
	store     doorward.Store
	unlock    func() error // gives up being the only server on the database; may be nil
	authority *doorward.Authority
	gate      *gate.Gate
	warnings  []string
	announced announced
	stop      func() // what Open has started; nil after New

	closing sync.Once
	closed  error
}

// Open makes a door and keeps it up to date until Close. Warnings go to the log. While there is
// no user it says on Config.Console how to make the first one, with the one-time code, which is
// not written anywhere else.
//
// ctx is for the opening alone. What cannot be opened is an error in one line that says what
// to do next; a second server on one SQLite file is one.
func Open(ctx context.Context, c Config) (*Door, error) {
	d, err := New(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, w := range d.warnings {
		d.config.Log.Warn(w)
	}
	d.Announce(ctx, d.config.Console, "")
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	all.Go(func() { d.Run(running) })
	d.stop = func() {
		cancel()
		all.Wait()
	}
	return d, nil
}

// New makes a door that does not follow yet what other processes change, nor ends streams:
// call Run beside it, and Close in the end. It is for programs that serve only after they have looked at
// what was made, and for tests that say themselves when time passes.
func New(ctx context.Context, c Config) (_ *Door, err error) {
	c = c.WithDefaults()
	switch problems := c.Check(); len(problems) {
	case 0:
	case 1:
		return nil, problems[0]
	default:
		return nil, fmt.Errorf("%w (and %d more, which Config.Check lists)", problems[0], len(problems)-1)
	}
	d := &Door{config: c}
	defer func() {
		if err != nil {
			_ = d.Close()
		}
	}()
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data_dir: cannot make %s: %w", c.DataDir, err)
	}
	secrets, err := safe.Open(ctx, c.Safe(), c.Log, c.Now, rand.Reader)
	if err != nil {
		return nil, err
	}
	defer secrets.Close() // the door knows by then from where in the feed it follows
	if d.store, d.unlock, err = OpenStore(ctx, c); err != nil {
		return nil, err
	}
	if err := d.openAuthority(ctx, secrets); err != nil {
		return nil, err
	}
	d.warnings = append(slices.Clone(secrets.Warnings()), nowhere(c.Credentials, d.authority.Places())...)
	return d, d.openGate()
}

// nowhere says which API tokens are of a workspace that is not there. They are let in, as it may be made at any time;
// until then what is behind is told of a workspace that nobody else knows.
func nowhere(configured []doorward.ConfiguredCredential, there *doorward.Places) (warnings []string) {
	entry := 0 // of api_tokens: the operator's key is none
	for _, c := range configured {
		what := "api_key"
		if c.Kind == doorward.KindClient {
			entry++
			what = fmt.Sprintf("api_tokens: entry %d", entry)
			if c.Name != "" {
				what += " (" + c.Name + ")"
			}
		}
		if c.Workspace != "" && !there.Has(doorward.Default, c.Workspace) {
			warnings = append(warnings, fmt.Sprintf("%s: there is no workspace %s in organization %s yet; make it with: doorward workspace create %[2]s",
				what, c.Workspace, doorward.Default))
		}
	}
	return warnings
}

func (d *Door) openAuthority(ctx context.Context, secrets *safe.Safe) error {
	c := d.config
	fresh := make([]byte, doorward.SaltLen)
	if _, err := io.ReadFull(rand.Reader, fresh); err != nil {
		return fmt.Errorf("no randomness: %w", err)
	}
	salt, err := d.store.Salt(ctx, fresh)
	if err != nil {
		return fmt.Errorf("cannot read the database: %w", err)
	}
	keys, err := secrets.Ring(ctx, d.store, salt)
	if err != nil {
		return err
	}
	if c.Hashing.Rand == nil {
		c.Hashing.Rand = rand.Reader
	}
	hasher, err := doorward.NewHasher(c.Hashing)
	if err != nil {
		return err
	}
	rotation, why := secrets.Rotation(d.store)
	d.authority, err = doorward.New(ctx, doorward.Config{
		Store: d.store, Keys: keys, Salt: salt, Hasher: hasher,
		Credentials: c.Credentials, OpenAllowed: c.OpenAllowed, KeyPrefix: c.KeyPrefix,
		AccessLife: c.JWTExpiry, RefreshLife: c.JWTRefreshExpiry,
		SessionLife: c.SessionLifetime, SessionMaxAge: c.SessionMaxAge,
		RefreshRules: doorward.RefreshRules{RetryWindow: max(c.RefreshRetryWindow, 0), Strict: c.RefreshStrict},
		Lockout:      doorward.LockoutPolicy{Attempts: c.LockoutAttempts, Window: c.LockoutWindow, Duration: c.LockoutDuration},
		Guesses:      doorward.GuessPolicy{PerMinute: max(c.RateLimitMinute, 0)},
		Passwords:    doorward.PasswordPolicy{MinLength: c.MinPassword}, InviteLife: c.InviteLife,
		OutliveToken: c.StreamsOutliveToken,
		MaxStaleness: c.MaxStaleness, AuditRetention: c.AuditRetention,
		ReloadKeys: secrets.Reload(salt), RotateKeys: rotation, NoRotation: why, AssertionIssuer: assertionIssuer(c),
		Now: c.Now, Rand: rand.Reader, Log: c.Log,
	})
	if err != nil {
		return err
	}
	return secrets.Remember(ctx, keys)
}

// assertionIssuer is who signs assertions: this server, as it is reached.
func assertionIssuer(c Config) string {
	if c.PublicURL == nil {
		return doorward.Issuer
	}
	return c.PublicURL.Scheme + "://" + c.PublicURL.Host
}

func (d *Door) openGate() (err error) {
	c := d.config
	names, forward := c.credentialsThatPass()
	health := d.health()
	running := &gate.Running{Authority: d.authority, Refusals: gate.NewRefusals(c.Now()), Health: health.Report}
	for _, s := range c.Behind {
		running.Upstreams = append(running.Upstreams, gate.NamesOf(s.Name, s.Address))
	}
	d.gate, err = gate.New(gate.Config{
		Authority: d.authority, Running: running, SignInPage: web.SignInPage(c.Prefix), SetupPage: web.SetupPage(c.Prefix),
		PasswordPage: web.PasswordPage(c.Prefix), Forbidden: web.Forbidden(c.pages(d.authority)),
		Rules: gate.Rules{
			Doors: c.doors(d.authority, health), Prefix: c.Prefix,
			Routes: c.Routes, Upstreams: c.Upstreams, Disabled: c.Disabled,
		},
		CookieName: c.CookieName, CookieDomain: c.CookieDomain, RedirectAllow: c.RedirectAllow, HSTS: ifOn(c.HSTS),
		PublicURL: c.PublicURL, TrustedOrigins: c.TrustedOrigins, TrustedProxies: c.TrustedProxies,
		MaxHeaders: c.MaxHeaders, BodyTimeout: c.BodyTimeout, MaxUpload: c.MaxUpload,
		ForwardBearer: c.ForwardCredentials == ForwardBearer,
		Forward: gate.ForwardAuth{
			Proxy: c.ForwardAuthProxy,
			Headers: func(r *http.Request, p *gate.Pass) http.Header {
				return proxy.Badge(r, d.Passage(p, "upstream"), names, forward)
			},
			Forged: proxy.Forged,
		},
		Log: c.Log, Refused: c.Refused,
	})
	return err
}

// Doors is the table of all that a door of c answers itself, to look at: nobody stands
// behind them.
func (c Config) Doors() []gate.Door { return c.WithDefaults().doors(nil, &api.Health{}) }

func (c Config) doors(a *doorward.Authority, health *api.Health) []gate.Door {
	their := api.Config{
		Authority: a, Prefix: c.Prefix, CookieName: c.CookieName, Health: health, HealthPath: ifOn(c.HealthPath),
		InvitePage: web.InvitePage(c.Prefix),
	}
	if c.Safe().PublishesKeys() {
		their.JWKSPath = ifOn(c.JWKSPath)
	}
	if c.Metrics != nil {
		their.Metrics, their.MetricsPath = c.Metrics, ifOn(c.MetricsPath)
	}
	return append(api.Doors(their), web.Doors(c.pages(a))...)
}

func (c Config) pages(a *doorward.Authority) web.Config {
	return web.Config{Authority: a, Prefix: c.Prefix, CookieName: c.CookieName, MinPassword: c.MinPassword, Behind: c.Behind, Sample: c.Sample, Proxy: c.ForwardAuthProxy, Look: c.Look}
}

func ifOn(what string) string {
	if what == Off {
		return ""
	}
	return what
}

// Paths are those that are answered here and never reach what is behind: those that end in a
// slash with all below them.
func (d *Door) Paths() []string {
	c := d.config
	all := []string{c.Prefix + "/auth/", c.Prefix + "/api/auth/"}
	for _, p := range []struct {
		path   string
		stands bool
	}{{c.HealthPath, true}, {c.MetricsPath, c.Metrics != nil}, {c.JWKSPath, c.Safe().PublishesKeys()}} {
		if p.stands && p.path != Off {
			all = append(all, p.path)
		}
	}
	return all
}

func (d *Door) health() *api.Health {
	warnings := d.config.Warnings
	if d.config.Disabled {
		warnings = append([]string{"auth.enabled=false: the service is open to all"}, warnings...)
	}
	return &api.Health{
		Version: Version(), Warnings: warnings, Now: d.config.WarningsNow,
		Components: append([]api.Component{{Name: "database", Check: d.readable, Message: "cannot be read"}}, d.config.Components...),
	}
}

// readable reports why the database cannot be read, or has not been for so long that
// nobody is let in.
func (d *Door) readable(ctx context.Context) error {
	if err := d.store.Ping(ctx); err != nil {
		return err
	}
	return d.authority.Current(ctx)
}

// Run keeps the door up to date until ctx ends: it follows what other processes change, ends
// streams with their session, writes down when keys were used, forgets what need not be
// kept any more, and lets Announce go on when open mode ends. Call it once at a time, beside serving, and let it end after the last request;
// Open does so.
func (d *Door) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { d.authority.Follow(ctx) })
	all.Go(func() { d.sweep(ctx) })
	all.Go(func() { d.gate.EndStreams(ctx) })
	all.Go(func() { d.authority.RecordKeyUse(ctx) })
	all.Go(func() { d.announceAgain(ctx) })
	all.Wait()
}

func (d *Door) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := d.authority.Sweep(ctx); err != nil && ctx.Err() == nil {
				d.config.Log.Warn("cannot delete what is over from the database", "err", err)
			}
		}
	}
}

// Authority is the rules and their verbs: to make users and keys, to end sessions, to ask
// who a credential is.
func (d *Door) Authority() *doorward.Authority { return d.authority }

// Store is where the door keeps its state. To change it is for Authority's verbs.
func (d *Door) Store() doorward.Store { return d.store }

// Warnings are what the operator should know about how the door was opened.
func (d *Door) Warnings() []string { return d.warnings }

// Close ends what Open has started and closes the database, but for a Config.Store. Shut the
// server down first: a door that is closed hears of nothing any more, ends no stream, and soon refuses everybody. A
// second Close does nothing.
func (d *Door) Close() error {
	d.closing.Do(func() {
		if d.stop != nil {
			d.stop()
		}
		var errs []error
		if d.store != nil && d.config.Store == nil {
			if err := d.store.Close(); err != nil {
				errs = append(errs, fmt.Errorf("cannot close the database: %w", err))
			}
		}
		if d.unlock != nil {
			errs = append(errs, d.unlock())
		}
		d.closed = errors.Join(errs...)
	})
	return d.closed
}

// Prefix is Config.Prefix: what stands before /auth/ and /api/auth/.
func (d *Door) Prefix() string { return d.config.Prefix }
