package app

import (
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"doorward"
	frontdoor "doorward/door"
	"doorward/gate"
)

// Settings is everything that can be set, parsed and valid. The table below gives each
// its name, default and help.
type Settings struct {
	Listen          string   // host:port
	Upstream        *url.URL // nil for the sample service
	UpstreamTimeout time.Duration
	Upstreams       []Upstream   // by host and path; the first that matches is asked
	Routes          []gate.Route // who may what; the first that matches decides
	DataDir         string
	Database        Database

	AuthEnabled        *bool           // nil when unset, which is not the same as either
	JWTSecret          doorward.Secret // nil when not given: the secret file decides
	JWTPreviousSecrets []doorward.Secret
	JWTAlgorithm       string          // of access tokens: HS256, EdDSA or ES256
	JWTSigningKeys     doorward.Secret // PEM; nil when not given: the file decides
	JWTExpiry          time.Duration
	JWTRefreshExpiry   time.Duration
	SessionLifetime    time.Duration // a person's
	SessionMaxAge      time.Duration // a machine's
	RefreshRetryWindow time.Duration // zero or more
	RefreshReuse       string        // RefreshDetect or RefreshStrict

	StreamsOutliveToken bool

	APITokens []APIToken
	APIKey    doorward.Secret // nil for none
	OpenMode  string          // OpenAuto, OpenAlways or OpenNever

	TrustedProxies         []netip.Prefix
	TrustedProxiesAllowAny bool
	TrustedOrigins         []string        // as browsers send them in Origin
	PublicURL              *url.URL        // scheme and host only; nil when unset
	CookieDomain           string          // empty for cookies of one host
	RedirectAllow          []string        // hosts, as gate.RedirectHost has them
	ForwardCredentials     string          // ForwardOff, ForwardAsSent or ForwardBearer
	Assertion              string          // AssertionOff, EdDSA or ES256
	AssertionKeys          doorward.Secret // as JWTSigningKeys
	ForwardAuthProxy       string          // gate.ProxyNginx or another of them; empty for none

	PathPrefix    string // empty, or /x without a slash at its end
	HealthPath    string // empty when off
	MetricsPath   string // empty when off
	JWKSPath      string // empty when off
	MetricsListen string // host:port; empty to serve metrics with the rest

	LockoutAttempts   int
	LockoutWindow     time.Duration
	LockoutDuration   time.Duration
	RateLimits        bool
	RateLimitMinute   int // guesses an address may make in a minute
	PasswordMinLength int // characters
	InviteLife        time.Duration
	MaxStaleness      time.Duration
	AuditRetention    time.Duration

	TLS    TLS
	Limits Limits
	Look   frontdoor.Look

	SampleCommand []string // program and arguments; nil for the built-in
	SampleTimeout time.Duration

	CookieName string
	KeyPrefix  string
	SecretFile string // a file name within DataDir

	LogFormat string // LogText or LogJSON
	LogLevel  slog.Level
}

// The words that some settings choose from.
const (
	RefreshDetect = "detect"
	RefreshStrict = "strict"

	OpenAuto   = "auto"
	OpenAlways = "always"
	OpenNever  = "never"

	ForwardOff    = frontdoor.ForwardOff
	ForwardAsSent = frontdoor.ForwardAsSent
	ForwardBearer = frontdoor.ForwardBearer

	AssertionOff = "off"

	LogText = "text"
	LogJSON = "json"
)

// Database is where the state is kept: exactly one of the two is set.
type Database struct {
	Path string          // of a SQLite file
	URL  doorward.Secret // of a PostgreSQL database; it may hold a password
}

// APIToken is one entry of api_tokens.
type APIToken struct {
	Token     doorward.Secret
	Name      string // empty when none was given
	Role      doorward.Role
	ClientIDs []string // nil for any
	Workspace string
}

// A setting is one row of the table: the one definition from which its flag, its
// variable, its key in the file, its help and its documentation come.
type setting struct {
	key        string
	fallback   string   // the default, as one would write it; empty for none
	unset      string   // what having no value means, for people
	metavar    string   // what stands for the value in help
	help       string   // one line
	documented []string // variables of other programs that are honoured
	secret     bool     // its value is never shown, and may be given as a file
	list       bool     // comma-separated, or a list in the file
	toggle     bool     // its flag may be given without a value
	set        func(given) error
	show       func() string // the value in effect; nil to show it as it was given
}

