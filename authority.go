package doorward

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what an Authority is made of. Store, Keys and Hasher are required; the rest
// has the documented defaults.
type Config struct {
	Store  Store
	Keys   *KeyRing
	Salt   []byte // the store's
	Hasher *Hasher

	Credentials []ConfiguredCredential // the operator's key and the API tokens
	KeyPrefix   string                 // how API keys made at run time begin; brk_ by default
	OpenAllowed bool                   // the service may stand open until somebody is set up

	AccessLife     time.Duration // of an access token
	RefreshLife    time.Duration // of a refresh token, from its minting
	SessionLife    time.Duration // of a person's session
	SessionMaxAge  time.Duration // of a machine's session
	SessionLimit   int           // live sessions of one credential
	RefreshRules   RefreshRules
	Lockout        LockoutPolicy
	Guesses        GuessPolicy
	Passwords      PasswordPolicy
	AuditRetention time.Duration // how long audit entries are kept, 400 days by default
	InviteLife     time.Duration // of an invite link, DefaultInviteLife by default

	// MaxStaleness is how old what is known of other nodes' changes may be, 5 s by
	// default: past it tokens are refused until the store can be read again.
	MaxStaleness time.Duration
	// AssertionIssuer is the iss of assertions; "doorward" when empty.
	AssertionIssuer string
	// OutliveToken lets requests under way go on when the token expires that they showed,
	// until its session ends. Whether they do is for whoever asks Recheck about them.
	OutliveToken bool
	// ReloadKeys makes the ring anew when another process has begun to sign with the key
	// kid; nil for an Authority whose keys never change.
	ReloadKeys func(kid string) (*KeyRing, error)
	// RotateKeys makes new keys sign, lets the store know, and writes entry, whose target it says,
	// with that. nil where that cannot be done; NoRotation then says what to do instead.
	RotateKeys func(ctx context.Context, entry AuditEntry, atOnce bool) (Rotated, error)
	NoRotation string

	Now  func() time.Time
	Rand io.Reader
	Log  *slog.Logger
}

// Authority decides who a credential is, and makes and ends sessions: every verb of
// Doorward is one of its methods. Make one with New; it is safe for concurrent use. On
// the way of a request with a good token it asks the store nothing after the token's
// session has been seen once.
type Authority struct {
	cfg         Config
	credentials credentials

	// seen holds the sessions that the store is known to know; revoked those that have
	// ended. A session is in revoked at least as long as in seen: whatever the clock
	// does, forgetting that it ended implies asking the store again.
	seen    *sessionSet[passed]
	revoked *revocationSet

	known keyTable // the API keys made at run time
	uses  keyUses

	keys       atomic.Pointer[KeyRing]
	forwards   forwards
	assertions assertions
	refusals   refusals

	places atomic.Pointer[Places] // which organizations and workspaces there are

	following sync.Mutex                // held by who reads the feed
	cursor    int64                     // the last change read
	view      atomic.Pointer[time.Time] // when the last reading that succeeded began
	outage    atomic.Bool               // whether the last reading failed
	signing   string                    // the key that others sign with, while it is not the one here; held like cursor
	alarmed   string                    // the one of those that an alarm was given for

	beside  bool     // made by Beside: it follows nothing
	guesses *guesses // nil for no limit

	hasUsers  atomic.Bool // remembered once true
	firstUser sync.Mutex  // held by the one who is making the first user
	open      atomic.Bool // the door stood open when that was last read
}

