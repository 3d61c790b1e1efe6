package door

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"doorward"
	"doorward/api"
	"doorward/gate"
	"doorward/safe"
	"doorward/web"
)

// Off is the value of a path that turns off what would stand there.
const Off = "off"

// Config is what a Door is made of. Its zero value is the program's defaults: each field has
// the name, the default and the meaning of a setting of docs/configuration.md, and errors
// name that setting. Where zero would mean something else than the default, the comment says
// how to say it.
type Config struct {
	// Where the state is kept: a SQLite file, on which no second server runs, or a PostgreSQL
	// database that several share.
	DataDir    string          // of the database and the secret files; made where it is not there; "." when empty
	SQLite     string          // file; doorward.db in DataDir when empty
	PostgreSQL doorward.Secret // postgres:// URL in place of SQLite; JWTSecret is required then
	// Store is one of the caller's own, which passes package storetest, in place of both. Whoever
	// has opened it closes it, after the Door. JWTSecret is required then.
	Store          doorward.Store
	MaxStaleness   time.Duration // how long to answer from memory while the database cannot be read
	AuditRetention time.Duration

	// What signs.
	SecretFile         string          // name in DataDir of the file that keeps a generated secret
	JWTSecret          doorward.Secret // 32 bytes or more; nil: the secret file, made at the first start
	JWTPreviousSecrets []doorward.Secret
	JWTAlgorithm       doorward.Algorithm // of access tokens: HS256 (when empty), EdDSA or ES256
	JWTSigningKeys     doorward.Secret    // PEM; nil: a file in DataDir
	Assertion          doorward.Algorithm // of X-Doorward-Assertion: EdDSA or ES256; empty sends none
	AssertionKeys      doorward.Secret    // PEM; nil: a file in DataDir
	Audience           string             // what assertions call the handlers behind, their aud; "service" when empty

	// How long what is made lives.
	JWTExpiry           time.Duration // an access token
	JWTRefreshExpiry    time.Duration // a refresh token
	SessionLifetime     time.Duration // a person's session, and its cookie
	SessionMaxAge       time.Duration // a machine's session
	RefreshRetryWindow  time.Duration // below 0 for none
	RefreshStrict       bool          // refresh.reuse: strict
	StreamsOutliveToken bool

	// Who gets in.
	Credentials     []doorward.ConfiguredCredential // the operator's key and API tokens
	Routes          []gate.Route                    // who may what; the first that matches decides
	LockoutAttempts int
	LockoutWindow   time.Duration
	LockoutDuration time.Duration
	RateLimitMinute int           // guesses of an address; below 0 for any number
	MinPassword     int           // characters
	InviteLife      time.Duration // of an invite link
	// OpenAllowed lets everybody in as nobody until somebody is set up, from this machine alone
	// (open_mode). Without it the door is closed until then.
	OpenAllowed bool
	// Disabled lets everybody in as nobody for good (auth.enabled=false).
	Disabled bool

	// How clients come.
	PublicURL      *url.URL       // scheme and host by which browsers reach the server; nil when unknown
	CookieDomain   string         // makes one sign-in, at PublicURL, count for all hosts beneath it (docs/hosts.md); empty for cookies of one host
	RedirectAllow  []string       // hosts there, as gate.RedirectHost has them, to which a browser may be sent back, besides those of Routes and Upstreams
	HSTS           string         // Strict-Transport-Security of answers to who came by HTTPS; Off for none
	TrustedProxies []netip.Prefix // whose X-Forwarded-* are believed
	// TrustedProxiesAllowAny lets TrustedProxies be everyone, who can then claim any address.
	TrustedProxiesAllowAny bool
	TrustedOrigins         []string      // scheme://host[:port] of pages that may act on a cookie
	ForwardCredentials     string        // what of the client's credentials handlers see: "" or off, as_sent, bearer
	ForwardAuthProxy       string        // gate.ProxyNginx or another, which may then ask at /auth/forward
	MaxHeaders             int           // lines of a request's head
	BodyTimeout            time.Duration // for a body that is ours to read, and for an answer of ours
	MaxUpload              int64         // bytes of a body for a handler behind; 0 for any number

	// Our own paths and names.
	Prefix      string // before /auth/ and /api/auth/
	HealthPath  string // Off for none
	JWKSPath    string // of the public keys, where there are any; Off for none
	MetricsPath string // of Metrics; Off for none
	CookieName  string
	KeyPrefix   string

	// What surrounds it.
	Metrics    http.Handler                     // answers at MetricsPath; nil for nobody
	Refused    func(status int, message string) // told of every refusal; may be nil
	Components []api.Component                  // of the health answer, beside the database
	Warnings   []string                         // of the health answer
	// WarningsNow are those of the health answer that come and go; may be nil.
	WarningsNow func() []string
	Behind      []web.Service         // what is behind, for the page after the setup; nothing: what this program itself serves
	Sample      bool                  // that is a sample, for which people put a service of their own
	Look        Look                  // how our pages look; nothing: our own
	Upstreams   []gate.Pattern        // places that Pass.Upstream tells apart, for Carrying
	Hashing     doorward.HasherConfig // what a password costs; for tests
	Now         func() time.Time      // time.Now when nil; safe for concurrent use
	Log         *slog.Logger          // slog.Default when nil; never told the setup code
	Console     io.Writer             // told by Open how to make the first user, with the setup code; os.Stderr when nil
}

