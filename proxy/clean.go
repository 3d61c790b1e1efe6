package proxy

import (
	"bytes"
	"net/http"
	"strings"
)

// fate is what becomes of a header that a client sent.
type fate int

const (
	passes  fate = iota
	drops        // only the door may say this
	apiKey       // X-API-Key itself: a credential of ours
	ifExact      // passes under its registered name, never under an alias of it
)

// clean removes from h what a client has no say in, whatever the spelling.
func clean(h http.Header, keepKey bool) {
	for name := range h {
		switch fateOf(name) {
		case drops:
			delete(h, name)
		case apiKey:
			if !keepKey || name != "X-Api-Key" {
				delete(h, name)
			}
		case ifExact:
			if name != "Content-Length" && name != "Transfer-Encoding" {
				delete(h, name)
			}
		}
	}
}

// fateOf judges a header by its name, read as the most forgiving service would: without
// regard to case, and with everything that is neither letter nor digit a dash. CGI and
// its descendants (RFC 3875, section 4.1.18: WSGI, PHP, Rack) make one variable of
// X-Auth-Role, x_auth_role and, some of them, X.Auth.Role.
//
// X-Forwarded-, X-Auth- and X-Doorward- go as whole classes, so that no name which a service may come
// to trust is missed; a service that has a header of its own there must rename it.
func fateOf(name string) fate {
	var buf [64]byte
	b := plain(&buf, name)
	for _, class := range [...]string{
		"x-forwarded-", "x-auth-", "x-doorward-", // who, and how they came
		"x-original-", "x-rewrite-", // another target than the one judged
		"x-http-method", "remote-", "x-remote-",
	} {
		if len(b) >= len(class) && string(b[:len(class)]) == class {
			return drops
		}
	}
	switch string(b) {
	case "x-api-key":
		return apiKey
	case "content-length", "transfer-encoding":
		return ifExact
	case "host", // the true one is not among the headers, so this is an alias
		"http2-settings", // h2c is never carried (upgrade)
		"proxy",          // becomes HTTP_PROXY in CGI

		"x-request-id", "x-workspace-id", "x-organization-id", "x-setup-code",

		"forwarded", "x-forwarded", "x-forward-for", "x-real-ip", "true-client-ip", "x-client-ip", "client-ip",
		"x-cluster-client-ip", "x-originating-ip", "x-envoy-external-address", "x-appengine-user-ip", "x-azure-clientip",
		"cf-connecting-ip", "cf-connecting-ipv6", "cf-pseudo-ipv4", "fastly-client-ip", "fly-client-ip",

		"x-host", "x-http-host-override", "x-method-override", "x-envoy-original-path", "x-script-name",
		"x-scheme", "x-url-scheme", "front-end-https":
		return drops
	}
	return passes
}

// plain writes name to buf in lower case, each run of what is neither letter nor digit as
// one dash, none at the ends, and returns what it wrote. A name too long for buf is cut:
// the classes are still seen, and no single name is that long.
func plain(buf *[64]byte, name string) []byte {
	b := buf[:0]
	for i := 0; i < len(name) && len(b) < len(buf); i++ {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			b = append(b, c+'a'-'A')
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			b = append(b, c)
		case len(b) > 0 && b[len(b)-1] != '-':
			b = append(b, '-')
		}
	}
	if len(b) < len(buf) {
		b = bytes.TrimSuffix(b, []byte("-"))
	}
	return b
}

// asksWebSocket reports whether a request asks to switch to WebSocket (RFC 6455, section
// 4.1; RFC 9110, section 7.8): the only protocol a client may switch to here. Any other
// makes a tunnel of the connection through which requests would pass that no door has
// judged, h2c above all.
func asksWebSocket(r *http.Request) bool {
	asked := r.Header["Upgrade"]
	if r.Method != http.MethodGet || len(asked) != 1 || !strings.EqualFold(asked[0], "websocket") {
		return false
	}
	for _, line := range r.Header["Connection"] {
		for option := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(trim(option), "upgrade") {
				return true
			}
		}
	}
	return false
}

// setConnection leaves of Connection and Upgrade what a WebSocket needs, else nothing:
// whoever acts on Connection further on, as a proxy behind must, would take out the
// headers that it names, ours among them.
func setConnection(h http.Header, webSocket bool) {
	if webSocket {
		h["Connection"] = []string{"Upgrade"}
		return
	}
	delete(h, "Connection")
	delete(h, "Upgrade")
}
