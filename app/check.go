package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"doorward"
	"doorward/safe"
)

// check looks at the settings as a whole: what refuses to start together, and what is
// allowed and worth a warning.
func (l *loaded) check() {
	l.placeDatabase()
	l.checkSecrets()
	l.checkConflicts()
	l.checkRisks()
}

// placeDatabase says where the database is when nobody else does.
func (l *loaded) placeDatabase() {
	if l.Database.Path == "" && l.Database.URL == nil {
		l.Database.Path = filepath.Join(l.DataDir, "doorward.db")
	}
}

func (l *loaded) checkSecrets() {
	if l.JWTSecret != nil {
		l.problem(doorward.CheckSecret(l.where("jwt.secret"), l.JWTSecret))
	}
	for n, s := range l.JWTPreviousSecrets {
		l.problem(doorward.CheckSecret(fmt.Sprintf("%s entry %d", l.where("jwt.previous_secrets"), n+1), s))
	}
	for _, p := range l.doorConfig().Safe().Places() {
		l.problem(p.Check())
		if !l.refused[p.Setting] {
			l.problem(p.Missing(l.Database.URL != nil))
		}
	}
	// Who holds a machine's secret must not thereby hold the one that signs tokens.
	signing := append([]doorward.Secret{l.JWTSecret}, l.JWTPreviousSecrets...)
	for _, s := range signing {
		if s != nil && bytes.Equal(s, l.APIKey) {
			l.conflict("api_key", "is also a secret that signs tokens; make another with: doorward generate-key")
		}
	}
	for n, t := range l.APITokens {
		for _, s := range signing {
			if bytes.Equal(s, t.Token) {
				l.conflict("api_tokens", "entry %d is also a secret that signs tokens: whoever holds it could sign their own", n+1)
			}
		}
		if bytes.Equal(l.APIKey, t.Token) {
			l.conflict("api_tokens", "entry %d is also the api_key; a request could not tell which it meant", n+1)
		}
	}
}

func (l *loaded) problem(err error) {
	if err != nil {
		l.problems = append(l.problems, err)
	}
}

func (l *loaded) conflict(key, format string, args ...any) {
	l.refuse(key, l.from[key], fmt.Errorf(format, args...))
}

// checkConflicts refuses settings that contradict each other. It leaves those alone that
// did not parse, which have their default here.
func (l *loaded) checkConflicts() {
	if !l.refused["jwt.secret"] {
		l.problem(l.doorConfig().Safe().MissingSecret())
	}
	if l.OpenMode == OpenAlways && l.AuthEnabled != nil && *l.AuthEnabled {
		l.conflict("open_mode", "always contradicts %s=true", l.where("auth.enabled"))
	}
	alone := false
	for _, p := range l.TrustedProxies {
		if everyone(p) && !l.TrustedProxiesAllowAny {
			l.conflict("trusted_proxies", "%s is everyone, who could then claim any address; name your proxies, or set trusted_proxies_allow_any", p)
			alone = true
		}
	}
	for _, all := range []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")} {
		if !alone && !l.TrustedProxiesAllowAny && covered(all, l.TrustedProxies) {
			l.conflict("trusted_proxies", "are together %s, which is everyone, who could then claim any address; name your proxies, or set trusted_proxies_allow_any", all)
		}
	}
	if l.ForwardAuthProxy != "" && len(l.TrustedProxies) == 0 && !l.refused["trusted_proxies"] {
		l.conflict("forward_auth.proxy", "needs %s: what %s says about requests is believed from there alone", l.where("trusted_proxies"), l.ForwardAuthProxy)
	}
	if l.MetricsListen != "" {
		if l.MetricsPath == "" {
			l.conflict("metrics.listen", "has nothing to serve while %s is off", l.where("paths.metrics"))
		}
		if overlap(l.Listen, l.MetricsListen) {
			l.conflict("metrics.listen", "%s is taken by %s", l.MetricsListen, l.where("listen"))
		}
	}
	if l.Upstream != nil && local(l.Upstream.Hostname()) && overlap(l.Listen, hostAndPort(l.Upstream)) {
		l.conflict("upstream", "is this server itself; let %s be another address", l.where("listen"))
	}
	if name := strings.ToLower(l.CookieName); strings.HasPrefix(name, "__host-") || strings.HasPrefix(name, "__secure-") {
		// Without a word of HTTPS from anywhere no browser would ever keep it.
		if !l.TLS.on() && (l.PublicURL == nil || l.PublicURL.Scheme != "https") && len(l.TrustedProxies) == 0 {
			l.conflict("names.cookie", "browsers keep a cookie called %s from HTTPS alone; set tls.cert, a public_url with https, or choose another name", shown(l.CookieName))
		}
	}
	l.checkTLS()
	l.checkPaths()
	l.checkFiles()
	l.checkRoutes()
	l.checkHosts()
}

