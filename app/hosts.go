package app

import (
	"errors"
	"fmt"
	"strings"

	"doorward/gate"
)

// cookieDomain reads a domain for cookies; empty for none.
func cookieDomain(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	return gate.CookieDomain(s)
}

// checkHosts refuses what would leave people without a cookie, or send them to and fro, and
// warns of hosts for which one sign-in does not count though it was asked for.
func (l *loaded) checkHosts() {
	if l.refused["cookie.domain"] || l.refused["public_url"] || l.refused["redirect.allow"] {
		return
	}
	rules := gate.Rules{Routes: l.Routes, Upstreams: patternsOf(l.behind())}
	hosts, err := gate.NewHosts(gate.HostsConfig{
		PublicURL: l.PublicURL, CookieDomain: l.CookieDomain, Allow: l.RedirectAllow, Guarded: rules.Hosts(),
	})
	var wrong *gate.HostsError
	switch {
	case errors.As(err, &wrong):
		l.conflict(wrong.Setting, "%w", wrong.Err)
		return
	case hosts == nil:
		return
	}
	if strings.HasPrefix(strings.ToLower(l.CookieName), "__host-") {
		l.conflict("names.cookie", "%s begins with __Host-, which says that the cookie is for one host alone, against %s; choose another name", shown(l.CookieName), l.where("cookie.domain"))
	}
	if !hosts.Others() {
		l.warn("cookie.domain", "no other host than that of public_url is named in redirect.allow, upstreams or routes: who is sent to sign in from another does not come back to the page")
	}
	for _, u := range l.Upstreams {
		if u.Host != "" && !hosts.Covers(u.Host) {
			l.warnings = append(l.warnings, fmt.Sprintf("upstreams (%s): %s is not beneath %s %s: people sign in there by themselves", u.place, u.Host, l.where("cookie.domain"), l.CookieDomain))
		}
	}
}
