package app

import (
	"net"
	"net/http"
	"net/netip"

	"doorward"
	frontdoor "doorward/door"
	"doorward/gate"
)

// doorConfig is what the settings say about the door itself, for package door (here frontdoor, since the tests have a door of their own); what is left
// is about how this program listens and what is behind it. The defaults are the same there as
// in the table of settings (TestTheDoorsDefaultsAreTheSettings).
func (s Settings) doorConfig() frontdoor.Config {
	c := frontdoor.Config{
		DataDir: s.DataDir, SQLite: s.Database.Path, PostgreSQL: s.Database.URL, MaxStaleness: s.MaxStaleness, AuditRetention: s.AuditRetention,
		SecretFile: s.SecretFile, JWTSecret: s.JWTSecret, JWTPreviousSecrets: s.JWTPreviousSecrets,
		JWTAlgorithm: doorward.Algorithm(s.JWTAlgorithm), JWTSigningKeys: s.JWTSigningKeys, AssertionKeys: s.AssertionKeys,
		JWTExpiry: s.JWTExpiry, JWTRefreshExpiry: s.JWTRefreshExpiry, SessionLifetime: s.SessionLifetime, SessionMaxAge: s.SessionMaxAge,
		RefreshRetryWindow: s.RefreshRetryWindow, RefreshStrict: s.RefreshReuse == RefreshStrict, StreamsOutliveToken: s.StreamsOutliveToken,
		Credentials: configuredCredentials(s), Routes: s.Routes,
		LockoutAttempts: s.LockoutAttempts, LockoutWindow: s.LockoutWindow, LockoutDuration: s.LockoutDuration,
		RateLimitMinute: s.RateLimitMinute, MinPassword: s.PasswordMinLength, InviteLife: s.InviteLife,
		OpenAllowed: openAllowed(s), Disabled: s.AuthEnabled != nil && !*s.AuthEnabled,
		PublicURL: s.PublicURL, CookieDomain: s.CookieDomain, RedirectAllow: s.RedirectAllow, HSTS: orOff(s.TLS.HSTS), TrustedProxies: s.TrustedProxies, TrustedProxiesAllowAny: s.TrustedProxiesAllowAny, TrustedOrigins: s.TrustedOrigins,
		ForwardCredentials: s.ForwardCredentials, ForwardAuthProxy: s.ForwardAuthProxy,
		MaxHeaders: s.Limits.Headers, BodyTimeout: s.Limits.BodyTimeout, MaxUpload: s.Limits.BodyBytes,
		Prefix: s.PathPrefix, HealthPath: orOff(s.HealthPath), JWKSPath: orOff(s.JWKSPath), MetricsPath: orOff(s.MetricsPath),
		CookieName: s.CookieName, KeyPrefix: s.KeyPrefix,
		Upstreams: patternsOf(s.behind()), Behind: servicesOf(s.behind()), Sample: len(s.behind()) == 0, Look: s.Look,
	}
	if s.Assertion != AssertionOff {
		c.Assertion = doorward.Algorithm(s.Assertion)
	}
	if s.RefreshRetryWindow == 0 {
		c.RefreshRetryWindow = -1
	}
	if !s.RateLimits {
		c.RateLimitMinute = -1
	}
	if s.inClear() {
		c.Warnings = append(c.Warnings, "sign-in is served in clear to other machines: passwords, cookies and tokens can be read on the way")
	}
	return c
}

func orOff(what string) string {
	if what == "" {
		return frontdoor.Off
	}
	return what
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

// doorsOf is the table of all that is ours to answer, to look at.
func doorsOf(s Settings) []gate.Door {
	c := s.doorConfig()
	if s.MetricsListen == "" {
		c.Metrics = http.NotFoundHandler()
	}
	return c.Doors()
}
