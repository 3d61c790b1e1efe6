package app

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestSettingsThatContradict(t *testing.T) {
	t.Parallel()
	const pg = "postgres://u:pw@h/d"
	for name, c := range map[string]struct {
		flags map[string]string
		want  []string
	}{
		"short secret": {map[string]string{"jwt.secret": "your-32-byte-secret-key"},
			[]string{"jwt.secret (--jwt-secret): has 23 bytes, must have at least 32; make one with: openssl rand -base64 32"}},
		"one byte": {map[string]string{"jwt.secret": strings.Repeat("a", 40)},
			[]string{"jwt.secret (--jwt-secret): is one byte repeated; make one with: openssl rand -base64 32"}},
		"weak previous secret": {map[string]string{"jwt.previous_secrets": goodSecret + ",short"},
			[]string{"jwt.previous_secrets (--jwt-previous-secrets) entry 2: has 5 bytes, must have at least 32; make one with: openssl rand -base64 32"}},
		"PostgreSQL without a secret": {map[string]string{"database": pg},
			[]string{"jwt.secret: must be given with a PostgreSQL database, the same on every node; make one with: openssl rand -base64 32"}},
		"PostgreSQL with an unreadable secret": {map[string]string{"database": pg, "jwt.secret_file": "/nowhere"},
			[]string{"jwt.secret (--jwt-secret-file): cannot read the file it names: no such file or directory"}},
		"open, and never open": {map[string]string{"open_mode": "always", "auth.enabled": "true"},
			[]string{"open_mode (--open-mode): always contradicts auth.enabled (--auth-enabled)=true"}},
		"everyone a proxy": {map[string]string{"trusted_proxies": "10.0.0.1,0.0.0.0/0"},
			[]string{"trusted_proxies (--trusted-proxies): 0.0.0.0/0 is everyone, who could then claim any address; name your proxies, or set trusted_proxies_allow_any"}},
		"everyone a proxy, IPv6": {map[string]string{"trusted_proxies": "::1/0"},
			[]string{"trusted_proxies (--trusted-proxies): ::/0 is everyone, who could then claim any address; name your proxies, or set trusted_proxies_allow_any"}},
		"everyone a proxy, mapped": {map[string]string{"trusted_proxies": "::ffff:0:0/96"},
			[]string{"trusted_proxies (--trusted-proxies): 0.0.0.0/0 is everyone, who could then claim any address; name your proxies, or set trusted_proxies_allow_any"}},
		"one address for two": {map[string]string{"listen": "localhost:9000", "metrics.listen": "127.0.0.1:9000"},
			[]string{"metrics.listen (--metrics-listen): 127.0.0.1:9000 is taken by listen (--listen)"}},
		"all addresses for two": {map[string]string{"metrics.listen": ":8080"},
			[]string{"metrics.listen (--metrics-listen): :8080 is taken by listen (default)"}},
		"metrics off and served": {map[string]string{"metrics.listen": ":9000", "paths.metrics": "off"},
			[]string{"metrics.listen (--metrics-listen): has nothing to serve while paths.metrics (--paths-metrics) is off"}},
		"one path for two": {map[string]string{"paths.metrics": "/health"},
			[]string{`paths.metrics (--paths-metrics): "/health" is taken by paths.health (default)`}},
		"metrics on a health path": {map[string]string{"paths.metrics": "/health/ready"},
			[]string{`paths.metrics (--paths-metrics): "/health/ready" is taken by paths.health (default)`}},
		"health within our own paths": {map[string]string{"paths.prefix": "/door", "paths.health": "/door/auth/health"},
			[]string{`paths.health (--paths-health): "/door/auth/health" must not lie within /auth/ or /api/auth/ below paths.prefix (--paths-prefix)`}},
		"itself as the service": {map[string]string{"upstream": "http://localhost:8080"},
			[]string{"upstream (--upstream): is this server itself; let listen (default) be another address"}},
		"itself as the service, in HTTP/2": {map[string]string{"upstream": "h2c://localhost", "listen": ":80"},
			[]string{"upstream (--upstream): is this server itself; let listen (--listen) be another address"}},
		"itself as the service, without a port": {map[string]string{"upstream": "http://127.0.0.1", "listen": ":80"},
			[]string{"upstream (--upstream): is this server itself; let listen (--listen) be another address"}},
		"the secret in the database": {map[string]string{"database": "x", "names.secret_file": "x"},
			[]string{"names.secret_file (--names-secret-file): is the database's own file"}},
		"a signing secret as a key": {map[string]string{"jwt.secret": goodSecret, "api_key": goodSecret},
			[]string{"api_key (--api-key): is also a secret that signs tokens; make another with: doorward generate-key"}},
		"a signing secret as a token": {map[string]string{"jwt.previous_secrets": goodSecret, "api_tokens": "x," + goodSecret},
			[]string{"api_tokens (--api-tokens): entry 2 is also a secret that signs tokens: whoever holds it could sign their own"}},
		"a key as a token": {map[string]string{"api_key": "one-and-the-same-key", "api_tokens": "one-and-the-same-key"},
			[]string{"api_tokens (--api-tokens): entry 1 is also the api_key; a request could not tell which it meant"}},

		"other ports, paths and hosts": {map[string]string{"metrics.listen": "127.0.0.1:8081", "paths.prefix": "/door", "paths.health": "/door/health",
			"upstream": "http://app:8080", "trusted_proxies": "0.0.0.0/1", "database": pg, "jwt.secret": goodSecret}, nil},
		"any free port twice":    {map[string]string{"listen": "127.0.0.1:0", "metrics.listen": "127.0.0.1:0"}, nil},
		"both off":               {map[string]string{"paths.health": "off", "paths.metrics": "off"}, nil},
		"everyone, and meant so": {map[string]string{"trusted_proxies": "0.0.0.0/0", "trusted_proxies_allow_any": "true"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			world{flags: c.flags}.wants(t, c.want...)
		})
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	key := "brk_" + strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		flags map[string]string
		want  []string
	}{
		"auth off":    {map[string]string{"auth.enabled": "false"}, []string{"auth.enabled (--auth-enabled): is false: the service is open to everyone"}},
		"auth on":     {map[string]string{"auth.enabled": "true"}, nil},
		"open always": {map[string]string{"open_mode": "always"}, []string{"open_mode (--open-mode): is always: while nobody is configured, the service is open to everyone who reaches this server"}},
		"everyone": {map[string]string{"trusted_proxies": "::/0", "trusted_proxies_allow_any": "true"},
			[]string{"trusted_proxies (--trusted-proxies): ::/0 is everyone: any client can claim any address"}},
		"plain HTTP":         {map[string]string{"public_url": "http://door.example.com"}, []string{"public_url (--public-url): is plain HTTP: passwords, cookies and tokens can be read on the way"}},
		"plain HTTP at home": {map[string]string{"public_url": "http://localhost:8080"}, nil},
		"refresh too late": {map[string]string{"jwt.expiry": "8d"},
			[]string{"jwt.refresh_expiry (default): is shorter than jwt.expiry: a client that refreshes when its access token ends is signed out"}},
		"tokens": {map[string]string{"api_tokens": "a-token-of-16-ch,short,your-api-token-of-16-and-more"},
			[]string{"api_tokens (--api-tokens): entry 2 has fewer than 16 characters; make one with: openssl rand -hex 32",
				"api_tokens (--api-tokens): entry 3 is a placeholder from documentation; make one with: openssl rand -hex 32"}},
		"the page's key": {map[string]string{"api_key": "brk_a1b2c3d4e5f6..."},
			[]string{"api_key (--api-key): is a placeholder from documentation; make one with: doorward generate-key"}},
		"a mistyped key": {map[string]string{"api_key": key + "00000000"}, []string{"api_key (--api-key): has a wrong checksum; it may have been mistyped"}},
		"a foreign key":  {map[string]string{"api_key": key}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := world{flags: c.flags}.load(t)
			if len(l.problems) > 0 || !slices.Equal(l.warnings, c.want) {
				t.Errorf("problems %v, warnings:\n  %s\nwant:\n  %s", l.problems, strings.Join(l.warnings, "\n  "), strings.Join(c.want, "\n  "))
			}
		})
	}
}

