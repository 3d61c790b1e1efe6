package proxy

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
)

// Badge returns the headers that r must carry in place of the client's where another proxy
// carries it: those that say who asks, and what is left of the client's credentials. All
// of them are there always, so that whoever copies them writes over what a client wrote; an
// empty one stands for a header that must not arrive. How the client came
// (X-Forwarded-For, -Host and -Proto) is for that proxy to say. forward is "" or AsSent.
func Badge(r *http.Request, pass Passage, names Names, forward string) http.Header {
	badge := make(http.Header, worn)
	pass.wear(badge, r.RemoteAddr, new([worn]string))
	for _, theirs := range [...]string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		delete(badge, theirs)
	}
	left := Dress(r, pass, names, forward).Header
	for _, name := range [...]string{"Authorization", "X-Api-Key"} {
		if badge[name] = left[name]; len(left[name]) == 0 {
			badge[name] = []string{""}
		}
	}
	badge["Cookie"] = []string{strings.Join(left["Cookie"], "; ")} // RFC 9113, section 8.2.3
	return badge
}

// Forged returns the name of a header that no proxy which copies a Badge takes out of a
// request, and that a service may take for one of it, such as x_auth_role, or for another
// target or method than the one judged, such as X-Original-URL; "" if h holds none. Whole
// classes are meant, as where we carry requests ourselves (fateOf), but for how the client
// came, which the proxy says itself: of that only aliases, such as x_forwarded_for.
func Forged(h http.Header) string {
	var found []string
	for name := range h {
		if forged(name) {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return ""
	}
	return slices.Min(found) // the same answer to the same request
}

func forged(name string) bool {
	if fateOf(name) != drops {
		return false
	}
	var buf [64]byte
	b := plain(&buf, name)
	// Under its own name a proxy can write it over or take it out; of aliases nobody has a list.
	if !strings.EqualFold(name, string(b)) {
		return true
	}
	switch string(b) {
	case "x-auth-subject", "x-auth-kind", "x-auth-role", "x-auth-organization", "x-auth-workspace", "x-doorward-assertion":
		return false // written over
	case "x-original-url", "x-method-override", "x-http-host-override", "x-script-name",
		"http2-settings": // with it a service may make a tunnel of the connection (asksWebSocket)
		return true
	}
	for _, class := range [...]string{"x-auth-", "x-doorward-", "x-rewrite-", "x-http-method", "remote-", "x-remote-"} {
		if bytes.HasPrefix(b, []byte(class)) {
			return true
		}
	}
	return false
}
