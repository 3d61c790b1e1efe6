package gate

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ToHTTPS answers whoever comes by plain HTTP to an address beside the one of HTTPS: it leads
// browsers there, and does nothing else. It is safe for concurrent use.
//
// It leads a GET or HEAD without a credential in a header. Anything else it refuses: a
// password, key or token that came here has been seen by everybody on the way, and to lead
// it on would let the slip work, and stay.
type ToHTTPS struct {
	// Port of HTTPS on the host that was asked for; empty or "443" for its own.
	Port string
	// Covers reports whether we are asked for by the name host over HTTPS; nil for any.
	Covers func(host string) bool
	// Otherwise is where those are led who ask for another name; nil to let them have it.
	Otherwise *url.URL
	// Timeout is for the answer to be taken.
	Timeout time.Duration
}

// ServeHTTP answers a request.
func (t *ToHTTPS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	closeOld(w, r)
	r, answered := watchClosing(w, r)
	defer answered()
	limitAnswer(w, t.Timeout)
	limitUnread(w, r)
	h := w.Header()
	// Not kept: a slip in the settings would stay in browsers. Over HTTPS they are told to stay there.
	h.Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead || len(r.Header["Authorization"])+len(r.Header["X-Api-Key"]) > 0 {
		h.Set("Connection", "close")
		Fail(w, http.StatusBadRequest, "scheme: must be https; replace a password, key or token that was sent here, since it came in clear")
		return
	}
	to := url.URL{Scheme: "https", Host: t.host(r), Path: cmp.Or(r.URL.Path, "/"), RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
	if to.Host == "" || to.Path[0] != '/' || r.URL.User != nil {
		h.Set("Connection", "close")
		Fail(w, http.StatusBadRequest, "Host: is not a host name or address, with or without a port")
		return
	}
	h["Content-Type"] = nil // and no body
	http.Redirect(w, r, to.String(), http.StatusMovedPermanently)
}

// host is the host and port to lead to; empty for none.
func (t *ToHTTPS) host(r *http.Request) string {
	if !validHost(r.Host) {
		return ""
	}
	name, _, _ := splitHost(r.Host)
	if t.Otherwise != nil && (name == "" || t.Covers != nil && !t.Covers(canonicalHost(r.Host))) {
		return t.Otherwise.Host
	}
	if name == "" {
		return ""
	}
	if r.Host[0] == '[' {
		name = "[" + name + "]"
	}
	if t.Port == "" || t.Port == "443" {
		return name
	}
	return name + ":" + t.Port
}

// strictTransport tells a browser that came by HTTPS to use nothing else from now on (RFC 6797), which over
// plain HTTP it would not believe. It is the one place that decides about it: our own
// answers say so however HTTPS reached us, those of the service (carries) only where nobody but
// us could, and the service's own word goes before ours. Nothing is said for localhost, where one name is
// everything that a developer runs.
func (g *Gate) strictTransport(w http.ResponseWriter, p *Pass) {
	if len(g.strict) > 0 && p.Secure && !isLocalhost(p.Host) {
		w.Header()[strictTransport] = g.strict
	}
}

const strictTransport = "Strict-Transport-Security"

func isLocalhost(host string) bool {
	const name = "localhost"
	host, _, _ = splitHost(host)
	host = strings.TrimSuffix(host, ".")
	cut := len(host) - len(name)
	return cut >= 0 && strings.EqualFold(host[cut:], name) && (cut == 0 || host[cut-1] == '.')
}
