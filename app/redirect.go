package app

import (
	"net"

	"doorward/gate"
)

// redirect leads who comes to l in plain HTTP to HTTPS, at the address that secure listens on. It judges
// nobody, and nothing that comes to it goes anywhere; its clients have the limits of the door's.
func (h *house) redirect(l net.Listener, secure net.Addr) front {
	s := h.settings
	to := &gate.ToHTTPS{Covers: h.certificate.covers, Timeout: s.Limits.BodyTimeout}
	_, to.Port, _ = net.SplitHostPort(secure.String()) // it listens on a port
	if s.PublicURL != nil && s.PublicURL.Scheme == "https" {
		// Told how we are reached, we know the port from outside too.
		to.Otherwise, to.Port = s.PublicURL, s.PublicURL.Port()
	}
	return front{newServer(h.metrics.count(to, h.log), s.Limits, h.log), h.guarded(l), false}
}
