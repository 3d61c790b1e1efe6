package app

import (
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestEveryRowOfTheTableIsWhole(t *testing.T) {
	t.Parallel()
	key := regexp.MustCompile(`^[a-z]+(_[a-z]+)*(\.[a-z]+(_[a-z]+)*)?$`)
	keys, flags, envs := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, s := range new(Settings).rows() {
		names := []string{s.key}
		if s.secret {
			names = append(names, s.fileKey())
		}
		for _, k := range names {
			if keys[k] || flags[flagName(k)] || envs[envName(k)] {
				t.Errorf("%s, --%s or %s is there twice", k, flagName(k), envName(k))
			}
			keys[k], flags[flagName(k)], envs[envName(k)] = true, true, true
		}
		if !key.MatchString(s.key) {
			t.Errorf("%q is not a key by the rule", s.key)
		}
		if s.help == "" || strings.ContainsAny(s.help, "\n$|") || strings.HasSuffix(s.help, ".") {
			t.Errorf("%s: help %q must be one line, part of a sentence, fit for kong and a table", s.key, s.help)
		}
		if (s.metavar == "") != s.toggle {
			t.Errorf("%s: a flag either stands alone or says what its value is", s.key)
		}
		if (s.fallback == "") == (s.unset == "") {
			t.Errorf("%s: must have a default, or say what having none means", s.key)
		}
		if s.secret && (s.fallback != "" || s.show != nil) {
			t.Errorf("%s: a secret has neither a default nor a way to be shown", s.key)
		}
	}
}

func TestNamesFollowTheRule(t *testing.T) {
	t.Parallel()
	s := setting{key: "refresh.retry_window"}
	if s.flag() != "refresh-retry-window" || s.env() != "DOORWARD_REFRESH_RETRY_WINDOW" {
		t.Errorf("%s is --%s and %s", s.key, s.flag(), s.env())
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	l := load(sources{})
	if len(l.problems) > 0 || len(l.warnings) > 0 {
		t.Fatalf("the defaults give %v, %v", l.problems, l.warnings)
	}
	for name, ok := range map[string]bool{
		"listen":     l.Listen == "127.0.0.1:8080",
		"upstream":   l.Upstream == nil,
		"database":   l.Database.Path == "doorward.db" && l.Database.URL == nil,
		"auth":       l.AuthEnabled == nil && l.OpenMode == OpenAuto,
		"jwt":        l.JWTSecret == nil && l.JWTExpiry == 24*time.Hour && l.JWTRefreshExpiry == 7*24*time.Hour,
		"session":    l.SessionLifetime == 24*time.Hour && l.SessionMaxAge == 30*24*time.Hour,
		"refresh":    l.RefreshRetryWindow == 10*time.Second && l.RefreshReuse == RefreshDetect,
		"lockout":    l.LockoutAttempts == 5 && l.LockoutWindow == 15*time.Minute && l.LockoutDuration == 15*time.Minute,
		"rate":       l.RateLimits,
		"passwords":  l.PasswordMinLength == 8,
		"staleness":  l.MaxStaleness == 5*time.Second,
		"paths":      l.PathPrefix == "" && l.HealthPath == "/health" && l.MetricsPath == "/metrics" && l.MetricsListen == "",
		"names":      l.CookieName == "brokoli_session" && l.KeyPrefix == "brk_" && l.SecretFile == ".brokoli-jwt-secret",
		"sample":     l.SampleCommand == nil && l.SampleTimeout == time.Minute,
		"log":        l.LogFormat == LogText && l.LogLevel == slog.LevelInfo,
		"proxies":    l.TrustedProxies == nil && !l.TrustedProxiesAllowAny && l.TrustedOrigins == nil && l.PublicURL == nil && l.CookieDomain == "" && l.RedirectAllow == nil,
		"forwarding": l.ForwardCredentials == ForwardOff && l.UpstreamTimeout == 10*time.Minute,
		"keys":       l.APIKey == nil && l.APITokens == nil && l.JWTPreviousSecrets == nil && l.DataDir == ".",
	} {
		if !ok {
			t.Errorf("the defaults of %s are not the documented ones: %+v", name, l.Settings)
		}
	}
}
