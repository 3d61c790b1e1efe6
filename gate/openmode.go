package gate

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"doorward"
)

// forwarding reports whether name is a header by which a proxy gives itself away. In open
// mode one of them means that the request was not made on this machine, whatever the
// connection says. There are more than anybody has listed: what they are made of tells them.
func forwarding(name string) bool {
	name = strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(name))
	switch name {
	case "via", "x-host", "x-scheme", "x-url-scheme", "front-end-https", "x-envoy-external-address":
		return true
	}
	for _, part := range [...]string{"forward", "x-original-", "x-rewrite-"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	switch name[strings.LastIndexByte(name, '-')+1:] {
	case "ip", "ipv4", "ipv6", "clientip", "socketip":
		return true
	}
	return false
}

// openRequest refuses what in open mode could be somebody else's hand on this machine's
// service: a web page of another origin, or one whose name was made to point here (DNS
// rebinding), or a request that came through a proxy.
func (g *Gate) openRequest(r *http.Request) error {
	if !g.openHost(r.Host) {
		return doorward.ErrCrossOrigin
	}
	for name := range r.Header {
		if forwarding(name) {
			return doorward.ErrCrossOrigin
		}
	}
	// Stricter than for cookies: where everybody is let in, reading is no less than
	// writing, so safe methods are judged as well.
	for _, site := range r.Header["Sec-Fetch-Site"] {
		if site != "none" && site != "same-origin" {
			return doorward.ErrCrossOrigin
		}
	}
	if o := r.Header.Values("Origin"); len(o) > 0 {
		if len(o) > 1 || !g.ownOrigin(o[0], r.Host) {
			return doorward.ErrCrossOrigin
		}
	}
	// Browsers that say neither may still say which page it was.
	for _, page := range r.Header["Referer"] {
		if u, err := url.Parse(page); len(r.Header["Sec-Fetch-Site"])+len(r.Header["Origin"]) == 0 && (err != nil || !strings.EqualFold(u.Host, r.Host)) {
			return doorward.ErrCrossOrigin
		}
	}
	return g.sameOrigin(r, r.Host)
}

// ownOrigin reports whether an Origin names this host itself.
func (g *Gate) ownOrigin(o, host string) bool {
	_, rest, ok := strings.Cut(o, "://")
	return ok && strings.EqualFold(rest, host)
}

// openHost reports whether host is a name that only this machine answers to, or the one
// that the operator has given.
func (g *Gate) openHost(host string) bool {
	if g.publicHost != "" && strings.EqualFold(host, g.publicHost) {
		return true
	}
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if strings.EqualFold(name, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(name)
	return err == nil && a.Zone() == "" && a.IsLoopback()
}
