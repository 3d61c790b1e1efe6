package app

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// one loads a single setting from its flag and returns what is wrong with it, if anything.
func one(t *testing.T, key, value string) (Settings, string) {
	t.Helper()
	s, err := loadOnly(key, sources{flags: map[string]string{key: value}})
	if err != nil {
		return s, err.Error()
	}
	return s, ""
}

func TestRefusedValues(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("9", 100)
	for _, c := range []struct{ key, value, why string }{
		{"listen", "8080", `"8080" is not HOST:PORT, such as 127.0.0.1:8080 or :8080`},
		{"listen", "", `"" is not HOST:PORT, such as 127.0.0.1:8080 or :8080`},
		{"listen", "localhost:http", `"localhost:http" has no port from 0 to 65535`},
		{"listen", "localhost:65536", `"localhost:65536" has no port from 0 to 65535`},
		{"listen", "localhost:+80", `"localhost:+80" has no port from 0 to 65535`},
		{"listen", "a b:80", `"a b:80" does not begin with a host name or address`},
		{"metrics.listen", "x", `"x" is not HOST:PORT, such as 127.0.0.1:8080 or :8080`},

		{"upstream", "localhost:3000", "is not a URL like http://localhost:3000, https://example.com or h2c://localhost:50051"},
		{"upstream", "ftp://x", "is not a URL like http://localhost:3000, https://example.com or h2c://localhost:50051"},
		{"upstream", "h2c:localhost:50051", "is not a URL like http://localhost:3000, https://example.com or h2c://localhost:50051"},
		{"upstream", "h2c://", "must name a host"},
		{"upstream", "h2c://u:pw@h", "must not hold a user name or password"},
		{"public_url", "h2c://h", "is not a URL like http://localhost:3000 or https://example.com"},
		{"upstream", "http://", "must name a host"},
		{"upstream", "http://u:pw@h", "must not hold a user name or password"},
		{"upstream", "http://h?q", "must not hold a query"},
		{"upstream", "http://h?", "must not hold a query"},
		{"upstream", "http://h#f", "must not hold a fragment"},
		{"upstream", "http://h#", "must not hold a fragment"},
		{"upstream", "http://h:0", "must have a port from 1 to 65535, or none"},
		{"upstream", "http://h:99999", "must have a port from 1 to 65535, or none"},
		{"upstream", "http://h:", "has a colon without a port"},
		{"upstream", "http://h/a/../b", "must have a clean path: no dot segments, no double slash, no slash at its end"},
		{"public_url", "https://h/door", "must not have a path; paths.prefix moves our own pages"},

		{"upstream_timeout", "0", `"0" must be more than zero`},
		{"upstream_timeout", "-5s", `"-5s" is negative`},
		{"jwt.expiry", "3600", `"3600" is not a duration; write one like 90s, 24h or 7d`},
		{"jwt.expiry", "", `"" is not a duration; write one like 90s, 24h or 7d`},
		{"jwt.expiry", "5x", `"5x" is not a duration; write one like 90s, 24h or 7d`},
		{"jwt.expiry", "1h1d", `"1h1d" is not a duration; write one like 90s, 24h or 7d`},
		{"jwt.expiry", "-1d", `"-1d" is not a duration; write one like 90s, 24h or 7d`},
		{"jwt.expiry", "1d-2h", `"1d-2h" is not a duration; write one like 90s, 24h or 7d`},
		{"jwt.expiry", "1d 2h", `"1d 2h" is not a duration; write one like 90s, 24h or 7d`},
		{"jwt.expiry", "1.5d", `"1.5d" is not a duration; write one like 90s, 24h or 7d`},
		{"jwt.expiry", "500ms", `"500ms" must be at least 1s`},
		{"jwt.expiry", "36501d", `"36501d" is too long; the longest is 36500d`},
		{"jwt.expiry", "36500d1ns", `"36500d1ns" is too long; the longest is 36500d`},
		{"jwt.expiry", "9223372036854775807d", `"9223372036854775807d" is too long; the longest is 36500d`},
		{"jwt.expiry", "106752d2000000h", `"106752d2000000h" is too long; the longest is 36500d`},
		{"jwt.expiry", "9999999999999h", `"9999999999999h" is not a duration; write one like 90s, 24h or 7d`},
		{"jwt.expiry", long, `"` + long[:60] + `"... is not a duration; write one like 90s, 24h or 7d`},

		{"lockout.attempts", "0", `"0" is not a whole number from 1 to 1000`},
		{"lockout.attempts", "1_0", `"1_0" is not a whole number from 1 to 1000`},
		{"passwords.min_length", "257", `"257" is not a whole number from 1 to 256`},
		{"rate_limits.enabled", "maybe", `"maybe" is neither true nor false`},
		{"auth.enabled", "", `"" is neither true nor false`},

		{"refresh.reuse", "strikt", `"strikt" is not one of detect, strict; did you mean strict?`},
		{"open_mode", "Auto", `"Auto" is not one of auto, always, never; did you mean auto?`},
		{"forward_credentials", "yes", `"yes" is not one of off, as_sent, bearer`},
		{"log.level", "INFO", `"INFO" is not one of debug, info, warn, error; did you mean info?`},

		{"data_dir", "", "must name a directory"},
		{"database", "mysql://h/db", "is neither the path of a SQLite file nor a postgres:// URL"},
		{"database", "postgres://u:p%zz@h/db", "is not a valid postgres:// URL; characters like @ : / in a password are written as %40 %3A %2F"},
		{"database", "host=h password=pw", "is a list of key=value; write it as a postgres:// URL"},
		{"database", ":memory:", "must be a file: a database in memory forgets revocations at every restart"},
		{"database", "doorward.db?mode=ro", "is neither the path of a SQLite file nor a postgres:// URL"},

		{"trusted_proxies", "10.0.0.0/33", `"10.0.0.0/33" is neither an address like 10.0.0.7 nor a network like 10.0.0.0/8`},
		{"trusted_proxies", "10.0.0.1,proxy.local", `"proxy.local" is neither an address like 10.0.0.7 nor a network like 10.0.0.0/8`},
		{"trusted_proxies", "fe80::1%eth0", `"fe80::1%eth0" is neither an address like 10.0.0.7 nor a network like 10.0.0.0/8`},
		{"trusted_origins", "app.example.com", `"app.example.com" is not an origin like https://app.example.com: a scheme and a host, no path`},
		{"trusted_origins", "https://app.example.com/", `"https://app.example.com/" is not an origin like https://app.example.com: a scheme and a host, no path`},
		{"trusted_origins", "https://u:pw@app.example.com", "must not hold a user name or password"},

		{"paths.prefix", "door", `"door" is not a path like /door: it begins with a slash, does not end with one, and holds letters, digits and /-._~`},
		{"paths.prefix", "/", `"/" is not a path like /door: it begins with a slash, does not end with one, and holds letters, digits and /-._~`},
		{"paths.prefix", "/a/../b", `"/a/../b" is not a path like /door: it begins with a slash, does not end with one, and holds letters, digits and /-._~`},
		{"paths.prefix", "/a%2fb", `"/a%2fb" is not a path like /door: it begins with a slash, does not end with one, and holds letters, digits and /-._~`},
		{"paths.health", "", `"" is neither off nor a path like /x: it begins with a slash, does not end with one, and holds letters, digits and /-._~`},
		{"paths.health", "/auth/health", `"/auth/health" must not lie within /auth/ or /api/auth/`},
		{"paths.metrics", "/api/auth", `"/api/auth" must not lie within /auth/ or /api/auth/`},

		{"names.cookie", "a b", `"a b" is not a cookie name: 1 to 64 of letters, digits and !#$%&'*+-.^_` + "`|~"},
		{"names.cookie", "", `"" is not a cookie name: 1 to 64 of letters, digits and !#$%&'*+-.^_` + "`|~"},
		{"names.key_prefix", "a.b", `"a.b": may hold letters, digits, - and _ only`},
		{"names.key_prefix", "", `"": must have 1 to 32 characters`},
		{"names.secret_file", "../x", `"../x" is not the name of a file without a directory`},
		{"names.secret_file", "..", `".." is not the name of a file without a directory`},

		{"sample_command", `echo "a`, `has a " that is not closed`},
		{"sample_command", `echo 'a\'b'`, `has a ' that is not closed`},
		{"sample_command", `echo a\`, `ends with a backslash`},
		{"sample_command", `"" a`, `begins with an empty word where the program's name belongs`},
		{"sample_command", "echo \x00", `must not hold a NUL`},

		{"api_key", "", "is empty; remove it, or give it a value"},
		{"api_key", "two words", "may hold visible ASCII characters only: no spaces, no line ends"},
		{"api_key", "schlüssel", "may hold visible ASCII characters only: no spaces, no line ends"},
		{"api_tokens", "", "is empty; remove it, or give it a value"},
		{"api_tokens", " , ,", "is empty; remove it, or give it a value"},
		{"api_tokens", "ok,not ok", "entry 2 may hold visible ASCII characters only: no spaces, no line ends"},
		{"jwt.secret", "", "is empty; remove it, or give it a value"},
		{"jwt.previous_secrets", "", "is empty; remove it, or give it a value"},
		{"jwt.previous_secrets", "one, two", "entry 2 begins or ends with white space; remove it, or write a list in the file, where each entry is taken whole"},
	} {
		t.Run(c.key+" "+c.value, func(t *testing.T) {
			t.Parallel()
			want := fmt.Sprintf("%s (--%s): %s", c.key, flagName(c.key), c.why)
			if _, got := one(t, c.key, c.value); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestAcceptedValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key, value, want string
		got              func(Settings) any
	}{
		{"listen", ":0", ":0", func(s Settings) any { return s.Listen }},
		{"listen", "LocalHost:080", "localhost:80", func(s Settings) any { return s.Listen }},
		{"listen", "[::1]:8080", "[::1]:8080", func(s Settings) any { return s.Listen }},
		{"metrics.listen", "", "", func(s Settings) any { return s.MetricsListen }},
		{"upstream", "", "<nil>", func(s Settings) any { return s.Upstream }},
		{"upstream", "http://LOCALHOST:3000", "http://localhost:3000", func(s Settings) any { return s.Upstream }},
		{"upstream", "h2c://[::1]:50051/base", "h2c://[::1]:50051/base", func(s Settings) any { return s.Upstream }},
		{"upstream", "https://[::1]/base", "https://[::1]/base", func(s Settings) any { return s.Upstream }},
		{"public_url", "https://Door.example.com:443/", "https://door.example.com", func(s Settings) any { return s.PublicURL }},
		{"public_url", "http://localhost:8080", "http://localhost:8080", func(s Settings) any { return s.PublicURL }},

		{"jwt.expiry", "90s", "1m30s", func(s Settings) any { return s.JWTExpiry }},
		{"jwt.expiry", "7d", "168h0m0s", func(s Settings) any { return s.JWTExpiry }},
		{"jwt.expiry", "1d12h", "36h0m0s", func(s Settings) any { return s.JWTExpiry }},
		{"jwt.expiry", "0d90s", "1m30s", func(s Settings) any { return s.JWTExpiry }},
		{"jwt.expiry", "36500d", "876000h0m0s", func(s Settings) any { return s.JWTExpiry }},
		{"refresh.retry_window", "0", "0s", func(s Settings) any { return s.RefreshRetryWindow }},
		{"max_staleness", "250ms", "250ms", func(s Settings) any { return s.MaxStaleness }},

		{"rate_limits.enabled", "OFF", "false", func(s Settings) any { return s.RateLimits }},
		{"auth.enabled", "1", "true", func(s Settings) any { return *s.AuthEnabled }},
		{"auth.enabled", "false", "false", func(s Settings) any { return *s.AuthEnabled }},

		{"trusted_proxies", "10.1.2.3/8, ::1\n192.168.0.1", "[10.0.0.0/8 ::1/128 192.168.0.1/32]", func(s Settings) any { return s.TrustedProxies }},
		{"trusted_proxies", "::ffff:10.1.2.3,::ffff:10.0.0.0/104", "[10.1.2.3/32 10.0.0.0/8]", func(s Settings) any { return s.TrustedProxies }},
		{"trusted_proxies", "", "[]", func(s Settings) any { return s.TrustedProxies }},
		{"trusted_origins", "HTTPS://App.Example.com:443,http://localhost:3000", "[https://app.example.com http://localhost:3000]", func(s Settings) any { return s.TrustedOrigins }},

		{"cookie.domain", "Apps.Example.COM", "apps.example.com", func(s Settings) any { return s.CookieDomain }},
		{"redirect.allow", "App.Example.com:8443, *.example.com", "[app.example.com:8443 *.example.com]", func(s Settings) any { return s.RedirectAllow }},

		{"paths.prefix", "/door", "/door", func(s Settings) any { return s.PathPrefix }},
		{"paths.metrics", "off", "", func(s Settings) any { return s.MetricsPath }},
		{"paths.health", "/authority", "/authority", func(s Settings) any { return s.HealthPath }},

		{"database", "/var/lib//door.db", "{/var/lib/door.db ***}", func(s Settings) any { return s.Database }},
		{"database", "postgres://u:pw@h/db", "{ ***}", func(s Settings) any { return s.Database }},

		{"sample_command", "", "[]", func(s Settings) any { return fmt.Sprintf("%q", s.SampleCommand) }},
		{"sample_command", `  my-agent --say "a \"b\"" 'c\ d'e '' \$HOME  `, `["my-agent" "--say" "a \"b\"" "c\\ de" "" "$HOME"]`, func(s Settings) any { return fmt.Sprintf("%q", s.SampleCommand) }},
		{"log.level", "warn", "WARN", func(s Settings) any { return s.LogLevel }},

		{"api_key", "brk_a1b2c3d4e5f6...", "brk_a1b2c3d4e5f6...", func(s Settings) any { return string(s.APIKey) }},
		{"api_tokens", "a,,b , a", "a b ", func(s Settings) any {
			var all string
			for _, tok := range s.APITokens {
				all += string(tok.Token) + " "
				if tok.Name != "" || tok.Role != "editor" || tok.Workspace != "default" || tok.ClientIDs != nil {
					return fmt.Sprintf("%+v", tok)
				}
			}
			return all
		}},
		{"jwt.secret", " two words=\t", " two words=\t", func(s Settings) any { return string(s.JWTSecret) }},
		{"jwt.previous_secrets", "one,two words,", "one|two words|", func(s Settings) any {
			var all string
			for _, p := range s.JWTPreviousSecrets {
				all += string(p) + "|"
			}
			return all
		}},
	} {
		t.Run(c.key+" "+c.value, func(t *testing.T) {
			t.Parallel()
			s, refused := one(t, c.key, c.value)
			if refused != "" {
				t.Fatal(refused)
			}
			if got := fmt.Sprint(c.got(s)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestDurationsNeverWrapAround(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"106751d24h", "36500d9223372036854775807ns", "99999999999999999999d", "2147483647d", "2147483648d", "0d9223372036854775807ns"} {
		if d, err := duration(s); err == nil || d != 0 {
			t.Errorf("%s is %v, %v", s, time.Duration(d), err)
		}
	}
}

// fileSetting loads one setting from a file and returns what is wrong, with the file's
// name shortened.
func fileSetting(t *testing.T, key, yaml string) (Settings, string) {
	t.Helper()
	path := write(t, "d.yaml", yaml)
	s, err := loadOnly(key, sources{flags: map[string]string{configKey: path}})
	if err != nil {
		return s, strings.ReplaceAll(err.Error(), path, filepath.Base(path))
	}
	return s, ""
}

func TestAPITokensInTheFile(t *testing.T) {
	t.Parallel()
	file := write(t, "token", "from-a-file\n")
	s, refused := fileSetting(t, "api_tokens", `
api_tokens:
  - plain
  - 123456
  - {token: named, name: deploy/bot, role: viewer, client_ids: [ci, "cd"], workspace: staging-1}
  - token_file: `+file+`
    client_ids: a, b
  - plain
`)
	if refused != "" {
		t.Fatal(refused)
	}
	var got []string
	for _, a := range s.APITokens {
		got = append(got, fmt.Sprintf("%s/%s/%s/%q/%s", string(a.Token), a.Name, a.Role, a.ClientIDs, a.Workspace))
	}
	want := []string{
		`plain//editor/[]/default`,
		`123456//editor/[]/default`,
		`named/deploy/bot/viewer/["ci" "cd"]/staging-1`,
		`from-a-file//editor/["a" "b"]/default`,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestRefusedAPITokensInTheFile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ yaml, want string }{
		"unknown field":    {"api_tokens:\n  - token: hush-hush\n    rol: admin\n", "api_tokens (d.yaml:3): unknown field rol; did you mean role?"},
		"no token":         {"api_tokens:\n  - x\n  - name: bot\n", "api_tokens (d.yaml:3): an entry has neither token nor token_file"},
		"both":             {"api_tokens:\n  - {token: hush-hush, token_file: f}\n", "api_tokens (d.yaml:2): is given both as a value and as a file; give one of them"},
		"role":             {"api_tokens:\n  - token: hush-hush\n    role: Admin\n", "api_tokens (d.yaml:3): role: must be one of superadmin, admin, editor, viewer"},
		"name":             {"api_tokens:\n  - token: hush-hush\n    name: usr_1\n", "api_tokens (d.yaml:3): name: must not begin with usr_ or key_"},
		"client id":        {"api_tokens:\n  - token: hush-hush\n    client_ids:\n      - ok\n      - not ok\n", "api_tokens (d.yaml:5): client_ids: may hold letters, digits and ._:@/- only"},
		"no client id":     {"api_tokens:\n  - token: hush-hush\n    client_ids: []\n", "api_tokens (d.yaml:3): client_ids: names none; leave it out to allow any"},
		"workspace":        {"api_tokens:\n  - token: hush-hush\n    workspace: Main\n", `api_tokens (d.yaml:3): workspace: "Main" must have 1 to 63 of a-z, 0-9 and -`},
		"twice":            {"api_tokens:\n  - hush-hush\n  - token: hush-hush\n    role: admin\n", "api_tokens (d.yaml:3): entry 1 is the same token with other terms"},
		"empty":            {"api_tokens:\n  - ''\n", "api_tokens (d.yaml:2): is empty; remove it, or give it a value"},
		"null":             {"api_tokens:\n  -\n", "api_tokens (d.yaml:2): has no value; give it one, or remove the line"},
		"no value":         {"api_tokens:\n", "api_tokens (d.yaml:1): has no value; give it one, or remove the line"},
		"list within":      {"api_tokens:\n  - [hush-hush]\n", "api_tokens (d.yaml:2): must be a single value, not a list"},
		"mapping":          {"api_tokens:\n  token: hush-hush\n", "api_tokens (d.yaml:1): must be a single value, not a mapping"},
		"missing file":     {"api_tokens:\n  - token_file: /nowhere/at/all\n", "api_tokens (d.yaml:2): token_file: cannot read the file it names: no such file or directory"},
		"list as name":     {"api_tokens:\n  - token: hush-hush\n    name: [a]\n", "api_tokens (d.yaml:3): name: must be a single value, not a list"},
		"invisible":        {"api_tokens: [ok, \"hush\\thush\"]\n", "api_tokens (d.yaml:1): may hold visible ASCII characters only: no spaces, no line ends"},
		"both, dotted key": {"api_tokens: x\napi_tokens_file: f\n", "api_tokens (d.yaml:2): is given both as a value and as a file; give one of them"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, got := fileSetting(t, "api_tokens", c.yaml)
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if strings.Contains(got, "hush") {
				t.Error("the token is in the message")
			}
		})
	}
}

func TestPreviousSecretsInTheFileAreTakenWhole(t *testing.T) {
	t.Parallel()
	s, refused := fileSetting(t, "jwt.previous_secrets", `jwt: {previous_secrets: [" with, comma ", 0123]}`)
	if refused != "" {
		t.Fatal(refused)
	}
	if len(s.JWTPreviousSecrets) != 2 || string(s.JWTPreviousSecrets[0]) != " with, comma " || string(s.JWTPreviousSecrets[1]) != "0123" {
		t.Errorf("got %d secrets, not the two that were written", len(s.JWTPreviousSecrets))
	}
	if _, refused := fileSetting(t, "jwt.previous_secrets", "jwt:\n  previous_secrets:\n    - x\n    - ''\n"); refused != "jwt.previous_secrets (d.yaml:4): is empty; remove it, or give it a value" {
		t.Error(refused)
	}
}