// checkFiles refuses a secret file that would be written over the database.
func (l *loaded) checkFiles() {
	keys := l.doorConfig().Safe()
	secret := keys.SecretPath()
	for _, beside := range []string{"", "-wal", "-shm", "-journal", ".lock"} {
		own := l.Database.Path + beside
		if l.Database.Path != "" && (own == secret || own == safe.PreviousPath(secret)) {
			l.conflict("names.secret_file", "is the database's own file")
		}
	}
	for _, p := range keys.Places() {
		if p.Path == secret || p.Path == safe.PreviousPath(secret) {
			l.conflict("names.secret_file", "is %s", p.What)
		}
		if p.Path == l.Database.Path {
			l.conflict("database", "is %s", p.What)
		}
	}
}

func (l *loaded) checkPaths() {
	for _, p := range []struct{ key, path string }{{"paths.health", l.HealthPath}, {"paths.metrics", l.MetricsPath}, {"paths.jwks", l.JWKSPath}} {
		if l.PathPrefix != "" && (within(p.path, l.PathPrefix+"/auth") || within(p.path, l.PathPrefix+"/api/auth")) {
			l.conflict(p.key, "%q must not lie within /auth/ or /api/auth/ below %s", p.path, l.where("paths.prefix"))
		}
	}
	if l.JWKSPath != "" && l.doorConfig().Safe().PublishesKeys() {
		switch {
		case l.HealthPath != "" && (l.JWKSPath == l.HealthPath || l.JWKSPath == l.HealthPath+"/live" || l.JWKSPath == l.HealthPath+"/ready"):
			l.conflict("paths.jwks", "%q is taken by %s", l.JWKSPath, l.where("paths.health"))
		case l.JWKSPath == l.MetricsPath && l.MetricsListen == "":
			l.conflict("paths.jwks", "%q is taken by %s", l.JWKSPath, l.where("paths.metrics"))
		}
	}
	switch {
	case l.HealthPath == "" || l.MetricsPath == "":
	case l.MetricsPath == l.HealthPath, l.MetricsPath == l.HealthPath+"/live", l.MetricsPath == l.HealthPath+"/ready":
		l.conflict("paths.metrics", "%q is taken by %s", l.MetricsPath, l.where("paths.health"))
	}
}

// overlap reports whether two of HOST:PORT cannot both be listened on.
func overlap(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || unspecified(hostA) || unspecified(hostB) ||
		hostA == "localhost" && local(hostB) || hostB == "localhost" && local(hostA)
}

func unspecified(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "" || err == nil && a.IsUnspecified()
}

// local reports whether host is this machine, by any of the names that say so.
func local(host string) bool {
	a, err := netip.ParseAddr(host)
	return unspecified(host) || host == "localhost" || err == nil && a.IsLoopback()
}

func hostAndPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "h2c": "80"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func (l *loaded) warn(key, format string, args ...any) {
	l.warnings = append(l.warnings, l.where(key)+": "+fmt.Sprintf(format, args...))
}