// New makes an Authority and reads from the store what it must know before the first
// request: which sessions have ended, and whether anybody was ever set up. From then on
// Follow keeps it up to date. Sessions of
// configured credentials that are no longer configured as they were end here.
func New(ctx context.Context, c Config) (*Authority, error) {
	if c.Store == nil || c.Keys == nil || c.Hasher == nil || len(c.Salt) == 0 {
		return nil, errors.New("doorward: Store, Keys, Salt and Hasher are required")
	}
	c.setDefaults()
	if err := CheckKeyPrefix("KeyPrefix", c.KeyPrefix); err != nil {
		return nil, err
	}
	known, err := newCredentials(c.Salt, c.Credentials)
	if err != nil {
		return nil, err
	}
	c.Credentials = nil // their secrets are not needed any more
	life := max(c.AccessLife, c.SessionLife)
	a := &Authority{
		cfg: c, credentials: known,
		seen: newSessionSet[passed](life), revoked: newRevocationSet(life), uses: newKeyUses(), assertions: newAssertions(),
	}
	a.guesses = newGuesses(c.Guesses, c.Now)
	a.keys.Store(c.Keys)
	if err := a.start(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// WithDefaults returns c with the documented default wherever it says nothing.
func (c Config) WithDefaults() Config {
	c.setDefaults()
	return c
}

func (c *Config) setDefaults() {
	setDefault(&c.AccessLife, 24*time.Hour)
	setDefault(&c.RefreshLife, 7*24*time.Hour)
	setDefault(&c.SessionLife, 24*time.Hour)
	setDefault(&c.SessionMaxAge, 30*24*time.Hour)
	setDefault(&c.SessionLimit, 10_000)
	setDefault(&c.MaxStaleness, 5*time.Second)
	setDefault(&c.Lockout.Attempts, 5)
	setDefault(&c.Lockout.Window, 15*time.Minute)
	setDefault(&c.Lockout.Duration, 15*time.Minute)
	setDefault(&c.Passwords.MinLength, 8)
	setDefault(&c.KeyPrefix, "brk_")
	setDefault(&c.AuditRetention, 400*24*time.Hour)
	setDefault(&c.InviteLife, DefaultInviteLife)
	setDefault(&c.AssertionIssuer, Issuer)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Beside makes an Authority for administration beside a server, or without one: it does
// what the server's would, on the database itself, and a server hears of it by the feed.
// Keys, Salt and Credentials mean nothing to it. It accepts no token, and nothing that starts with a server
// starts with it: no session ends by its making.
func Beside(c Config) (*Authority, error) {
	if c.Store == nil || c.Hasher == nil {
		return nil, errors.New("doorward: Store and Hasher are required")
	}
	c.setDefaults()
	c.Credentials = nil
	a := &Authority{cfg: c, seen: newSessionSet[passed](c.AccessLife), revoked: newRevocationSet(c.AccessLife), uses: newKeyUses(), assertions: newAssertions()}
	a.keys.Store(&KeyRing{})
	a.view.Store(&time.Time{})
	a.beside = true
	return a, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (a *Authority) start(ctx context.Context) error {
	system := Caller{}
	if _, err := a.cfg.Store.EndUnconfigured(ctx, a.credentials.terms(), system.Audit("session.end", "", EndCredentialGone)); err != nil {
		return fmt.Errorf("cannot end the sessions of credentials no longer configured: %w", err)
	}
	if err := a.askStopped(ctx); err != nil {
		return fmt.Errorf("cannot end the sessions of keys that were rotated: %w", err)
	}
	began := a.cfg.Now()
	last, err := a.readEnded(ctx)
	if err != nil {
		return fmt.Errorf("cannot read which sessions have ended: %w", err)
	}
	if err := a.readKeys(ctx); err != nil {
		return fmt.Errorf("cannot read the API keys: %w", err)
	}
	a.cursor = last
	if err := a.readPlaces(ctx); err != nil {
		return fmt.Errorf("cannot read which organizations and workspaces there are: %w", err)
	}
	a.view.Store(&began)
	if len(a.credentials.byID) > 0 {
		if err := a.cfg.Store.MarkInitialised(ctx); err != nil {
			return fmt.Errorf("cannot keep that a key or token is configured: %w", err)
		}
	}
	if _, err := a.Mode(ctx); err != nil {
		return fmt.Errorf("cannot read whether somebody is set up: %w", err)
	}
	if _, err := a.NeedsSetup(ctx); err != nil {
		return fmt.Errorf("cannot read whether somebody is set up: %w", err)
	}
	return nil
}

// Now is the time by which a judges.
func (a *Authority) Now() time.Time { return a.cfg.Now() }

// Mode says how the door to the service behind stands.
type Mode int

// The modes.
const (
	ModeClosed Mode = iota + 1 // a credential is needed
	ModeOpen                   // nobody was ever set up, and that is allowed: open to all
	ModeSetup                  // there is nobody who could show a credential yet: closed to all
)

// Mode reads how the door stands. An error is never evidence that nobody is set up. Once
// somebody is, it asks the store nothing.
func (a *Authority) Mode(ctx context.Context) (Mode, error) {
	mode := ModeClosed
	if len(a.credentials.byID) == 0 && !a.hasUsers.Load() && a.known.size.Load() == 0 {
		s, err := a.readState(ctx)
		if err != nil {
			return 0, err
		}
		mode = s.Mode(false, a.cfg.OpenAllowed)
	}
	if open := mode == ModeOpen; a.open.Load() != open {
		a.open.Store(open)
	}
	return mode, nil
}

// Mode says how the door stands by what is known: whether a key or API token is configured, and whether it
// may stand open at all.
func (s State) Mode(configured, openAllowed bool) Mode {
	switch {
	case configured, s.HasUsers, s.HasKeys:
		return ModeClosed
	case openAllowed && !s.Initialised:
		return ModeOpen
	}
	return ModeSetup
}

func (a *Authority) readState(ctx context.Context) (State, error) {
	s, err := a.cfg.Store.State(ctx)
	if err != nil {
		return State{}, Unavailable(err)
	}
	if s.HasUsers {
		a.hasUsers.Store(true)
	}
	return s, nil
}

// NeedsSetup reports whether no user exists.
func (a *Authority) NeedsSetup(ctx context.Context) (bool, error) {
	if a.hasUsers.Load() {
		return false, nil
	}
	s, err := a.readState(ctx)
	if err != nil {
		return false, err
	}
	return !s.HasUsers, nil
}

// SetupCode is the one-time code that lets its holder make the first user; empty when there is
// a user or the door stands open, as far as is known. All nodes have the same, before and after a restart, until
// there is a user or the secret is another; that of an old secret is good for as long as it verifies. It is for the console alone.
func (a *Authority) SetupCode() string {
	if a.hasUsers.Load() || a.open.Load() {
		return ""
	}
	return a.keys.Load().setupCode()
}

// mayMakeFirstUser judges what a first-user request carries: nothing is asked where the
// door stands open, else the setup code or the operator's key. keys are what stands where
// one could be: a stale token in one place does not spoil the key in the other. It returns
// who that is, which is nobody but for the key, and by what right, in words.
func (a *Authority) mayMakeFirstUser(ctx context.Context, code string, keys []string) (Identity, string, error) {
	needsSetup, err := a.NeedsSetup(ctx)
	if err != nil {
		return Identity{}, "", err
	}
	if !needsSetup {
		return Identity{}, "", ErrTokenRequired
	}
	mode, err := a.Mode(ctx)
	if err != nil {
		return Identity{}, "", err
	}
	switch {
	case mode == ModeOpen:
		return Identity{}, "in open mode", nil
	case code != "":
		if a.keys.Load().isSetupCode(code, a.cfg.Now()) {
			return Identity{}, "by the setup code", nil
		}
		return Identity{}, "", ErrInvalidToken
	case len(keys) == 0:
		return Identity{}, "", ErrTokenRequired
	}
	for _, key := range keys {
		if c, ok := a.credentials.find(key); ok && c.Kind == KindKey {
			return c.identity(), "by the operator's key", nil
		}
	}
	return Identity{}, "", ErrInvalidToken
}

// Sweep forgets what need not be remembered any more, in memory and in the store. The
// program calls it every minute or so.
func (a *Authority) Sweep(ctx context.Context) error {
	now := a.cfg.Now()
	a.seen.sweep(now) // before revoked: see Authority
	a.revoked.sweep(now)
	a.forwards.sweep(now)
	a.assertions.sweep(now)
	a.guesses.sweep()
	for _, e := range a.refusals.over(now) {
		a.record(ctx, e)
	}
	return errors.Join(
		a.cfg.Store.Prune(ctx, a.cfg.Lockout.KeepFor()),
		a.cfg.Store.PruneAudit(ctx, a.cfg.AuditRetention))
}

// Revoked is the number of ended sessions remembered, for the metrics.
func (a *Authority) Revoked() int64 { return a.revoked.len() }

// revoke makes sessions that the store has ended dead here. It is called after the store has
// made it durable and before anybody is told.
func (a *Authority) revoke(ended ...EndedSession) {
	for _, e := range ended {
		if a.cfg.OutliveToken {
			e.Until = later(e.Until, a.cfg.Now().Add(endKept))
		}
		a.revoked.add(e.ID, e.Until)
	}
}

// endKept is how long an end is remembered at the least where requests may outlive the last
// token of their session: Recheck is asked about each of them more often.
const endKept = time.Minute

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// idBytes is the length of an id: 128 bits.
const idBytes = 16

// newID makes an id of random bits. Where there is no randomness there is nothing to be secure with.
func (a *Authority) newID() string {
	var b [idBytes]byte
	a.random(b[:])
	return idText(b)
}

func idText(b [idBytes]byte) string {
	if b[0]>>2 == 62 {
		b[0] ^= 0x80 // it would begin with a dash, and on the command line be taken for a flag
	}
	return base64.RawURLEncoding.EncodeToString(b[:])
}

var userIDs = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func (a *Authority) newUserID() string {
	var b [15]byte
	a.random(b[:])
	return userPrefix + userIDs.EncodeToString(b[:])
}

func (a *Authority) random(b []byte) {
	if _, err := io.ReadFull(a.cfg.Rand, b); err != nil {
		panic("doorward: no randomness: " + err.Error())
	}
}
