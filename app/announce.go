package app

import (
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
	h.log.Info("these paths are answered here and never reach the service", "paths", h.door.Paths())

	h.door.Announce(ctx, console, baseURL(s, addr))
}

// baseURL is how this server is reached: as the operator says, else at the address that it listens on.
func baseURL(s Settings, addr net.Addr) string {
	if s.PublicURL != nil {
		return s.PublicURL.Scheme + "://" + s.PublicURL.Host
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "http://" + addr.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() || ip.IsLoopback() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
