package app

import (
	"net/http"

	"doorward/gate"
	"doorward/proxy"
)

// forwardAuth lets the proxy of the settings ask about requests that it carries itself.
func (h *house) forwardAuth() gate.ForwardAuth {
	s := h.settings
	names, forward := s.credentialsThatPass()
	return gate.ForwardAuth{
		Proxy: s.ForwardAuthProxy,
		Headers: func(r *http.Request, p *gate.Pass) http.Header {
			return proxy.Badge(r, h.passage(p, "upstream"), names, forward)
		},
		Forged: proxy.Forged,
	}
}

// credentialsThatPass says which cookies stay at the door, and which other credentials do not.
func (s Settings) credentialsThatPass() (names proxy.Names, forward string) {
	if s.ForwardCredentials == ForwardAsSent {
		forward = proxy.AsSent
	}
	return proxy.Names{Cookies: []string{s.CookieName, gate.DeviceCookieName(s.CookieName)}}, forward
}
