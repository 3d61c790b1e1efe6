package proxy

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"doorward"
)

// Passage is what the door decided about a request. Its zero value is nobody, from
// nowhere, on the way to "/".
type Passage struct {
	Identity  doorward.Identity // who; zero for nobody
	Assertion string            // X-Doorward-Assertion: the same, signed; empty where that is off
	RequestID string            // X-Request-ID
	Client    netip.Addr        // the client's address as judged

	// Forwarded is the part of X-Forwarded-For that is believed: the addresses that
	// trusted proxies wrote, beginning with Client's, in their order. It is empty when the
	// client is the peer itself. The service receives these and then the peer's address;
	// if there are none and Client is not the peer, Client and then the peer's address. So
	// the first is always the client, and each hop stands after the one before.
	Forwarded []string

	Proto, Host string // as judged: X-Forwarded-Proto, X-Forwarded-Host

	// Path and RawPath are the canonical path, decoded and as escaped, as in url.URL. It
	// alone is forwarded, never the one that the client wrote. Empty is "/".
	Path, RawPath string

	DropAuthorization bool   // the Authorization header decided, or must not be seen: it stays here
	Bearer            string // an access token to send in Authorization, whatever was there; empty for none
	KeepAPIKey        bool   // X-API-Key is none of ours, on a route that is public: it goes on

	Ends Ends // who may end the request while it lasts; nil for nobody
}

// Names are the names of what is ours among what clients send.
type Names struct {
	Cookies []string // exact; the session cookie and device cookies
}

// AsSent is the value of Config.Forward that lets our credentials travel on to the service.
const AsSent = "as_sent"

// worn counts the headers that wear writes.
const worn = 11

// Dress returns a copy of r for a handler in this process: cleaned, stripped and dressed
// as a request to a service behind would be, its path the canonical one, without
// trailers. r stays as it is, and shares its body with the copy. forward is "" or AsSent.
func Dress(r *http.Request, pass Passage, names Names, forward string) *http.Request {
	out := r.WithContext(r.Context()) // a shallow copy
	out.Header = make(http.Header, len(r.Header)+worn)
	for name, values := range r.Header {
		out.Header[name] = slices.Clone(values)
	}
	out.Trailer = nil // the server fills r.Trailer at the end of the body, where nothing is judged any more
	dress(out.Header, r, &pass, names, forward, new([worn]string))
	setConnection(out.Header, asksWebSocket(r))

	path, raw := pass.target()
	out.URL = &url.URL{Path: path, RawPath: raw, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
	out.RequestURI = out.URL.RequestURI() // the client may have written it in another form, or with another host
	return out
}

// dress makes of the client's headers the ones that the service receives. values is room
// for what is written; h refers to it afterwards.
func dress(h http.Header, r *http.Request, pass *Passage, names Names, forward string, values *[worn]string) {
	clean(h, forward == AsSent || pass.KeepAPIKey)
	if forward != AsSent {
		stripCookies(h, names.Cookies)
		if pass.DropAuthorization {
			delete(h, "Authorization")
		}
	}
	if pass.Bearer != "" {
		h["Authorization"] = []string{"Bearer " + pass.Bearer}
	}
	pass.wear(h, r.RemoteAddr, values)
}

// wear writes every identity header into h, once, empty when there is nothing to say: a
// service can then tell "nobody" from "did not come through the door".
func (pass *Passage) wear(h http.Header, remote string, values *[worn]string) {
	id := &pass.Identity
	username := ""
	if id.Kind == doorward.KindUser {
		username = id.Username
	}
	for i, x := range [worn]struct{ name, value string }{
		{"X-Forwarded-User", username},
		{"X-Auth-Subject", id.Subject},
		{"X-Auth-Kind", string(id.Kind)},
		{"X-Auth-Role", string(id.Role)},
		{"X-Auth-Organization", id.Org},
		{"X-Auth-Workspace", id.Workspace},
		{"X-Doorward-Assertion", pass.Assertion},
		{"X-Request-Id", pass.RequestID},
		{"X-Forwarded-For", pass.forwardedFor(remote)},
		{"X-Forwarded-Host", pass.Host},
		{"X-Forwarded-Proto", pass.Proto},
	} {
		values[i] = printable(x.value)
		h[x.name] = values[i : i+1 : i+1]
	}
}

// forwardedFor is the X-Forwarded-For to send, given the peer's address and port.
func (pass *Passage) forwardedFor(remote string) string {
	peer := ""
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		addr := ap.Addr().WithZone("").Unmap()
		if addr == pass.Client && len(pass.Forwarded) == 0 && ap.Addr().Is4() {
			host, _, _ := strings.Cut(remote, ":") // nearly every request: no new string
			return host
		}
		peer = addr.String()
	}
	client := ""
	if pass.Client.IsValid() {
		client = pass.Client.WithZone("").Unmap().String()
	}
	switch {
	case len(pass.Forwarded) > 0 && peer != "":
		return strings.Join(pass.Forwarded, ", ") + ", " + peer
	case len(pass.Forwarded) > 0:
		return strings.Join(pass.Forwarded, ", ")
	case client == "" || client == peer:
		return peer
	case peer == "":
		return client
	}
	return client + ", " + peer
}

// target is the path to forward, decoded and escaped.
func (pass *Passage) target() (path, raw string) {
	if pass.Path == "" {
		return "/", ""
	}
	return pass.Path, pass.RawPath
}

// printable returns s, or nothing if it holds what cannot stand in a header as it is. The
// verbs that create names refuse such ones; should one come by another way, it is better
// to say nothing of it than to send a service something to misread.
func printable(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return ""
		}
	}
	return s
}