// The words of Config.ForwardCredentials.
const (
	ForwardOff    = "off"
	ForwardAsSent = "as_sent"
	ForwardBearer = "bearer"
)

// Service is what stands behind the door, as the page after the setup shows it.
type Service = web.Service

// WithDefaults returns c with the default wherever it says nothing: what New makes of it.
func (c Config) WithDefaults() Config {
	c.DataDir = cmp.Or(c.DataDir, ".")
	if c.PostgreSQL == nil && c.Store == nil {
		c.SQLite = cmp.Or(c.SQLite, filepath.Join(c.DataDir, "doorward.db"))
	}
	c.SecretFile = cmp.Or(c.SecretFile, ".brokoli-jwt-secret")
	c.JWTAlgorithm = cmp.Or(c.JWTAlgorithm, doorward.HS256)
	c.Audience = cmp.Or(c.Audience, "service")
	c.RefreshRetryWindow = cmp.Or(c.RefreshRetryWindow, 10*time.Second)
	c.RateLimitMinute = cmp.Or(c.RateLimitMinute, 60)
	rules := doorward.Config{}.WithDefaults()
	c.MaxStaleness, c.AuditRetention = cmp.Or(c.MaxStaleness, rules.MaxStaleness), cmp.Or(c.AuditRetention, rules.AuditRetention)
	c.JWTExpiry, c.JWTRefreshExpiry = cmp.Or(c.JWTExpiry, rules.AccessLife), cmp.Or(c.JWTRefreshExpiry, rules.RefreshLife)
	c.SessionLifetime, c.SessionMaxAge = cmp.Or(c.SessionLifetime, rules.SessionLife), cmp.Or(c.SessionMaxAge, rules.SessionMaxAge)
	c.LockoutAttempts, c.LockoutWindow = cmp.Or(c.LockoutAttempts, rules.Lockout.Attempts), cmp.Or(c.LockoutWindow, rules.Lockout.Window)
	c.LockoutDuration, c.MinPassword = cmp.Or(c.LockoutDuration, rules.Lockout.Duration), cmp.Or(c.MinPassword, rules.Passwords.MinLength)
	c.KeyPrefix, c.InviteLife = cmp.Or(c.KeyPrefix, rules.KeyPrefix), cmp.Or(c.InviteLife, rules.InviteLife)
	c.CookieName, c.MaxHeaders = cmp.Or(c.CookieName, gate.DefaultCookieName), cmp.Or(c.MaxHeaders, gate.DefaultMaxHeaders)
	c.BodyTimeout, c.ForwardCredentials = cmp.Or(c.BodyTimeout, gate.DefaultBodyTimeout), cmp.Or(c.ForwardCredentials, ForwardOff)
	c.Look.Name = cmp.Or(c.Look.Name, DefaultName)
	c.HSTS = cmp.Or(c.HSTS, gate.DefaultHSTS)
	c.HealthPath, c.JWKSPath, c.MetricsPath = cmp.Or(c.HealthPath, "/health"), cmp.Or(c.JWKSPath, "/.well-known/jwks.json"), cmp.Or(c.MetricsPath, "/metrics")
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Console == nil {
		c.Console = os.Stderr
	}
	return c
}

