package gate

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Hosts says for which hosts one sign-in counts, and where a browser may be sent from our
// pages. Whatever leads to another host comes out of its own lists: the name that a request
// asks for is the client's invention and is only ever looked up here. A nil Hosts knows no
// other host than that of a request. It is immutable and safe for concurrent use.
type Hosts struct {
	domain string // of the cookies
	scheme string // of the sign-in host, and so of all
	signIn site
	// sites are the others, by name, or by *. and a name for all below it; each with
	// the ports under which it is listed, without the scheme's own.
	sites map[string][]string
}

// site is a host as browsers write it: in lower case, the port empty where it is the scheme's own.
type site struct{ name, port string }

func (s site) String() string {
	if s.port == "" {
		return s.name
	}
	return s.name + ":" + s.port
}

// HostsConfig is what Hosts are made of.
type HostsConfig struct {
	// PublicURL is where people sign in. With a CookieDomain it is required.
	PublicURL *url.URL
	// CookieDomain is the Domain of the cookies (RFC 6265, section 5.2.3): the sign-in host
	// and all that share the sign-in are beneath it. Empty for cookies of one host.
	CookieDomain string
	// Allow are those to which a browser may be sent, as RedirectHost has them.
	Allow []string
	// Guarded are the hosts that rules name, as in Pattern: those beneath CookieDomain are allowed too.
	Guarded []string
}

// HostsError says which of the settings cookie.domain and redirect.allow is wrong, and how.
type HostsError struct {
	Setting string
	Err     error
}

func (e *HostsError) Error() string { return e.Setting + ": " + e.Err.Error() }

// Unwrap returns what is wrong with it.
func (e *HostsError) Unwrap() error { return e.Err }

// NewHosts checks c; what is wrong is a *HostsError. Without a CookieDomain it is nil, and no error.
func NewHosts(c HostsConfig) (*Hosts, error) {
	wrong := func(setting, format string, args ...any) (*Hosts, error) {
		return nil, &HostsError{setting, fmt.Errorf(format, args...)}
	}
	switch {
	case c.CookieDomain == "" && len(c.Allow) > 0:
		return wrong("redirect.allow", "needs cookie.domain: without it a session counts for one host, and who comes back to another has none")
	case c.CookieDomain == "":
		return nil, nil
	case c.PublicURL == nil:
		return wrong("cookie.domain", "needs public_url, the host at which people sign in for all others, such as https://auth.%s", c.CookieDomain)
	}
	domain, err := CookieDomain(c.CookieDomain)
	if err != nil {
		return wrong("cookie.domain", "%w", err)
	}
	h := &Hosts{domain: domain, scheme: c.PublicURL.Scheme, sites: map[string][]string{}}
	h.signIn = site{canonicalHost(c.PublicURL.Host), h.port(c.PublicURL.Port())}
	if !h.shares(h.signIn.name) {
		return wrong("cookie.domain", "%s is not above the host of public_url, %s: browsers would drop the cookie; let it be that host or what is above it", domain, h.signIn.name)
	}
	for _, given := range c.Allow {
		allowed, err := RedirectHost(given)
		if err != nil {
			return wrong("redirect.allow", "%w", err)
		}
		name, port, ported := strings.Cut(allowed, ":")
		if !h.shares(strings.TrimPrefix(name, "*.")) {
			return wrong("redirect.allow", "%s is not beneath cookie.domain %s: a browser has no cookie there and would be sent to sign in again and again; leave it out", name, domain)
		}
		if port = h.port(port); !ported {
			port = h.signIn.port
		}
		h.allow(name, port)
	}
	for _, pattern := range c.Guarded {
		if h.Covers(pattern) {
			h.allow(canonicalPattern(pattern), h.signIn.port)
		}
	}
	return h, nil
}

func (h *Hosts) allow(name, port string) {
	if !slices.Contains(h.sites[name], port) {
		h.sites[name] = append(h.sites[name], port)
	}
}

// port is a port as browsers write it in an origin.
func (h *Hosts) port(given string) string {
	if h.scheme == "https" && given == "443" || h.scheme == "http" && given == "80" {
		return ""
	}
	return given
}

// Others reports whether a browser may be sent to any host besides the one for signing in.
func (h *Hosts) Others() bool { return h != nil && len(h.sites) > 0 }

// Covers reports whether one sign-in counts for what a host of a Pattern names.
func (h *Hosts) Covers(pattern string) bool {
	return h != nil && pattern != "" && h.shares(strings.TrimPrefix(canonicalPattern(pattern), "*."))
}

// shares reports whether a cookie of ours reaches a host, given as canonicalHost has it (RFC 6265, section 5.1.3).
func (h *Hosts) shares(name string) bool {
	return name == h.domain || strings.HasSuffix(name, "."+h.domain)
}