func TestCheckAdvisesLongerPasswordsAndServeDoesNot(t *testing.T) {
	t.Parallel()
	const advice = "passwords.min_length (default): 8 is below the 15 characters that NIST SP 800-63B-4 asks where a password stands alone"
	if l := load(sources{}); len(l.warnings) > 0 || !slices.Equal(l.advice(), []string{advice}) {
		t.Errorf("warnings %v, advice %v", l.warnings, l.advice())
	}
	if l := load(sources{flags: map[string]string{"passwords.min_length": "15"}}); len(l.advice()) > 0 {
		t.Error(l.advice())
	}
}

func TestCheckAsJSON(t *testing.T) {
	t.Parallel()
	type report struct {
		Status           string
		Errors, Warnings []string
	}
	for _, c := range []struct {
		args   []string
		status int
		want   report
		stderr string
	}{
		{[]string{"--passwords-min-length=15"}, 0, report{"ok", []string{}, []string{}}, ""},
		{[]string{"--passwords-min-length=15", "--listen=x", "--log-level=y"}, 1, report{"error",
			[]string{`listen (--listen): "x" is not HOST:PORT, such as 127.0.0.1:8080 or :8080`, `log.level (--log-level): "y" is not one of debug, info, warn, error`}, []string{}},
			`doorward: listen (--listen): "x" is not HOST:PORT, such as 127.0.0.1:8080 or :8080 (and 1 more: the command check lists them all)` + "\n"},
	} {
		status, stdout, stderr := runProgram(t, nil, append([]string{"check", "--json"}, c.args...)...)
		var got report
		if err := json.Unmarshal([]byte(stdout), &got); err != nil {
			t.Fatalf("%v: %s", err, stdout)
		}
		if status != c.status || got.Status != c.want.Status || !slices.Equal(got.Errors, c.want.Errors) || !slices.Equal(got.Warnings, c.want.Warnings) || stderr != c.stderr {
			t.Errorf("%v: %d %+v %q", c.args, status, got, stderr)
		}
		if strings.Contains(stdout, "null") {
			t.Errorf("a list is null in %s", stdout)
		}
	}
}