// checkRisks warns of what is allowed and may not be meant.
func (l *loaded) checkRisks() {
	if l.AuthEnabled != nil && !*l.AuthEnabled {
		l.warn("auth.enabled", "is false: the service is open to everyone")
	}
	if l.OpenMode == OpenAlways {
		l.warn("open_mode", "is always: while nobody is configured, the service is open to everyone who reaches this server")
	}
	for _, p := range l.TrustedProxies {
		if everyone(p) && l.TrustedProxiesAllowAny {
			l.warn("trusted_proxies", "%s is everyone: any client can claim any address", p)
		}
	}
	if l.publicInClear() {
		l.warn("public_url", "is plain HTTP: passwords, cookies and tokens can be read on the way")
	}
	if l.inClear() && !l.publicInClear() {
		l.warn("listen", "%s is reached in clear from other machines: passwords, cookies and tokens can be read on the way; give tls.cert and tls.key, or name the proxy that speaks HTTPS in trusted_proxies", l.Listen)
	}
	if l.JWTRefreshExpiry < l.JWTExpiry {
		l.warn("jwt.refresh_expiry", "is shorter than jwt.expiry: a client that refreshes when its access token ends is signed out")
	}
	for n, t := range l.APITokens {
		if why := weak(t.Token); why != "" {
			l.warn("api_tokens", "entry %d %s; make one with: openssl rand -hex 32", n+1, why)
		}
	}
	for _, key := range []string{"jwt.signing_keys", "assertion_keys"} {
		if l.open[key] {
			l.warn(key, "%s", isOpenToAll)
		}
	}
	if l.APIKey == nil {
		return
	}
	if why := weak(l.APIKey); why != "" {
		l.warn("api_key", "%s; make one with: doorward generate-key", why)
	} else if wellFormed, sumOK := doorward.CheckAPIKeySum(string(l.APIKey)); wellFormed && !sumOK {
		l.warn("api_key", "has a wrong checksum; it may have been mistyped")
	}
}

// printed are tokens and keys that documentation prints, without punctuation.
var printed = [...]string{"yourapitoken", "yourtoken", "yourapikey", "yourkey", "brka1b2c3d4e5f6", "changeme", "replaceme", "placeholder", "example"}

const shortToken = 16 // characters; below this guessing is a danger

// weak says why somebody might guess a token, or nothing.
func weak(token doorward.Secret) string {
	if len(token) < shortToken {
		return fmt.Sprintf("has fewer than %d characters", shortToken)
	}
	words := strings.Map(func(r rune) rune {
		if strings.ContainsRune("-_. ", r) {
			return -1
		}
		return r
	}, strings.ToLower(string(token)))
	for _, p := range printed {
		if strings.HasPrefix(words, p) {
			return "is a placeholder from documentation"
		}
	}
	return ""
}

// advice is what the command check says beside the warnings: what a careful operator
// would do, and what the defaults leave to them.
func (l *loaded) advice() []string {
	var all []string
	const alone = 15 // NIST SP 800-63B-4, section 3.1.1.2
	if l.PasswordMinLength < alone {
		all = append(all, fmt.Sprintf("%s: %d is below the %d characters that NIST SP 800-63B-4 asks where a password stands alone", l.where("passwords.min_length"), l.PasswordMinLength, alone))
	}
	if shades := l.Look.Accent.Shades(); shades != "" {
		all = append(all, l.where("pages.accent")+": "+shades)
	}
	return all
}

type checkCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run reports what serve would refuse and warn of.
func (c *checkCmd) Run(p *program, src *sources) error {
	l := load(*src)
	if len(l.problems) == 0 { // else Settings must not be used
		l.problems = append(l.problems, cannotServe(l.Settings)...)
		l.warnings = append(l.warnings, certificateWarnings(l.Settings, time.Now())...)
	}
	warnings := append(l.warnings, l.advice()...)
	if c.JSON {
		if err := p.printCheck(l.problems, warnings); err != nil {
			return err
		}
		return l.err()
	}
	for _, w := range warnings {
		p.warn(w)
	}
	for _, err := range l.problems {
		p.complain(err)
	}
	if len(l.problems) > 0 {
		return errComplained
	}
	fmt.Fprintln(p.Out, "ok: the settings are valid"+count(len(warnings), ", with %d warning"))
	return nil
}

// count is format with n and an s where it is due, or nothing for none.
func count(n int, format string) string {
	if n == 0 {
		return ""
	}
	s := fmt.Sprintf(format, n)
	if n > 1 {
		s += "s"
	}
	return s
}

func (p *program) printCheck(problems []error, warnings []string) error {
	out := struct {
		Status   string   `json:"status"`
		Errors   []string `json:"errors"`
		Warnings []string `json:"warnings"`
	}{"ok", []string{}, append([]string{}, warnings...)}
	for _, err := range problems {
		out.Status = "error"
		out.Errors = append(out.Errors, err.Error())
	}
	return p.printJSON(out)
}

func (p *program) printJSON(v any) error {
	e := json.NewEncoder(p.Out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
