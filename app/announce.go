package app

import (
	"cmp"
	"context"
	"io"
	"net"
	"strings"

	frontdoor "doorward/door"
)

// announce says on the log what listens and what is behind it, and on the console, as
// long as there is no user, how to make the first one.
func (h *house) announce(ctx context.Context, addr net.Addr, console io.Writer) {
	s := h.settings
	behind := "the built-in sample service (give your own with --upstream URL)"
	if all := s.behind(); len(all) > 0 {
		behind = ""
		for _, u := range all {
			behind += ", " + u.URL.String()
			if u.place != "" {
				behind += " (" + u.Name + ": " + u.Host + u.Path + ")"
			}
		}
		behind = strings.TrimPrefix(behind, ", ")
	}
	h.log.Info("listening", "addr", addr.String(), "behind", behind, "version", frontdoor.Version())
	if h.certificate != nil {
		h.log.Info("serving HTTPS", h.certificate.pair().attrs()...)
	}
	h.log.Info("these paths are answered here and never reach the service", "paths", h.door.Paths())

	h.door.Announce(ctx, console, h.baseURL(addr))
}

// baseURL is how this server is reached: as the operator says, else by a name that its
// certificate is for, else at the address that it listens on.
func (h *house) baseURL(addr net.Addr) string {
	s := h.settings
	if s.PublicURL != nil {
		return s.PublicURL.Scheme + "://" + s.PublicURL.Host
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return s.scheme() + "://" + addr.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() || ip.IsLoopback() {
		host = "localhost"
	}
	if h.certificate != nil && !h.certificate.covers(host) {
		host = cmp.Or(h.certificate.pair().name(), host)
	}
	return s.scheme() + "://" + net.JoinHostPort(host, port)
}
