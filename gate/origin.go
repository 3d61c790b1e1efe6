package gate

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"doorward"
)

// trusted are the origins whose pages may act on a cookie, besides that of the host which is asked.
type trusted struct {
	list  []string
	check *http.CrossOriginProtection
}

func trust(list []string) (trusted, error) {
	t := trusted{list, http.NewCrossOriginProtection()}
	for _, o := range list {
		if err := t.check.AddTrustedOrigin(o); err != nil {
			return t, fmt.Errorf("trusted_origins: %w", err)
		}
	}
	return t, nil
}

// trusts returns those that count for host. Our own origin as browsers know it is among them,
// since a proxy in between may put another Host; but not where host is known to be another
// that shares the sign-in: to that one, the host for signing in is a neighbour like any other.
func (g *Gate) trusts(host string) trusted {
	if g.hosts.other(host) {
		return g.toOthers
	}
	return g.toUs
}

// sameOrigin refuses what a page of another origin makes a browser send. It is asked of
// requests that act on a cookie, which browsers attach by themselves, and of those that
// give one out; a credential in a header is nobody's ambient authority and needs none of
// this. Hosts that share a cookie are no less strangers: same-site is not same-origin.
func (g *Gate) sameOrigin(r *http.Request, host string) error {
	if g.trusts(host).check.Check(r) != nil {
		return doorward.ErrCrossOrigin
	}
	return nil
}

// fromOurPage judges a form that a page of ours posts where the browser is too old to say
// by itself where it comes from: then its Referer must. (Programs have the JSON doors.)
func (g *Gate) fromOurPage(r *http.Request, host string) error {
	if len(r.Header["Sec-Fetch-Site"]) > 0 || len(r.Header["Origin"]) > 0 {
		return nil // sameOrigin has judged it
	}
	u, err := url.Parse(r.Referer())
	if err != nil || u.Host == "" {
		return doorward.ErrCrossOrigin
	}
	if strings.EqualFold(u.Host, r.Host) || slices.Contains(g.trusts(host).list, u.Scheme+"://"+u.Host) {
		return nil
	}
	return doorward.ErrCrossOrigin
}

// socketOrigin judges a WebSocket that a cookie would open. A handshake is a GET, which
// the rule for requests lets through, and no browser policy keeps other sites from
// opening one; so it must come from a page of ours, and say so.
func (g *Gate) socketOrigin(r *http.Request, host string) error {
	if !isWebSocket(r) {
		return nil
	}
	given := r.Header.Values("Origin")
	if len(given) != 1 {
		return doorward.ErrCrossOrigin
	}
	if slices.Contains(g.trusts(host).list, given[0]) {
		return nil
	}
	// An origin is a scheme and a host and nothing else (RFC 6454, section 6.2). Where it is
	// known that we are reached by HTTPS, a page that came in clear is not ours.
	secure := r.TLS != nil || g.secure && (strings.EqualFold(r.Host, g.publicHost) || g.hosts.other(r.Host))
	scheme, host, ok := strings.Cut(given[0], "://")
	if !ok || host == "" || !strings.EqualFold(host, r.Host) || scheme != "https" && (scheme != "http" || secure) {
		return doorward.ErrCrossOrigin
	}
	if site := r.Header["Sec-Fetch-Site"]; len(site) > 0 && (len(site) > 1 || site[0] != "same-origin") {
		return doorward.ErrCrossOrigin
	}
	return nil
}

func isWebSocket(r *http.Request) bool {
	for _, v := range r.Header["Upgrade"] {
		if strings.Contains(strings.ToLower(v), "websocket") {
			return true
		}
	}
	// Over HTTP/2 it is an extended CONNECT (RFC 8441), which the server does not offer.
	return false
}
