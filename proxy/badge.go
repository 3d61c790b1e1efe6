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

// Forged returns the name of a header that nothing in a Badge writes over and that a
// service may take for one of it, such as x_auth_role, or for another target or method
// than the one judged, such as X-Original-URL; "" if h holds none.
func Forged(h http.Header) string {
	var found []string
	for name := range h {
		var buf [64]byte
		b := plain(&buf, name)
		switch string(b) {
		case "x-forwarded-user", "x-request-id":
			if !sameName(name, b) {
				found = append(found, name)
			}
		case "x-original-url", "x-method-override", "x-http-host-override":
			found = append(found, name)
		default:
			switch {
			case bytes.HasPrefix(b, []byte("x-auth-")) && !sameName(name, b),
				bytes.HasPrefix(b, []byte("x-rewrite-")), bytes.HasPrefix(b, []byte("x-http-method")):
				found = append(found, name)
			}
		}
	}
	if len(found) == 0 {
		return ""
	}
	return slices.Min(found) // the same answer to the same request
}

// sameName reports whether name is written as plain has it, but for case.
func sameName(name string, plain []byte) bool { return strings.EqualFold(name, string(plain)) }