// CookieDomain returns a domain for cookies in the form in which they carry it, or says why
// no browser would keep a cookie for it.
func CookieDomain(s string) (string, error) {
	name := strings.ToLower(s)
	_, notAddress := netip.ParseAddr(strings.Trim(name, "[]"))
	last := name[strings.LastIndexByte(name, '.')+1:]
	_, notNumber := strconv.ParseUint(last, 0, 64)
	switch {
	case strings.ContainsFunc(name, func(r rune) bool { return r > '~' }):
		return "", fmt.Errorf("%q is not in ASCII; browsers send the form that begins with xn--, so write that", s)
	case notAddress == nil:
		return "", fmt.Errorf("%q is an address, which has no hosts beneath it; leave it out, or give the hosts names", s)
	case strings.HasPrefix(name, "."), strings.HasPrefix(name, "*."):
		return "", fmt.Errorf("%q must be a name alone, like %s: what is beneath it is meant in any case", s, strings.TrimLeft(name, "*."))
	case strings.Contains(name, "://"), strings.Contains(name, ":"):
		return "", fmt.Errorf("%q must be a name like example.com, without scheme and port: browsers send a cookie to all of a host's ports", s)
	case !validHost(name) || strings.HasSuffix(name, ".") || name == "" || len(name) > 253:
		return "", fmt.Errorf("%q is not a name like example.com", s)
	case !strings.Contains(name, "."):
		return "", fmt.Errorf("%q is a single label, for which browsers keep no cookie; it must be a name like example.com", s)
	case notNumber == nil || strings.Trim(last, "0123456789") == "":
		return "", fmt.Errorf("%q ends in a number, which browsers take for an address", s)
	}
	// Of names that the list does not hold, the last label is such a suffix.
	if suffix, _ := publicsuffix.PublicSuffix(name); suffix == name {
		return "", fmt.Errorf("%q is a public suffix, below which anybody can have a host: browsers drop a cookie for it; it must be your own name below that", s)
	}
	return name, nil
}

// RedirectHost returns an entry of redirect.allow in the form in which it is compared: a name, or *. and
// a name for all below it, perhaps with a port.
func RedirectHost(s string) (string, error) {
	if strings.Contains(s, "://") {
		return "", errors.New("must be hosts like app.example.com, without a scheme: that of public_url holds for all")
	}
	name, port, ported := strings.Cut(s, ":")
	if err := checkHostPattern(name); err != nil || name == "" || strings.Contains(port, ":") || strings.Contains(name, "..") {
		return "", fmt.Errorf("%q is not a host like app.example.com or *.example.com, with or without a port", s)
	}
	name = canonicalPattern(name)
	if !ported {
		return name, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return "", fmt.Errorf("%q has no port from 1 to 65535", s)
	}
	return name + ":" + port, nil
}

// lists reports whether a browser may be sent to s.
func (h *Hosts) lists(s site) bool {
	if s == h.signIn || slices.Contains(h.sites[s.name], s.port) {
		return true
	}
	for below := s.name; ; {
		var found bool
		if _, below, found = strings.Cut(below, "."); !found {
			return false
		}
		if slices.Contains(h.sites["*."+below], s.port) {
			return true
		}
	}
}

// asked finds the site on the list that a request names, whose host passed validHost. A port that it does not name may be
// one that a proxy has left out: then it is the sign-in host's.
func (h *Hosts) asked(host string) (s site, listed bool) {
	_, port, _ := splitHost(host)
	s = site{canonicalHost(host), h.port(strings.TrimPrefix(port, ":"))}
	if h.lists(s) {
		return s, true
	}
	if port != "" {
		return s, false
	}
	s.port = h.signIn.port
	return s, h.lists(s)
}

// origin is a site's, as browsers write it.
func (h *Hosts) origin(s site) string { return h.scheme + "://" + s.String() }

// elsewhere says where people sign in who ask for host: at is the origin of the sign-in page,
// empty for host itself, and back the origin to come back to, empty for none. A host that is
// not on the list is not come back to, whatever it is: who asks has chosen it. One that does not
// share the cookie has a sign-in of its own.
func (h *Hosts) elsewhere(host string) (at, back string) {
	if h == nil {
		return "", ""
	}
	switch s, listed := h.asked(host); {
	case s == h.signIn, !h.shares(s.name), !listed && s.name == h.signIn.name:
		return "", ""
	case listed:
		return h.origin(h.signIn), h.origin(s)
	}
	return h.origin(h.signIn), ""
}

// cookieDomain is the Domain of a cookie that is set for host; empty for that host alone.
func (h *Hosts) cookieDomain(host string) string {
	if h == nil || !h.shares(canonicalHost(host)) {
		return ""
	}
	return h.domain
}

// other reports whether host is one that shares the sign-in and is not the host of the sign-in page.
func (h *Hosts) other(host string) bool {
	return h != nil && canonicalHost(host) != h.signIn.name && h.shares(canonicalHost(host))
}

// target is next if a browser on host may be sent there, else "/": a target on host itself, by
// SameSite, or one on a host of the list, as a whole URL. Of a URL only what cannot be read in
// two ways is taken: the one scheme, a name in ASCII, and a port or none, up to the first of
// /, ? and #. What is returned is put together anew.
func (h *Hosts) target(host, next string) string {
	if t, ok := sameSite(next); ok || h == nil || len(next) > maxNext {
		return t
	}
	rest, ok := strings.CutPrefix(next, h.scheme+"://")
	if !ok {
		return "/"
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, tail := strings.ToLower(rest[:end]), rest[end:]
	name, port, ok := splitHost(authority)
	s := site{name, h.port(strings.TrimPrefix(port, ":"))}
	if !ok || !validHost(authority) || !h.lists(s) {
		return "/"
	}
	if !strings.HasPrefix(tail, "/") {
		tail = "/" + tail
	}
	path, _ := sameSite(tail)
	if here, _ := h.asked(host); s == here {
		return path
	}
	if origin := h.origin(s); len(origin)+len(path) <= maxNext {
		return origin + path
	}
	return "/"
}