// Check returns what New would refuse, each in one line, as far as a look can tell: nothing
// is made or opened to find out.
func (c Config) Check() []error {
	c = c.WithDefaults()
	problems := append(c.cannotKeep(), c.Safe().Check()...)
	for _, d := range []struct {
		key   string
		value time.Duration
		least time.Duration
	}{
		{"max_staleness", c.MaxStaleness, 1}, {"audit.retention", c.AuditRetention, 1},
		{"lockout.window", c.LockoutWindow, 1}, {"lockout.duration", c.LockoutDuration, 1}, {"limits.body_timeout", c.BodyTimeout, 1},
		// What ends up in a token or cookie as whole seconds.
		{"jwt.expiry", c.JWTExpiry, time.Second}, {"jwt.refresh_expiry", c.JWTRefreshExpiry, time.Second},
		{"session.lifetime", c.SessionLifetime, time.Second}, {"session.max_age", c.SessionMaxAge, time.Second},
	} {
		if d.value < d.least || d.value > doorward.MaxDuration {
			problems = append(problems, fmt.Errorf("%s: must be from %s to 36500d, not %s", d.key, d.least, d.value))
		}
	}
	if c.LockoutAttempts < 1 {
		problems = append(problems, errors.New("lockout.attempts: must be 1 or more"))
	}
	if c.MinPassword < 1 || c.MinPassword > 256 {
		problems = append(problems, errors.New("passwords.min_length: must be from 1 to 256"))
	}
	if c.Prefix != "" && !gate.CleanPath(c.Prefix) {
		problems = append(problems, fmt.Errorf("paths.prefix: %q is not a path like /door", c.Prefix))
	}
	for _, p := range []struct{ key, path string }{{"paths.health", c.HealthPath}, {"paths.jwks", c.JWKSPath}, {"paths.metrics", c.MetricsPath}} {
		if p.path != Off && !gate.CleanPath(p.path) {
			problems = append(problems, fmt.Errorf("%s: %q is neither off nor a path like /x", p.key, p.path))
		}
	}
	if u := c.PublicURL; u != nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "") {
		problems = append(problems, errors.New("public_url: is not a URL like https://example.com, with a host and no path"))
	}
	if err := (&http.Cookie{Name: c.CookieName, Value: "x"}).Valid(); err != nil {
		problems = append(problems, fmt.Errorf("names.cookie: %q is not a cookie name", c.CookieName))
	}
	for _, p := range c.TrustedProxies {
		if p.Bits() == 0 && !c.TrustedProxiesAllowAny {
			problems = append(problems, fmt.Errorf("trusted_proxies: %s is everyone, who could then claim any address; name your proxies", p))
		}
	}
	if !safe.IsFileName(c.SecretFile) {
		problems = append(problems, fmt.Errorf("names.secret_file: %q is not the name of a file without a directory", c.SecretFile))
	}
	switch c.ForwardCredentials {
	case ForwardOff, ForwardAsSent, ForwardBearer:
	default:
		problems = append(problems, fmt.Errorf("forward_credentials: %q is not one of off, as_sent, bearer", c.ForwardCredentials))
	}
	if len(problems) > 0 {
		return problems // of what is malformed no door can be made to look at
	}
	return c.cannotStand()
}

