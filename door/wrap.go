package door

import (
	"context"
	"net/http"

	"doorward/gate"
	"doorward/proxy"
)

// Wrap puts the door before next, once and around all of it: paths of ours are answered here
// (Paths), and next gets every other request that may pass by Config.Routes. next
// receives what a service behind the program receives: the one form of the path; headers that
// say who asks (X-Auth-Subject, X-Auth-Role and the others), of which a client's own never
// arrive; none of our credentials. From says the same in Go.
//
// A request ends within a second of its session. Its context is cancelled then, reads and
// writes fail, and when next returns the client sees the connection cut; a WebSocket that next
// has taken over (http.Hijacker) gets a close frame 1008 and is closed.
//
// Several handlers may be wrapped, for several servers. None may stand in another's way.
func (d *Door) Wrap(next http.Handler) http.Handler {
	names, forward := d.config.credentialsThatPass()
	return d.Carrying(func(w http.ResponseWriter, r *http.Request, p *gate.Pass) {
		in := r.WithContext(context.WithValue(r.Context(), passedKey{}, &passed{d.gate, p, r}))
		proxy.Serve(w, proxy.Dress(in, d.Passage(p, d.config.Audience), names, forward), p, next)
	})
}

// Carrying puts the door before a carrier of one's own, which gets each admitted request as
// the client sent it, and what the door has decided about it. It must pass on nothing of a client's that
// says who asks: give what Passage says to a proxy.Proxy, or to proxy.Dress and proxy.Serve.
func (d *Door) Carrying(carry func(w http.ResponseWriter, r *http.Request, p *gate.Pass)) http.Handler {
	return d.gate.Carrying(carry)
}

// Passage tells the corridor what the door has decided, and signs it for the service
// called audience where that is asked for.
func (d *Door) Passage(p *gate.Pass, audience string) proxy.Passage {
	return proxy.Passage{
		Identity: p.Identity, Assertion: d.authority.Assertion(p.Identity, audience), RequestID: p.RequestID, Client: p.Client, Forwarded: p.Forwarded,
		Proto: p.Proto(), Host: p.Host, Path: p.Path, RawPath: p.RawPath,
		DropAuthorization: p.StripAuthorization, KeepAPIKey: p.KeepAPIKey, Bearer: p.Bearer, Ends: p,
	}
}

// CredentialsThatPass says which cookies stay at the door, and, for proxy.Config.Forward,
// which other credentials do not.
func (c Config) CredentialsThatPass() (names proxy.Names, forward string) {
	return c.WithDefaults().credentialsThatPass()
}

func (c Config) credentialsThatPass() (names proxy.Names, forward string) {
	if c.ForwardCredentials == ForwardAsSent {
		forward = proxy.AsSent
	}
	return proxy.Names{Cookies: []string{c.CookieName, gate.DeviceCookieName(c.CookieName)}}, forward
}