// flag is the name of the setting's flag without the dashes.
func (s setting) flag() string { return flagName(s.key) }

// env is the name of the setting's variable.
func (s setting) env() string { return envName(s.key) }

// fileKey is the key that gives the file to read a secret from, by the same rule.
func (s setting) fileKey() string { return s.key + "_file" }

func flagName(key string) string { return strings.NewReplacer(".", "-", "_", "-").Replace(key) }

func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

const envPrefix = "DOORWARD_"

// A group is some rows of the table under a title, for help and documentation.
type group struct {
	title string
	rows  []setting
}

// table is the one list of settings. Each row writes to its field of s.
func (s *Settings) table() []group {
	return []group{
		{"Service", []setting{
			{key: "listen", fallback: "127.0.0.1:8080", metavar: "HOST:PORT",
				help: "address to listen on",
				set:  text(&s.Listen, hostPort)},
			{key: "upstream", unset: "the sample service", metavar: "URL",
				help: "service behind the door",
				set:  text(&s.Upstream, upstreamURL)},
			{key: "upstream_timeout", fallback: "10m", metavar: "DURATION",
				help: "longest wait for the first byte of the service's answer",
				set:  text(&s.UpstreamTimeout, positive)},
			{key: "upstreams", unset: "none", metavar: "UPSTREAMS", list: true,
				help: "services by host and path, each NAME URL [HOST]/PATH [strip=PATH]; the first that matches is asked, upstream after them",
				set:  upstreams(&s.Upstreams), show: s.showUpstreams},
			{key: "public_url", unset: "none", metavar: "URL",
				help: "how browsers reach this server",
				set:  text(&s.PublicURL, publicURL)},
			{key: "cookie.domain", unset: "each host has its own sign-in", metavar: "DOMAIN",
				help: "one sign-in, at public_url, for all hosts beneath this name",
				set:  text(&s.CookieDomain, cookieDomain)},
			{key: "redirect.allow", unset: "none", metavar: "HOSTS", list: true,
				help: "hosts to which a browser is sent back after signing in, as app.example.com or *.example.com, with or without a port; those of upstreams and routes are too",
				set:  each(&s.RedirectAllow, gate.RedirectHost)},
			{key: "trusted_proxies", unset: "none", metavar: "ADDRESSES", list: true,
				help: "addresses and networks whose X-Forwarded-* are believed",
				set:  each(&s.TrustedProxies, prefix)},
			{key: "trusted_proxies_allow_any", fallback: "false", toggle: true,
				help: "let trusted_proxies be everyone",
				set:  text(&s.TrustedProxiesAllowAny, truth)},
			{key: "trusted_origins", unset: "none", metavar: "ORIGINS", list: true,
				help: "other origins (scheme://host[:port]) whose pages may act on a cookie",
				set:  each(&s.TrustedOrigins, origin)},
			{key: "forward_credentials", fallback: ForwardOff, metavar: "off|as_sent|bearer",
				help: "credentials that the service gets: none, the client's own, or the session's access token",
				set:  text(&s.ForwardCredentials, oneOf(ForwardOff, ForwardAsSent, ForwardBearer))},
			{key: "assertion", fallback: AssertionOff, metavar: "off|EdDSA|ES256",
				help: "send the service X-Doorward-Assertion, who asks as a signed JWT of 60 s: off, EdDSA or ES256",
				set:  text(&s.Assertion, oneOf(AssertionOff, string(doorward.EdDSA), string(doorward.ES256)))},
			{key: "assertion_keys", unset: "a file in data_dir, generated at first start", metavar: "PEM", secret: true,
				help: "key pair that signs assertions, and public keys of others, as in jwt.signing_keys",
				set:  secret(&s.AssertionKeys, anyBytes)},
			{key: "forward_auth.proxy", unset: "none", metavar: "nginx|caddy|traefik|envoy",
				help: "proxy that asks at /auth/forward about requests which it carries itself; one of trusted_proxies",
				set:  text(&s.ForwardAuthProxy, oneOf(gate.ProxyNginx, gate.ProxyCaddy, gate.ProxyTraefik, gate.ProxyEnvoy))},
		}},
		{"Storage", []setting{
			{key: "data_dir", fallback: ".", metavar: "DIR",
				help: "directory of the database and the secret file",
				set:  text(&s.DataDir, dir)},
			{key: "database", unset: "doorward.db in data_dir", metavar: "PATH|URL",
				help: "SQLite file, or a postgres:// URL",
				set:  text(&s.Database, database), show: s.showDatabase},
			{key: "max_staleness", fallback: "5s", metavar: "DURATION",
				help: "how long to answer from memory when the database cannot be read",
				set:  text(&s.MaxStaleness, positive)},
			{key: "audit.retention", fallback: "400d", metavar: "DURATION",
				help: "how long audit entries are kept",
				set:  text(&s.AuditRetention, positive)},
		}},
		{"Who gets in", []setting{
			{key: "auth.enabled", unset: "open_mode decides", toggle: true,
				help:       "true: never open mode; false: the service is open to all",
				documented: []string{"STROMBOLI_AUTH_ENABLED"},
				set:        text(&s.AuthEnabled, truthOrNothing)},
			{key: "open_mode", fallback: OpenAuto, metavar: "auto|always|never",
				help: "whether the service is open to all while nobody is configured",
				set:  text(&s.OpenMode, oneOf(OpenAuto, OpenAlways, OpenNever))},
			{key: "routes", unset: "GET, HEAD and OPTIONS need viewer, all else editor", metavar: "ROUTES", list: true,
				help: "who may what, each [METHODS] [HOST]/PATH ROLE (or public) [preflight] [encoded_slash]; the first that matches decides",
				set:  routes(&s.Routes), show: s.showRoutes},
			{key: "api_key", unset: "none", metavar: "KEY", secret: true,
				help: "operator's key, role admin; a flag is visible to other users of the machine, a variable or file is not",
				set:  secret(&s.APIKey, visible)},
			{key: "api_tokens", unset: "none", metavar: "TOKENS", secret: true, list: true,
				help:       "tokens that may be exchanged for JWTs",
				documented: []string{"STROMBOLI_API_TOKENS"},
				set:        apiTokens(&s.APITokens)},
		}},
		{"Tokens and sessions", []setting{
			{key: "jwt.secret", unset: "the secret file, generated at first start", metavar: "SECRET", secret: true,
				help:       "secret that signs tokens, 32 bytes or more",
				documented: []string{"STROMBOLI_JWT_SECRET", "BROKOLI_JWT_SECRET"},
				set:        secret(&s.JWTSecret, anyBytes)},
			{key: "jwt.previous_secrets", unset: "none", metavar: "SECRETS", secret: true, list: true,
				help: "secrets whose tokens are still accepted",
				set:  secrets(&s.JWTPreviousSecrets)},
			{key: "jwt.algorithm", fallback: string(doorward.HS256), metavar: "HS256|EdDSA|ES256",
				help: "how access tokens are signed: HS256 with the secret, EdDSA or ES256 with a key pair, whose public key others verify by",
				set:  text(&s.JWTAlgorithm, oneOf(string(doorward.HS256), string(doorward.EdDSA), string(doorward.ES256)))},
			{key: "jwt.signing_keys", unset: "a file in data_dir, generated at first start", metavar: "PEM", secret: true,
				help: "key pair that signs access tokens, one PKCS #8 private key, and public keys of others that are accepted",
				set:  secret(&s.JWTSigningKeys, anyBytes)},
			{key: "jwt.expiry", fallback: "24h", metavar: "DURATION",
				help:       "life of an access token",
				documented: []string{"STROMBOLI_JWT_EXPIRY"},
				set:        text(&s.JWTExpiry, atLeastSecond)},
			{key: "jwt.refresh_expiry", fallback: "7d", metavar: "DURATION",
				help:       "life of a refresh token",
				documented: []string{"STROMBOLI_JWT_REFRESH_EXPIRY"},
				set:        text(&s.JWTRefreshExpiry, atLeastSecond)},
			{key: "session.lifetime", fallback: "24h", metavar: "DURATION",
				help: "life of a person's session and of its cookie",
				set:  text(&s.SessionLifetime, atLeastSecond)},
			{key: "session.max_age", fallback: "30d", metavar: "DURATION",
				help: "life of a machine's session, however often it refreshes",
				set:  text(&s.SessionMaxAge, atLeastSecond)},
			{key: "refresh.retry_window", fallback: "10s", metavar: "DURATION",
				help: "how long a used refresh token may be presented again for the same answer; 0 for never",
				set:  text(&s.RefreshRetryWindow, duration)},
			{key: "refresh.reuse", fallback: RefreshDetect, metavar: "detect|strict",
				help: "strict: any second use of a refresh token ends the session",
				set:  text(&s.RefreshReuse, oneOf(RefreshDetect, RefreshStrict))},
			{key: "streams.outlive_token", fallback: "false", toggle: true,
				help: "let a stream under way go on when its token expires, until its session ends",
				set:  text(&s.StreamsOutliveToken, truth)},
		}},
		{"Guessing", []setting{
			{key: "lockout.attempts", fallback: "5", metavar: "N",
				help: "failures that lock an account",
				set:  text(&s.LockoutAttempts, integer(1, 1000))},
			{key: "lockout.window", fallback: "15m", metavar: "DURATION",
				help: "time within which failures are counted",
				set:  text(&s.LockoutWindow, positive)},
			{key: "lockout.duration", fallback: "15m", metavar: "DURATION",
				help: "how long an account stays locked",
				set:  text(&s.LockoutDuration, positive)},
			{key: "rate_limits.enabled", fallback: "true", toggle: true,
				help: "slow down addresses that guess",
				set:  text(&s.RateLimits, truth)},
			{key: "rate_limits.per_minute", fallback: "60", metavar: "N",
				help: "wrong passwords, unknown keys and tokens an address may show in a minute",
				set:  text(&s.RateLimitMinute, integer(1, 1000))},
			{key: "passwords.min_length", fallback: "8", metavar: "N",
				help: "fewest characters of a new password",
				set:  text(&s.PasswordMinLength, integer(1, 256))},
			{key: "invites.life", fallback: "7d", metavar: "DURATION",
				help: "how long an invite link is good, from 1m to 90d",
				set:  text(&s.InviteLife, inviteLife)},
		}},
		{"TLS", s.TLS.rows()},
		{"Limits", s.Limits.rows()},
		{"How our pages look", s.lookRows()},
		{"Our own paths and names", []setting{
			{key: "paths.prefix", unset: "none", metavar: "PATH",
				help: "path below which our own pages and endpoints are",
				set:  text(&s.PathPrefix, pathPrefix)},
			{key: "paths.health", fallback: "/health", metavar: "PATH|off",
				help: "path of the health answer",
				set:  text(&s.HealthPath, pathOrOff)},
			{key: "paths.metrics", fallback: "/metrics", metavar: "PATH|off",
				help: "path of the Prometheus metrics",
				set:  text(&s.MetricsPath, pathOrOff)},
			{key: "paths.jwks", fallback: "/.well-known/jwks.json", metavar: "PATH|off",
				help: "path of the public keys, where there are any (jwt.algorithm, assertion)",
				set:  text(&s.JWKSPath, pathOrOff)},
			{key: "metrics.listen", unset: "none", metavar: "HOST:PORT",
				help: "serve metrics on an address of their own instead",
				set:  text(&s.MetricsListen, hostPortOrNothing)},
			{key: "names.cookie", fallback: "brokoli_session", metavar: "NAME",
				help: "name of the session cookie",
				set:  text(&s.CookieName, cookieName)},
			{key: "names.key_prefix", fallback: "brk_", metavar: "PREFIX",
				help: "what API keys begin with",
				set:  text(&s.KeyPrefix, keyPrefix)},
			{key: "names.secret_file", fallback: ".brokoli-jwt-secret", metavar: "NAME",
				help: "file in data_dir that keeps a generated jwt.secret",
				set:  text(&s.SecretFile, fileName)},
		}},
		{"Sample service", []setting{
			{key: "sample_command", unset: "a built-in that greets", metavar: "COMMAND",
				help: "program that the sample service feeds prompts to; split like a shell's words, but no shell runs",
				set:  text(&s.SampleCommand, commandLine)},
			{key: "sample_timeout", fallback: "60s", metavar: "DURATION",
				help: "longest run of sample_command",
				set:  text(&s.SampleTimeout, positive)},
		}},
		{"Log", []setting{
			{key: "log.format", fallback: LogText, metavar: "text|json",
				help: "form of the log",
				set:  text(&s.LogFormat, oneOf(LogText, LogJSON))},
			{key: "log.level", fallback: "info", metavar: "debug|info|warn|error",
				help: "least level that is logged",
				set:  text(&s.LogLevel, logLevel)},
		}},
	}
}

// rows is the table without its titles.
func (s *Settings) rows() []setting {
	var all []setting
	for _, g := range s.table() {
		all = append(all, g.rows...)
	}
	return all
}