// cannotStand says what of the gate would not do: what it stands at, who may come through, and to where browsers are sent.
func (c Config) cannotStand() (problems []error) {
	policy, err := gate.NewPolicy(gate.Rules{Doors: c.doors(nil, &api.Health{}), Prefix: c.Prefix, Routes: c.Routes, Upstreams: c.Upstreams, Disabled: c.Disabled})
	if err != nil {
		return []error{fmt.Errorf("routes: %w", err)}
	}
	_, err = gate.NewHosts(gate.HostsConfig{PublicURL: c.PublicURL, CookieDomain: c.CookieDomain, Allow: c.RedirectAllow, Guarded: policy.Hosts()})
	if wrong := new(gate.HostsError); errors.As(err, &wrong) {
		problems = append(problems, fmt.Errorf("%s: %w", wrong.Setting, wrong.Err))
	}
	if c.CookieDomain != "" && strings.HasPrefix(strings.ToLower(c.CookieName), "__host-") {
		problems = append(problems, fmt.Errorf("names.cookie: %q begins with __Host-, which says that the cookie is for one host alone, against cookie.domain", c.CookieName))
	}
	for _, o := range c.TrustedOrigins {
		if err := new(http.CrossOriginProtection).AddTrustedOrigin(o); err != nil {
			problems = append(problems, fmt.Errorf("trusted_origins: %w", err))
		}
	}
	switch c.ForwardAuthProxy {
	case "":
	case gate.ProxyNginx, gate.ProxyCaddy, gate.ProxyTraefik, gate.ProxyEnvoy:
		if len(c.TrustedProxies) == 0 {
			problems = append(problems, errors.New("forward_auth.proxy: needs trusted_proxies: nobody else is believed"))
		}
	default:
		problems = append(problems, fmt.Errorf("forward_auth.proxy: %q is not one of nginx, caddy, traefik, envoy", c.ForwardAuthProxy))
	}
	for i, cred := range c.Credentials {
		if len(cred.Secret) == 0 || strings.ContainsFunc(string(cred.Secret), func(r rune) bool { return r <= ' ' || r > '~' }) {
			problems = append(problems, fmt.Errorf("api_tokens: entry %d: the secret must be one or more visible ASCII characters", i+1))
		}
	}
	return problems
}

// cannotKeep says where the state cannot be kept.
func (c Config) cannotKeep() []error {
	if info, err := os.Stat(c.DataDir); err == nil && !info.IsDir() {
		return []error{fmt.Errorf("data_dir: %s is a file; name a directory", c.DataDir)}
	}
	if c.shared() {
		return nil
	}
	// The file is not opened: closing it would give up the locks that this process may hold on
	// it (POSIX locks belong to the process).
	if info, err := os.Stat(c.SQLite); err == nil && !info.Mode().IsRegular() {
		return []error{fmt.Errorf("cannot open store %s: it is not a regular file", c.SQLite)}
	}
	return nil
}

// shared says whether other servers may be on the same database.
func (c Config) shared() bool { return c.PostgreSQL != nil || c.Store != nil }

// Safe is where the secrets are that sign.
func (c Config) Safe() safe.Config {
	return safe.Config{
		DataDir: c.DataDir, SecretFile: c.SecretFile,
		JWTSecret: c.JWTSecret, JWTPreviousSecrets: c.JWTPreviousSecrets, JWTAlgorithm: c.JWTAlgorithm, JWTSigningKeys: c.JWTSigningKeys,
		Assertion: c.Assertion, AssertionKeys: c.AssertionKeys,
		JWTExpiry: c.JWTExpiry, JWTRefreshExpiry: c.JWTRefreshExpiry, SessionLifetime: c.SessionLifetime, SessionMaxAge: c.SessionMaxAge,
		Shared: c.shared(),
	}
}
